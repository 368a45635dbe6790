//! What goes up for a frame: parameters, confidences, pixels.

use std::ops::Range;

use super::layout::{FrameParams, Sizes, packing, policy};
use crate::{
    decode::{MaskAxis, confidence_of},
    frame::{Frame, PixelFormat},
    geometry::Letterbox,
    model::ModelSpec,
    params::{Normalization, Params, Span},
    preprocess::{self, Normalize, channel_offsets},
    segmentation::AppliedNormalization,
};

/// Writes all that the kernels need of a frame, but for its pixels, into `upload`, which is as large as [`Sizes`] says; where its
/// pixels go, or why it does not fit. `sequence` comes back in the answer.
pub(in crate::backend::cuda) fn fill(
    upload: &mut [u8],
    sizes: &Sizes,
    sequence: u64,
    frame: &Frame,
    params: &Params,
    model: &ModelSpec,
) -> Result<Range<usize>, String> {
    // Row padding stays here: of a tile it is the rest of its frame.
    let row_bytes = frame.format().row_bytes(frame.width());
    let n_bytes = row_bytes * frame.height() as usize;
    let room = sizes.upload - sizes.pixels_at;
    if n_bytes > room {
        return Err(format!(
            "{n_bytes} bytes of pixels: this lane's buffers hold {room}"
        ));
    }
    let input = (model.input_width, model.input_height);
    let letterbox =
        Letterbox::at_most((frame.width(), frame.height()), input, params.largest_scale);
    let frame_params = FrameParams::new(sequence, frame, params, &letterbox, model);
    let (head, rest) = upload.split_at_mut(size_of::<FrameParams>());
    head.copy_from_slice(&frame_params.to_bytes());
    let classes = 0..model.head.shape().classes as u32;
    for (class, bytes) in classes.zip(rest.as_chunks_mut().0) {
        *bytes = confidence_of(&params.thresholds, class).to_ne_bytes();
    }
    Ok(sizes.pixels_at..sizes.pixels_at + n_bytes)
}

/// Writes the frame's pixels to where [`fill`] said.
pub(in crate::backend::cuda) fn fill_pixels(pixels: &mut [u8], frame: &Frame) {
    match is_dense(pixels.len(), frame) {
        true => pixels.copy_from_slice(frame.data()),
        false => {
            let row_bytes = frame.format().row_bytes(frame.width());
            let rows = pixels.chunks_exact_mut(row_bytes);
            (0..)
                .zip(rows)
                .for_each(|(y, row)| row.copy_from_slice(frame.row(y)));
        }
    }
}

/// Whether a frame's bytes are its pixels, `n_bytes` as they go up, and nothing else.
pub(in crate::backend::cuda) fn is_dense(n_bytes: usize, frame: &Frame) -> bool {
    frame.data().len() == n_bytes
}

impl FrameParams {
    pub(super) fn new(
        sequence: u64,
        frame: &Frame,
        params: &Params,
        letterbox: &Letterbox,
        model: &ModelSpec,
    ) -> Self {
        let l = letterbox;
        let thresholds = &params.thresholds;
        let most = frame.max_value();
        let format = frame.format();
        let offsets = channel_offsets(format);
        let (scale_x, scale_y) = l.scale();
        let step = |cam: u32, new: u32| f64::from(cam) / f64::from(new);
        let mut filled = FrameParams {
            sequence,
            n_samples: u64::from(frame.width()) * u64::from(frame.height()) * offsets.len() as u64,
            step_x: step(l.width_cam, l.width_new),
            step_y: step(l.height_cam, l.height_new),
            scale_x,
            scale_y,
            width: frame.width(),
            height: frame.height(),
            row_stride: format.row_bytes(frame.width()) as u32,
            pixel_bytes: format.row_bytes(1) as u32,
            sample_bytes: if format.bits() == 8 { 1 } else { 2 },
            packing: packing_of(format),
            channels: offsets.len() as u32,
            offsets: [0, 1, 2].map(|i| offsets[i % offsets.len()] as u32),
            max_value: most,
            width_new: l.width_new,
            height_new: l.height_new,
            left: l.left,
            top: l.top,
            iou: thresholds.iou,
            class_agnostic: thresholds.class_agnostic.into(),
            max_cells: thresholds.max_cells,
            mask_axes: MaskAxis::of(l, model.head.shape())
                .map(|axis| [axis.scale, axis.offset, axis.first, axis.last]),
            ..FrameParams::default()
        };
        match params.normalization {
            Normalization::FullRange => {
                filled.set_window(&preprocess::full_range(most), policy::FULL_RANGE, most)
            }
            Normalization::Window { low, high } => {
                filled.set_window(&preprocess::fixed(low, high), policy::WINDOW, most)
            }
            Normalization::Percentiles {
                low,
                high,
                min_span,
            } => {
                filled.policy = policy::PERCENTILES;
                filled.percent_low = low;
                filled.percent_high = high;
                filled.min_span = min_span.counts(most);
                if let Some(Span { low, high }) = params.smoothed {
                    filled.smoothed = 1;
                    (filled.smoothed_low, filled.smoothed_high) = (low, high);
                }
            }
        }
        filled
    }

    fn set_window(&mut self, window: &AppliedNormalization, policy: u32, most: u32) {
        let normalize = Normalize::new(window, most);
        self.policy = policy;
        (self.low, self.high) = (window.low, window.high);
        (self.normalize_low, self.normalize_scale) = (normalize.low, normalize.scale);
    }

    pub(super) fn to_bytes(self) -> [u8; size_of::<FrameParams>()] {
        // SAFETY: a structure of C's layout made of numbers, without padding (its fields add up to its size: a test), is bytes.
        unsafe { std::mem::transmute(self) }
    }
}

fn packing_of(format: PixelFormat) -> u32 {
    use PixelFormat::*;
    match format {
        Mono8 | Mono10 | Mono12 | Mono14 | Mono16 | Rgb8 | Bgr8 | Rgba8 | Bgra8 | Rgb16 => {
            packing::WHOLE_BYTES
        }
        Mono10p => packing::PFNC_10,
        Mono12p => packing::PFNC_12,
        Mono10Packed => packing::GIGE_10,
        Mono12Packed => packing::GIGE_12,
    }
}
