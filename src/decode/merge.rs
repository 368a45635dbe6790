//! The instances of a frame's tiles as those of one frame: a cell on a seam comes out once and whole.
//!
//! Tiles overlap, so most cells on a seam lie whole in one of them. In this order:
//! 1. What a tile's edge cuts is dropped where another tile holds all of it clear of its own edges: that one saw more.
//! 2. What is left of cut pieces is from cells larger than what tiles share. Two of them are one cell where they share at least
//!    half of the smaller one's pixels in the area that both tiles see; it gets the pixels of all its pieces, the highest score,
//!    and the class that has it.
//! 3. A cell that two tiles saw whole comes twice: of two instances from different tiles that share at least half of the smaller
//!    one's pixels, the one with the higher score stays.
//!
//! Instances of different classes are different cells unless classes suppress each other, as within a tile. Order is falling
//! score, then tile, then anchor, and nothing depends on anything else. What is kept at a time is bounded as for a whole frame.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Bounds, Decoded};
use crate::{
    geometry::{BoxF, Tile},
    mask::Mask,
    params::Thresholds,
    segmentation::RawInstance,
};

/// Takes the tiles' instances one tile after the other, and puts them together at the end.
#[derive(Debug)]
pub struct Seams<'a> {
    frame: (u32, u32),
    tiles: &'a [Tile],
    clear_px: u32,
    thresholds: &'a Thresholds,
    bounds: Bounds,
    pieces: Vec<Piece>,
    n_words: usize,
    truncated: bool,
}

/// An instance in the frame's pixels.
#[derive(Clone, Debug)]
struct Piece {
    instance: RawInstance,
    /// Of its mask, which is tight.
    bounds: Tile,
    /// Index of the first tile that saw it, then its place among that tile's.
    rank: (usize, usize),
    /// All tiles that saw it.
    seen_by: Vec<usize>,
    cut: bool,
}

impl<'a> Seams<'a> {
    /// `clear_px`: an instance that comes nearer to an edge of its tile that lies inside the frame is cut by it. What tiles share
    /// should be twice that.
    pub fn new(
        frame: (u32, u32),
        tiles: &'a [Tile],
        clear_px: u32,
        thresholds: &'a Thresholds,
    ) -> Self {
        Seams {
            frame,
            tiles,
            clear_px,
            thresholds,
            bounds: Bounds::default(),
            pieces: Vec::new(),
            n_words: 0,
            truncated: false,
        }
    }

    /// The instances of the tile with this index, in its own pixels, in the order of their scores. Of more than the bounds allow the
    /// lowest scores go.
    pub fn add(&mut self, tile: usize, instances: Vec<RawInstance>) {
        let corner = self.tiles[tile];
        for (place, instance) in instances.into_iter().enumerate() {
            let mask = instance.mask.trim().moved(corner.x, corner.y);
            if mask.is_empty() {
                continue;
            }
            let bounds = bounds_of(&mask);
            let by = |edge: f32, x: u32| edge + x as f32;
            let b = instance.detected_box;
            self.n_words += mask.words().len();
            self.pieces.push(Piece {
                cut: corner.clearance(&bounds, self.frame) < self.clear_px,
                bounds,
                rank: (tile, place),
                seen_by: vec![tile],
                instance: RawInstance {
                    detected_box: BoxF {
                        x0: by(b.x0, corner.x),
                        y0: by(b.y0, corner.y),
                        x1: by(b.x1, corner.x),
                        y1: by(b.y1, corner.y),
                    },
                    mask,
                    ..instance
                },
            });
        }
        let most = self.most_pieces();
        if self.pieces.len() > most || self.n_words > self.bounds.max_mask_words {
            self.cut_to(most);
        }
    }

    /// The instances of the frame. Asks `look` now and then whether it should go on.
    pub fn finish<E>(mut self, mut look: impl FnMut() -> Result<(), E>) -> Result<Decoded, E> {
        look()?;
        self.drop_overruled();
        self.join_cut(&mut look)?;
        self.cut_to(self.most_pieces());
        self.drop_repeated(&mut look)?;
        let most = self.thresholds.max_cells as usize;
        self.truncated |= self.pieces.len() > most;
        self.pieces.truncate(most);
        Ok(Decoded {
            instances: self
                .pieces
                .into_iter()
                .map(|piece| piece.instance)
                .collect(),
            truncated: self.truncated,
        })
    }

    fn most_pieces(&self) -> usize {
        self.bounds
            .max_candidates
            .max(self.thresholds.max_cells as usize)
    }

    /// The first `most` in order, and no more than the bound on masks.
    fn cut_to(&mut self, most: usize) {
        self.pieces.sort_unstable_by_key(Piece::order);
        let mut n_words = 0;
        let fits = self.pieces.iter().take(most).take_while(|piece| {
            n_words += piece.instance.mask.words().len();
            n_words <= self.bounds.max_mask_words
        });
        let n_fit = fits.count();
        self.truncated |= n_fit < self.pieces.len();
        self.pieces.truncate(n_fit);
        let words = |piece: &Piece| piece.instance.mask.words().len();
        self.n_words = self.pieces.iter().map(words).sum();
    }

    /// Step 1.
    fn drop_overruled(&mut self) {
        let (frame, tiles, clear_px) = (self.frame, self.tiles, self.clear_px);
        self.pieces.retain(|piece| {
            !piece.cut
                || !tiles.iter().any(|tile| {
                    tile.contains(&piece.bounds) && tile.clearance(&piece.bounds, frame) >= clear_px
                })
        });
    }

