//! TIFF as microscopes write it: strips or tiles, uncompressed, LZW or deflate, either byte order.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use bytes::Bytes;
use tiff::{
    ColorType, TiffError, TiffFormatError,
    decoder::{Decoder, DecodingSampleType, Limits},
};

use super::dense;
use crate::frame::{FrameError, FrameLimits, Layout, PixelFormat};

pub(super) fn decode(
    file: &[u8],
    page: u32,
    limits: &FrameLimits,
) -> Result<(Layout, Bytes), FrameError> {
    let failed = |error: TiffError| match error {
        TiffError::FormatError(TiffFormatError::ImageFileDirectoryNotFound) => FrameError::Invalid(
            format!("page {page}: the TIFF file has fewer pages; pages count from 0"),
        ),
        TiffError::UnsupportedError(error) => FrameError::Unsupported(format!("TIFF: {error}")),
        TiffError::LimitsExceeded | TiffError::IntSizeError => FrameError::TooLarge(format!(
            "TIFF: decoding needs more than {} bytes, the most a frame may have",
            limits.max_frame_bytes
        )),
        error => FrameError::Invalid(format!("TIFF: damaged: {error}")),
    };
    let most = usize::try_from(limits.max_frame_bytes).unwrap_or(usize::MAX);
    let mut room = Limits::default();
    room.decoding_buffer_size = most;
    room.intermediate_buffer_size = most;

    let mut decoder = Decoder::new(Metered::new(file))
        .map_err(failed)?
        .with_limits(room);
    decoder.seek_to_image(page as usize).map_err(failed)?;
    let (width, height) = decoder.dimensions().map_err(failed)?;
    limits.check(width, height, 1)?;
    let color = decoder.colortype().map_err(failed)?;
    let stored = decoder.image_buffer_layout().map_err(failed)?;
    // WhiteIsZero is inverted by the decoder, by the container's full range.
    let format = match (color, stored.sample_type, stored.planes) {
        (ColorType::Gray(8), Some(DecodingSampleType::U8), 1) => PixelFormat::Mono8,
        (ColorType::Gray(16), Some(DecodingSampleType::U16), 1) => PixelFormat::Mono16,
        (ColorType::RGB(8), Some(DecodingSampleType::U8), 1) => PixelFormat::Rgb8,
        (ColorType::RGBA(8), Some(DecodingSampleType::U8), 1) => PixelFormat::Rgba8,
        (_, _, planes) => {
            return Err(FrameError::Unsupported(format!(
                "TIFF: {color:?} pixels, samples of type {:?}, {planes} plane(s): send unsigned grey of 8 or 16 bits, or \
                 interleaved colour of 8 bits a channel",
                stored.sample_format
            )));
        }
    };
    limits.check(width, height, format.bytes_per_pixel())?;
    let mut pixels = vec![0; stored.complete_len];
    decoder.read_image_bytes(&mut pixels).map_err(failed)?;
    Ok(dense(format, width, height, pixels))
}

/// A file that can be read through only a few times: directories and strips that share their bytes would otherwise let a
/// small file keep the decoder busy for hours.
struct Metered<'a> {
    file: Cursor<&'a [u8]>,
    left: u64,
}

impl<'a> Metered<'a> {
    fn new(file: &'a [u8]) -> Self {
        Metered {
            file: Cursor::new(file),
            left: 4 * file.len() as u64 + (1 << 20),
        }
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other("its directories or strips point at the same bytes again and again")
        })?;
        Ok(n)
    }
}

impl Seek for Metered<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
