//! One camera frame and its metadata, checked once.
//!
//! A [`Frame`] is valid: its bytes fit its description and the server's limits, so nobody below checks again. Pixels stay in the
//! buffer they came in ([`Bytes`]); they may be unaligned and are never cast to `&[u16]`.

mod compressed;
mod crop;
mod encoded;
mod flat_field;
mod flip;
mod format;
mod image_file;
mod metadata;
mod samples;

pub use compressed::{Compression, decompress};
pub use encoded::{MOST_PAGES_COUNTED, decode_image, n_pages};
pub use flat_field::FlatField;
pub use format::PixelFormat;
pub use image_file::{ImageFile, Page, PixelSize};
pub use metadata::{FrameMetadata, PIXEL_SIZES_UM, SeriesKey};
pub(crate) use samples::{mono10_packed_at, mono10p_at, mono12_packed_at, mono12p_at};

use bytes::Bytes;

/// One camera frame, valid by construction.
#[derive(Clone, Debug)]
pub struct Frame {
    layout: Layout,
    data: Bytes,
    metadata: FrameMetadata,
}

/// How a frame's pixels lie in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How a pixel is stored.
    pub format: PixelFormat,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes from one row to the next; 0 = dense.
    pub row_stride: u32,
    /// Bits that the camera uses; 0 = the format's.
    pub significant_bits: u32,
}

/// What a server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of a frame's pixels, as sent and as decoded.
    pub max_frame_bytes: u64,
    /// Pixels, width and height.
    pub max_side: u32,
}

/// Why bytes are not a frame. Split by what the sender can do.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The description and the bytes do not fit, or the file is damaged: send it right.
    #[error("{0}")]
    Invalid(String),
    /// Over the limits: send a smaller one.
    #[error("{0}")]
    TooLarge(String),
    /// Well-formed but not understood: send another format.
    #[error("{0}")]
    Unsupported(String),
}

impl Default for FrameLimits {
    /// 64 MiB and 8,192 pixels: over the largest camera in use (4432 x 2369, 16 bit: 20 MiB).
    fn default() -> Self {
        FrameLimits {
            max_frame_bytes: 64 << 20,
            max_side: 8192,
        }
    }
}

impl FrameLimits {
    /// Refuses a size before anything is allocated for it. Packed pixels count as the 16 bits that they become.
    pub fn check(&self, width: u32, height: u32, format: PixelFormat) -> Result<(), FrameError> {
        self.check_bits(width, height, format.bits_per_pixel().next_multiple_of(8))
    }

    fn check_bits(&self, width: u32, height: u32, bits_per_pixel: usize) -> Result<(), FrameError> {
        if width == 0 || height == 0 {
            return Err(FrameError::Invalid(format!(
                "{width}x{height} pixels: both sides must be at least 1"
            )));
        }
        if width > self.max_side || height > self.max_side {
            return Err(FrameError::TooLarge(format!(
                "{width}x{height} pixels: a side may be at most {} pixels",
                self.max_side
            )));
        }
        let need = u64::from(width) * u64::from(height) * (bits_per_pixel / 8) as u64;
        if need > self.max_frame_bytes {
            return Err(FrameError::TooLarge(format!(
                "{width}x{height} pixels need {need} bytes: a frame may have at most {} bytes",
                self.max_frame_bytes
            )));
        }
        Ok(())
    }
}

impl Layout {
    /// Stride and significant bits filled in, and how many bytes the pixels need at least. Refuses what cannot be meant and what
    /// is over `limits`.
    fn settled(&self, limits: &FrameLimits) -> Result<(Layout, u64), FrameError> {
        let &Layout {
            format,
            width,
            height,
            ..
        } = self;
        limits.check(width, height, format)?;
        let row_bytes = format.row_bytes(width);
        let row_stride = if self.row_stride == 0 {
            row_bytes
        } else {
            self.row_stride as usize
        };
        if row_stride < row_bytes {
            return Err(FrameError::Invalid(format!(
                "row_stride {row_stride}: a row of {width} {format} pixels has {row_bytes} bytes; use at least that, or 0 for dense rows"
            )));
        }
        let bits = if self.significant_bits == 0 {
            format.bits()
        } else {
            self.significant_bits
        };
        if bits > format.bits() {
            return Err(FrameError::Invalid(format!(
                "significant_bits {bits}: {format} has {}; use 1 to {0}, or 0 for all",
                format.bits()
            )));
        }
        // The last row may end without its padding.
        let need = (height as usize - 1) as u64 * row_stride as u64 + row_bytes as u64;
        let settled = Layout {
            row_stride: row_stride as u32,
            significant_bits: bits,
            ..*self
        };
        Ok((settled, need))
    }

    /// Bytes that the pixels need: those of all rows, the last one without its padding. Errors: what [`Frame::new`] refuses of it.
    pub fn bytes(&self, limits: &FrameLimits) -> Result<u64, FrameError> {
        let (settled, need) = self.settled(limits)?;
        match need > limits.max_frame_bytes {
            true => Err(FrameError::TooLarge(format!(
                "{} needs {need} bytes: a frame may have at most {}",
                settled.describe(),
                limits.max_frame_bytes
            ))),
            false => Ok(need),
        }
    }

