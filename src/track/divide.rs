//! Which cells may have divided.
//!
//! A mother was linked to one daughter; the other is a cell that nobody was linked to. They are believed where they lie about
//! the mother's place as daughters do: on opposite sides of it, near, alike, and together about as large. Stateless from frame
//! to frame, so that a resumed tracker decides alike; a cell that the network cut in two for one frame looks just the same.

use super::{
    body::{length, minus, plus},
    grid::Grid,
    link::Scene,
};

/// How far the middle of two daughters may be from where the mother was, of her diameter, if she got smaller.
const OFF_MIDDLE: f64 = 0.5;
/// The same if she did not, as after rounding up. A round cell that stayed where it was and a neighbour that came, half as large
/// or more, are at least 0.28 off.
const OFF_MIDDLE_AS_LARGE: f64 = 0.27;
/// What is smaller, beyond the pixel by which edges are off: the remaining daughter's area, of the mother's.
const SMALLER: f64 = 0.85;
/// How far apart they may be, of her diameter.
const APART: f64 = 2.0;
/// How small the smaller one may be, of the larger.
const LEAST_BALANCE: f64 = 0.5;
/// How large a daughter may be, of her mother: mothers are seen rounded up, and edges are a pixel off.
const MOST_OF_MOTHER: f64 = 1.1;
/// How large both may be together, of their mother: a rounded mother is small, flattened daughters are not.
const TOGETHER: (f64, f64) = (0.5, 2.2);

/// Known cells, new cells that may be their second daughters, and the costs, 0..1. `linked`: known cells and the seen ones
/// that they were linked to.
pub(super) fn divisions(
    scene: &Scene,
    linked: &[(usize, usize)],
    seen: &Grid,
    is_new: impl Fn(usize) -> bool,
) -> Vec<(usize, usize, f64)> {
    let mut found = Vec::new();
    for &(known, first) in linked {
        let mother = &scene.known[known].body;
        let sister = &scene.seen[first];
        if sister.area > MOST_OF_MOTHER * mother.area {
            continue;
        }
        let place = plus(scene.known[known].stayed(), scene.drift);
        let near = seen.near(sister.centroid, APART * mother.diameter);
        for (second, _) in near.filter(|&(second, _)| is_new(second)) {
            let daughter = &scene.seen[second];
            let both = sister.area + daughter.area;
            let share = daughter.area / both;
            let from_sister = minus(daughter.centroid, sister.centroid);
            let middle = plus(
                sister.centroid,
                (from_sister.0 * share, from_sister.1 * share),
            );
            let off = length(minus(middle, place)) / mother.diameter;
            let balance = share.min(1.0 - share) / share.max(1.0 - share);
            let together = both / mother.area;
            let most_off = match sister.area <= SMALLER * mother.area {
                true => OFF_MIDDLE,
                false => OFF_MIDDLE_AS_LARGE,
            };
            let believed = off <= most_off
                && balance >= LEAST_BALANCE
                && daughter.area <= MOST_OF_MOTHER * mother.area
                && TOGETHER.0 <= together
                && together <= TOGETHER.1;
            if believed {
                let cost = 0.4 * off / OFF_MIDDLE
                    + 0.2 * (1.0 - balance) / (1.0 - LEAST_BALANCE)
                    + 0.2 * together.ln().abs() / TOGETHER.1.ln();
                found.push((known, second, cost));
            }
        }
    }
    found
}