    /// Step 2.
    fn join_cut<E>(&mut self, look: &mut impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let (mut cut, whole): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pieces)
            .into_iter()
            .partition(|piece| piece.cut);
        self.pieces = whole;
        cut.sort_unstable_by_key(Piece::order);
        // The first of the pieces that each belongs with.
        let mut first: Vec<usize> = (0..cut.len()).collect();
        for i in 0..cut.len() {
            look()?;
            for j in 0..i {
                let (one, other) = (root(&first, i), root(&first, j));
                if one != other && self.are_one_cell(&cut[i], &cut[j]) {
                    first[one.max(other)] = one.min(other);
                }
            }
        }
        let mut cells: BTreeMap<usize, Vec<&Piece>> = BTreeMap::new();
        for (i, piece) in cut.iter().enumerate() {
            cells.entry(root(&first, i)).or_default().push(piece);
        }
        let mut n_words = self.n_words;
        for pieces in cells.values() {
            let joined = match pieces.as_slice() {
                [alone] => (*alone).clone(),
                pieces => {
                    // Of pieces that lie far apart it may be much larger than they are.
                    let bounds = around(pieces);
                    let words = bounds.width.div_ceil(32) as usize * bounds.height as usize;
                    n_words = n_words.saturating_add(words);
                    if n_words > 2 * self.bounds.max_mask_words {
                        self.truncated = true;
                        break;
                    }
                    joined(pieces, bounds)
                }
            };
            self.pieces.push(joined);
        }
        Ok(())
    }

    /// Step 3.
    fn drop_repeated<E>(&mut self, look: &mut impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let mut kept: Vec<Piece> = Vec::with_capacity(self.pieces.len());
        for piece in std::mem::take(&mut self.pieces) {
            look()?;
            let repeated = kept.iter().any(|other| {
                self.may_be_one_cell(&piece, other) && {
                    let smaller = piece.instance.mask.area().min(other.instance.mask.area());
                    2 * piece.instance.mask.overlap(&other.instance.mask) >= smaller
                }
            });
            if !repeated {
                kept.push(piece);
            }
        }
        self.pieces = kept;
        Ok(())
    }

    /// Two cut pieces, by what they show where both of their tiles see.
    fn are_one_cell(&self, a: &Piece, b: &Piece) -> bool {
        if !self.may_be_one_cell(a, b) {
            return false;
        }
        let zone = self.tiles[a.rank.0].shared(&self.tiles[b.rank.0]);
        let seen = |piece: &Piece| {
            let mask = &piece.instance.mask;
            mask.area_in(zone.x, zone.y, zone.width, zone.height)
        };
        let both = a.instance.mask.overlap(&b.instance.mask);
        both > 0 && 2 * both >= seen(a).min(seen(b))
    }

    /// Seen by different tiles, near each other, and not told apart by their classes.
    fn may_be_one_cell(&self, a: &Piece, b: &Piece) -> bool {
        let shared = a.bounds.shared(&b.bounds);
        let near = shared.width > 0 && shared.height > 0;
        let same =
            self.thresholds.class_agnostic || a.instance.class_index == b.instance.class_index;
        near && same && !a.seen_by.iter().any(|tile| b.seen_by.contains(tile))
    }
}

impl Piece {
    /// Smaller for a higher score, then for the earlier tile, then for the lower anchor. Bits of floats above zero are ordered as
    /// the floats.
    fn order(&self) -> (Reverse<u32>, (usize, usize)) {
        (Reverse(self.instance.score.to_bits()), self.rank)
    }
}

/// One cell of `pieces`, which are in order.
fn joined(pieces: &[&Piece], bounds: Tile) -> Piece {
    let best = pieces[0];
    let boxes = pieces.iter().map(|piece| piece.instance.detected_box);
    let detected_box = boxes.fold(best.instance.detected_box, |all, b| BoxF {
        x0: all.x0.min(b.x0),
        y0: all.y0.min(b.y0),
        x1: all.x1.max(b.x1),
        y1: all.y1.max(b.y1),
    });
    Piece {
        instance: RawInstance {
            detected_box,
            mask: Mask::union(pieces.iter().map(|piece| &piece.instance.mask)),
            ..best.instance
        },
        bounds,
        rank: best.rank,
        seen_by: pieces.iter().map(|piece| piece.rank.0).collect(),
        cut: true,
    }
}

fn root(first: &[usize], mut piece: usize) -> usize {
    while first[piece] != piece {
        piece = first[piece];
    }
    piece
}

fn bounds_of(mask: &Mask) -> Tile {
    Tile {
        x: mask.x(),
        y: mask.y(),
        width: mask.width(),
        height: mask.height(),
    }
}

/// The smallest rectangle around all of them.
fn around(pieces: &[&Piece]) -> Tile {
    let all = || pieces.iter().map(|piece| piece.bounds);
    let x = all().map(|b| b.x).min().unwrap_or(0);
    let y = all().map(|b| b.y).min().unwrap_or(0);
    let right = all().map(|b| b.x + b.width).max().unwrap_or(0);
    let bottom = all().map(|b| b.y + b.height).max().unwrap_or(0);
    Tile {
        x,
        y,
        width: right - x,
        height: bottom - y,
    }
}

#[cfg(test)]
mod tests;
