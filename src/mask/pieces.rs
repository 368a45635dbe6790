//! 4-connected pieces of a mask: union-find over the runs of its rows.

use std::ops::Range;

use super::Mask;

/// A run of set pixels of a mask's box.
pub(super) struct Run {
    y: u32,
    xs: Range<u32>,
    /// Number of the first run, in raster order, of its piece.
    piece: usize,
}

impl Mask {
    /// Its largest 4-connected piece in a tight box; of equal ones, the one whose first pixel in raster order comes first.
    pub fn largest_piece(&self) -> Mask {
        let area = |piece: &&[Run]| piece.iter().map(|run| run.xs.len()).sum::<usize>();
        let runs = runs_by_piece(self);
        // `max_by_key` takes the last of equals.
        match pieces(&runs).rev().max_by_key(area) {
            Some(piece) => piece_mask(self, piece),
            None => Mask::empty(self.x, self.y, 0, 0),
        }
    }
}

/// All runs of `mask`: piece after piece in raster order of their first pixels, each piece in raster order.
pub(super) fn runs_by_piece(mask: &Mask) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(mask.height as usize * 2);
    let mut row_above = 0..0;
    for y in 0..mask.height {
        let row_start = runs.len();
        let mut above = row_above.start;
        for xs in mask.row_runs(y) {
            let this = runs.len();
            while above < row_above.end && runs[above].xs.end <= xs.start {
                above += 1;
            }
            let end = xs.end;
            runs.push(Run { y, xs, piece: this });
            for touching in above..row_above.end {
                if runs[touching].xs.start >= end {
                    break;
                }
                join(&mut runs, touching, this);
            }
        }
        row_above = row_start..runs.len();
    }
    // A run never points to a later one, so one pass in order settles every chain.
    for i in 0..runs.len() {
        runs[i].piece = runs[runs[i].piece].piece;
    }
    runs.sort_by_key(|run| run.piece);
    runs
}

/// The pieces among `runs`, which are ordered by piece.
pub(super) fn pieces(runs: &[Run]) -> impl DoubleEndedIterator<Item = &[Run]> {
    runs.chunk_by(|a, b| a.piece == b.piece)
}

/// One piece of `mask` in a tight box.
pub(super) fn piece_mask(mask: &Mask, piece: &[Run]) -> Mask {
    let (first, last) = (piece[0].y, piece[piece.len() - 1].y);
    let left = piece.iter().fold(mask.width, |x, run| x.min(run.xs.start));
    let right = piece.iter().fold(0, |x, run| x.max(run.xs.end));
    let mut tight = Mask::empty(
        mask.x + left,
        mask.y + first,
        right - left,
        last + 1 - first,
    );
    for run in piece {
        tight.fill(run.y - first, run.xs.start - left..run.xs.end - left);
    }
    tight
}

fn join(runs: &mut [Run], a: usize, b: usize) {
    let (a, b) = (root(runs, a), root(runs, b));
    runs[a.max(b)].piece = a.min(b);
}

fn root(runs: &mut [Run], mut run: usize) -> usize {
    while runs[run].piece != run {
        runs[run].piece = runs[runs[run].piece].piece;
        run = runs[run].piece;
    }
    run
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::mask::{Mask, testing::*};

    #[test]
    fn pixels_that_touch_at_a_corner_are_two_pieces() {
        let mask = drawn(3, 7, &["##..", "##..", "..#.", "..##"]);
        assert_eq!(mask.largest_piece(), drawn(3, 7, &["##", "##"]));
    }

    #[test]
    fn of_equal_pieces_the_first_in_raster_order_is_kept() {
        let mask = drawn(0, 0, &["..#", "#..", "#.#"]);
        assert_eq!(mask.largest_piece(), drawn(0, 1, &["#", "#"]));
        let mask = drawn(0, 0, &["..#", "#..", "..."]);
        assert_eq!(mask.largest_piece(), drawn(2, 0, &["#"]));
    }

    #[test]
    fn holes_are_kept() {
        let ring = drawn(1, 1, &["###", "#.#", "###"]);
        assert_eq!(ring.largest_piece(), ring);
    }

    proptest! {
        #[test]
        fn the_largest_piece_is_what_a_flood_fill_finds((mask, width, height) in any_mask(40)) {
            let largest = mask.largest_piece();
            prop_assert_eq!(&largest.trim(), &largest);
            prop_assert_eq!(frame_pixels(&largest, width, height), flood(&mask, width, height));
        }
    }

    fn flood(mask: &Mask, width: u32, height: u32) -> Vec<bool> {
        let (w, h) = (width as usize, height as usize);
        let mut left = frame_pixels(mask, width, height);
        let mut best = Vec::new();
        for start in 0..left.len() {
            let (mut stack, mut piece) = (vec![start], Vec::new());
            while let Some(i) = stack.pop() {
                if !std::mem::take(&mut left[i]) {
                    continue;
                }
                piece.push(i);
                stack.extend((i % w > 0).then(|| i - 1));
                stack.extend((i % w + 1 < w).then(|| i + 1));
                stack.extend((i / w > 0).then(|| i - w));
                stack.extend((i / w + 1 < h).then(|| i + w));
            }
            if piece.len() > best.len() {
                best = piece;
            }
        }
        let mut pixels = vec![false; w * h];
        best.iter().for_each(|&i| pixels[i] = true);
        pixels
    }
}
