//! Uneven light divided out.

use super::{Frame, FrameError, PixelFormat};

/// A flat and a dark image, ready to correct frames of their size.
///
/// Every sample becomes `(sample - dark) * mean(flat - dark) / (flat - dark)`, in f64 in this order, clipped to the camera's range
/// and rounded half to even; the mean is each channel's own. Where the flat is not above its dark, nothing was measured: 0.
/// Seibert, Boone, Lindfors: Flat-field correction technique for digital detectors, Proc. SPIE 3336 (1998), 348-354.
#[derive(Clone, Debug)]
pub struct FlatField {
    width: u32,
    height: u32,
    channels: usize,
    /// Of each sample of the frame; none: 0.
    dark: Option<Vec<u16>>,
    /// `flat - dark`; 0 where it is not above.
    light: Vec<u16>,
    /// `mean(flat - dark)` of its channel, of each sample of a row.
    means: Vec<f64>,
}

impl FlatField {
    /// From a flat image, exposed as the frames are, and a dark one. They may be of other formats than the frames, on the same
    /// scale of counts.
    ///
    /// Errors: the two differ in size or channels; the flat is on average not brighter than the dark.
    pub fn new(flat: &Frame, dark: Option<&Frame>) -> Result<FlatField, FrameError> {
        let channels = flat.channels();
        let (width, height) = (flat.width(), flat.height());
        if let Some(dark) = dark {
            same_shape("dark", dark, "flat", (width, height, channels))?;
        }
        let row_len = width as usize * channels;
        let n_samples = row_len * height as usize;
        let mut darks = dark.map(|_| Vec::with_capacity(n_samples));
        let none = vec![0; row_len];
        let mut light = Vec::with_capacity(n_samples);
        let mut sums = [0_i64; 3];
        let mut samples = Vec::new();
        for y in 0..height {
            let dark = match (dark, &mut darks) {
                (Some(dark), Some(darks)) => {
                    darks.extend_from_slice(dark.samples(y, &mut samples));
                    &darks[y as usize * row_len..]
                }
                _ => &none[..],
            };
            for ((i, &flat), &dark) in flat.samples(y, &mut samples).iter().enumerate().zip(dark) {
                sums[i % channels] += i64::from(flat) - i64::from(dark);
                light.push(flat.saturating_sub(dark));
            }
        }
        let n_pixels = f64::from(width) * f64::from(height);
        let means = sums.map(|sum| sum as f64 / n_pixels);
        if let Some(mean) = means[..channels].iter().find(|mean| **mean <= 0.0) {
            return Err(FrameError::Invalid(format!(
                "flat field: the flat image is on average {mean} counts above the dark one; it must be brighter"
            )));
        }
        Ok(FlatField {
            width,
            height,
            channels,
            dark: darks,
            light,
            means: (0..row_len).map(|i| means[i % channels]).collect(),
        })
    }

    /// The corrected frame: samples of whole bytes or of 16 bits, as many bits significant as before.
    ///
    /// Errors: the frame is of another size, or grey where the flat has colour.
    pub fn apply(&self, frame: &Frame) -> Result<Frame, FrameError> {
        let FlatField {
            width,
            height,
            channels,
            ..
        } = *self;
        same_shape("frame", frame, "flat field", (width, height, channels))?;
        let format = frame.format().unpacked();
        let row_len = width as usize * channels;
        let mut data = Vec::with_capacity(format.row_bytes(width) * height as usize);
        let (mut samples, mut corrected) = (Vec::new(), vec![0; row_len]);
        let none = vec![0; row_len];
        for y in 0..height {
            let samples = frame.samples(y, &mut samples);
            let of_row = y as usize * row_len..(y as usize + 1) * row_len;
            let dark = self.dark.as_ref().map(|dark| &dark[of_row.clone()]);
            let light = &self.light[of_row];
            self.correct(
                samples,
                dark.unwrap_or(&none),
                light,
                frame.max_value(),
                &mut corrected,
            );
            match format {
                PixelFormat::Mono8 | PixelFormat::Rgb8 => {
                    data.extend(corrected.iter().map(|&sample| sample as u8));
                }
                _ => data.extend(corrected.iter().flat_map(|sample| sample.to_le_bytes())),
            }
        }
        Ok(frame.with_pixels(format, data))
    }

