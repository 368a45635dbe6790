//! What a controller knows about a frame, shaped as useq.MDAEvent.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::SystemTime};

use serde::{Deserialize, Serialize};

/// A picometre to a metre a pixel, in micrometres: what is computed from a size in between stays a number.
pub const PIXEL_SIZES_UM: RangeInclusive<f64> = 1e-6..=1e6;

/// Units and meaning of each field: `FrameMetadata` in the contract.
///
/// Written as one object with the contract's names, in which what is not known is absent and `captured_at` is RFC 3339.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[expect(
    missing_docs,
    reason = "the contract documents each field, with its unit; said twice it would drift"
)]
pub struct FrameMetadata {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub index: BTreeMap<String, u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub position: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub camera: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub plate: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub well: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_um: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y_um: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub z_um: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_size_um: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binning: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roi_x: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roi_y: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_to_stage: Option<[f64; 6]>,
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub captured_at: Option<SystemTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// Frames that follow one another in time: same place, same light. LATEST replaces within a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    position: Position,
    grid: Option<u32>,
    camera: String,
    channel: String,
    plane: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Position {
    Named(String),
    Indexed(Option<u32>),
}

impl fmt::Display for SeriesKey {
    /// For a log: what is set, strings quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &str| (!name.is_empty()).then(|| format!("{name:?}"));
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let position = match &self.position {
            Position::Named(name) => named(name),
            Position::Indexed(index) => number(*index),
        };
        let parts = [
            ("position", position),
            ("grid", number(self.grid)),
            ("camera", named(&self.camera)),
            ("channel", named(&self.channel)),
            ("plane", number(self.plane)),
        ];
        let set: Vec<String> = parts
            .into_iter()
            .filter_map(|(what, value)| Some(format!("{what} {}", value?)))
            .collect();
        match set.is_empty() {
            true => f.write_str("the only one"),
            false => f.write_str(&set.join(", ")),
        }
    }
}

impl SeriesKey {
    /// Whether it is of the stage position called `position`; one without a name is called by its index "p".
    pub fn is_at(&self, position: &str) -> bool {
        match &self.position {
            Position::Named(name) => name == position,
            Position::Indexed(index) => index.is_some_and(|index| index.to_string() == position),
        }
    }

    /// Bytes of its names: a client chooses how long they are.
    pub fn bytes(&self) -> usize {
        let position = match &self.position {
            Position::Named(name) => name.len(),
            Position::Indexed(_) => 0,
        };
        position + self.camera.len() + self.channel.len()
    }
}

impl FrameMetadata {
    /// The series that the frame belongs to: (position, else index p; g; camera; channel; z).
    pub fn series(&self) -> SeriesKey {
        let index = |axis: &str| self.index.get(axis).copied();
        SeriesKey {
            position: if self.position.is_empty() {
                Position::Indexed(index("p"))
            } else {
                Position::Named(self.position.clone())
            },
            grid: index("g"),
            camera: self.camera.clone(),
            channel: self.channel.clone(),
            plane: index("z"),
        }
    }
    /// A place of the frame, pixels from its top left corner, on the stage, micrometres: where the stage stood, and what
    /// `pixel_to_stage` makes of the place, row by row as Micro-Manager writes it. None without it.
    pub fn on_stage(&self, (x_px, y_px): (f64, f64)) -> Option<(f64, f64)> {
        let [a, b, c, d, e, f] = self.pixel_to_stage?;
        let stage = (self.x_um.unwrap_or(0.0), self.y_um.unwrap_or(0.0));
        Some((
            stage.0 + (a * x_px + b * y_px + c),
            stage.1 + (d * x_px + e * y_px + f),
        ))
    }
}

/// A time as text; what is none is as if it were not there.
mod rfc3339 {
    use std::time::SystemTime;

    // Protobuf's JSON writes times so, and reads them.
    use prost_types::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(&Timestamp::from(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|text| text.parse::<Timestamp>().ok()?.try_into().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::FrameMetadata;

    #[test]
    fn a_place_on_the_stage_is_its_own_position_and_the_affine_of_the_pixel() {
        // A camera turned by a quarter: x of the frame runs along y of the stage.
        let metadata = FrameMetadata {
            x_um: Some(1000.0),
            y_um: Some(2000.0),
            pixel_to_stage: Some([0.0, -0.5, 3.0, 0.5, 0.0, 4.0]),
            ..Default::default()
        };
        let on_stage = metadata.on_stage((10.0, 20.0));
        assert_eq!(on_stage, Some((1000.0 - 10.0 + 3.0, 2000.0 + 5.0 + 4.0)));
        assert_eq!(FrameMetadata::default().on_stage((10.0, 20.0)), None);
    }
}
