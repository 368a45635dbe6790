//! One truth about each cell.

use crate::{
    params::Thresholds,
    segmentation::{RawSegmentation, Segmentation},
};

/// Makes masks disjoint (the higher score keeps the pixel, then the earlier instance), keeps each one's largest 4-connected
/// piece with its holes, and hides what the area filters ask for. `pixel_size_um` is the frame's.
pub fn settle(
    raw: &RawSegmentation,
    thresholds: &Thresholds,
    pixel_size_um: Option<f64>,
) -> Segmentation {
    let _ = (raw, thresholds, pixel_size_um);
    todo!()
}

/// The instances as decoded: they may overlap and be in pieces; boxes are tight.
pub fn as_decoded(raw: &RawSegmentation) -> Vec<crate::segmentation::Instance> {
    let _ = raw;
    todo!()
}
