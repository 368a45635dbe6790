//! Which pixels of a frame belong to somebody.

use super::{Mask, fill};

/// One bit a pixel of a frame.
#[derive(Clone, Debug)]
pub struct Occupied {
    /// Words of a row: one more than its pixels need, so that a shifted word always has a right neighbour.
    stride: usize,
    words: Vec<u32>,
}

impl Occupied {
    /// Nothing is taken yet.
    pub fn new(width: u32, height: u32) -> Self {
        let stride = width.div_ceil(32) as usize + 1;
        Occupied {
            stride,
            words: vec![0; stride * height as usize],
        }
    }

    /// Everything outside `region` is taken.
    pub fn outside(region: &Mask, width: u32, height: u32) -> Self {
        let mut occupied = Occupied::new(width, height);
        let rows = region.y()..region.y() + region.height();
        for (y, taken) in (0..height).zip(occupied.words.chunks_exact_mut(occupied.stride)) {
            let mut gap = 0;
            if rows.contains(&y) {
                for xs in region.row_runs(y - region.y()) {
                    let xs = region.x() + xs.start..region.x() + xs.end;
                    if gap < xs.start {
                        fill(taken, gap..xs.start);
                    }
                    gap = xs.end;
                }
            }
            if gap < width {
                fill(taken, gap..width);
            }
        }
        occupied
    }

    /// Takes away from `mask` the pixels that are taken already; those left are taken from now on.
    pub fn claim(&mut self, mask: &mut Mask) {
        let (x, y, shift) = (mask.x() as usize, mask.y() as usize, mask.x() % 32);
        for (row, taken) in (0..mask.height()).zip(self.words.chunks_exact_mut(self.stride).skip(y))
        {
            let row = mask.row_mut(row);
            let taken = &mut taken[x / 32..][..row.len() + 1];
            let mut low = taken[0];
            for (i, word) in row.iter_mut().enumerate() {
                let high = taken[i + 1];
                let pair = u64::from(high) << 32 | u64::from(low);
                *word &= !((pair >> shift) as u32);
                let claimed = u64::from(*word) << shift;
                taken[i] = low | claimed as u32;
                low = high | (claimed >> 32) as u32;
            }
            taken[row.len()] = low;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Occupied;
    use crate::mask::testing::*;

    proptest! {
        #[test]
        fn outside_a_region_nothing_is_left((region, wa, ha) in any_mask(70), (mask, wb, hb) in any_mask(70)) {
            let (width, height) = (wa.max(wb), ha.max(hb));
            let mut cut = mask.clone();
            Occupied::outside(&region, width, height).claim(&mut cut);
            let [region, mask, cut] = [&region, &mask, &cut].map(|mask| frame_pixels(mask, width, height));
            for i in 0..cut.len() {
                prop_assert_eq!(cut[i], mask[i] && region[i]);
            }
        }

        #[test]
        fn a_pixel_is_claimed_once_by_the_first((a, wa, ha) in any_mask(70), (b, wb, hb) in any_mask(70)) {
            let (width, height) = (wa.max(wb), ha.max(hb));
            let mut occupied = Occupied::new(width, height);
            let (mut first, mut second) = (a.clone(), b.clone());
            occupied.claim(&mut first);
            occupied.claim(&mut second);
            prop_assert_eq!(&first, &a);
            let [a, b, second] = [&a, &b, &second].map(|mask| frame_pixels(mask, width, height));
            for i in 0..a.len() {
                prop_assert_eq!(second[i], b[i] && !a[i]);
            }
        }
    }
}
