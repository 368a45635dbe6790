//! Which cell of a frame is which known one: costs of pairs, and the assignment that costs least in all.
//!
//! In two steps, as Jaqaman et al. do (Nature Methods 5, 2008, 695-702): first the cells of the last frame to those of this one;
//! then what is left over to cells that were missing (a gap is closed) and to cells that may have divided.

use super::{
    assign::{Choice, assign},
    body::{Body, Known, Point, length, median, minus, plus},
    divide,
    grid::Grid,
    overlap::iou,
};

/// Costs are whole millionths: sums do not depend on their order.
const MILLIONTHS: f64 = 1e6;
/// What it costs to link nobody. A pair that shares no pixel may still be linked, if little else speaks against it.
const ALONE: f64 = 0.9;
/// Parts of a pair's cost: no overlap, at the end of its reach, four times the area, another class.
const BY_OVERLAP: f64 = 0.5;
const BY_DISTANCE: f64 = 0.3;
const BY_AREA: f64 = 0.2;
const BY_CLASS: f64 = 0.1;
/// What closing a gap costs beside, so that a daughter beside her mother is not taken for a cell lost elsewhere.
const BY_GAP: f64 = 0.1;
/// Most seen cells that are weighed against a known one, the nearest: bounds the work where cells may go far.
const MOST_CHOICES: usize = 32;
/// Reach grows with the square root of the frames, as diffusion does, to this many times at most.
const MOST_WIDENING: f64 = 3.0;
/// Pixels by which even the smallest cell may move.
const LEAST_REACH: f64 = 2.0;

/// Who a seen cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nobody known.
    New,
    /// The known cell with this number.
    Same(usize),
    /// A daughter of the known cell with this number.
    Daughter(usize),
}

/// The known cells, where they should be, and the seen ones.
pub(super) struct Scene<'a> {
    pub known: &'a [Known],
    pub seen: &'a [Body],
    /// Way of the frame since the last one.
    pub drift: Point,
    /// Most that a cell moves from frame to frame; none: by the cells' size.
    pub most_px: Option<f64>,
}

impl Scene<'_> {
    /// Who each seen cell is.
    pub(super) fn links(&self, divisions: bool) -> Vec<Link> {
        let mut links = vec![Link::New; self.seen.len()];
        let mut diameters: Vec<f64> = self.known.iter().map(|cell| cell.body.diameter).collect();
        let usual = median(&mut diameters);
        let grid = Grid::new(self.seen.iter().map(|body| body.centroid).collect(), usual);
        let last = self
            .known
            .iter()
            .map(|cell| cell.missing)
            .min()
            .unwrap_or(0);

        // From the last frame that showed anybody to this one.
        let of_last: Vec<usize> = (0..self.known.len())
            .filter(|&i| self.known[i].missing == last)
            .collect();
        let rows: Vec<Vec<Choice>> = of_last
            .iter()
            .map(|&known| self.choices(known, usual, &grid, 0.0))
            .collect();
        let mut linked = Vec::new();
        for (&known, seen) in of_last
            .iter()
            .zip(assign(&rows, self.seen.len(), millionths(ALONE)))
        {
            if let Some(seen) = seen {
                links[seen] = Link::Same(known);
                linked.push((known, seen));
            }
        }

        // Those left over: back after a gap, or born.
        let mut rows = vec![Vec::new(); self.seen.len()];
        for known in (0..self.known.len()).filter(|&i| self.known[i].missing > last) {
            for (seen, cost) in self.choices(known, usual, &grid, BY_GAP) {
                rows[seen].push((known, cost));
            }
        }
        if divisions {
            let is_new = |seen: usize| links[seen] == Link::New;
            for (known, seen, cost) in divide::divisions(self, &linked, &grid, is_new) {
                rows[seen].push((known, millionths(cost)));
            }
        }
        for (seen, row) in rows.iter_mut().enumerate() {
            if links[seen] != Link::New {
                row.clear();
            }
        }
        let closed = assign(&rows, self.known.len(), millionths(ALONE));
        for (seen, known) in closed.into_iter().enumerate() {
            match known {
                Some(known) if self.known[known].missing > last => links[seen] = Link::Same(known),
                Some(mother) => {
                    links[seen] = Link::Daughter(mother);
                    for &(known, sister) in linked.iter().filter(|(known, _)| *known == mother) {
                        links[sister] = Link::Daughter(known);
                    }
                }
                None => {}
            }
        }
        links
    }

    /// Seen cells that a known one may be, and what each costs.
    fn choices(&self, known: usize, usual: f64, grid: &Grid, more: f64) -> Vec<Choice> {
        let cell = &self.known[known];
        let reach = self.reach(cell, usual);
        let stays = plus(cell.stayed(), self.drift);
        let mut ways = vec![(0.0, 0.0)];
        ways.extend(
            cell.went_on()
                .filter(|&way| 1.0 <= length(way) && length(way) <= reach),
        );
        let mut near: Vec<(usize, f64)> = grid.near(stays, reach).collect();
        if near.len() > MOST_CHOICES {
            near.select_nth_unstable_by(MOST_CHOICES, |a, b| {
                a.1.total_cmp(&b.1).then(a.0.cmp(&b.0))
            });
            near.truncate(MOST_CHOICES);
        }
        near.sort_unstable_by_key(|&(seen, _)| seen);
        let mut choices = Vec::new();
        for (seen, distance) in near {
            let body = &self.seen[seen];
            let nearest = ways
                .iter()
                .map(|&way| length(minus(body.centroid, plus(stays, way))));
            let nearest = nearest.fold(distance, f64::min);
            let overlaps = ways
                .iter()
                .map(|&way| iou(&cell.body, plus(plus(cell.drifted, self.drift), way), body));
            let overlap = overlaps.fold(0.0, f64::max);
            let growth = (body.area / cell.body.area).ln().abs() / 4f64.ln();
            let other_class = body.class_index != cell.body.class_index;
            let cost = BY_OVERLAP * (1.0 - overlap)
                + BY_DISTANCE * nearest / reach
                + BY_AREA * growth.min(1.0)
                + if other_class { BY_CLASS } else { 0.0 }
                + more;
            if cost < ALONE {
                choices.push((seen, millionths(cost)));
            }
        }
        choices
    }

    /// How far from where it was a known cell may be now, pixels.
    fn reach(&self, cell: &Known, usual: f64) -> f64 {
        let frames = f64::from(cell.missing) + 1.0;
        let by_size = cell.body.diameter.max(usual) + LEAST_REACH;
        self.most_px.unwrap_or(by_size) * frames.sqrt().min(MOST_WIDENING)
    }
}

fn millionths(cost: f64) -> i64 {
    (cost * MILLIONTHS).round() as i64
}
