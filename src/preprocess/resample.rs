//! Rows of a frame, normalised and interpolated.

use std::mem;

use crate::{
    frame::{self, Frame, PixelFormat},
    geometry::Letterbox,
    segmentation::AppliedNormalization,
};

/// Gives the rows of the scaled frame, from top to bottom. Each row of the frame that is needed is normalised and
/// interpolated horizontally once.
#[derive(Debug, Default)]
pub(super) struct Resampler {
    normalize: Normalize,
    columns: Taps,
    rows: Taps,
    above: Interpolated,
    below: Interpolated,
    gathered: Gathered,
    blended: Vec<f32>,
}

/// Counts to 0..1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Normalize {
    most: u16,
    pub low: f32,
    pub scale: f32,
}

/// Along one axis: between which two samples each output pixel lies, and how far from the first.
#[derive(Debug, Default)]
struct Taps {
    first: Vec<u32>,
    second: Vec<u32>,
    t: Vec<f32>,
}

/// A row of the frame, normalised and interpolated horizontally; one channel after the other.
#[derive(Debug, Default)]
struct Interpolated {
    row: Option<u32>,
    values: Vec<f32>,
}

/// The two taps of each output pixel of a row, side by side so that what follows is vectorised.
#[derive(Debug, Default)]
struct Gathered {
    first: Vec<u16>,
    second: Vec<u16>,
}

impl Resampler {
    /// Takes up a frame. Nothing is allocated while frames keep their size.
    pub(super) fn start(
        &mut self,
        frame: &Frame,
        window: &AppliedNormalization,
        letterbox: &Letterbox,
    ) {
        self.normalize = Normalize::new(window, frame.max_value());
        self.columns.fill(letterbox.width_cam, letterbox.width_new);
        self.rows.fill(letterbox.height_cam, letterbox.height_new);
        let width = letterbox.width_new as usize;
        let row_len = width * channel_offsets(frame.format()).len();
        for interpolated in [&mut self.above, &mut self.below] {
            interpolated.row = None;
            interpolated.values.resize(row_len, 0.0);
        }
        self.gathered.first.resize(width, 0);
        self.gathered.second.resize(width, 0);
        self.blended.resize(row_len, 0.0);
    }

    /// Row `y` of the scaled frame: grey, or red, green and blue one after the other.
    pub(super) fn row(&mut self, frame: &Frame, y: usize) -> &[f32] {
        let (first, second, t) = (self.rows.first[y], self.rows.second[y], self.rows.t[y]);
        if self.below.row == Some(first) {
            mem::swap(&mut self.above, &mut self.below);
        }
        for (slot, row) in [(&mut self.above, first), (&mut self.below, second)] {
            if slot.row != Some(row) {
                slot.row = Some(row);
                let width = self.columns.t.len();
                let channels = channel_offsets(frame.format()).iter();
                for (&offset, values) in channels.zip(slot.values.chunks_exact_mut(width)) {
                    self.gathered
                        .fill(frame.row(row), frame.format(), offset, &self.columns);
                    self.gathered
                        .interpolate(self.normalize, &self.columns.t, values);
                }
            }
        }
        let rows = self.above.values.iter().zip(&self.below.values);
        for (value, (&above, &below)) in self.blended.iter_mut().zip(rows) {
            *value = blend(above, below, t);
        }
        &self.blended
    }
}

impl Normalize {
    pub(crate) fn new(window: &AppliedNormalization, max_value: u32) -> Self {
        Normalize {
            most: max_value as u16,
            low: window.low as f32,
            // An infinite scale would make NaN of `low` itself.
            scale: ((1.0 / (window.high - window.low)) as f32).min(f32::MAX),
        }
    }

    #[inline]
    fn apply(self, sample: u16) -> f32 {
        let value = (f32::from(sample.min(self.most)) - self.low) * self.scale;
        // Comparisons rather than `max` and `min`: one instruction each, and NaN becomes 0.
        let value = if value > 0.0 { value } else { 0.0 };
        if value < 1.0 { value } else { 1.0 }
    }
}

impl Taps {
    fn fill(&mut self, n_cam: u32, n_new: u32) {
        self.first.clear();
        self.second.clear();
        self.t.clear();
        let step = f64::from(n_cam) / f64::from(n_new);
        let last = f64::from(n_cam - 1);
        for i in 0..n_new {
            let position = (f64::from(i) + 0.5) * step - 0.5;
            let first = position.floor();
            let inside = 0.0 <= first && first < last;
            let edge = first.clamp(0.0, last) as u32;
            self.first.push(edge);
            self.second.push(edge + u32::from(inside));
            self.t.push(if inside {
                (position - first) as f32
            } else {
                0.0
            });
        }
    }
}

impl Gathered {
    fn fill(&mut self, row: &[u8], format: PixelFormat, offset: usize, columns: &Taps) {
        use PixelFormat::*;
        match format {
            Mono10 | Mono12 | Mono14 | Mono16 => {
                let (row, _) = row.as_chunks();
                self.gather(columns, |x| u16::from_le_bytes(row[x]));
            }
            Mono8 => self.gather(columns, |x| u16::from(row[x])),
            Mono10p => self.gather(columns, |x| frame::mono10p_at(row, x)),
            Mono12p => self.gather(columns, |x| frame::mono12p_at(row, x)),
            Mono10Packed => self.gather(columns, |x| frame::mono10_packed_at(row, x)),
            Mono12Packed => self.gather(columns, |x| frame::mono12_packed_at(row, x)),
            Rgb8 | Bgr8 => {
                let (row, _) = row.as_chunks::<3>();
                self.gather(columns, |x| u16::from(row[x][offset]));
            }
            Rgba8 | Bgra8 => {
                let (row, _) = row.as_chunks::<4>();
                self.gather(columns, |x| u16::from(row[x][offset]));
            }
            Rgb16 => {
                let (row, _) = row.as_chunks::<6>();
                self.gather(columns, |x| {
                    u16::from_le_bytes([row[x][offset], row[x][offset + 1]])
                });
            }
        }
    }

    fn gather(&mut self, columns: &Taps, sample: impl Fn(usize) -> u16) {
        let taps = columns.first.iter().zip(&columns.second);
        let samples = self.first.iter_mut().zip(&mut self.second);
        for ((first, second), (&x_first, &x_second)) in samples.zip(taps) {
            *first = sample(x_first as usize);
            *second = sample(x_second as usize);
        }
    }

    fn interpolate(&self, normalize: Normalize, t: &[f32], values: &mut [f32]) {
        let taps = self.first.iter().zip(&self.second).zip(t);
        for (value, ((&first, &second), &t)) in values.iter_mut().zip(taps) {
            *value = blend(normalize.apply(first), normalize.apply(second), t);
        }
    }
}

#[inline]
fn blend(a: f32, b: f32, t: f32) -> f32 {
    a * (1.0 - t) + b * t
}

/// Where a pixel's red, green and blue, or its grey, lie in it: bytes. A packed pixel is unpacked first.
pub(crate) fn channel_offsets(format: PixelFormat) -> &'static [usize] {
    use PixelFormat::*;
    match format {
        Mono8 | Mono10 | Mono12 | Mono14 | Mono16 => &[0],
        Mono10p | Mono12p | Mono10Packed | Mono12Packed => &[0],
        Rgb8 | Rgba8 => &[0, 1, 2],
        Bgr8 | Bgra8 => &[2, 1, 0],
        Rgb16 => &[0, 2, 4],
    }
}
