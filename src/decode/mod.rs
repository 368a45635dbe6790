//! Raw outputs of a network to instances: the meaning of the decode kernels.
//!
//! Everything is f32 in a fixed order of operations, without fused multiply-add, so that a GPU can repeat it bit for bit. Masks
//! are computed at camera resolution and inside each box only: prototypes are never upsampled whole.

mod disjoint;
mod edge;
mod filter;
mod merge;
mod nms;
mod paint;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod yolo_seg;

pub use disjoint::{as_decoded, disjoint};
pub use filter::{hide, settle};
pub use merge::Seams;
pub(crate) use paint::MaskAxis;

use std::cmp::Reverse;

use crate::{
    geometry::{BoxF, Letterbox},
    model::Head,
    params::Thresholds,
    segmentation::RawInstance,
};

/// A network's outputs for one frame, row-major, batch of one. **Invariant:** lengths are those of the head's shape, against
/// which the model's tensors were checked when it loaded.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    /// Boxes, scores, coefficients: `[4 + classes + coefficients, anchors]` or `[anchors, 6 + coefficients]`, by the head.
    pub detections: &'a [f32],
    /// `[coefficients, prototype_height, prototype_width]`.
    pub prototypes: &'a [f32],
}

/// Bounds on what one frame may cost, whatever the network says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Candidates that enter NMS: the highest scores.
    pub max_candidates: usize,
    /// 32-bit words of all masks of a frame; past it the lowest scores go.
    pub max_mask_words: usize,
    /// Prototype cells under all masks of a frame; past it the lowest scores go.
    pub max_window_cells: usize,
}

/// What decoding gives.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Falling score, then rising anchor; none is empty.
    pub instances: Vec<RawInstance>,
    /// Something was cut at a bound.
    pub truncated: bool,
}

/// Buffers kept from frame to frame.
#[derive(Debug, Default)]
pub struct Scratch {
    confidence: Vec<f32>,
    candidates: Vec<Candidate>,
    kept: nms::Kept,
    coefficients: Vec<f32>,
    painter: paint::Painter,
}

/// A detection whose score passed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    /// Input pixels; finite and not empty.
    box_in: BoxF,
    class: u32,
    score: f32,
    anchor: u32,
}

impl Default for Bounds {
    /// 8,192 candidates, 32 MiB of masks and 32 MiB of logits.
    fn default() -> Self {
        Bounds {
            max_candidates: 8192,
            max_mask_words: 8 << 20,
            max_window_cells: 8 << 20,
        }
    }
}

/// Instances at camera resolution.
pub fn decode(
    head: &Head,
    outputs: Outputs<'_>,
    letterbox: &Letterbox,
    thresholds: &Thresholds,
    bounds: &Bounds,
    scratch: &mut Scratch,
) -> Decoded {
    let Scratch {
        confidence,
        candidates,
        kept,
        coefficients,
        painter,
    } = scratch;
    confidence.clear();
    confidence
        .extend((0..head.shape().classes as u32).map(|class| confidence_of(thresholds, class)));

    candidates.clear();
    yolo_seg::candidates(head, outputs.detections, confidence, candidates);
    // A total order, so that nothing depends on the order in which candidates were found.
    candidates.sort_unstable_by_key(|candidate| Reverse(candidate.rank()));
    let mut truncated = cut(candidates, bounds.max_candidates);
    truncated |= match head {
        Head::YoloSeg(_) => kept.suppress(candidates, thresholds),
        Head::YoloSegEndToEnd(_) => cut(candidates, thresholds.max_cells as usize),
    };

    painter.prepare(letterbox, head.shape());
    let mut instances = Vec::with_capacity(candidates.len());
    let (mut n_words, mut n_cells) = (0, 0);
    for candidate in &*candidates {
        let detected_box = letterbox.to_cam(candidate.box_in);
        let mut mask = paint::blank(detected_box);
        n_words += mask.words().len();
        n_cells += painter.window_cells(&mask);
        if n_words > bounds.max_mask_words || n_cells > bounds.max_window_cells {
            truncated = true;
            break;
        }
        yolo_seg::coefficients(
            head,
            outputs.detections,
            candidate.anchor as usize,
            coefficients,
        );
        painter.paint(outputs.prototypes, coefficients, &mut mask);
        if !mask.is_empty() {
            instances.push(RawInstance {
                class_index: candidate.class,
                score: candidate.score,
                detected_box,
                mask,
            });
        }
    }
    Decoded {
        instances,
        truncated,
    }
}

/// What a score of `class` must be above; infinite for a class that nobody asked for.
pub(crate) fn confidence_of(thresholds: &Thresholds, class: u32) -> f32 {
    match thresholds.classes.is_empty() || thresholds.classes.contains(&class) {
        true => thresholds.confidence_of(class),
        false => f32::INFINITY,
    }
}

/// Leaves the first `most`; whether there were more.
fn cut(candidates: &mut Vec<Candidate>, most: usize) -> bool {
    let more = candidates.len() > most;
    candidates.truncate(most);
    more
}

impl Candidate {
    /// Larger for a higher score, then for a lower anchor. Bits of floats above zero are ordered as the floats.
    fn rank(&self) -> u64 {
        u64::from(self.score.to_bits()) << 32 | u64::from(u32::MAX - self.anchor)
    }
}
