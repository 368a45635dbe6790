//! Raw outputs of a network to instances: the meaning of the decode kernels.

mod disjoint;

pub use disjoint::{as_decoded, settle};

use crate::{geometry::Letterbox, model::Head, params::Thresholds, segmentation::RawInstance};

/// A network's outputs for one frame, row-major, batch of one.
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
pub struct Scratch {}

impl Default for Bounds {
    /// 8,192 candidates and 64 MiB of masks.
    fn default() -> Self {
        Bounds {
            max_candidates: 8192,
            max_mask_words: 16 << 20,
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
    let _ = (head, outputs, letterbox, thresholds, bounds, scratch);
    todo!()
}
