//! Samples of a row, whatever the format.
//!
//! Packed formats: PFNC 2.4, 7.1.2 (Mono10p, Mono12p); GigE Vision 2.2, 27.1 (Mono10Packed, Mono12Packed). In both every pixel
//! lies in two neighbouring bytes.

use super::{Frame, PixelFormat};

impl Frame {
    /// The colour samples of row `y` in camera counts: grey, or red, green, blue of one pixel after the other. Alpha is left
    /// out, packed pixels are unpacked. `samples` holds them, and what it held is gone.
    pub fn samples<'a>(&self, y: u32, samples: &'a mut Vec<u16>) -> &'a [u16] {
        use PixelFormat::*;
        let row = self.row(y);
        samples.clear();
        match self.format() {
            Mono8 | Rgb8 => samples.extend(row.iter().map(|&sample| u16::from(sample))),
            Mono10 | Mono12 | Mono14 | Mono16 | Rgb16 => {
                let (row, _) = row.as_chunks();
                samples.extend(row.iter().map(|&sample| u16::from_le_bytes(sample)));
            }
            Mono10p => unpack(row, self.width(), samples, mono10p, |[a, b, c, d, e]| {
                [[a, b], [b, c], [c, d], [d, e]]
            }),
            Mono12p => unpack(row, self.width(), samples, mono12p, in_three_bytes),
            Mono10Packed => unpack(row, self.width(), samples, mono10_packed, in_three_bytes),
            Mono12Packed => unpack(row, self.width(), samples, mono12_packed, in_three_bytes),
            Bgr8 => {
                for &[blue, green, red] in row.as_chunks().0 {
                    samples.extend([red, green, blue].map(u16::from));
                }
            }
            Rgba8 => {
                for &[red, green, blue, _alpha] in row.as_chunks().0 {
                    samples.extend([red, green, blue].map(u16::from));
                }
            }
            Bgra8 => {
                for &[blue, green, red, _alpha] in row.as_chunks().0 {
                    samples.extend([red, green, blue].map(u16::from));
                }
            }
        }
        samples
    }

    /// Colour samples of a pixel: 1 or 3.
    pub fn channels(&self) -> usize {
        self.format().channels()
    }
}

/// Pixel `x` of a row of Mono10p.
pub(crate) fn mono10p_at(row: &[u8], x: usize) -> u16 {
    let at = 10 * x / 8;
    mono10p([row[at], row[at + 1]], x)
}

/// Pixel `x` of a row of Mono12p.
pub(crate) fn mono12p_at(row: &[u8], x: usize) -> u16 {
    mono12p(pair_of_three(row, x), x)
}

/// Pixel `x` of a row of Mono10Packed.
pub(crate) fn mono10_packed_at(row: &[u8], x: usize) -> u16 {
    mono10_packed(pair_of_three(row, x), x)
}

/// Pixel `x` of a row of Mono12Packed.
pub(crate) fn mono12_packed_at(row: &[u8], x: usize) -> u16 {
    mono12_packed(pair_of_three(row, x), x)
}

/// The two bytes that hold pixel `x` where two pixels are in three bytes.
fn pair_of_three(row: &[u8], x: usize) -> [u8; 2] {
    let at = 3 * x / 2;
    [row[at], row[at + 1]]
}

fn in_three_bytes([a, b, c]: [u8; 3]) -> [[u8; 2]; 2] {
    [[a, b], [b, c]]
}

// From the two bytes that hold a pixel, and its place in the row.

#[inline]
fn mono10p(bytes: [u8; 2], x: usize) -> u16 {
    u16::from_le_bytes(bytes) >> (2 * (x % 4)) & 0x3ff
}

#[inline]
fn mono12p(bytes: [u8; 2], x: usize) -> u16 {
    u16::from_le_bytes(bytes) >> (4 * (x % 2)) & 0xfff
}

#[inline]
fn mono10_packed([a, b]: [u8; 2], x: usize) -> u16 {
    let (high, low) = if x.is_multiple_of(2) {
        (a, b)
    } else {
        (b, a >> 4)
    };
    u16::from(high) << 2 | u16::from(low & 3)
}

#[inline]
fn mono12_packed([a, b]: [u8; 2], x: usize) -> u16 {
    let (high, low) = if x.is_multiple_of(2) {
        (a, b)
    } else {
        (b, a >> 4)
    };
    u16::from(high) << 4 | u16::from(low & 15)
}

