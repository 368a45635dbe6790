//! TIFF as microscopes write it: strips or tiles, uncompressed, LZW or deflate, either byte order.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use bytes::Bytes;
use tiff::{
    ColorType, TiffError, TiffFormatError,
    decoder::{Decoder, DecodingSampleType, Limits},
};

use super::{MOST_PAGES_COUNTED, dense};
use crate::frame::{FrameError, FrameLimits, Layout, PixelFormat};

pub(super) fn decode(
    file: &[u8],
    page: u32,
    limits: &FrameLimits,
) -> Result<(Layout, Bytes), FrameError> {
    let decoder = Decoder::new(Metered::new(Cursor::new(file), file.len() as u64));
    let decoder = decoder.map_err(|error| refusal(error, page, limits))?;
    let mut decoder = decoder.with_limits(room(limits));
    read_page(&mut decoder, page, limits)
}

/// Pages whose directories are whole.
pub(super) fn n_pages(file: &[u8]) -> usize {
    let decoder = Decoder::new(Metered::new(Cursor::new(file), file.len() as u64));
    let Ok(mut decoder) = decoder else {
        return 0;
    };
    let mut n = 0;
    let mut next = decoder.ifd_pointer();
    // Directories that form a ring end by the count.
    while let Some(pointer) = next
        && n < MOST_PAGES_COUNTED
        && let Ok(directory) = decoder.read_directory(pointer)
    {
        n += 1;
        next = directory.next();
    }
    n
}

/// Reads one page. Errors do not say which, but where there is none of that number.
pub(in crate::frame) fn read_page<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    page: u32,
    limits: &FrameLimits,
) -> Result<(Layout, Bytes), FrameError> {
    let failed = |error: TiffError| refusal(error, page, limits);
    decoder.seek_to_image(page as usize).map_err(failed)?;
    let (width, height) = decoder.dimensions().map_err(failed)?;
    limits.check(width, height, PixelFormat::Mono8)?;
    let format = format_of(decoder, limits)?;
    limits.check(width, height, format)?;
    let stored = decoder.image_buffer_layout().map_err(failed)?;
    let mut pixels = vec![0; stored.complete_len];
    decoder.read_image_bytes(&mut pixels).map_err(failed)?;
    Ok(dense(format, width, height, pixels))
}

/// Of the page that the decoder is at.
pub(in crate::frame) fn format_of<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    limits: &FrameLimits,
) -> Result<PixelFormat, FrameError> {
    let failed = |error: TiffError| refusal(error, 0, limits);
    let color = decoder.colortype().map_err(failed)?;
    let stored = decoder.image_buffer_layout().map_err(failed)?;
    // WhiteIsZero is inverted by the decoder, by the container's full range.
    match (color, stored.sample_type, stored.planes) {
        (ColorType::Gray(8), Some(DecodingSampleType::U8), 1) => Ok(PixelFormat::Mono8),
        (ColorType::Gray(16), Some(DecodingSampleType::U16), 1) => Ok(PixelFormat::Mono16),
        (ColorType::RGB(8), Some(DecodingSampleType::U8), 1) => Ok(PixelFormat::Rgb8),
        (ColorType::RGBA(8), Some(DecodingSampleType::U8), 1) => Ok(PixelFormat::Rgba8),
        (ColorType::RGB(16), Some(DecodingSampleType::U16), 1) => Ok(PixelFormat::Rgb16),
        (_, _, planes) => Err(FrameError::Unsupported(format!(
            "TIFF: {color:?} pixels, samples of type {:?}, {planes} plane(s): send unsigned grey or interleaved \
             colour of 8 or 16 bits a channel",
            stored.sample_format
        ))),
    }
}

/// What a decoder may need for a page.
pub(in crate::frame) fn room(limits: &FrameLimits) -> Limits {
    let most = usize::try_from(limits.max_frame_bytes).unwrap_or(usize::MAX);
    let mut room = Limits::default();
    room.decoding_buffer_size = most;
    room.intermediate_buffer_size = most;
    room
}

/// What is said of a page that cannot be read.
pub(in crate::frame) fn refusal(error: TiffError, page: u32, limits: &FrameLimits) -> FrameError {
    match error {
        TiffError::FormatError(TiffFormatError::ImageFileDirectoryNotFound) => FrameError::Invalid(
            format!("page {page}: the TIFF file has fewer pages; pages count from 0"),
        ),
        TiffError::UnsupportedError(error) => FrameError::Unsupported(format!("TIFF: {error}")),
        TiffError::LimitsExceeded | TiffError::IntSizeError => FrameError::TooLarge(format!(
            "TIFF: decoding needs more than {} bytes, the most a frame may have",
            limits.max_frame_bytes
        )),
        error => FrameError::Invalid(format!("TIFF: damaged: {error}")),
    }
}

/// A file that can be read through only a few times: directories and strips that share their bytes would otherwise let a
/// small file keep the decoder busy for hours.
#[derive(Debug)]
pub(in crate::frame) struct Metered<R> {
    file: R,
    bytes: u64,
    left: u64,
}

impl<R> Metered<R> {
    /// A file of so many bytes.
    pub(in crate::frame) fn new(file: R, bytes: u64) -> Self {
        let mut metered = Metered {
            file,
            bytes,
            left: 0,
        };
        metered.again();
        metered
    }

    /// Starts afresh: another page is read.
    pub(in crate::frame) fn again(&mut self) {
        self.left = self.bytes.saturating_mul(4).saturating_add(1 << 20);
    }

    /// Bytes of the file.
    pub(in crate::frame) fn length(&self) -> u64 {
        self.bytes
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buf)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other("its directories or strips point at the same bytes again and again")
        })?;
        Ok(n)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
