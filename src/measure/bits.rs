//! A mask's rows in wide words with room around them, so that neighbours are shifts.

use crate::mask::Mask;

/// Clear bits left and right of the box, at least; the farthest that anything here looks.
pub(super) const MARGIN: u32 = 8;

/// The rows of one mask's box: pixel x is bit `x + MARGIN`.
#[derive(Debug, Default)]
pub(super) struct Padded {
    words: Vec<u64>,
    row_words: usize,
    height: usize,
    /// One row of no pixels, above and below the box.
    clear: Vec<u64>,
}

impl Padded {
    /// Holds `mask` from now on.
    pub(super) fn take(&mut self, mask: &Mask) {
        self.row_words = (mask.width() + 2 * MARGIN).div_ceil(64) as usize;
        self.height = mask.height() as usize;
        self.clear.clear();
        self.clear.resize(self.row_words, 0);
        self.words.clear();
        self.words.resize(self.row_words * self.height, 0);
        for (y, row) in (0..).zip(self.words.chunks_exact_mut(self.row_words)) {
            for (i, &word) in mask.row(y).iter().enumerate() {
                let bit = 32 * i + MARGIN as usize;
                let wide = u128::from(word) << (bit % 64);
                row[bit / 64] |= wide as u64;
                if let Some(next) = row.get_mut(bit / 64 + 1) {
                    *next |= (wide >> 64) as u64;
                }
            }
        }
    }

    /// All rows, one after the other.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn row_words(&self) -> usize {
        self.row_words
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Row `y` of the box; outside, one without pixels.
    pub(super) fn row(&self, y: isize) -> &[u64] {
        match usize::try_from(y) {
            Ok(y) if y < self.height => &self.words[y * self.row_words..][..self.row_words],
            _ => &self.clear,
        }
    }
}

/// Word `i` of `row` moved right by a pixel: each bit is its left neighbour's.
pub(super) fn from_left(row: &[u64], i: usize) -> u64 {
    let before = if i == 0 { 0 } else { row[i - 1] };
    row[i] << 1 | before >> 63
}

/// Word `i` of `row` moved left by a pixel: each bit is its right neighbour's.
pub(super) fn from_right(row: &[u64], i: usize) -> u64 {
    let after = row.get(i + 1).copied().unwrap_or(0);
    row[i] >> 1 | after << 63
}