/// Whole groups of `BYTES` bytes at a time, then the pixels of the last one, which a row may end in.
#[inline]
fn unpack<const BYTES: usize, const PIXELS: usize>(
    row: &[u8],
    width: u32,
    samples: &mut Vec<u16>,
    pixel: impl Fn([u8; 2], usize) -> u16,
    pairs: impl Fn([u8; BYTES]) -> [[u8; 2]; PIXELS],
) {
    let (groups, rest) = row.as_chunks::<BYTES>();
    let mut places = [0; PIXELS];
    for (x, place) in places.iter_mut().enumerate() {
        *place = x;
    }
    for &group in groups {
        let pairs = pairs(group);
        samples.extend(places.map(|x| pixel(pairs[x], x)));
    }
    let n_rest = width as usize - groups.len() * PIXELS;
    let mut last = [0; BYTES];
    last[..rest.len()].copy_from_slice(rest);
    let pairs = pairs(last);
    samples.extend((0..n_rest).map(|x| pixel(pairs[x], x)));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::*;
    use crate::frame::{FrameLimits, FrameMetadata, Layout};

    fn frame(layout: Layout, data: Vec<u8>) -> Frame {
        let limits = FrameLimits::default();
        Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &limits).unwrap()
    }

    fn read(name: String) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/packed");
        fs::read(format!("{folder}/{name}")).unwrap()
    }

    /// Written by `tests/data/make_packed.py`, which packs bit by bit as the standards say; it has the same sizes.
    #[test]
    fn packed_pixels_are_those_that_the_standards_mean() {
        const SIZES: [(u32, u32); 8] = [
            (1, 1),
            (2, 3),
            (3, 2),
            (4, 4),
            (5, 3),
            (7, 2),
            (16, 2),
            (33, 5),
        ];
        type At = fn(&[u8], usize) -> u16;
        let formats: [(PixelFormat, At); 4] = [
            (PixelFormat::Mono10p, mono10p_at),
            (PixelFormat::Mono12p, mono12p_at),
            (PixelFormat::Mono10Packed, mono10_packed_at),
            (PixelFormat::Mono12Packed, mono12_packed_at),
        ];
        for (format, at) in formats {
            let (packed, expected) = (
                read(format!("{format}.packed")),
                read(format!("{format}.raw")),
            );
            let (mut rows, mut expected) = (&packed[..], expected.as_chunks().0.iter());
            for (width, height) in SIZES {
                let row_bytes = format.row_bytes(width);
                let (dense, after) = rows.split_at(row_bytes * height as usize);
                rows = after;
                // Bytes after each row that are no pixels.
                let padded = dense
                    .chunks_exact(row_bytes)
                    .flat_map(|row| [row, &[0xff; 3]].concat());
                let layout = Layout {
                    format,
                    width,
                    height,
                    row_stride: row_bytes as u32 + 3,
                    significant_bits: 0,
                };
                let padded = frame(layout, padded.collect());
                let dense = frame(
                    Layout {
                        row_stride: 0,
                        ..layout
                    },
                    dense.to_vec(),
                );
                for y in 0..height {
                    let expected: Vec<u16> = expected
                        .by_ref()
                        .take(width as usize)
                        .map(|&sample| u16::from_le_bytes(sample))
                        .collect();
                    let one_by_one: Vec<u16> =
                        (0..width as usize).map(|x| at(dense.row(y), x)).collect();
                    assert_eq!(one_by_one, expected, "{format} {width}x{height}");
                    for frame in [&padded, &dense] {
                        assert_eq!(
                            frame.samples(y, &mut Vec::new()),
                            expected,
                            "{format} {width}x{height}"
                        );
                    }
                }
            }
            assert!(rows.is_empty() && expected.next().is_none(), "{format}");
        }
    }

    #[test]
    fn colour_comes_red_first_and_without_alpha() {
        use PixelFormat::*;
        let cases: [(PixelFormat, &[u8]); 5] = [
            (Rgb8, &[1, 2, 3, 4, 5, 6]),
            (Bgr8, &[3, 2, 1, 6, 5, 4]),
            (Rgba8, &[1, 2, 3, 9, 4, 5, 6, 9]),
            (Bgra8, &[3, 2, 1, 9, 6, 5, 4, 9]),
            (Rgb16, &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]),
        ];
        for (format, data) in cases {
            let layout = Layout {
                format,
                width: 2,
                height: 1,
                row_stride: 0,
                significant_bits: 0,
            };
            let frame = frame(layout, data.to_vec());
            assert_eq!(
                frame.samples(0, &mut vec![7; 9]),
                [1, 2, 3, 4, 5, 6],
                "{format}"
            );
            assert_eq!(frame.channels(), 3);
        }
    }
}
