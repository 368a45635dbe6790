//! Frame to network input: the meaning of the preprocessing kernels.

use crate::{
    frame::Frame,
    geometry::Letterbox,
    params::Normalization,
    segmentation::{AppliedNormalization, Notice},
};

/// Buffers kept from frame to frame.
#[derive(Debug, Default)]
pub struct Scratch {}

/// Which counts become 0 and 1 for this frame, and what somebody should know about its brightness.
pub fn window(
    frame: &Frame,
    normalization: &Normalization,
    scratch: &mut Scratch,
) -> (AppliedNormalization, Vec<Notice>) {
    let _ = (frame, normalization, scratch);
    todo!()
}

/// Normalised, scaled and padded: `[3, H, W]`, RGB, 0..1, into `input`; grey is repeated on the three channels.
pub fn letterbox(
    frame: &Frame,
    window: &AppliedNormalization,
    letterbox: &Letterbox,
    input: &mut [f32],
    scratch: &mut Scratch,
) {
    let _ = (frame, window, letterbox, input, scratch);
    todo!()
}
