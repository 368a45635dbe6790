//! PNG files that say where they come from, and films of them.

use std::io::Write;

use image::{
    RgbImage,
    imageops::{self, FilterType},
};
use png::{BitDepth, ColorType, Encoder, EncodingError, Writer};

use super::{ExportError, Provenance};

/// Of a film's frames, pixels: wide enough to see cells, small enough to be sent.
const FILM_SIDE: u32 = 640;
/// Of a film.
const FRAMES_PER_SECOND: u16 = 5;

/// Writes a picture.
pub fn png(
    out: impl Write,
    picture: &RgbImage,
    provenance: &Provenance,
) -> Result<(), ExportError> {
    let encoder = encoder(out, picture.dimensions(), ColorType::Rgb, provenance)?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    Ok(writer.finish()?)
}

/// Writes 16-bit grey, row by row.
pub(super) fn png_16(
    out: impl Write,
    samples: &[u16],
    size: (u32, u32),
    provenance: &Provenance,
) -> Result<(), ExportError> {
    let mut encoder = encoder(out, size, ColorType::Grayscale, provenance)?;
    encoder.set_depth(BitDepth::Sixteen);
    let mut writer = encoder.write_header()?;
    let bytes: Vec<u8> = samples.iter().flat_map(|it| it.to_be_bytes()).collect();
    writer.write_image_data(&bytes)?;
    Ok(writer.finish()?)
}

/// An animated PNG on its way into a file: browsers and image viewers play it; what knows no animation shows its first frame.
pub struct Film<W: Write> {
    writer: Writer<W>,
    size: (u32, u32),
}

impl<W: Write> Film<W> {
    /// Of `n_frames`, above 0; `first` says their shape.
    pub fn new(
        out: W,
        n_frames: u32,
        first: &RgbImage,
        provenance: &Provenance,
    ) -> Result<Self, ExportError> {
        let (width, height) = first.dimensions();
        let longest = width.max(height).max(FILM_SIDE);
        let shrunk =
            |side: u32| (u64::from(side) * u64::from(FILM_SIDE) / u64::from(longest)).max(1);
        let size = (shrunk(width) as u32, shrunk(height) as u32);
        let mut encoder = encoder(out, size, ColorType::Rgb, provenance)?;
        encoder.set_animated(n_frames, 0)?;
        encoder.set_frame_delay(1, FRAMES_PER_SECOND)?;
        Ok(Film {
            writer: encoder.write_header()?,
            size,
        })
    }

    /// Adds a frame.
    pub fn add(&mut self, picture: &RgbImage) -> Result<(), ExportError> {
        let (width, height) = self.size;
        let shrunk = imageops::resize(picture, width, height, FilterType::Triangle);
        Ok(self.writer.write_image_data(shrunk.as_raw())?)
    }

    /// After the last frame.
    pub fn finish(self) -> Result<(), ExportError> {
        Ok(self.writer.finish()?)
    }
}

fn encoder<W: Write>(
    out: W,
    (width, height): (u32, u32),
    colour: ColorType,
    provenance: &Provenance,
) -> Result<Encoder<'static, W>, ExportError> {
    let mut encoder = Encoder::new(out, width, height);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder.add_itxt_chunk("Software".to_owned(), "cellsegd".to_owned())?;
    encoder.add_itxt_chunk("Description".to_owned(), provenance.line())?;
    Ok(encoder)
}

impl From<EncodingError> for ExportError {
    fn from(error: EncodingError) -> Self {
        match error {
            EncodingError::IoError(error) => ExportError::Io(error),
            other => ExportError::Io(std::io::Error::other(other)),
        }
    }
}
