//! One instance's pixels, and the forms in which people take them.
//!
//! A [`Mask`] is packed bits inside a box, so that memory follows the cells and not cells times frame.

mod contour;
mod label;
mod occupied;
mod overlap;
mod pieces;
mod region;
mod rle;
mod runs;
mod transpose;

use std::ops::Range;

pub use contour::{Ring, rings};
pub use label::{LabelImage, label_image};
pub use occupied::Occupied;
pub use region::{MAX_REGION_CORNERS, RegionError, check_region, region};
pub use rle::{RleError, decode_coco, encode_coco};
use runs::{fill, runs};

/// One instance's pixels: row-major bits of a box of the frame, least significant bit first, each row padded to 32 bits.
/// **Invariant:** the box lies inside the frame; its makers see to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    words: Vec<u32>,
}

impl Mask {
    /// No pixel set, of the box with its top left corner at (`x`, `y`).
    pub fn empty(x: u32, y: u32, width: u32, height: u32) -> Self {
        Mask {
            x,
            y,
            width,
            height,
            words: vec![0; width.div_ceil(32) as usize * height as usize],
        }
    }

    /// Left edge in the frame.
    pub fn x(&self) -> u32 {
        self.x
    }

    /// Top edge in the frame.
    pub fn y(&self) -> u32 {
        self.y
    }

    /// Pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// 32-bit words of one row.
    pub fn row_words(&self) -> usize {
        self.width.div_ceil(32) as usize
    }

    /// All words, row by row. **Invariant:** bits past the width are zero.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Row `y` of the box.
    pub fn row(&self, y: u32) -> &[u32] {
        let n = self.row_words();
        &self.words[y as usize * n..][..n]
    }

    /// Row `y` of the box, to write. The caller leaves bits past the width zero.
    pub fn row_mut(&mut self, y: u32) -> &mut [u32] {
        let n = self.row_words();
        &mut self.words[y as usize * n..][..n]
    }

    /// Takes its words, row by row, from elsewhere, where bits past the width are zero too.
    pub(crate) fn fill_words(&mut self, words: impl Iterator<Item = u32>) {
        self.words
            .iter_mut()
            .zip(words)
            .for_each(|(own, word)| *own = word);
    }

    /// Whether the pixel (`x`, `y`) of the box is set.
    pub fn get(&self, x: u32, y: u32) -> bool {
        x < self.width && y < self.height && self.row(y)[x as usize / 32] >> (x % 32) & 1 == 1
    }

    /// Whether all pixels `xs` of row `y`, in the frame's coordinates, are set. Outside the box none is.
    pub fn holds(&self, y: i64, xs: Range<i64>) -> bool {
        let (y, start, end) = (
            y - i64::from(self.y),
            xs.start - i64::from(self.x),
            xs.end - i64::from(self.x),
        );
        if y < 0 || y >= i64::from(self.height) || start < 0 || end > i64::from(self.width) {
            return false;
        }
        let (start, end) = (start as u32, end as u32);
        self.row_runs(y as u32)
            .any(|run| run.start <= start && end <= run.end)
    }

    /// Sets the pixel (`x`, `y`) of the box.
    pub fn set(&mut self, x: u32, y: u32) {
        debug_assert!(
            x < self.width && y < self.height,
            "({x}, {y}) of {}x{}",
            self.width,
            self.height
        );
        self.row_mut(y)[x as usize / 32] |= 1 << (x % 32);
    }

    /// Sets the pixels `xs` of row `y` of the box.
    pub fn fill(&mut self, y: u32, xs: Range<u32>) {
        debug_assert!(xs.start < xs.end && xs.end <= self.width, "{xs:?}");
        fill(self.row_mut(y), xs);
    }

