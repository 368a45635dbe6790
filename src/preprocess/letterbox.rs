//! Normalise, scale, pad.

use super::Scratch;
use crate::{frame::Frame, geometry::Letterbox, segmentation::AppliedNormalization};

/// What the padding holds: the grey that YOLO models are trained with.
pub const FILL: f32 = 114.0 / 255.0;

/// Normalised, scaled and padded: `[3, H, W]`, RGB, 0..1, into `input`; grey is repeated on the three channels.
///
/// All in f32 without fused multiply-add, in this order:
/// 1. each tap: `n = (min(sample, max_value) - low) * scale`, clipped to 0..1, NaN to 0; `low` rounded to f32,
///    `scale = 1 / (high - low)` computed in f64, rounded to f32, at most the largest f32;
/// 2. horizontally, then vertically: `n0 * (1 - t) + n1 * t`. For output pixel i of `new` the position in the frame is
///    `p = (i + 0.5) * (cam / new) - 0.5` in f64 (half-pixel centres, as OpenCV's INTER_LINEAR); the taps are `floor(p)` and
///    the next, `t = p - floor(p)` rounded to f32. Where a tap would lie outside the frame both are its edge and t is 0;
/// 3. everything outside the scaled frame is [`FILL`].
///
/// **Invariant:** `letterbox` is of this frame, and `input` holds `3 * H * W` values.
pub fn letterbox(
    frame: &Frame,
    window: &AppliedNormalization,
    letterbox: &Letterbox,
    input: &mut [f32],
    scratch: &mut Scratch,
) {
    let resampler = &mut scratch.resampler;
    resampler.start(frame, window, letterbox);
    let (width_in, width_new) = (letterbox.width_in as usize, letterbox.width_new as usize);
    let (left, top) = (letterbox.left as usize, letterbox.top as usize);
    let bottom = top + letterbox.height_new as usize;
    let (red, rest) = input.split_at_mut(width_in * letterbox.height_in as usize);
    let (green, blue) = rest.split_at_mut(red.len());
    let mut planes = [red, green, blue];
    for y in 0..letterbox.height_in as usize {
        let mut lines = planes
            .each_mut()
            .map(|plane| &mut plane[y * width_in..(y + 1) * width_in]);
        if y < top || bottom <= y {
            lines.iter_mut().for_each(|line| line.fill(FILL));
            continue;
        }
        let row = resampler.row(frame, y - top);
        // Grey has one channel, which serves all three.
        for (line, channel) in lines.iter_mut().zip(row.chunks_exact(width_new).cycle()) {
            line[..left].fill(FILL);
            line[left..left + width_new].copy_from_slice(channel);
            line[left + width_new..].fill(FILL);
        }
    }
}
