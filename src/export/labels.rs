//! Label images: PNG, and TIFF as OME describes it.

use std::io::{BufWriter, Seek, Write};

use tiff::{
    TiffError,
    encoder::{
        Compression, Rational, TiffEncoder,
        colortype::{ColorType, Gray16, Gray32},
        compression::DeflateLevel,
    },
    tags::{ResolutionUnit, Tag},
};

use super::{ExportError, FrameCells, Provenance, ome, picture};
use crate::{
    mask::{LabelImage, Mask, label_image},
    segmentation::track_labels,
};

/// What the integers of a label image mean; 0 is the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The label of cell i is i + 1.
    Cell,
    /// The id of its track, modulo 2^32; cells without one are background.
    Track,
}

/// The image.
pub fn of(frame: &FrameCells, by: By) -> LabelImage {
    let cells = frame.segmentation;
    let masks = cells.instances.iter().map(|cell| &cell.mask);
    let by_cell = label_image(masks, cells.width, cells.height);
    match by {
        By::Cell => by_cell,
        By::Track => by_cell.renamed(&track_labels(&cells.instances)),
    }
}

/// Writes a 16-bit PNG; it has no room for more than 65,535 cells.
pub fn png(
    out: impl Write,
    frame: &FrameCells,
    by: By,
    provenance: &Provenance,
) -> Result<(), ExportError> {
    let cells = frame.segmentation;
    match of(frame, by) {
        LabelImage::U16(labels) => {
            picture::png_16(out, &labels, (cells.width, cells.height), provenance)
        }
        LabelImage::U32(_) => Err(ExportError::DoesNotFit(format!(
            "labels of {} cells do not fit a 16-bit PNG, which holds 65535: ask for TIFF, or find fewer (max_cells)",
            cells.instances.len()
        ))),
    }
}

/// Writes an OME-TIFF: 16 bits, or 32 where there are more than 65,535 cells, with the pixel size where it is known.
pub fn ome_tiff(
    out: impl Write + Seek,
    frame: &FrameCells,
    by: By,
    provenance: &Provenance,
) -> Result<(), ExportError> {
    let size = (frame.segmentation.width, frame.segmentation.height);
    match of(frame, by) {
        LabelImage::U16(labels) => {
            let said = ome::label_image(frame, "uint16", provenance);
            tiff::<Gray16>(out, &labels, size, &said, frame.metadata.pixel_size_um)
        }
        LabelImage::U32(labels) => {
            let said = ome::label_image(frame, "uint32", provenance);
            tiff::<Gray32>(out, &labels, size, &said, frame.metadata.pixel_size_um)
        }
    }
}

/// An image with each mask's own label, of a frame of `size`.
pub(super) fn painted<'a>(
    masks: impl Iterator<Item = (&'a Mask, u16)>,
    (width, height): (u32, u32),
) -> Vec<u16> {
    let mut image = vec![0; width as usize * height as usize];
    for (mask, label) in masks {
        for y in 0..mask.height() {
            let start = (mask.y() + y) as usize * width as usize + mask.x() as usize;
            for xs in mask.row_runs(y) {
                image[start + xs.start as usize..start + xs.end as usize].fill(label);
            }
        }
    }
    image
}

/// 16 bits, described by a text.
pub(super) fn plain_tiff(
    out: impl Write + Seek,
    image: &[u16],
    size: (u32, u32),
    description: &str,
) -> Result<(), ExportError> {
    tiff::<Gray16>(out, image, size, &ascii(description), None)
}

fn tiff<C: ColorType>(
    out: impl Write + Seek,
    image: &[C::Inner],
    (width, height): (u32, u32),
    description: &str,
    pixel_size_um: Option<f64>,
) -> Result<(), ExportError>
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut encoder = TiffEncoder::new(BufWriter::new(out))?
        .with_compression(Compression::Deflate(DeflateLevel::Balanced));
    let mut page = encoder.new_image::<C>(width, height)?;
    page.encoder()
        .write_tag(Tag::ImageDescription, description)?;
    page.encoder().write_tag(Tag::Software, "cellsegd")?;
    if let Some(um) = pixel_size_um {
        // For readers that know no OME; hundredths of a pixel a centimetre.
        let per_cm = Rational {
            n: (1e6 / um).round().clamp(1.0, u32::MAX.into()) as u32,
            d: 100,
        };
        page.resolution(ResolutionUnit::Centimeter, per_cm);
    }
    page.write_data(image)?;
    Ok(())
}

/// TIFF's texts are ASCII: what is not becomes a reference as XML has it.
fn ascii(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c.is_ascii() {
            true => vec![c],
            false => format!("&#{};", u32::from(c)).chars().collect(),
        })
        .collect()
}

impl From<TiffError> for ExportError {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::IoError(error) => ExportError::Io(error),
            other => ExportError::Io(std::io::Error::other(other)),
        }
    }
}
