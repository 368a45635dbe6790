//! Masks from runs of pixels down the columns of a frame, COCO's order.

use std::ops::Range;

use crate::mask::Mask;

/// The mask of all pixels in `runs`, in any order and overlapping as they may. A pixel's number is `x * height + y`.
///
/// **Invariant:** runs end within the frame, and a frame's side fits 16 bits; the callers see to it.
pub(super) fn mask_of_runs(runs: impl Iterator<Item = Range<u64>> + Clone, height: u32) -> Mask {
    let pieces = || {
        runs.clone()
            .flat_map(move |run| down_columns(run, u64::from(height)))
    };
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for (x, ys) in pieces() {
        (left, right) = (left.min(x), right.max(x + 1));
        (top, bottom) = (top.min(ys.start), bottom.max(ys.end));
    }
    if right == 0 {
        return Mask::empty(0, 0, 0, 0);
    }
    let mut mask = Mask::empty(left, top, right - left, bottom - top);
    for (x, ys) in pieces() {
        ys.for_each(|y| mask.set(x - left, y - top));
    }
    mask
}

/// A run cut at the ends of columns: the column and its rows.
fn down_columns(run: Range<u64>, height: u64) -> impl Iterator<Item = (u32, Range<u32>)> {
    let mut start = run.start;
    std::iter::from_fn(move || {
        (start < run.end).then(|| {
            let (x, top) = (start / height, start % height);
            let n = (height - top).min(run.end - start);
            start += n;
            (x as u32, top as u32..(top + n) as u32)
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::mask_of_runs;
    use crate::mask::testing::frame_pixels;

    proptest! {
        #[test]
        fn a_mask_has_the_pixels_of_its_runs(
            runs in prop::collection::vec((0u64..70, 0u64..20).prop_map(|(start, n)| start..(start + n).min(77)), 0..6),
        ) {
            let (width, height) = (11, 7);
            let mask = mask_of_runs(runs.iter().cloned(), height);
            let pixels = frame_pixels(&mask, width, height);
            for (i, pixel) in (0..).zip(pixels) {
                let number = (i % u64::from(width)) * u64::from(height) + i / u64::from(width);
                prop_assert_eq!(pixel, runs.iter().any(|run| run.contains(&number)), "{}", i);
            }
        }
    }
}