    /// One row.
    fn correct(&self, samples: &[u16], dark: &[u16], light: &[u16], most: u32, out: &mut [u16]) {
        let most = f64::from(most);
        // From 2^52 on an f64 has no bits behind the point: adding rounds half to even, as all arithmetic does, and the lowest
        // bits are the whole number. Instructions that do this are not on every machine.
        const WHOLE: f64 = (1_u64 << 52) as f64;
        let images = samples.iter().zip(dark).zip(light);
        for ((out, ((&sample, &dark), &light)), &mean) in
            out.iter_mut().zip(images).zip(&self.means)
        {
            // Nothing is left of what is divided by infinity.
            let light = match light {
                0 => f64::INFINITY,
                light => f64::from(light),
            };
            let value = f64::from(i32::from(sample) - i32::from(dark)) * mean / light;
            let value = if value > 0.0 { value } else { 0.0 };
            let value = if value < most { value } else { most };
            *out = (value + WHOLE).to_bits() as u16;
        }
    }
}

fn same_shape(
    what: &str,
    frame: &Frame,
    other: &str,
    (width, height, channels): (u32, u32, usize),
) -> Result<(), FrameError> {
    let shape = |width, height, channels| match channels {
        1 => format!("{width}x{height} grey"),
        _ => format!("{width}x{height} colour"),
    };
    match (frame.width(), frame.height(), frame.channels()) == (width, height, channels) {
        true => Ok(()),
        false => Err(FrameError::Invalid(format!(
            "{what} of {}: the {other} is {}; they must be alike",
            shape(frame.width(), frame.height(), frame.channels()),
            shape(width, height, channels),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::*;
    use crate::frame::{FrameLimits, FrameMetadata, Layout};

    fn frame(format: PixelFormat, (width, height): (u32, u32), data: Vec<u8>) -> Frame {
        let layout = Layout {
            format,
            width,
            height,
            row_stride: 0,
            significant_bits: 0,
        };
        let limits = FrameLimits::default();
        Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &limits).unwrap()
    }

    fn read(name: &str) -> Vec<u8> {
        fs::read(format!(
            "{}/tests/data/flat_field/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    }

    /// Written by `tests/data/make_flat_field.py`, with numpy alone.
    #[test]
    fn the_correction_is_numpy_s() {
        use PixelFormat::*;
        for (name, stored, corrected) in [
            ("mono12", Mono12, Mono12),
            ("mono12p", Mono12p, Mono12),
            ("mono8", Mono8, Mono8),
            ("rgb16", Rgb16, Rgb16),
            ("bgr8", Bgr8, Rgb8),
        ] {
            let size = (23, 17);
            let part = |part: &str| frame(stored, size, read(&format!("{name}.{part}")));
            let (flat, dark, image) = (part("flat"), part("dark"), part("frame"));
            for (dark, expected) in [(Some(&dark), "corrected"), (None, "without_dark")] {
                let field = FlatField::new(&flat, dark).unwrap();
                let got = field.apply(&image).unwrap();
                assert_eq!(got.format(), corrected, "{name}");
                assert!(
                    *got.data() == read(&format!("{name}.{expected}")),
                    "{name}.{expected}"
                );
            }
        }
    }

    #[test]
    fn images_that_are_not_alike_are_named_with_both_sizes() {
        let grey = |width, height| {
            frame(
                PixelFormat::Mono8,
                (width, height),
                vec![9; (width * height) as usize],
            )
        };
        let colour = frame(PixelFormat::Rgb8, (4, 3), vec![9; 36]);
        let field = FlatField::new(&grey(4, 3), None).unwrap();
        let message =
            |result: Result<_, FrameError>| result.map(|_: Frame| ()).unwrap_err().to_string();
        assert_eq!(
            message(field.apply(&grey(5, 3))),
            "frame of 5x3 grey: the flat field is 4x3 grey; they must be alike"
        );
        assert_eq!(
            message(field.apply(&colour)),
            "frame of 4x3 colour: the flat field is 4x3 grey; they must be alike"
        );
        let error = FlatField::new(&grey(4, 3), Some(&grey(4, 2)))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "dark of 4x2 grey: the flat is 4x3 grey; they must be alike"
        );
        let error = FlatField::new(&grey(4, 3), Some(&grey(4, 3)))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("on average 0 counts above the dark one"),
            "{error}"
        );
    }

    #[test]
    fn where_the_flat_is_not_above_its_dark_there_is_nothing() {
        let row = |values: [u8; 3]| frame(PixelFormat::Mono8, (3, 1), values.to_vec());
        let field = FlatField::new(&row([10, 5, 30]), Some(&row([10, 6, 5]))).unwrap();
        let corrected = field.apply(&row([200, 200, 30])).unwrap();
        // Mean (0 - 1 + 25) / 3 = 8; 25 * 8 / 25.
        assert_eq!(*corrected.data(), vec![0, 0, 8]);
    }
}
