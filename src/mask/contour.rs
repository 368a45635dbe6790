//! Masks as polygons along pixel edges.
//!
//! Each 4-connected piece is walked with its pixels on the right, which makes outer rings clockwise on screen and holes
//! counterclockwise. A walk that comes to a corner twice, where two pixels touch diagonally, is split there into simple loops:
//! what a pinched bay cuts off becomes a hole that touches its outer ring in one point, as OGC allows. A piece's inside stays
//! connected because it is 4-connected.

use std::collections::HashMap;

use super::{
    Mask,
    pieces::{piece_mask, pieces, runs_by_piece},
};

/// A closed line along pixel edges: corners only, the first not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Frame coordinates, pixel edges.
    pub corners: Vec<(i32, i32)>,
    /// Outer rings run clockwise on screen, holes the other way.
    pub hole: bool,
}

/// The rings of `mask`: each outer ring followed by its holes; 4-connected foreground; a valid multipolygon.
pub fn rings(mask: &Mask) -> Vec<Ring> {
    let mut rings = Vec::new();
    for piece in pieces(&runs_by_piece(mask)) {
        let start = rings.len();
        trace(&piece_mask(mask, piece), &mut rings);
        // A piece has one outer ring; splitting may have found a hole before it.
        rings[start..].sort_by_key(|ring| ring.hole);
    }
    rings
}

/// Every ring of a mask in one piece.
fn trace(piece: &Mask, rings: &mut Vec<Ring>) {
    // Upper edges of pixels: every walk passes some, to the right.
    let mut edges = piece.clone();
    for y in 1..piece.height() {
        for (edge, above) in edges.row_mut(y).iter_mut().zip(piece.row(y - 1)) {
            *edge &= !above;
        }
    }
    for y in 0..piece.height() {
        loop {
            let Some(edge) = edges.row_runs(y).next() else {
                break;
            };
            split(walk(piece, &mut edges, (edge.start, y)), rings);
        }
    }
}

/// A closed walk, perhaps through the same corner more than once.
struct Walk {
    corners: Vec<(i32, i32)>,
    pinched: bool,
}

/// Walks from the upper edge of pixel `start`, taking the upper edges it passes out of `edges`.
fn walk(piece: &Mask, edges: &mut Mask, start: (u32, u32)) -> Walk {
    let set = |x: i32, y: i32| 0 <= x && 0 <= y && piece.get(x as u32, y as u32);
    let (x0, y0) = (piece.x() as i32, piece.y() as i32);
    let start = (start.0 as i32, start.1 as i32);
    let ((mut x, mut y), (mut dx, mut dy)) = (start, (1, 0));
    let mut walk = Walk {
        corners: Vec::new(),
        pinched: false,
    };
    loop {
        if dx == 1 {
            edges.row_mut(y as u32)[x as usize / 32] &= !(1 << (x % 32));
        }
        (x, y) = (x + dx, y + dy);
        // The two pixels ahead, right and left of the way: a corner's four pixels lie at -1 and 0.
        let right = set(x + (dx - dy - 1) / 2, y + (dy + dx - 1) / 2);
        let left = set(x + (dx + dy - 1) / 2, y + (dy - dx - 1) / 2);
        if right && !left {
            continue;
        }
        // Turning right where only the left pixel is set keeps to the own pixel: the foreground is 4-connected.
        walk.pinched |= left && !right;
        walk.corners.push((x0 + x, y0 + y));
        (dx, dy) = if right { (dy, -dx) } else { (-dy, dx) };
        if (x, y) == start && (dx, dy) == (1, 0) {
            return walk;
        }
    }
}

/// Cuts a walk into loops that pass each corner once.
fn split(walk: Walk, rings: &mut Vec<Ring>) {
    let mut open = Vec::new();
    if !walk.pinched {
        open = walk.corners;
    } else {
        let mut place = HashMap::new();
        for corner in walk.corners {
            if let Some(&first) = place.get(&corner) {
                let cut: Vec<_> = open.drain(first..).collect();
                cut.iter().for_each(|corner| {
                    place.remove(corner);
                });
                rings.push(ring(cut));
            }
            place.insert(corner, open.len());
            open.push(corner);
        }
    }
    rings.push(ring(open));
}

fn ring(corners: Vec<(i32, i32)>) -> Ring {
    let hole = doubled_area(&corners) < 0;
    Ring { corners, hole }
}

/// Shoelace formula; above zero for clockwise on screen, where y points down.
fn doubled_area(corners: &[(i32, i32)]) -> i64 {
    let next = corners.iter().cycle().skip(1);
    corners
        .iter()
        .zip(next)
        .map(|(a, b)| i64::from(a.0) * i64::from(b.1) - i64::from(b.0) * i64::from(a.1))
        .sum()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::{doubled_area, rings};
    use crate::mask::{pieces, testing::*};

    #[test]
    fn one_pixel_is_four_corners_clockwise_from_its_right() {
        let rings = rings(&drawn(2, 5, &["#"]));
        assert_eq!(rings.len(), 1);
        assert!(!rings[0].hole);
        assert_eq!(rings[0].corners, [(3, 5), (3, 6), (2, 6), (2, 5)]);
    }

    #[test]
    fn a_pinched_bay_is_a_hole_and_diagonal_pixels_are_two_rings() {
        for (rows, expected) in [
            (&["###", "#.#", "###"][..], &[false, true][..]),
            // The bay opens diagonally, to the upper left.
            (&[".##", "#.#", "###"], &[false, true]),
            (&["#.", ".#"], &[false, false]),
            // Two holes that touch at a corner.
            (&["####", "#.##", "##.#", "####"], &[false, true, true]),
            // A pixel in a hole.
            (
                &["#####", "#...#", "#.#.#", "#...#", "#####"],
                &[false, true, false],
            ),
        ] {
            let holes: Vec<_> = rings(&drawn(0, 0, rows))
                .iter()
                .map(|ring| ring.hole)
                .collect();
            assert_eq!(holes, expected, "{rows:?}");
        }
    }

    proptest! {
        #[test]
        fn rings_are_simple_hold_every_pixel_and_come_piece_by_piece((mask, _, _) in any_mask(24)) {
            let rings = rings(&mask);
            let area: i64 = rings.iter().map(|ring| doubled_area(&ring.corners)).sum();
            prop_assert_eq!(area, 2 * i64::from(mask.area()));
            for ring in &rings {
                prop_assert_eq!(ring.hole, doubled_area(&ring.corners) < 0);
                prop_assert_eq!(ring.corners.iter().collect::<HashSet<_>>().len(), ring.corners.len());
                for i in 0..ring.corners.len() {
                    let [a, b, c] = [0, 1, 2].map(|j| ring.corners[(i + j) % ring.corners.len()]);
                    prop_assert!((a.0 == b.0) != (a.1 == b.1) && (a.0 == b.0) == (b.1 == c.1), "{:?}", ring);
                }
            }
            let runs = pieces::runs_by_piece(&mask);
            let areas = pieces::pieces(&runs).map(|piece| i64::from(pieces::piece_mask(&mask, piece).area()));
            let polygons = rings
                .chunk_by(|_, next| next.hole)
                .map(|polygon| polygon.iter().map(|ring| doubled_area(&ring.corners)).sum::<i64>() / 2);
            prop_assert!(areas.eq(polygons), "areas differ piece by piece");
        }
    }
}
