//! Frames turned round: mirrored, and 16-bit samples that come high byte first.

use super::{Frame, FrameError};

impl Frame {
    /// Mirrored left to right, top to bottom, or both: what the camera sees through another mirror, or rows that come bottom-up.
    /// Rows become dense; packed pixels mirrored left to right become 16 bits.
    pub fn flipped(self, horizontal: bool, vertical: bool) -> Frame {
        if !horizontal && !vertical {
            return self;
        }
        let stored = self.format();
        let format = match horizontal && stored.is_packed() {
            true => stored.unpacked(),
            false => stored,
        };
        let pixel_bytes = format.row_bytes(1);
        let mut data = Vec::with_capacity(format.row_bytes(self.width()) * self.height() as usize);
        let mut samples = Vec::new();
        for y in 0..self.height() {
            let y = if vertical { self.height() - 1 - y } else { y };
            if !horizontal {
                data.extend_from_slice(self.row(y));
            } else if stored.is_packed() {
                let row = self.samples(y, &mut samples).iter().rev();
                data.extend(row.flat_map(|sample| sample.to_le_bytes()));
            } else {
                mirror(self.row(y), pixel_bytes, &mut data);
            }
        }
        self.with_pixels(format, data)
    }

    /// The frame whose 16-bit samples came high byte first. Refuses formats that have no such samples: a bit stream has one
    /// order.
    pub fn from_big_endian(self) -> Result<Frame, FrameError> {
        if self.format().sample_bytes() != Some(2) {
            return Err(FrameError::Invalid(format!(
                "big_endian: {} has no samples of two bytes; leave it out",
                self.format()
            )));
        }
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..self.height() {
            data.extend_from_slice(self.row(y));
        }
        for sample in data.as_chunks_mut::<2>().0 {
            *sample = [sample[1], sample[0]];
        }
        Ok(self.with_pixels(self.format(), data))
    }
}

/// The pixels of `row` from the last to the first.
fn mirror(row: &[u8], pixel_bytes: usize, data: &mut Vec<u8>) {
    /// Sizes that are known make moves of a pixel, not copies of bytes.
    fn pixels<const BYTES: usize>(row: &[u8], data: &mut Vec<u8>) {
        data.extend(row.as_chunks::<BYTES>().0.iter().rev().flatten());
    }
    match pixel_bytes {
        1 => pixels::<1>(row, data),
        2 => pixels::<2>(row, data),
        3 => pixels::<3>(row, data),
        4 => pixels::<4>(row, data),
        _ => pixels::<6>(row, data),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::frame::{FrameLimits, FrameMetadata, Layout, PixelFormat};

    fn frame(format: PixelFormat, (width, height): (u32, u32), padding: u32) -> Frame {
        let row_stride = format.row_bytes(width) as u32 + padding;
        let data = (0..row_stride * height).map(|i| (i * i * 31 + i * 7) as u8);
        let layout = Layout {
            format,
            width,
            height,
            row_stride,
            significant_bits: 0,
        };
        let data = Bytes::from(data.collect::<Vec<u8>>());
        let limits = FrameLimits::default();
        Frame::new(layout, data, FrameMetadata::default(), &limits).unwrap()
    }

    /// Rows of pixels of samples.
    fn pixels(frame: &Frame) -> Vec<Vec<Vec<u16>>> {
        let row = |y| {
            let mut samples = Vec::new();
            let samples = frame.samples(y, &mut samples);
            let pixels = samples.chunks_exact(frame.channels());
            pixels.map(<[u16]>::to_vec).collect()
        };
        (0..frame.height()).map(row).collect()
    }

    #[test]
    fn every_format_is_mirrored_pixel_by_pixel() {
        for format in PixelFormat::ALL {
            for (horizontal, vertical) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let frame = frame(format, (7, 5), 3);
                let mut expected = pixels(&frame);
                if vertical {
                    expected.reverse();
                }
                if horizontal {
                    expected.iter_mut().for_each(|row| row.reverse());
                }
                let flipped = frame.flipped(horizontal, vertical);
                assert_eq!(
                    pixels(&flipped),
                    expected,
                    "{format} {horizontal} {vertical}"
                );
                assert_eq!(flipped.max_value(), (1 << format.bits()) - 1);
            }
        }
    }

    #[test]
    fn big_endian_samples_are_turned_and_other_formats_refused() {
        for format in PixelFormat::ALL {
            let came = frame(format, (3, 2), 1);
            let swapped: Vec<Vec<Vec<u16>>> = pixels(&came)
                .into_iter()
                .map(|row| {
                    let turned = |p: Vec<u16>| p.into_iter().map(u16::swap_bytes).collect();
                    row.into_iter().map(turned).collect()
                })
                .collect();
            match came.from_big_endian() {
                Ok(frame) => {
                    assert_eq!(format.sample_bytes(), Some(2), "{format}");
                    assert_eq!(pixels(&frame), swapped, "{format}");
                }
                Err(error) => {
                    assert_ne!(format.sample_bytes(), Some(2), "{format}");
                    let text =
                        format!("big_endian: {format} has no samples of two bytes; leave it out");
                    assert_eq!(error.to_string(), text);
                }
            }
        }
    }
}
