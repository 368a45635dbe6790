//! What goes up for a frame: parameters, confidences, pixels.

use super::layout::{FrameParams, Sizes, policy};
use crate::{
    decode::{MaskAxis, confidence_of},
    frame::{Frame, PixelFormat},
    geometry::Letterbox,
    model::ModelSpec,
    params::{Normalization, Params},
    preprocess::{self, Normalize, channel_offsets},
    segmentation::AppliedNormalization,
};

/// Writes all that the kernels need of a frame into `upload`, which is as large as [`Sizes`] says; how many bytes go up, or why
/// the frame does not fit. `sequence` comes back in the answer.
pub(in crate::backend::cuda) fn fill(
    upload: &mut [u8],
    sizes: &Sizes,
    sequence: u64,
    frame: &Frame,
    params: &Params,
    model: &ModelSpec,
) -> Result<usize, String> {
    let pixels = frame.data();
    let room = sizes.upload - sizes.pixels_at;
    if pixels.len() > room {
        return Err(format!(
            "{} bytes of pixels: this lane's buffers hold {room}",
            pixels.len()
        ));
    }
    let input = (model.input_width, model.input_height);
    let letterbox = Letterbox::new((frame.width(), frame.height()), input);
    let frame_params = FrameParams::new(sequence, frame, params, &letterbox, model);
    let (head, rest) = upload.split_at_mut(size_of::<FrameParams>());
    head.copy_from_slice(&frame_params.to_bytes());
    let classes = 0..model.head.shape().classes as u32;
    for (class, bytes) in classes.zip(rest.as_chunks_mut().0) {
        *bytes = confidence_of(&params.thresholds, class).to_ne_bytes();
    }
    let end = sizes.pixels_at + pixels.len();
    upload[sizes.pixels_at..end].copy_from_slice(pixels);
    Ok(end)
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
        let offsets = channel_offsets(frame.format());
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
            row_stride: frame.layout().row_stride,
            pixel_bytes: frame.format().bytes_per_pixel() as u32,
            sample_bytes: sample_bytes(frame.format()),
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

fn sample_bytes(format: PixelFormat) -> u32 {
    use PixelFormat::*;
    match format {
        Mono10 | Mono12 | Mono14 | Mono16 => 2,
        Mono8 | Rgb8 | Bgr8 | Rgba8 | Bgra8 => 1,
    }
}
