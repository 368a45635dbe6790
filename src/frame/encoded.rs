//! PNG, TIFF and JPEG files as frames.

pub(super) mod tiff;

use std::io::Cursor;

use bytes::Bytes;
use image::{
    ColorType, ImageDecoder, ImageError, ImageResult, Limits,
    codecs::{jpeg::JpegDecoder, png::PngDecoder},
};

use super::{FrameError, FrameLimits, Layout, PixelFormat};

/// Decodes an image file, told by its content, into pixels as they are in it: 16 bits stay 16 bits. `page` is of a multi-page
/// TIFF. Sizes are checked against `limits` before anything is allocated.
///
/// 16-bit samples come out little-endian, rows dense. Alpha beside grey or 16-bit colour is dropped; palettes and grey of 1, 2 and 4 bits are
/// expanded to 8.
pub fn decode_image(
    file: &[u8],
    page: u32,
    limits: &FrameLimits,
) -> Result<(Layout, Bytes), FrameError> {
    let single = |name: &str| match page {
        0 => Ok(()),
        _ => Err(FrameError::Invalid(format!(
            "page {page}: a {name} file has one page, page 0"
        ))),
    };
    match file {
        [0x89, b'P', b'N', b'G', ..] => {
            single("PNG")?;
            if let Some(bytes) = png_palette_bytes(file)
                && bytes % 3 != 0
            {
                return Err(FrameError::Invalid(format!(
                    "PNG: damaged: a palette of {bytes} bytes: must be 3 for each colour"
                )));
            }
            let mut room = Limits::no_limits();
            room.max_alloc = Some(limits.max_frame_bytes);
            let decoder = PngDecoder::with_limits(Cursor::new(file), room);
            decode("PNG", decoder, limits)
        }
        [0xff, 0xd8, 0xff, ..] => {
            single("JPEG")?;
            if !jpeg_is_whole(file) {
                return Err(FrameError::Invalid(format!(
                    "JPEG: cut off after {} bytes: no end of image",
                    file.len()
                )));
            }
            decode("JPEG", JpegDecoder::new(Cursor::new(file)), limits)
        }
        _ if is_tiff(file) => tiff::decode(file, page, limits),
        _ => Err(unknown(file, file.len() as u64)),
    }
}

/// Most pages that [`n_pages`] counts.
pub const MOST_PAGES_COUNTED: usize = 1000;

/// How many pages an image file has, up to [`MOST_PAGES_COUNTED`]; of a TIFF those that can be reached. 0: it is damaged at its
/// beginning. What is no TIFF has one.
pub fn n_pages(file: &[u8]) -> usize {
    match is_tiff(file) {
        true => tiff::n_pages(file),
        false => 1,
    }
}

fn is_tiff(file: &[u8]) -> bool {
    matches!(
        file,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..]
    )
}

fn decode(
    name: &str,
    decoder: ImageResult<impl ImageDecoder>,
    limits: &FrameLimits,
) -> Result<(Layout, Bytes), FrameError> {
    let failed = |error: ImageError| match error {
        ImageError::Limits(_) => FrameError::TooLarge(format!(
            "{name}: decoding needs more than {} bytes, the most a frame may have",
            limits.max_frame_bytes
        )),
        ImageError::Unsupported(error) => FrameError::Unsupported(format!("{name}: {error}")),
        error => FrameError::Invalid(format!("{name}: damaged: {error}")),
    };
    let decoder = decoder.map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    limits.check_bits(width, height, usize::from(color.bits_per_pixel()))?;
    let format = match color {
        ColorType::L8 | ColorType::La8 => PixelFormat::Mono8,
        ColorType::L16 | ColorType::La16 => PixelFormat::Mono16,
        ColorType::Rgb8 => PixelFormat::Rgb8,
        ColorType::Rgba8 => PixelFormat::Rgba8,
        ColorType::Rgb16 | ColorType::Rgba16 => PixelFormat::Rgb16,
        other => {
            return Err(FrameError::Unsupported(format!(
                "{name}: {other:?} pixels: send grey or colour of 8 or 16 bits a channel"
            )));
        }
    };
    let mut pixels = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut pixels).map_err(failed)?;
    let (stored, kept) = (usize::from(color.bytes_per_pixel()), format.row_bytes(1));
    if kept < stored {
        drop_alpha(&mut pixels, stored, kept);
    }
    Ok(dense(format, width, height, pixels))
}

/// What is said of a file of so many bytes that does not begin as a PNG, TIFF or JPEG does.
pub(super) fn unknown(start: &[u8], bytes: u64) -> FrameError {
    let maker = match start {
        _ if start.starts_with(b"ZISRAWFILE") => "Zeiss .czi",
        [0xda, 0xce, 0xbe, 0x0a, ..] => "Nikon .nd2",
        _ => {
            return FrameError::Invalid(format!(
                "{bytes} bytes that begin with {:02x?}: not a PNG, TIFF or JPEG file",
                &start[..start.len().min(4)]
            ));
        }
    };
    FrameError::Unsupported(format!(
        "a {maker} file is not read: export it as TIFF or OME-TIFF from its maker's program"
    ))
}

/// Dense rows as they come from a decoder: 16-bit samples in the host's byte order.
fn dense(format: PixelFormat, width: u32, height: u32, mut pixels: Vec<u8>) -> (Layout, Bytes) {
    if format.sample_bytes() == Some(2) && cfg!(target_endian = "big") {
        for sample in pixels.as_chunks_mut::<2>().0 {
            sample.swap(0, 1);
        }
    }
    let layout = Layout {
        format,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    (layout, Bytes::from(pixels))
}

/// Keeps the first bytes of each pixel.
fn drop_alpha(pixels: &mut Vec<u8>, stored: usize, kept: usize) {
    let n_pixels = pixels.len() / stored;
    for pixel in 0..n_pixels {
        pixels.copy_within(pixel * stored..pixel * stored + kept, pixel * kept);
    }
    pixels.truncate(n_pixels * kept);
}

/// Length of the first palette chunk, which stands before the pixels. The decoder panics where it does not hold whole colours,
/// which the PNG specification (11.2.2) calls an error.
fn png_palette_bytes(file: &[u8]) -> Option<u32> {
    const SIGNATURE: usize = 8;
    let mut rest = file.get(SIGNATURE..)?;
    // Length, type, data, checksum.
    while let Some(([l0, l1, l2, l3, kind @ ..], _)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]);
        match kind {
            b"PLTE" => return Some(length),
            b"IDAT" => return None,
            _ => rest = rest.get(12 + length as usize..)?,
        }
    }
    None
}

/// Whether the last scan is followed by an end of image. The decoder would fill what is missing with grey. Inside a scan a
/// byte of 255 is never followed by either marker, and a thumbnail lies before the first scan.
fn jpeg_is_whole(file: &[u8]) -> bool {
    let last = |marker: u8| file.windows(2).rposition(|pair| pair == [0xff, marker]);
    const END_OF_IMAGE: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;
    last(START_OF_SCAN) < last(END_OF_IMAGE)
}

#[cfg(test)]
mod tests;
