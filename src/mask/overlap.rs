//! What two masks of one frame share, and masks put together.

use super::Mask;

impl Mask {
    /// Pixels that both have.
    pub fn overlap(&self, other: &Mask) -> u32 {
        let (left, right) = (
            self.x.max(other.x),
            (self.x + self.width).min(other.x + other.width),
        );
        let (top, bottom) = (
            self.y.max(other.y),
            (self.y + self.height).min(other.y + other.height),
        );
        let mut n = 0;
        for y in top..bottom {
            let (own, others) = (self.row(y - self.y), other.row(y - other.y));
            // Bits past a width are zero, so the last word needs no care.
            for x in (left..right).step_by(32) {
                n += (word_at(own, x - self.x) & word_at(others, x - other.x)).count_ones();
            }
        }
        n
    }

    /// Pixels inside a rectangle of the frame.
    pub fn area_in(&self, x: u32, y: u32, width: u32, height: u32) -> u32 {
        let (left, right) = (self.x.max(x), (self.x + self.width).min(x + width));
        let (top, bottom) = (self.y.max(y), (self.y + self.height).min(y + height));
        let mut n = 0;
        for y in top..bottom {
            let row = self.row(y - self.y);
            for x in (left..right).step_by(32) {
                let inside = u32::MAX >> (32 - (right - x).min(32));
                n += (word_at(row, x - self.x) & inside).count_ones();
            }
        }
        n
    }

    /// The same pixels further right and down.
    pub fn moved(mut self, x: u32, y: u32) -> Mask {
        self.x += x;
        self.y += y;
        self
    }

    /// The pixels of all `masks`, in the smallest box that holds theirs.
    pub fn union<'a>(masks: impl Iterator<Item = &'a Mask> + Clone) -> Mask {
        let all = masks.clone();
        let x = all.clone().map(|mask| mask.x).min().unwrap_or(0);
        let y = all.clone().map(|mask| mask.y).min().unwrap_or(0);
        let right = all.clone().map(|mask| mask.x + mask.width).max();
        let bottom = all.map(|mask| mask.y + mask.height).max();
        let mut union = Mask::empty(x, y, right.unwrap_or(0) - x, bottom.unwrap_or(0) - y);
        for mask in masks {
            let (right, down) = (mask.x - x, mask.y - y);
            for row in 0..mask.height {
                for xs in mask.row_runs(row) {
                    union.fill(row + down, xs.start + right..xs.end + right);
                }
            }
        }
        union
    }
}

/// The 32 bits of a row from bit `at` on; zeros past its end.
fn word_at(row: &[u32], at: u32) -> u32 {
    let (word, shift) = (at as usize / 32, at % 32);
    let low = u64::from(row.get(word).copied().unwrap_or(0));
    let high = u64::from(row.get(word + 1).copied().unwrap_or(0));
    ((high << 32 | low) >> shift) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::mask::{Mask, testing::*};

    proptest! {
        #[test]
        fn shared_pixels_are_those_that_both_have(
            (a, wa, ha) in any_mask(80),
            (b, wb, hb) in any_mask(80),
            (x, y, w, h) in (0u32..60, 0u32..60, 0u32..60, 0u32..60),
        ) {
            let b = b.moved(x / 4, y / 4);
            let (width, height) = (wa.max(wb + x / 4), ha.max(hb + y / 4));
            let [of_a, of_b] = [&a, &b].map(|mask| frame_pixels(mask, width, height));
            let both = (0..of_a.len()).filter(|&i| of_a[i] && of_b[i]).count();
            prop_assert_eq!(a.overlap(&b), both as u32);
            prop_assert_eq!(b.overlap(&a), both as u32);
            let inside = |i: u32| {
                let (px, py) = (i % width, i / width);
                x <= px && px < x + w && y <= py && py < y + h
            };
            let inside = (0..).zip(&of_a).filter(|&(i, &set)| set && inside(i)).count();
            prop_assert_eq!(a.area_in(x, y, w, h), inside as u32);
            let union = frame_pixels(&Mask::union([&a, &b].into_iter()), width, height);
            prop_assert!((0..union.len()).all(|i| union[i] == (of_a[i] || of_b[i])));
        }
    }
}
