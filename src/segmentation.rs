//! The answer to a frame: first as decoded, then as one truth about each cell.

use std::time::Duration;

use crate::{geometry::BoxF, mask::Mask};

/// What a lane answers: instances as the network gives them. Masks may overlap and be in pieces.
#[derive(Clone, Debug)]
pub struct RawSegmentation {
    /// Frame, pixels.
    pub width: u32,
    /// Frame, pixels.
    pub height: u32,
    /// Falling score, then rising anchor; none is empty.
    pub instances: Vec<RawInstance>,
    /// What was done to the counts.
    pub normalization: AppliedNormalization,
    /// Candidates or cells were cut at a bound.
    pub truncated: bool,
    /// What somebody should know.
    pub notices: Vec<Notice>,
    /// Where the lane's time went.
    pub times: StageTimes,
}

/// One instance as decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct RawInstance {
    /// Index into the model's classes.
    pub class_index: u32,
    /// 0..1.
    pub score: f32,
    /// The network's box, camera pixels, clipped to the frame.
    pub detected_box: BoxF,
    /// Its pixels.
    pub mask: Mask,
}

/// One truth about each cell: masks are disjoint and in one 4-connected piece, holes kept.
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// Frame, pixels.
    pub width: u32,
    /// Frame, pixels.
    pub height: u32,
    /// Falling score, then rising anchor. The label of `instances[i]` is `i + 1`.
    pub instances: Vec<Instance>,
    /// Union of accepted masks before the area filters, over the frame; 0..1.
    pub confluence: f64,
    /// Hidden by the area filters.
    pub removed_by_area: u32,
    /// What was done to the counts.
    pub normalization: AppliedNormalization,
    /// Candidates or cells were cut at a bound.
    pub truncated: bool,
    /// What somebody should know.
    pub notices: Vec<Notice>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Index into the model's classes.
    pub class_index: u32,
    /// 0..1.
    pub score: f32,
    /// The network's box, camera pixels, clipped to the frame.
    pub detected_box: BoxF,
    /// Its pixels; the mask's box is tight.
    pub mask: Mask,
    /// Number of pixels.
    pub area: u32,
    /// A pixel of it lies on the frame's edge.
    pub touches_border: bool,
}

/// What was done to the counts: `(count - low) / (high - low)`, clipped to 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AppliedNormalization {
    /// Camera counts.
    pub low: f64,
    /// Camera counts.
    pub high: f64,
    /// Which rule made it.
    pub policy: AppliedPolicy,
}

/// The rule that made a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliedPolicy {
    /// By the camera's bits.
    FullRange,
    /// Fixed counts.
    Window,
    /// By the frame's own brightness.
    Percentiles,
    /// Percentiles were closer than the least span: as wide as the full range, with the frame in its middle.
    LowContrast,
}

/// What somebody should know about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What kind.
    pub code: NoticeCode,
    /// With the values.
    pub message: String,
}

/// Kinds of notices; meaning as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeCode {
    /// Asked for micrometres without a pixel size.
    NoPixelSize,
    /// The network sees cells far from the size it was trained on.
    ScaleFarFromTrained,
    /// Percentiles closer than the least span.
    LowContrast,
    /// Over 1 % of the samples at the brightest value.
    Saturated,
    /// Cut at a bound.
    Truncated,
    /// Samples above the significant bits.
    BitsClipped,
}

/// Where a lane's time went. A stage that did not run is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// To the device.
    pub copy_up: Duration,
    /// Normalise and letterbox.
    pub preprocess: Duration,
    /// The network.
    pub infer: Duration,
    /// Outputs to raw masks.
    pub decode: Duration,
    /// From the device.
    pub copy_down: Duration,
}

impl AppliedPolicy {
    /// As the contract spells it.
    pub fn name(self) -> &'static str {
        match self {
            AppliedPolicy::FullRange => "full_range",
            AppliedPolicy::Window => "window",
            AppliedPolicy::Percentiles => "percentiles",
            AppliedPolicy::LowContrast => "low_contrast",
        }
    }
}
