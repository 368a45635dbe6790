//! A part of a frame, without a copy.

use super::{Frame, FrameMetadata, Layout};
use crate::geometry::Tile;

/// A crop starts at a multiple of it: pixels that share bytes stay together.
const ALIGN: u32 = 4;

impl Frame {
    /// The pixels of `tile` as a frame over the same buffer; of the metadata the pixel size alone. `None` where `tile` does not
    /// lie in the frame, or does not start at a multiple of 4 from the left.
    pub fn crop(&self, tile: Tile) -> Option<Frame> {
        let Tile {
            x,
            y,
            width,
            height,
        } = tile;
        let inside = |start: u32, length: u32, side: u32| {
            0 < length && start.checked_add(length).is_some_and(|end| end <= side)
        };
        if !inside(x, width, self.width()) || !inside(y, height, self.height()) || x % ALIGN != 0 {
            return None;
        }
        let format = self.format();
        let stride = self.layout.row_stride as usize;
        let start = y as usize * stride + format.row_bytes(x);
        let n_bytes = (height as usize - 1) * stride + format.row_bytes(width);
        let metadata = FrameMetadata {
            pixel_size_um: self.metadata.pixel_size_um,
            ..FrameMetadata::default()
        };
        Some(Frame {
            layout: Layout {
                width,
                height,
                ..self.layout
            },
            data: self.data.slice(start..start + n_bytes),
            metadata,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::{
        frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
        geometry::Tile,
    };

    fn tile(x: u32, y: u32, width: u32, height: u32) -> Tile {
        Tile {
            x,
            y,
            width,
            height,
        }
    }

    fn frame(format: PixelFormat, row_stride: u32) -> Frame {
        let layout = Layout {
            format,
            width: 10,
            height: 4,
            row_stride,
            significant_bits: 0,
        };
        let n_bytes = 4 * row_stride as u8;
        let data = Bytes::from((0..n_bytes).collect::<Vec<u8>>());
        let limits = FrameLimits::default();
        Frame::new(layout, data, FrameMetadata::default(), &limits).unwrap()
    }

    #[test]
    fn a_crop_has_the_rows_of_its_frame() {
        for (format, row_stride) in [
            (PixelFormat::Mono8, 12),
            (PixelFormat::Mono16, 20),
            (PixelFormat::Rgb8, 30),
            (PixelFormat::Mono10p, 13),
            (PixelFormat::Mono12Packed, 15),
        ] {
            let frame = frame(format, row_stride);
            let crop = frame.crop(tile(4, 1, 6, 3)).unwrap();
            assert_eq!((crop.width(), crop.height()), (6, 3));
            for y in 0..3 {
                assert_eq!(crop.row(y), &frame.row(y + 1)[format.row_bytes(4)..]);
            }
            // The same bytes, not a copy of them.
            assert_eq!(
                crop.row(0).as_ptr(),
                frame.row(1)[format.row_bytes(4)..].as_ptr()
            );
        }
    }

    #[test]
    fn pixels_that_share_bytes_stay_together() {
        use PixelFormat::*;
        for (format, row_stride) in [
            (Mono10p, 13),
            (Mono12p, 15),
            (Mono10Packed, 15),
            (Mono12Packed, 16),
        ] {
            let frame = frame(format, row_stride);
            let crop = frame.crop(tile(4, 1, 5, 2)).unwrap();
            let (mut of_frame, mut of_crop) = (Vec::new(), Vec::new());
            for y in 0..2 {
                let expected = &frame.samples(y + 1, &mut of_frame)[4..9];
                assert_eq!(crop.samples(y, &mut of_crop), expected, "{format}");
            }
        }
    }

    #[test]
    fn what_does_not_lie_in_the_frame_is_no_crop() {
        let frame = frame(PixelFormat::Mono8, 10);
        for bad in [
            tile(2, 0, 4, 4),
            tile(8, 0, 3, 4),
            tile(0, 3, 4, 2),
            tile(0, 0, 0, 4),
            tile(u32::MAX - 3, 0, 8, 4),
        ] {
            assert!(frame.crop(bad).is_none(), "{bad:?}");
        }
    }
}
