//! Flags about what is made of the cells: measurements, identities, growth, region.

use std::{fs, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::words;
use crate::{
    mask::Ring,
    params::{Analysis, Distance, GrowthOptions, Measurements, Tracking},
};

/// Nothing is made that was not asked for.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct AnalysisChoices {
    /// What is measured of each cell, equal to scikit-image's regionprops; all means all but the neighbours' radius
    #[arg(long, value_name = "WHAT,...", value_delimiter = ',')]
    measure: Vec<Measure>,
    /// Count other cells within this distance: 50um (needs a pixel size) or 80px; measures neighbours
    #[arg(long, value_name = "DISTANCE", value_parser = words::distance)]
    neighbour_radius: Option<Distance>,
    /// Follow cells from frame to frame: ids, divisions, drift
    #[arg(long)]
    track: bool,
    /// Frames for which a followed cell may be missing and come back; 0 to 50 [default: 2]
    #[arg(long, value_name = "N", requires = "track", value_parser = clap::value_parser!(u32).range(0..=50))]
    max_gap: Option<u32>,
    /// Most that a followed cell moves from frame to frame: 20um or 30px [default: by the cells' size]
    #[arg(long, value_name = "DISTANCE", requires = "track", value_parser = words::distance)]
    max_distance: Option<Distance>,
    /// Followed cells do not divide
    #[arg(long, requires = "track")]
    no_divisions: bool,
    /// Of a z-stack the plane that is followed [default: 0]
    #[arg(long, value_name = "N", requires = "track")]
    z_plane: Option<u32>,
    /// Growth rates and doubling times, of counts and of confluence
    #[arg(long)]
    growth: bool,
    /// Hours over which growth is estimated; at least 2 [default: 12]
    #[arg(long, value_name = "HOURS", requires = "growth", value_parser = words::window_hours)]
    growth_window: Option<f64>,
    /// Frames that an estimate needs; at least 5 [default: 5]
    #[arg(long, value_name = "N", requires = "growth", value_parser = clap::value_parser!(u32).range(5..))]
    growth_points: Option<u32>,
    /// Analyse this area only: X,Y,WIDTH,HEIGHT in pixels, or a GeoJSON file of polygons in pixels, as QuPath exports
    #[arg(long, value_name = "AREA", value_parser = region)]
    region: Option<Region>,
    /// Divide out the illumination: an image of an even field, exposed as the frames are
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) flat: Option<PathBuf>,
    /// An image without light, for --flat
    #[arg(long, value_name = "FILE", requires = "flat")]
    pub(in crate::cli) dark: Option<PathBuf>,
    /// What a file of options asks for: flags are added to it, and win.
    #[arg(skip)]
    pub(in crate::cli) of_file: Analysis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    Shape,
    Hull,
    Intensity,
    Background,
    Neighbours,
    All,
}

/// Rings of an area.
#[derive(Clone, Debug, PartialEq)]
struct Region(Arc<[Ring]>);

impl AnalysisChoices {
    /// Every default filled in. `other_channels`: counts of other channels are measured in the cells.
    pub(in crate::cli) fn settle(&self, other_channels: bool) -> Analysis {
        let asked =
            |what: Measure| self.measure.contains(&what) || self.measure.contains(&Measure::All);
        let of_file = &self.of_file;
        let is_tracked = self.track || of_file.tracking.is_some();
        let tracking = of_file.tracking.unwrap_or_default();
        let is_grown = self.growth || of_file.growth.is_some();
        let growth = of_file.growth.unwrap_or_default();
        let region = self.region.as_ref().map(|region| Arc::clone(&region.0));
        let measurements = of_file.measurements;
        let neighbour_radius = self.neighbour_radius.or(measurements.neighbour_radius);
        let background = asked(Measure::Background) || measurements.background;
        let intensity = asked(Measure::Intensity) || measurements.intensity;
        Analysis {
            region: region.or_else(|| of_file.region.clone()),
            measurements: Measurements {
                shape: asked(Measure::Shape) || measurements.shape,
                hull: asked(Measure::Hull) || measurements.hull,
                intensity: intensity || background || other_channels,
                background,
                neighbours: asked(Measure::Neighbours)
                    || measurements.neighbours
                    || self.neighbour_radius.is_some(),
                neighbour_radius,
            },
            tracking: is_tracked.then_some(Tracking {
                max_gap: self.max_gap.unwrap_or(tracking.max_gap),
                max_distance: self.max_distance.or(tracking.max_distance),
                divisions: tracking.divisions && !self.no_divisions,
                z_plane: self.z_plane.unwrap_or(tracking.z_plane),
            }),
            growth: is_grown.then_some(GrowthOptions {
                window_hours: self.growth_window.unwrap_or(growth.window_hours),
                min_points: self.growth_points.unwrap_or(growth.min_points),
            }),
        }
    }
}