    /// Bytes with the last row's padding; of a settled layout.
    fn most_bytes(&self) -> u64 {
        u64::from(self.height) * u64::from(self.row_stride)
    }

    /// "5x3 Mono16 with row_stride 10"; of a settled layout.
    fn describe(&self) -> String {
        format!(
            "{}x{} {} with row_stride {}",
            self.width, self.height, self.format, self.row_stride
        )
    }
}

impl Frame {
    /// Checks `data` against `layout` and `limits`.
    pub fn new(
        layout: Layout,
        data: Bytes,
        metadata: FrameMetadata,
        limits: &FrameLimits,
    ) -> Result<Self, FrameError> {
        let (layout, need) = layout.settled(limits)?;
        let got = data.len() as u64;
        if got < need || layout.most_bytes() < got {
            return Err(FrameError::Invalid(format!(
                "{} needs {need} bytes, got {got}",
                layout.describe()
            )));
        }
        if got > limits.max_frame_bytes {
            return Err(FrameError::TooLarge(format!(
                "{got} bytes of pixels: a frame may have at most {} bytes",
                limits.max_frame_bytes
            )));
        }
        Ok(Frame {
            layout,
            data,
            metadata,
        })
    }

    /// The same place and time, with other pixels: dense rows of the same size.
    fn with_pixels(&self, format: PixelFormat, data: Vec<u8>) -> Frame {
        let row_bytes = format.row_bytes(self.width());
        debug_assert_eq!(data.len(), row_bytes * self.height() as usize);
        Frame {
            layout: Layout {
                format,
                row_stride: row_bytes as u32,
                ..self.layout
            },
            data: Bytes::from(data),
            metadata: self.metadata.clone(),
        }
    }

    /// How the pixels lie; stride and significant bits filled in.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Pixels.
    pub fn width(&self) -> u32 {
        self.layout.width
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.layout.height
    }

    /// How a pixel is stored.
    pub fn format(&self) -> PixelFormat {
        self.layout.format
    }

    /// The brightest value that the camera can deliver: `2^significant_bits - 1`.
    pub fn max_value(&self) -> u32 {
        (1 << self.layout.significant_bits) - 1
    }

    /// All bytes, row padding included.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The bytes of row `y`, without padding.
    pub fn row(&self, y: u32) -> &[u8] {
        let start = y as usize * self.layout.row_stride as usize;
        &self.data[start..start + self.format().row_bytes(self.width())]
    }

    /// What the controller knows about the frame.
    pub fn metadata(&self) -> &FrameMetadata {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(layout: Layout, n_bytes: usize) -> Result<Frame, FrameError> {
        let limits = FrameLimits {
            max_frame_bytes: 4096,
            max_side: 64,
        };
        let data = Bytes::from((0..n_bytes).map(|i| i as u8).collect::<Vec<u8>>());
        Frame::new(layout, data, FrameMetadata::default(), &limits)
    }

    const MONO16: Layout = Layout {
        format: PixelFormat::Mono16,
        width: 5,
        height: 3,
        row_stride: 0,
        significant_bits: 0,
    };

    #[test]
    fn a_dense_frame_gets_its_stride_and_bits() {
        let frame = frame(MONO16, 30).unwrap();
        assert_eq!(frame.layout().row_stride, 10);
        assert_eq!(frame.max_value(), 65535);
        assert_eq!(frame.row(2), (20..30).collect::<Vec<u8>>());
    }

    #[test]
    fn the_last_row_may_end_without_its_padding() {
        let padded = Layout {
            row_stride: 12,
            ..MONO16
        };
        for n_bytes in [34, 36] {
            let frame = frame(padded, n_bytes).unwrap();
            assert_eq!(frame.row(2), (24..34).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn every_misfit_is_named_with_what_would_be_right() {
        let with = |change: fn(&mut Layout)| {
            let mut layout = MONO16;
            change(&mut layout);
            layout
        };
        let cases = [
            (
                MONO16,
                29,
                "5x3 Mono16 with row_stride 10 needs 30 bytes, got 29",
            ),
            (
                MONO16,
                31,
                "5x3 Mono16 with row_stride 10 needs 30 bytes, got 31",
            ),
            (
                with(|l| l.row_stride = 9),
                30,
                "row_stride 9: a row of 5 Mono16 pixels has 10 bytes; use at least that, or 0 for dense rows",
            ),
            (
                with(|l| l.width = 0),
                0,
                "0x3 pixels: both sides must be at least 1",
            ),
            (
                with(|l| l.width = 65_536),
                30,
                "65536x3 pixels: a side may be at most 64 pixels",
            ),
            (
                with(|l| (l.width, l.height) = (64, 64)),
                30,
                "64x64 pixels need 8192 bytes: a frame may have at most 4096 bytes",
            ),
            (
                with(|l| l.row_stride = 3000),
                9000,
                "9000 bytes of pixels: a frame may have at most 4096 bytes",
            ),
            (
                with(|l| l.significant_bits = 17),
                30,
                "significant_bits 17: Mono16 has 16; use 1 to 16, or 0 for all",
            ),
        ];
        for (layout, n_bytes, text) in cases {
            assert_eq!(frame(layout, n_bytes).unwrap_err().to_string(), text);
        }
    }
}
