//! A frame as a small picture, as the network saw it.

use bytes::Bytes;
use image::{ExtendedColorType, ImageError, codecs::jpeg::JpegEncoder};

use crate::{frame::Frame, segmentation::AppliedNormalization};

/// Pixels of the larger side, at most.
const SIDE: u32 = 1024;

/// Pixels of a picture, at most.
pub(super) const PIXELS: u64 = (SIDE * SIDE) as u64;

/// Of 100: outlines are drawn over it, and nobody measures in it.
const QUALITY: u8 = 85;

/// A frame with fewer pixels: means of squares of its own, camera counts.
pub(super) struct Small {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Pixels of the frame, a side of each square; at the right and lower edge it may be less.
    pub(super) scale: u32,
    channels: usize,
    means: Vec<f32>,
}

impl Small {
    /// Shrinks a frame by a whole number, until its larger side fits.
    pub(super) fn of(frame: &Frame) -> Self {
        let scale = frame.width().max(frame.height()).div_ceil(SIDE).max(1);
        let (width, height) = (
            frame.width().div_ceil(scale),
            frame.height().div_ceil(scale),
        );
        let channels = frame.channels();
        let row_samples = width as usize * channels;
        let mut means = Vec::with_capacity(row_samples * height as usize);
        let mut samples = Vec::new();
        let mut sums = vec![0_u64; row_samples];
        for top in (0..frame.height()).step_by(scale as usize) {
            sums.fill(0);
            let bottom = (top + scale).min(frame.height());
            for y in top..bottom {
                let row = frame.samples(y, &mut samples);
                for (square, pixels) in row.chunks(scale as usize * channels).enumerate() {
                    for (place, &sample) in pixels.iter().enumerate() {
                        sums[square * channels + place % channels] += u64::from(sample);
                    }
                }
            }
            means.extend(sums.iter().enumerate().map(|(place, &sum)| {
                let left = (place / channels) as u32 * scale;
                let across = scale.min(frame.width() - left);
                sum as f32 / (across * (bottom - top)) as f32
            }));
        }
        Small {
            width,
            height,
            scale,
            channels,
            means,
        }
    }

    /// As a picture, in the window that the network got.
    pub(super) fn jpeg(&self, shown: &AppliedNormalization) -> Result<Bytes, ImageError> {
        let byte = |mean: &f32| {
            let unit = (f64::from(*mean) - shown.low) / (shown.high - shown.low);
            (unit.clamp(0.0, 1.0) * 255.0).round() as u8
        };
        let pixels: Vec<u8> = self.means.iter().map(byte).collect();
        let colour = match self.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode(
            &pixels,
            self.width,
            self.height,
            colour,
        )?;
        Ok(jpeg.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{FrameLimits, FrameMetadata, Layout, PixelFormat},
        segmentation::AppliedPolicy,
    };

    fn shown(format: PixelFormat, width: u32, height: u32, data: Vec<u8>) -> (Small, Vec<u8>) {
        let layout = Layout {
            format,
            width,
            height,
            row_stride: 0,
            significant_bits: 0,
        };
        let limits = FrameLimits::default();
        let frame = Frame::new(layout, data.into(), FrameMetadata::default(), &limits).unwrap();
        let window = AppliedNormalization {
            low: 50.0,
            high: 150.0,
            policy: AppliedPolicy::Window,
        };
        let small = Small::of(&frame);
        let jpeg = small.jpeg(&window).unwrap();
        let pixels = image::load_from_memory(&jpeg).unwrap().into_rgb8();
        assert_eq!(pixels.dimensions(), (small.width, small.height));
        (small, pixels.into_raw())
    }

    fn is_about(byte: u8, expected: u8) -> bool {
        byte.abs_diff(expected) < 12
    }

    #[test]
    fn a_small_frame_is_shown_pixel_by_pixel_in_its_window() {
        let (small, pixels) = shown(
            PixelFormat::Mono8,
            32,
            8,
            [[20_u8; 128], [100; 128]].concat(),
        );
        assert_eq!((small.width, small.height, small.scale), (32, 8, 1));
        // JPEG smooths over edges of its own squares: the upper and lower rows are far enough.
        assert!(is_about(pixels[0], 0) && is_about(pixels[pixels.len() - 1], 128));
    }

    #[test]
    fn a_large_one_shrinks_by_whole_numbers_and_its_edges_are_means_of_what_is_there() {
        let (width, height) = (2049, 3);
        let (small, pixels) = shown(
            PixelFormat::Mono8,
            width,
            height,
            vec![150; (width * height) as usize],
        );
        assert_eq!((small.width, small.height, small.scale), (683, 1, 3));
        assert!(pixels.iter().all(|&byte| is_about(byte, 255)));
    }

    #[test]
    fn colours_stay_colours() {
        let (_, pixels) = shown(PixelFormat::Bgr8, 16, 16, [50, 50, 150].repeat(256));
        assert!(
            is_about(pixels[0], 255) && is_about(pixels[2], 0),
            "{:?}",
            &pixels[..3]
        );
    }
}
