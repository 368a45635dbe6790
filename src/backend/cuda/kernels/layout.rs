//! What host and device both read: the same structures as in `lane.cuh`, field by field (a test compares every offset).

use std::mem::size_of;

use crate::{
    decode::Bounds,
    model::{Head, ModelSpec, Storage, Stored},
};

/// The one parameter of every kernel: where everything lies, and what never changes while a lane lives.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cuda) struct LaneArgs {
    pub frame: u64,
    pub confidence: u64,
    pub pixels: u64,
    pub input: u64,
    pub detections: u64,
    pub prototypes: u64,
    pub answer: u64,
    pub answer_records: u64,
    pub answer_words: u64,
    pub counters: u64,
    pub histogram: u64,
    pub levels: u64,
    pub columns: u64,
    pub rows: u64,
    pub keys: u64,
    pub classes: u64,
    pub ranks: u64,
    pub candidates: u64,
    pub overlap: u64,
    pub kept: u64,
    pub suppressed: u64,
    pub instances: u64,
    pub instance_words: u64,
    pub instance_cells: u64,
    pub word_offsets: u64,
    pub cell_offsets: u64,
    pub areas: u64,
    pub logits: u64,
    pub input_width: u32,
    pub input_height: u32,
    pub n_classes: u32,
    pub n_coefficients: u32,
    pub n_anchors: u32,
    pub prototype_width: u32,
    pub prototype_height: u32,
    pub end_to_end: u32,
    pub max_candidates: u32,
    pub max_mask_words: u32,
    pub max_window_cells: u32,
    pub input_stored: u32,
    pub detections_stored: u32,
    pub prototypes_stored: u32,
    pub input_scale: f32,
    pub detections_scale: f32,
    pub prototypes_scale: f32,
    pub reserved: u32,
}

/// What the kernels need to know of one frame; goes up before its pixels. Kernels write the window that percentiles give into it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct FrameParams {
    /// Comes back in the answer.
    pub sequence: u64,
    /// Colour samples.
    pub n_samples: u64,
    /// Camera pixels per input pixel.
    pub step_x: f64,
    pub step_y: f64,
    /// Input pixels per camera pixel.
    pub scale_x: f64,
    pub scale_y: f64,
    /// 0..100; read where `policy` is percentiles.
    pub percent_low: f64,
    pub percent_high: f64,
    pub min_span: f64,
    /// Counts that become 0 and 1.
    pub low: f64,
    pub high: f64,
    /// Counts at the two percentiles.
    pub from: f64,
    pub to: f64,
    /// Become 0 and 1 in place of those, where `smoothed` is not 0.
    pub smoothed_low: f64,
    pub smoothed_high: f64,
    pub width: u32,
    pub height: u32,
    /// Rows are dense.
    pub row_stride: u32,
    pub pixel_bytes: u32,
    /// 1 or 2; not read of packed samples, which share bytes.
    pub sample_bytes: u32,
    /// Colour samples of a pixel: 1 or 3.
    pub channels: u32,
    /// Where in a pixel red, green and blue lie.
    pub offsets: [u32; 3],
    pub max_value: u32,
    pub width_new: u32,
    pub height_new: u32,
    pub left: u32,
    pub top: u32,
    /// A [`policy`].
    pub policy: u32,
    /// `(sample - normalize_low) * normalize_scale`.
    pub normalize_low: f32,
    pub normalize_scale: f32,
    pub iou: f32,
    pub class_agnostic: u32,
    pub max_cells: u32,
    /// As [`crate::decode::MaskAxis`], horizontally and vertically.
    pub mask_axes: [[f32; 4]; 2],
    pub smoothed: u32,
    /// A [`packing`].
    pub packing: u32,
    pub reserved: [u32; 4],
}

/// [`crate::segmentation::AppliedPolicy`] in numbers.
pub(super) mod policy {
    pub(in super::super) const FULL_RANGE: u32 = 0;
    pub(in super::super) const WINDOW: u32 = 1;
    pub(in super::super) const PERCENTILES: u32 = 2;
    pub(in super::super) const LOW_CONTRAST: u32 = 3;
}

/// How samples that share bytes lie in them; `lane.cuh` numbers them so.
pub(super) mod packing {
    pub(in super::super) const WHOLE_BYTES: u32 = 0;
    pub(in super::super) const PFNC_10: u32 = 1;
    pub(in super::super) const PFNC_12: u32 = 2;
    pub(in super::super) const GIGE_10: u32 = 3;
    pub(in super::super) const GIGE_12: u32 = 4;
}

