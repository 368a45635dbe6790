//! How much of two masks is shared once one of them is moved.

use super::body::{Body, Point};
use crate::mask::Mask;

/// Intersection over union of `a`, moved by `way` to the nearest pixel, and `b`; 0..1.
pub(super) fn iou(a: &Body, way: Point, b: &Body) -> f64 {
    // Saturates far outside any frame.
    let way = (way.0.round() as i32, way.1.round() as i32);
    let shared = f64::from(shared_pixels(&a.mask, way, &b.mask));
    shared / (a.area + b.area - shared)
}

/// Pixels that `a`, moved by `way`, and `b` have in common.
fn shared_pixels(a: &Mask, way: (i32, i32), b: &Mask) -> u32 {
    // Where the box of `a` begins in the box of `b`.
    let left = i64::from(a.x()) + i64::from(way.0) - i64::from(b.x());
    let top = i64::from(a.y()) + i64::from(way.1) - i64::from(b.y());
    let rows = top.max(0)..(top + i64::from(a.height())).min(i64::from(b.height()));
    let columns = left.max(0)..(left + i64::from(a.width())).min(i64::from(b.width()));
    if rows.is_empty() || columns.is_empty() {
        return 0;
    }
    let words = columns.start / 32..(columns.end - 1) / 32 + 1;
    let mut shared = 0;
    for y in rows {
        let (of_a, of_b) = (a.row((y - top) as u32), b.row(y as u32));
        for word in words.clone() {
            shared += (of_b[word as usize] & bits_from(of_a, word * 32 - left)).count_ones();
        }
    }
    shared
}

/// The 32 bits of `row` from bit `start` on; bits outside the row are 0.
fn bits_from(row: &[u32], start: i64) -> u32 {
    let (word, shift) = (start.div_euclid(32), start.rem_euclid(32));
    let at = |word: i64| {
        let inside = usize::try_from(word).ok().and_then(|word| row.get(word));
        inside.copied().unwrap_or(0)
    };
    let pair = u64::from(at(word + 1)) << 32 | u64::from(at(word));
    (pair >> shift) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{iou, shared_pixels};
    use crate::{
        mask::{Mask, testing::*},
        track::body::Body,
    };

    #[test]
    fn the_overlap_of_a_moved_cell_is_whole_at_its_new_place() {
        let a = Body::new(&drawn(5, 5, &["###", "###"]), 0);
        let b = Body::new(&drawn(45, 2, &["###", "###"]), 0);
        assert_eq!(iou(&a, (40.2, -2.9), &b), 1.0);
        assert_eq!(iou(&a, (41.0, -3.0), &b), 4.0 / 8.0);
        assert_eq!(iou(&a, (0.0, 0.0), &b), 0.0);
        assert_eq!(iou(&a, (f64::MAX, -f64::MAX), &b), 0.0);
    }

    proptest! {
        #[test]
        fn shared_pixels_are_those_set_in_both(
            (a, _, _) in any_mask(70), (b, _, _) in any_mask(70), way in (-80i32..80, -80i32..80),
        ) {
            let set = |mask: &Mask, x: i64, y: i64| {
                let (x, y) = (x - i64::from(mask.x()), y - i64::from(mask.y()));
                0 <= x && 0 <= y && mask.get(x as u32, y as u32)
            };
            let pixels = (0..160i64).flat_map(|y| (0..160i64).map(move |x| (x, y)));
            let both = pixels.filter(|&(x, y)| {
                set(&b, x, y) && set(&a, x - i64::from(way.0), y - i64::from(way.1))
            });
            prop_assert_eq!(shared_pixels(&a, way, &b) as usize, both.count());
        }
    }
}
