//! OME-XML: what describes a label image, and regions of interest.
//!
//! A cell is a polygon along its pixels' edges. A polygon of OME has no holes: a cell that has some is a bit mask instead.

use std::io::{self, Write};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{ExportError, FrameCells, Plane, Provenance};
use crate::{
    mask::{Mask, Ring, rings},
    segmentation::Instance,
};

const NAMESPACE: &str = "http://www.openmicroscopy.org/Schemas/OME/2016-06";
const SCHEMA: &str = "http://www.openmicroscopy.org/Schemas/OME/2016-06 http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd";

/// What describes a TIFF with one image of `frame`'s size, of samples of `pixel_type`; ASCII.
pub(super) fn label_image(frame: &FrameCells, pixel_type: &str, provenance: &Provenance) -> String {
    let mut out = Vec::new();
    document(&mut out, provenance, |writer| {
        image(
            writer,
            frame,
            Plane::default(),
            pixel_type,
            "TiffData",
            0,
            provenance,
        )
    })
    .expect("memory can be written to");
    let text = String::from_utf8(out).expect("what was written is text");
    text.chars()
        .map(|c| match c.is_ascii() {
            true => c.to_string(),
            false => format!("&#{};", u32::from(c)),
        })
        .collect()
}

/// Writes the cells of a frame as regions of interest.
pub fn rois(
    out: impl Write,
    frame: &FrameCells,
    provenance: &Provenance,
) -> Result<(), ExportError> {
    let cells = &frame.segmentation.instances;
    let plane = frame.plane();
    document(out, provenance, |writer| {
        let pixel_type = "uint16";
        image(
            writer,
            frame,
            plane,
            pixel_type,
            "MetadataOnly",
            cells.len(),
            provenance,
        )?;
        for (i, cell) in cells.iter().enumerate() {
            roi(writer, i, cell, plane, provenance)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn document<W: Write>(
    out: W,
    provenance: &Provenance,
    inside: impl FnOnce(&mut Writer<W>) -> io::Result<()>,
) -> io::Result<()> {
    let mut writer = Writer::new(out);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let creator = format!("cellsegd {}", provenance.cellsegd);
    writer
        .create_element("OME")
        .with_attributes([
            ("xmlns", NAMESPACE),
            ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
            ("xsi:schemaLocation", SCHEMA),
            ("Creator", creator.as_str()),
        ])
        .write_inner_content(inside)?;
    Ok(())
}

/// The image that regions lie on, large enough for `plane`.
fn image<W: Write>(
    writer: &mut Writer<W>,
    frame: &FrameCells,
    plane: Plane,
    pixel_type: &str,
    pixels_are: &str,
    n_rois: usize,
    provenance: &Provenance,
) -> io::Result<()> {
    let mut pixels: Vec<(&str, String)> = [
        ("ID", "Pixels:0".to_owned()),
        ("DimensionOrder", "XYCZT".to_owned()),
        ("Type", pixel_type.to_owned()),
        ("SizeX", frame.segmentation.width.to_string()),
        ("SizeY", frame.segmentation.height.to_string()),
        ("SizeZ", (plane.z + 1).to_string()),
        ("SizeC", (plane.c + 1).to_string()),
        ("SizeT", (plane.t + 1).to_string()),
    ]
    .into();
    if let Some(um) = frame.metadata.pixel_size_um {
        // Micrometres are the schema's own unit.
        pixels.push(("PhysicalSizeX", um.to_string()));
        pixels.push(("PhysicalSizeY", um.to_string()));
    }
    writer
        .create_element("Image")
        .with_attributes([("ID", "Image:0"), ("Name", frame.image_id)])
        .write_inner_content(|writer| {
            let said = format!("{}; {}", frame.file, provenance.line());
            text(writer, "Description", &said)?;
            writer
                .create_element("Pixels")
                .with_attributes(pixels.iter().map(|(name, value)| (*name, value.as_str())))
                .write_inner_content(|writer| {
                    for c in 0..=plane.c {
                        let id = format!("Channel:0:{c}");
                        writer
                            .create_element("Channel")
                            .with_attributes([("ID", id.as_str()), ("SamplesPerPixel", "1")])
                            .write_empty()?;
                    }
                    writer.create_element(pixels_are).write_empty()?;
                    Ok(())
                })?;
            for i in 0..n_rois {
                writer
                    .create_element("ROIRef")
                    .with_attribute(("ID", format!("ROI:{i}").as_str()))
                    .write_empty()?;
            }
            Ok(())
        })?;
    Ok(())
}

fn roi<W: Write>(
    writer: &mut Writer<W>,
    i: usize,
    cell: &Instance,
    plane: Plane,
    provenance: &Provenance,
) -> io::Result<()> {
    let label = (i + 1).to_string();
    let rings = rings(&cell.mask);
    let mut attributes: Vec<(&str, String)> = [
        ("ID", format!("Shape:{i}:0")),
        (
            "Text",
            cell.track
                .map_or(label.clone(), |track| track.id.to_string()),
        ),
        ("TheC", plane.c.to_string()),
        ("TheZ", plane.z.to_string()),
        ("TheT", plane.t.to_string()),
    ]
    .into();
    writer
        .create_element("ROI")
        .with_attributes([
            ("ID", format!("ROI:{i}").as_str()),
            ("Name", label.as_str()),
        ])
        .write_inner_content(|writer| {
            writer
                .create_element("Union")
                .write_inner_content(|writer| {
                    match &rings[..] {
                        [outline] => {
                            attributes.push(("Points", points(outline)));
                            let attributes =
                                attributes.iter().map(|(name, it)| (*name, it.as_str()));
                            writer
                                .create_element("Polygon")
                                .with_attributes(attributes)
                                .write_empty()?;
                        }
                        _ => bit_mask(writer, &cell.mask, attributes)?,
                    }
                    Ok(())
                })?;
            text(writer, "Description", &description(cell, provenance))
        })?;
    Ok(())
}

fn points(ring: &Ring) -> String {
    let corners: Vec<String> = ring
        .corners
        .iter()
        .map(|(x, y)| format!("{x},{y}"))
        .collect();
    corners.join(" ")
}

/// Bits of the box row by row without padding, the first one highest.
fn bit_mask<W: Write>(
    writer: &mut Writer<W>,
    mask: &Mask,
    mut attributes: Vec<(&str, String)>,
) -> io::Result<()> {
    attributes.push(("X", mask.x().to_string()));
    attributes.push(("Y", mask.y().to_string()));
    attributes.push(("Width", mask.width().to_string()));
    attributes.push(("Height", mask.height().to_string()));
    let n_bits = mask.width() as usize * mask.height() as usize;
    let mut bytes = vec![0u8; n_bits.div_ceil(8)];
    for y in 0..mask.height() {
        for x in mask.row_runs(y).flatten() {
            let bit = y as usize * mask.width() as usize + x as usize;
            bytes[bit / 8] |= 0x80 >> (bit % 8);
        }
    }
    writer
        .create_element("Mask")
        .with_attributes(
            attributes
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        )
        .write_inner_content(|writer| {
            writer
                .create_element("BinData")
                .with_attributes([
                    ("BigEndian", "false"),
                    ("Length", bytes.len().to_string().as_str()),
                ])
                .write_text_content(BytesText::new(&base64(&bytes)))?;
            Ok(())
        })?;
    Ok(())
}

fn description(cell: &Instance, provenance: &Provenance) -> String {
    let mut words = format!("{} {}", provenance.class_name(cell.class_index), cell.score);
    if let Some(track) = cell.track {
        words += &format!("; track {}", track.id);
        if let Some(parent) = track.parent_id {
            words += &format!(", daughter of {parent}");
        }
    }
    words
}

fn text<W: Write>(writer: &mut Writer<W>, element: &str, words: &str) -> io::Result<()> {
    writer
        .create_element(element)
        .write_text_content(BytesText::new(words))?;
    Ok(())
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for i in 0..4 {
            text.push(match i <= group.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * i)) as usize % 64]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
