//! Frames that look enough like cells to keep every stage busy: bright discs on a noisy ground, the same every time.

use std::{fmt, str::FromStr};

use bytes::Bytes;

use crate::frame::{Frame, FrameError, FrameLimits, FrameMetadata, Layout, PixelFormat};

/// `WIDTHxHEIGHT:FORMAT`, as `2048x2048:Mono16`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FrameShape {
    width: u32,
    height: u32,
    format: PixelFormat,
}

/// Distance of neighbouring discs' centres, pixels.
const SPACING: u32 = 40;

/// A frame of that shape.
pub(super) fn cells(shape: &FrameShape, limits: &FrameLimits) -> Result<Frame, FrameError> {
    let &FrameShape {
        width,
        height,
        format,
    } = shape;
    limits.check(width, height, format)?;
    let brightest = f64::from((1u32 << format.bits()) - 1);
    let mut pixels = Vec::with_capacity(format.row_bytes(width) * height as usize);
    for y in 0..height {
        let row: Vec<u16> = (0..width)
            .map(|x| (brightness(x, y) * brightest) as u16)
            .collect();
        push(&mut pixels, format, &row);
    }
    let layout = Layout {
        format,
        width,
        height,
        row_stride: 0,
        significant_bits: 0,
    };
    Frame::new(
        layout,
        Bytes::from(pixels),
        FrameMetadata::default(),
        limits,
    )
}

/// 0..1. Discs differ in size and light; the ground is a twentieth of noise.
fn brightness(x: u32, y: u32) -> f64 {
    let disc = hash(x / SPACING, y / SPACING);
    let (dx, dy) = (f64::from(x % SPACING) - 20.0, f64::from(y % SPACING) - 20.0);
    let radius = 9.0 + f64::from(disc % 10);
    let inside = (1.0 - (dx * dx + dy * dy) / (radius * radius)).max(0.0);
    let light = 0.3 + f64::from(disc / 16 % 8) / 16.0;
    0.1 + light * inside + f64::from(hash(x, y) % 256) / 256.0 * 0.05
}

fn hash(a: u32, b: u32) -> u32 {
    let mixed = (u64::from(a) << 32 | u64::from(b))
        .wrapping_add(1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9)
        .wrapping_shr(40) as u32
}

/// A row of grey in that format.
fn push(pixels: &mut Vec<u8>, format: PixelFormat, row: &[u16]) {
    use PixelFormat::*;
    match format {
        Mono8 => pixels.extend(row.iter().map(|&value| value as u8)),
        Mono10 | Mono12 | Mono14 | Mono16 => {
            pixels.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        }
        Rgb8 | Bgr8 | Rgba8 | Bgra8 => {
            let n = format.row_bytes(1);
            pixels.extend(
                row.iter()
                    .flat_map(|&value| std::iter::repeat_n(value as u8, n)),
            );
        }
        Rgb16 => pixels.extend(row.iter().flat_map(|value| value.to_le_bytes().repeat(3))),
        Mono10p | Mono12p => {
            let n_bits = format.bits();
            // Bits that have not made a byte yet.
            let (mut bits, mut n_waiting) = (0_u32, 0);
            for &value in row {
                bits |= u32::from(value) << n_waiting;
                n_waiting += n_bits;
                while n_waiting >= 8 {
                    pixels.push(bits as u8);
                    bits >>= 8;
                    n_waiting -= 8;
                }
            }
            if n_waiting > 0 {
                pixels.push(bits as u8);
            }
        }
        Mono10Packed | Mono12Packed => {
            let low = format.bits() - 8;
            for pair in row.chunks(2) {
                let lowest = |value: u16| (value & ((1 << low) - 1)) as u8;
                let middle = pair.get(1).map_or(0, |&second| lowest(second) << 4);
                pixels.extend([(pair[0] >> low) as u8, lowest(pair[0]) | middle]);
                pixels.extend(pair.get(1).map(|&second| (second >> low) as u8));
            }
        }
    }
}

impl FromStr for FrameShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            let (size, format) = text.split_once(':')?;
            let (width, height) = size.split_once('x')?;
            Some(FrameShape {
                width: width.parse().ok()?,
                height: height.parse().ok()?,
                format: PixelFormat::ALL
                    .into_iter()
                    .find(|known| known.name().eq_ignore_ascii_case(format))?,
            })
        };
        shape().ok_or_else(|| {
            let formats = PixelFormat::ALL.map(PixelFormat::name).join(", ");
            format!("must be WIDTHxHEIGHT:FORMAT, as 2048x2048:Mono16; formats are {formats}")
        })
    }
}

impl fmt::Display for FrameShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}:{}", self.width, self.height, self.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_written_as_they_are_read() {
        for format in PixelFormat::ALL {
            let text = format!("64x48:{format}");
            let shape: FrameShape = text.parse().unwrap();
            assert_eq!(shape.to_string(), text);
            let frame = cells(&shape, &FrameLimits::default()).unwrap();
            assert_eq!(
                (frame.width(), frame.height(), frame.format()),
                (64, 48, format)
            );
        }
        assert_eq!(
            "8x8:mono8".parse::<FrameShape>().unwrap().to_string(),
            "8x8:Mono8"
        );
    }

    #[test]
    fn every_format_of_the_same_bits_holds_the_same_counts() {
        use PixelFormat::*;
        let limits = FrameLimits::default();
        for (one, other) in [
            (Mono10, Mono10p),
            (Mono10, Mono10Packed),
            (Mono12, Mono12p),
            (Mono12, Mono12Packed),
        ] {
            let [one, other] = [one, other].map(|format| {
                let (width, height) = (71, 43);
                let shape = FrameShape {
                    width,
                    height,
                    format,
                };
                let frame = cells(&shape, &limits).unwrap();
                let rows = (0..height).map(|y| frame.samples(y, &mut Vec::new()).to_vec());
                rows.collect::<Vec<_>>()
            });
            assert_eq!(one, other);
        }
    }

    #[test]
    fn what_is_not_a_shape_is_refused_with_an_example() {
        for text in [
            "",
            "2048",
            "2048x2048",
            "2048x2048:Mono9",
            "2048*2048:Mono8",
            "-1x2:Mono8",
        ] {
            let error = text.parse::<FrameShape>().unwrap_err();
            assert!(
                error.contains("2048x2048:Mono16") && error.contains("BGRA8"),
                "{error}"
            );
        }
    }

    #[test]
    fn brightness_never_leaves_the_camera_range() {
        for (x, y) in (0..400).flat_map(|x| (0..400).map(move |y| (x, y))) {
            let value = brightness(x, y);
            assert!((0.0..=1.0).contains(&value), "({x}, {y}): {value}");
        }
    }
}