/// What comes back first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Header {
    /// Of the frame that is answered.
    pub sequence: u64,
    pub n_above: u64,
    pub n_at_most: u64,
    pub low: f64,
    pub high: f64,
    pub from: f64,
    pub to: f64,
    pub policy: u32,
    /// Detections above their confidence, before any bound.
    pub n_found: u32,
    /// Those that NMS left, before any bound.
    pub n_kept: u32,
    /// Records.
    pub n_instances: u32,
    pub n_words: u32,
    pub n_cells: u32,
    pub truncated: u32,
    /// Candidates that the rounds of NMS left to be settled one by one.
    pub n_unsettled: u32,
}

/// Comes back for each instance.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// x0, y0, x1, y1; camera pixels.
    pub detected_box: [f32; 4],
    pub class_index: u32,
    pub score: f32,
    /// The mask's box, camera pixels.
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// Where its words start.
    pub first_word: u32,
    /// Pixels set.
    pub area: u32,
}

/// Copies of the histogram, so that blocks seldom wait for each other; and its bins.
pub(super) const HISTOGRAM_COPIES: usize = 8;
pub(super) const BINS: usize = 65_536;
/// 16 bins each.
pub(super) const BIN_GROUPS: u32 = 4096;
/// Sums of 16, 256 and 4,096 bins.
const LEVELS: usize = 4096 + 256 + 16;

/// Where the device's memory for a lane starts, as the device sees it; each as large as [`Sizes`] says, aligned to 256 bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cuda) struct Addresses {
    pub upload: u64,
    pub input: u64,
    pub detections: u64,
    pub prototypes: u64,
    pub workspace: u64,
    /// Pinned memory of the host.
    pub answer: u64,
}

/// Bytes of a lane's buffers.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cuda) struct Sizes {
    /// On the device and, pinned, on the host: parameters, confidences, pixels.
    pub upload: usize,
    pub input: usize,
    pub detections: usize,
    pub prototypes: usize,
    /// What kernels leave for those after them.
    pub workspace: usize,
    /// Pinned memory of the host into which the device writes.
    pub answer: usize,
    /// Blocks of 256 threads that fill the device.
    pub(super) blocks: u32,
    pub(super) anchors: u32,
    pub(super) max_candidates: u32,
    /// Where pixels start in `upload`.
    pub(super) pixels_at: usize,
    pub(super) words_at: usize,
    /// Offsets in the workspace instead of addresses.
    args: LaneArgs,
}

const ALIGN: usize = 256;
const CONFIDENCE_AT: usize = size_of::<FrameParams>();
pub(super) const RECORDS_AT: usize = size_of::<Header>().next_multiple_of(ALIGN);