    /// The same pixels in the smallest box that holds them; without pixels, a box of no size.
    pub fn trim(&self) -> Mask {
        let set = |&y: &u32| self.row(y).iter().any(|&word| word != 0);
        let (Some(first), Some(last)) = ((0..self.height).find(set), (0..self.height).rfind(set))
        else {
            return Mask::empty(self.x, self.y, 0, 0);
        };
        let mut columns = vec![0; self.row_words()];
        for y in first..=last {
            for (column, word) in columns.iter_mut().zip(self.row(y)) {
                *column |= word;
            }
        }
        let left = runs(&columns).next().map_or(0, |xs| xs.start);
        let right = runs(&columns).last().map_or(0, |xs| xs.end);
        let mut tight = Mask::empty(
            self.x + left,
            self.y + first,
            right - left,
            last + 1 - first,
        );
        for y in first..=last {
            for xs in self.row_runs(y) {
                tight.fill(y - first, xs.start - left..xs.end - left);
            }
        }
        tight
    }

    /// The runs of set pixels of row `y` of the box, from left to right.
    pub fn row_runs(&self, y: u32) -> impl Iterator<Item = Range<u32>> {
        runs(self.row(y))
    }

    /// Number of pixels.
    pub fn area(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether no pixel is set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Masks as a person draws them, and at random.

    use proptest::prelude::*;

    use super::Mask;

    /// `#` is set; the box's top left corner is at (`x`, `y`).
    pub(crate) fn drawn(x: u32, y: u32, rows: &[&str]) -> Mask {
        let mut mask = Mask::empty(x, y, rows[0].len() as u32, rows.len() as u32);
        for (row, line) in (0..).zip(rows) {
            for (column, pixel) in (0..).zip(line.bytes()) {
                if pixel == b'#' {
                    mask.set(column, row);
                }
            }
        }
        mask
    }

    /// Every pixel of a frame, row-major.
    pub(crate) fn frame_pixels(mask: &Mask, width: u32, height: u32) -> Vec<bool> {
        let inside =
            |x: u32, y: u32| x >= mask.x() && y >= mask.y() && mask.get(x - mask.x(), y - mask.y());
        (0..height)
            .flat_map(|y| (0..width).map(move |x| inside(x, y)))
            .collect()
    }

    /// Noise of any density, in a box anywhere in a frame; with the frame's width and height.
    pub(crate) fn any_mask(most: u32) -> impl Strategy<Value = (Mask, u32, u32)> {
        (
            1..=most,
            1..=most,
            0..3u32,
            0..3u32,
            0..3u32,
            0..3u32,
            0u8..=10,
        )
            .prop_flat_map(|(w, h, left, top, right, bottom, tenths)| {
                prop::collection::vec(0u8..10, (w * h) as usize).prop_map(move |noise| {
                    let mut mask = Mask::empty(left, top, w, h);
                    for (i, _) in (0..).zip(&noise).filter(|(_, n)| **n < tenths) {
                        mask.set(i % w, i / w);
                    }
                    (mask, left + w + right, top + h + bottom)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Mask, testing::*};

    #[test]
    fn a_trimmed_mask_without_pixels_has_no_size() {
        assert_eq!(Mask::empty(4, 5, 40, 3).trim(), Mask::empty(4, 5, 0, 0));
    }

    proptest! {
        #[test]
        fn trimming_keeps_every_pixel_and_no_empty_side((mask, width, height) in any_mask(80)) {
            let tight = mask.trim();
            prop_assert_eq!(frame_pixels(&tight, width, height), frame_pixels(&mask, width, height));
            if !mask.is_empty() {
                let (right, bottom) = (tight.width() - 1, tight.height() - 1);
                prop_assert!((0..=right).any(|x| tight.get(x, 0)) && (0..=right).any(|x| tight.get(x, bottom)));
                prop_assert!((0..=bottom).any(|y| tight.get(0, y)) && (0..=bottom).any(|y| tight.get(right, y)));
            }
        }

        #[test]
        fn filling_a_run_sets_exactly_its_pixels(start in 0u32..100, length in 1u32..100) {
            let mut mask = Mask::empty(0, 0, 200, 1);
            mask.fill(0, start..start + length);
            prop_assert!((0..200).all(|x| mask.get(x, 0) == (start..start + length).contains(&x)));
        }
    }
}
