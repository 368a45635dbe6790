//! ImageJ's regions of interest: a zip of `.roi` files, as its ROI Manager opens it.
//!
//! Outlines run along pixel edges, which is how ImageJ understands whole-numbered corners: a region holds exactly the cell's pixels.
//! A cell with holes is a composite. Positions count from 1; 0 says that an axis is not known.
//! The layout is that of `ij.io.RoiEncoder`: big-endian; header, corners, second header, name, properties.

use std::io::{Seek, Write};

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::{ExportError, FrameCells, Provenance};
use crate::{
    mask::{Ring, rings},
    segmentation::Instance,
};

const HEADER: usize = 64;
/// Of `RoiEncoder` since ImageJ 1.52: with properties.
const VERSION: u16 = 228;
/// The kinds of regions that are written; composites are rectangles with a shape.
const RECTANGLE: u8 = 1;
const TRACED: u8 = 8;

/// A zip of regions on its way into a file.
pub struct RoiZip<W: Write + Seek>(ZipWriter<W>);

impl<W: Write + Seek> RoiZip<W> {
    /// Without a region.
    pub fn new(out: W, provenance: &Provenance) -> Result<Self, ExportError> {
        let mut zip = ZipWriter::new(out);
        zip.set_comment(provenance.line())?;
        Ok(RoiZip(zip))
    }

    /// Adds the cells of a frame.
    pub fn add(&mut self, frame: &FrameCells, provenance: &Provenance) -> Result<(), ExportError> {
        // Always the same time: the same cells make the same bytes.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default());
        for (label, cell) in (1..).zip(&frame.segmentation.instances) {
            let name = match cell.track {
                Some(track) => format!("{}-{label:04}-track{}", frame.image_id, track.id),
                None => format!("{}-{label:04}", frame.image_id),
            };
            self.0.start_file(format!("{name}.roi"), options)?;
            self.0
                .write_all(&roi(frame, label, cell, &name, provenance)?)?;
        }
        Ok(())
    }

    /// Writes the table of contents.
    pub fn finish(self) -> Result<(), ExportError> {
        self.0.finish()?.flush()?;
        Ok(())
    }
}

fn roi(
    frame: &FrameCells,
    label: u32,
    cell: &Instance,
    name: &str,
    provenance: &Provenance,
) -> Result<Vec<u8>, ExportError> {
    let rings = rings(&cell.mask);
    let mask = &cell.mask;
    let short = |px: u32| {
        i16::try_from(px).map_err(|_| {
            ExportError::DoesNotFit(format!(
                "cell {label} of {} reaches {px} px: an ImageJ region holds coordinates up to 32767",
                frame.image_id
            ))
        })
    };
    let (left, top) = (short(mask.x())?, short(mask.y())?);
    let (right, bottom) = (
        short(mask.x() + mask.width())?,
        short(mask.y() + mask.height())?,
    );
    let (kind, n_corners, shape_size, corners) = match &rings[..] {
        [outline] if outline.corners.len() <= usize::from(u16::MAX) => {
            let corners = relative(outline, (left, top));
            (TRACED, outline.corners.len() as u16, 0, corners)
        }
        _ => {
            let shape = shape(&rings);
            (RECTANGLE, 0, shape.len() as u32 / 4, shape)
        }
    };
    let mut bytes = Vec::with_capacity(2 * HEADER + corners.len() + 512);
    bytes.extend(b"Iout");
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([kind, 0]);
    for edge in [top, left, bottom, right] {
        bytes.extend(edge.to_be_bytes());
    }
    bytes.extend(n_corners.to_be_bytes());
    bytes.resize(36, 0);
    bytes.extend(shape_size.to_be_bytes());
    bytes.resize(60, 0);
    bytes.extend(((HEADER + corners.len()) as u32).to_be_bytes());
    bytes.extend(corners);
    second_header(
        &mut bytes,
        frame,
        name,
        &properties(label, cell, provenance),
    );
    Ok(bytes)
}

/// Positions, and where name and properties lie; then these, in UTF-16.
fn second_header(bytes: &mut Vec<u8>, frame: &FrameCells, name: &str, properties: &str) {
    let utf16 = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    let (name, properties) = (utf16(name), utf16(properties));
    let start = bytes.len();
    let name_at = start + HEADER;
    let properties_at = name_at + 2 * name.len();
    bytes.extend([0; 4]);
    for axis in ["c", "z", "t"] {
        bytes.extend(
            frame
                .index(axis)
                .map_or(0, |i| i.saturating_add(1))
                .to_be_bytes(),
        );
    }
    bytes.extend((name_at as u32).to_be_bytes());
    bytes.extend((name.len() as u32).to_be_bytes());
    bytes.resize(start + 40, 0);
    bytes.extend((properties_at as u32).to_be_bytes());
    bytes.extend((properties.len() as u32).to_be_bytes());
    bytes.resize(start + HEADER, 0);
    bytes.extend(
        name.into_iter()
            .chain(properties)
            .flat_map(u16::to_be_bytes),
    );
}

/// All x, then all y, from the box's corner.
fn relative(ring: &Ring, (left, top): (i16, i16)) -> Vec<u8> {
    let x = ring.corners.iter().map(|&(x, _)| x - i32::from(left));
    let y = ring.corners.iter().map(|&(_, y)| y - i32::from(top));
    x.chain(y)
        .flat_map(|px| (px as i16).to_be_bytes())
        .collect()
}

/// Paths of java.awt.geom: move, lines, close; the even-odd rule makes holes of inner rings.
fn shape(rings: &[Ring]) -> Vec<u8> {
    const MOVE: f32 = 0.0;
    const LINE: f32 = 1.0;
    const CLOSE: f32 = 4.0;
    let mut path: Vec<f32> = Vec::new();
    for ring in rings {
        for (i, &(x, y)) in ring.corners.iter().enumerate() {
            path.extend([if i == 0 { MOVE } else { LINE }, x as f32, y as f32]);
        }
        path.push(CLOSE);
    }
    path.into_iter().flat_map(f32::to_be_bytes).collect()
}

/// A line `key: value` each.
fn properties(label: u32, cell: &Instance, provenance: &Provenance) -> String {
    let mut lines = format!(
        "label: {label}\nclass: {}\nscore: {}\n",
        provenance.class_name(cell.class_index),
        cell.score
    );
    if let Some(track) = cell.track {
        lines += &format!("track_id: {}\n", track.id);
        if let Some(parent) = track.parent_id {
            lines += &format!("parent_id: {parent}\n");
        }
    }
    lines
        + &format!(
            "provenance: cellsegd {}, model {} {}, sha256 {}\n",
            provenance.cellsegd, provenance.model, provenance.version, provenance.sha256
        )
}

impl From<zip::result::ZipError> for ExportError {
    fn from(error: zip::result::ZipError) -> Self {
        ExportError::Io(error.into())
    }
}
