//! The ring around a cell in which its background is measured.
//!
//! A pixel belongs to it if the nearest pixel of the cell is 2 to 7 pixels away, middle to middle (what scipy's
//! `distance_transform_edt` gives outside the cell), and no cell has it.

use super::bits::{MARGIN, Padded, from_left, from_right};
use crate::mask::Mask;

/// How far the ring reaches, pixels.
pub(super) const REACH: usize = 7;

/// The disc of radius 7: half its width in the rows at each distance from its middle, floor(sqrt(49 - dy^2)).
const HALF_WIDTHS: [usize; REACH + 1] = [7, 6, 6, 6, 5, 4, 3, 0];

/// The pixels of all cells of a frame; outside the frame all are taken.
pub(super) struct Taken {
    words: Vec<u64>,
    row_words: usize,
}

/// Taken pixels left of the frame, so that a ring may begin there.
const LEFT: u32 = 64;

impl Taken {
    /// `masks` lie in a frame of `width` x `height` pixels.
    pub(super) fn by(masks: &[&Mask], width: u32, height: u32) -> Self {
        // A ring's last word may begin anywhere up to the right edge.
        let row_words = (LEFT + width).div_ceil(64) as usize + 2;
        let mut words = vec![0; row_words * height as usize];
        for row in words.chunks_exact_mut(row_words) {
            row[0] = u64::MAX;
            fill(row, LEFT + width, row_words as u32 * 64);
        }
        for mask in masks {
            for (y, row) in
                (0..mask.height()).zip(words.chunks_exact_mut(row_words).skip(mask.y() as usize))
            {
                for xs in mask.row_runs(y) {
                    let x = LEFT + mask.x();
                    fill(row, x + xs.start, x + xs.end);
                }
            }
        }
        Taken { words, row_words }
    }

    /// The 64 pixels of row `y` from `x` on, which is at least -[`LEFT`].
    fn at(&self, x: i64, y: i64) -> u64 {
        let bit = (x + i64::from(LEFT)) as usize;
        let row = usize::try_from(y)
            .ok()
            .and_then(|y| self.words.get(y * self.row_words..(y + 1) * self.row_words));
        let Some(row) = row else {
            return u64::MAX;
        };
        match row.get(bit / 64..) {
            Some([low, high, ..]) => {
                let pair = u128::from(*high) << 64 | u128::from(*low);
                (pair >> (bit % 64)) as u64
            }
            Some([low]) => low >> (bit % 64) | !(u64::MAX >> (bit % 64)),
            Some([]) | None => u64::MAX,
        }
    }
}

/// Sets the bits from `start` up to `end`, at least one.
fn fill(words: &mut [u64], start: u32, end: u32) {
    let (first, last) = (start as usize / 64, (end - 1) as usize / 64);
    let (from, to) = (u64::MAX << (start % 64), u64::MAX >> (63 - (end - 1) % 64));
    if first == last {
        words[first] |= from & to;
    } else {
        words[first] |= from;
        words[first + 1..last].fill(u64::MAX);
        words[last] |= to;
    }
}

/// The ring around one cell.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Frame row of the first row, which may lie above the frame.
    top: i64,
    /// Frame column of bit 0, which may lie left of the frame.
    left: i64,
    row_words: usize,
    words: Vec<u64>,
}

/// Buffers kept from ring to ring: all rows of the cell, one after the other. The margins keep rows apart.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    padded: Padded,
    wide: Vec<u64>,
    wider: Vec<u64>,
    near: Vec<u64>,
}

impl Ring {
    /// Around `mask`.
    pub(super) fn around(mask: &Mask, taken: &Taken, scratch: &mut Scratch) -> Self {
        let Scratch {
            padded,
            wide,
            wider,
            near,
        } = scratch;
        padded.take(mask);
        let n = padded.row_words();
        let n_words = n * (padded.height() + 2 * REACH);
        let mut outer = vec![0; n_words];
        // Pixels at 0, 1 and sqrt 2 are too near: the 3 x 3 square.
        near.clear();
        near.resize(n_words, 0);
        wide.clear();
        wide.extend_from_slice(padded.words());
        for half in 0..=REACH {
            if half > 0 {
                widen(wide, wider);
                std::mem::swap(wide, wider);
            }
            if half == 1 {
                (REACH - 1..=REACH + 1).for_each(|row| add(&mut near[row * n..], wide));
            }
            for (dy, _) in (0..).zip(HALF_WIDTHS).filter(|(_, width)| *width == half) {
                add(&mut outer[(REACH - dy) * n..], wide);
                add(&mut outer[(REACH + dy) * n..], wide);
            }
        }
        let left = i64::from(mask.x()) - i64::from(MARGIN);
        let top = i64::from(mask.y()) - REACH as i64;
        let rows = outer.chunks_exact_mut(n).zip(near.chunks_exact(n));
        for (y, (row, near)) in (top..).zip(rows) {
            for (x, (word, near)) in (left..).step_by(64).zip(row.iter_mut().zip(near)) {
                *word &= !(near | taken.at(x, y));
            }
        }
        Ring {
            top,
            left,
            row_words: n,
            words: outer,
        }
    }

    /// Pixels.
    pub(super) fn area(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The stretches of its pixels in row `y` of the frame; none where it has no row.
    pub(super) fn runs(&self, y: u32) -> impl Iterator<Item = std::ops::Range<usize>> {
        let row = usize::try_from(i64::from(y) - self.top)
            .ok()
            .and_then(|row| {
                self.words
                    .get(row * self.row_words..(row + 1) * self.row_words)
            })
            .unwrap_or(&[]);
        row.iter().enumerate().flat_map(move |(i, &word)| {
            let base = self.left + 64 * i as i64;
            let mut left = word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let start = left.trailing_zeros();
                let length = (!(left >> start)).trailing_zeros();
                left = match start + length {
                    64 => 0,
                    end => left >> end << end,
                };
                // Inside the frame, so not below zero: what is left of it is taken.
                let start = (base + i64::from(start)) as usize;
                Some(start..start + length as usize)
            })
        })
    }
}

/// `wider` becomes `wide`, wider by a pixel on both sides; the margin holds it.
fn widen(wide: &[u64], wider: &mut Vec<u64>) {
    wider.clear();
    wider.extend_from_slice(wide);
    for (i, out) in wider.iter_mut().enumerate() {
        *out |= from_left(wide, i) | from_right(wide, i);
    }
}

/// Adds the pixels of `more` to those of the first rows.
fn add(rows: &mut [u64], more: &[u64]) {
    for (word, more) in rows.iter_mut().zip(more) {
        *word |= more;
    }
}