impl Sizes {
    /// For a device of `multiprocessors` that runs `model`, whose tensors lie as `storage` says, on frames of at most
    /// `max_frame_bytes`.
    pub(in crate::backend::cuda) fn new(
        model: &ModelSpec,
        storage: &Storage,
        bounds: &Bounds,
        max_frame_bytes: usize,
        multiprocessors: u32,
    ) -> Self {
        let shape = model.head.shape();
        let (width, height) = (model.input_width as usize, model.input_height as usize);
        let row = match model.head {
            Head::YoloSeg(_) => 4 + shape.classes + shape.coefficients,
            Head::YoloSegEndToEnd(_) => 6 + shape.coefficients,
        };
        let plane = shape.prototype_width * shape.prototype_height;
        let bytes = |stored: Stored, n: usize| storage.batch.max(1) * stored.bytes() * n;
        let candidates = bounds.max_candidates.clamp(1, shape.anchors.max(1));
        let kept_words = candidates.div_ceil(64);

        let mut workspace = Regions(0);
        let args = LaneArgs {
            frame: 0,
            confidence: CONFIDENCE_AT as u64,
            pixels: 0,
            input: 0,
            detections: 0,
            prototypes: 0,
            answer: 0,
            answer_records: 0,
            answer_words: 0,
            counters: workspace.add(COUNTERS_BYTES),
            histogram: workspace.add(HISTOGRAM_COPIES * BINS * 4),
            levels: workspace.add(LEVELS * 4),
            columns: workspace.add(width * TAP_BYTES),
            rows: workspace.add(height * TAP_BYTES),
            keys: workspace.add(shape.anchors * 8),
            classes: workspace.add(shape.anchors * 4),
            ranks: workspace.add(shape.anchors * 4),
            candidates: workspace.add(candidates * CANDIDATE_BYTES),
            overlap: workspace.add(kept_words * candidates * 8),
            kept: workspace.add(kept_words * 8),
            suppressed: workspace.add(kept_words * 8),
            instances: workspace.add(candidates * INSTANCE_BYTES),
            instance_words: workspace.add(candidates * 4),
            instance_cells: workspace.add(candidates * 4),
            word_offsets: workspace.add(candidates * 4),
            cell_offsets: workspace.add(candidates * 4),
            areas: workspace.add(candidates * 4),
            logits: workspace.add(bounds.max_window_cells * 4),
            input_width: model.input_width,
            input_height: model.input_height,
            n_classes: to_u32(shape.classes),
            n_coefficients: to_u32(shape.coefficients),
            n_anchors: to_u32(shape.anchors),
            prototype_width: to_u32(shape.prototype_width),
            prototype_height: to_u32(shape.prototype_height),
            end_to_end: matches!(model.head, Head::YoloSegEndToEnd(_)).into(),
            max_candidates: to_u32(candidates),
            max_mask_words: to_u32(bounds.max_mask_words),
            max_window_cells: to_u32(bounds.max_window_cells),
            input_stored: number(storage.input),
            detections_stored: number(storage.detections),
            prototypes_stored: number(storage.prototypes),
            input_scale: scale(storage.input),
            detections_scale: scale(storage.detections),
            prototypes_scale: scale(storage.prototypes),
            reserved: 0,
        };
        let pixels_at = CONFIDENCE_AT + (shape.classes * 4).next_multiple_of(ALIGN);
        let words_at = RECORDS_AT + (candidates * size_of::<Record>()).next_multiple_of(ALIGN);
        Sizes {
            upload: pixels_at + max_frame_bytes,
            input: bytes(storage.input, 3 * width * height),
            detections: bytes(storage.detections, row * shape.anchors),
            prototypes: bytes(storage.prototypes, shape.coefficients * plane),
            workspace: workspace.0,
            answer: words_at + bounds.max_mask_words * 4,
            // Eight blocks of 256 threads are what a multiprocessor holds at most.
            blocks: (multiprocessors * 8).clamp(8, 2048),
            anchors: to_u32(shape.anchors),
            max_candidates: to_u32(candidates),
            pixels_at,
            words_at,
            args,
        }
    }
}

impl LaneArgs {
    /// For buffers of these sizes.
    pub(in crate::backend::cuda) fn new(sizes: &Sizes, addresses: &Addresses) -> Self {
        let at = |offset: u64| addresses.workspace + offset;
        let args = &sizes.args;
        LaneArgs {
            frame: addresses.upload,
            confidence: addresses.upload + args.confidence,
            pixels: addresses.upload + sizes.pixels_at as u64,
            input: addresses.input,
            detections: addresses.detections,
            prototypes: addresses.prototypes,
            answer: addresses.answer,
            answer_records: addresses.answer + RECORDS_AT as u64,
            answer_words: addresses.answer + sizes.words_at as u64,
            counters: at(args.counters),
            histogram: at(args.histogram),
            levels: at(args.levels),
            columns: at(args.columns),
            rows: at(args.rows),
            keys: at(args.keys),
            classes: at(args.classes),
            ranks: at(args.ranks),
            candidates: at(args.candidates),
            overlap: at(args.overlap),
            kept: at(args.kept),
            suppressed: at(args.suppressed),
            instances: at(args.instances),
            instance_words: at(args.instance_words),
            instance_cells: at(args.instance_cells),
            word_offsets: at(args.word_offsets),
            cell_offsets: at(args.cell_offsets),
            areas: at(args.areas),
            logits: at(args.logits),
            ..*args
        }
    }
}

/// Of structures that only the device reads.
pub(super) const COUNTERS_BYTES: usize = 64;
pub(super) const TAP_BYTES: usize = 16;
pub(super) const CANDIDATE_BYTES: usize = 32;
pub(super) const INSTANCE_BYTES: usize = 64;

/// Hands out parts of one buffer; holds the bytes so far.
struct Regions(usize);

impl Regions {
    fn add(&mut self, bytes: usize) -> u64 {
        let start = self.0;
        self.0 = (start + bytes).next_multiple_of(ALIGN);
        start as u64
    }
}

/// As `lane.cuh` numbers them.
fn number(stored: Stored) -> u32 {
    match stored {
        Stored::F32 => 0,
        Stored::F16 => 1,
        Stored::U8 => 2,
        Stored::I8 { .. } => 3,
    }
}

fn scale(stored: Stored) -> f32 {
    match stored {
        Stored::I8 { scale } => scale,
        _ => 1.0,
    }
}

/// Bounds are ours and far below: past 32 bits nothing could be allocated.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
