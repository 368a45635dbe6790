//! GeoJSON as QuPath reads it: a detection a cell, polygons with holes along pixel edges, pixel units.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{ExportError, FrameCells, Provenance, overlay, table};
use crate::{
    mask::{Ring, rings},
    segmentation::Instance,
};

/// Writes the cells of a frame as a FeatureCollection.
pub fn write(
    mut out: impl Write,
    frame: &FrameCells,
    provenance: &Provenance,
) -> Result<(), ExportError> {
    let image = json!({"image_id": frame.image_id, "file": frame.file,
        "width": frame.segmentation.width, "height": frame.segmentation.height,
        "pixel_size_um": frame.metadata.pixel_size_um});
    write!(
        out,
        r#"{{"type":"FeatureCollection","cellsegd":{},"image":{image},"features":["#,
        provenance.object()
    )?;
    for (label, cell) in (1..).zip(&frame.segmentation.instances) {
        let comma = if label == 1 { "" } else { "," };
        write!(out, "{comma}\n{}", feature(frame, label, cell, provenance))?;
    }
    writeln!(out, "\n]}}")?;
    Ok(out.flush()?)
}

fn feature(frame: &FrameCells, label: u32, cell: &Instance, provenance: &Provenance) -> Value {
    let measurements: Map<String, Value> = table::measurements(frame, label, cell)
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    // QuPath keeps these as text.
    let mut metadata = Map::from_iter([("label".to_owned(), json!(label.to_string()))]);
    if let Some(track) = &cell.track {
        metadata.insert("track_id".to_owned(), json!(track.id.to_string()));
        if let Some(parent) = track.parent_id {
            metadata.insert("parent_id".to_owned(), json!(parent.to_string()));
        }
    }
    let colour = overlay::colour(cell.class_index + 1);
    json!({
        "type": "Feature",
        "geometry": geometry(frame, cell),
        "properties": {
            "objectType": "detection",
            "name": cell.track.map_or(label.into(), |track| track.id).to_string(),
            "classification": {"name": provenance.class_name(cell.class_index), "color": colour},
            "metadata": metadata,
            "measurements": measurements,
        },
    })
}

fn geometry(frame: &FrameCells, cell: &Instance) -> Value {
    let rings = rings(&cell.mask);
    let mut polygons: Vec<Value> = rings
        .chunk_by(|_, next| next.hole)
        .map(|polygon| polygon.iter().map(closed).collect())
        .collect();
    let mut geometry = match polygons.len() {
        1 => json!({"type": "Polygon", "coordinates": polygons.remove(0)}),
        _ => json!({"type": "MultiPolygon", "coordinates": polygons}),
    };
    if frame.stack {
        let plane = frame.plane();
        geometry["plane"] = json!({"c": -1, "z": plane.z, "t": plane.t});
    }
    geometry
}

/// The first corner is repeated at the end. What runs clockwise on screen, where y points down, runs counterclockwise in numbers: as
/// RFC 7946 wants outer rings.
fn closed(ring: &Ring) -> Value {
    let corners = ring.corners.iter();
    corners
        .chain(ring.corners.first())
        .map(|&(x, y)| json!([x, y]))
        .collect()
}
