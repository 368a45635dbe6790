//! What a controller knows about a frame, shaped as useq.MDAEvent.

use std::{collections::BTreeMap, fmt, time::SystemTime};

/// Units and meaning of each field: `FrameMetadata` in the contract.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    missing_docs,
    reason = "the contract documents each field, with its unit; said twice it would drift"
)]
pub struct FrameMetadata {
    pub index: BTreeMap<String, u32>,
    pub channel: String,
    pub position: String,
    pub camera: String,
    pub plate: String,
    pub well: String,
    pub field: Option<u32>,
    pub exposure_ms: Option<f64>,
    pub x_um: Option<f64>,
    pub y_um: Option<f64>,
    pub z_um: Option<f64>,
    pub pixel_size_um: Option<f64>,
    pub binning: Option<u32>,
    pub roi_x: Option<u32>,
    pub roi_y: Option<u32>,
    pub pixel_to_stage: Option<[f64; 6]>,
    pub captured_at: Option<SystemTime>,
    pub elapsed_ms: Option<f64>,
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