fn region(text: &str) -> Result<Region, String> {
    let numbers: Option<Vec<u32>> = text
        .split(',')
        .map(|part| part.trim().parse().ok())
        .collect();
    let rings = match numbers.as_deref() {
        Some(&[x, y, width, height]) => vec![rectangle(x, y, width, height).ok_or_else(|| {
            format!("{width} x {height} pixels at {x}, {y}: width and height must be at least 1, within a frame")
        })?],
        _ => {
            let file = fs::read(text).map_err(|error| {
                format!("must be X,Y,WIDTH,HEIGHT in pixels or a GeoJSON file; as a file it cannot be read: {error}")
            })?;
            let json: Value = serde_json::from_slice(&file)
                .map_err(|error| format!("the file is not GeoJSON: {error}"))?;
            let mut rings = Vec::new();
            polygons(&json, &mut rings).ok_or("the file holds a polygon that is none: corners must be [x, y] in pixels")?;
            rings
        }
    };
    match rings.is_empty() {
        true => Err("the file holds no Polygon and no MultiPolygon".to_owned()),
        false => Ok(Region(rings.into())),
    }
}

fn rectangle(x: u32, y: u32, width: u32, height: u32) -> Option<Ring> {
    let (x0, y0) = (i32::try_from(x).ok()?, i32::try_from(y).ok()?);
    let x1 = x0.checked_add(i32::try_from(width).ok()?)?;
    let y1 = y0.checked_add(i32::try_from(height).ok()?)?;
    let corners = vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1)];
    (x0 < x1 && y0 < y1).then_some(Ring {
        corners,
        hole: false,
    })
}

/// Every polygon of a geometry, a feature or a collection of features. None: one is damaged.
fn polygons(json: &Value, rings: &mut Vec<Ring>) -> Option<()> {
    let parts = |key: &str| json.get(key).and_then(Value::as_array);
    match json.get("type").and_then(Value::as_str) {
        Some("FeatureCollection") => parts("features")?
            .iter()
            .try_for_each(|feature| polygons(feature, rings)),
        Some("GeometryCollection") => parts("geometries")?
            .iter()
            .try_for_each(|geometry| polygons(geometry, rings)),
        Some("Feature") => polygons(json.get("geometry")?, rings),
        Some("Polygon") => polygon(parts("coordinates")?, rings),
        Some("MultiPolygon") => parts("coordinates")?
            .iter()
            .try_for_each(|part| polygon(part.as_array()?, rings)),
        // Points and lines have no area.
        _ => Some(()),
    }
}

/// Its outer ring and its holes, at whole pixels.
fn polygon(coordinates: &[Value], rings: &mut Vec<Ring>) -> Option<()> {
    for (i, ring) in coordinates.iter().enumerate() {
        let corner = |corner: &Value| {
            let number = |at: usize| corner.get(at)?.as_f64().filter(|n| n.abs() < 1e6);
            Some((number(0)?.round() as i32, number(1)?.round() as i32))
        };
        let corners: Option<Vec<(i32, i32)>> = ring.as_array()?.iter().map(corner).collect();
        let mut corners = corners?;
        // GeoJSON says the first corner again at the end.
        if corners.len() > 1 && corners.first() == corners.last() {
            corners.pop();
        }
        rings.push(Ring {
            corners,
            hole: i > 0,
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(text: &str) -> Result<Region, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("region.geojson");
        fs::write(&file, text).unwrap();
        region(&file.display().to_string())
    }

    #[test]
    fn a_rectangle_is_a_region() {
        let Region(rings) = region("10,20,30,40").unwrap();
        assert_eq!(rings[0].corners, [(10, 20), (40, 20), (40, 60), (10, 60)]);
        for text in [
            "10,20,0,40",
            "1,2,3",
            "4294967295,0,1,1",
            "/nowhere.geojson",
        ] {
            assert!(region(text).is_err(), "{text}");
        }
    }

    #[test]
    fn polygons_of_geojson_are_a_region() {
        let text = r#"{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": "Polygon",
            "coordinates": [[[0, 0], [9.6, 0], [10, 10], [0, 0]], [[2, 2], [3, 2], [3, 3], [2, 2]]]}}]}"#;
        let Region(rings) = of_file(text).unwrap();
        assert_eq!(rings[0].corners, [(0, 0), (10, 0), (10, 10)]);
        assert_eq!((rings[0].hole, rings[1].hole), (false, true));
        for (text, word) in [
            ("{", "not GeoJSON"),
            (r#"{"type": "Point", "coordinates": [1, 2]}"#, "no Polygon"),
            (
                r#"{"type": "Polygon", "coordinates": [[["x", 1]]]}"#,
                "corners",
            ),
        ] {
            let error = of_file(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
