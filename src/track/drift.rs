//! By how much a whole frame moved, told from its cells.
//!
//! A stage does not come back to quite the same place, and sometimes is moved on purpose. Two starts are tried: that the frame
//! hardly moved, and, where the cells then do not lie on each other, the ways on which most pairs of like cells agree (votes of
//! displacements, a Hough transform: Ballard, Pattern Recognition 13, 1981, 111-122). Each start is refined to the median of the
//! ways from cells to their nearest ones (iterated closest points with a median in place of the mean), which divisions, cells
//! that enter or leave and a minority that moves do not pull. The one whose masks then overlap best wins.

use super::{
    body::{Body, Known, Point, length, median, minus, plus},
    grid::Grid,
    overlap::iou,
};

/// Under this many cells in common, their own motion cannot be told from the frame's.
const LEAST_CELLS: usize = 5;
/// Cells that are looked at: enough for a fraction of a pixel, however many there are.
const MOST_CELLS: usize = 512;
/// Ways that are tried beside none.
const MOST_STARTS: usize = 4;
/// Squares of the votes along a side, at most.
const MOST_SQUARES: f64 = 512.0;
/// Times that a start is refined: it settles in two or three.
const ROUNDS: usize = 5;
/// A jump must make masks overlap this much better than a small shift.
const JUMP_GAIN: f64 = 1.25;
/// A mean overlap that wrong shifts do not reach, even where cells cover everything.
const CERTAIN_OVERLAP: f64 = 0.5;

/// The way of the frame, pixels to the right and down, since `known` were where they are; none where it cannot be told.
pub(super) fn drift(known: &[&Known], seen: &[Body], size: (u32, u32)) -> Option<Point> {
    let mut diameters: Vec<f64> = known.iter().map(|cell| cell.body.diameter).collect();
    let diameter = median(&mut diameters);
    let every = known.len().div_ceil(MOST_CELLS).max(1);
    let scene = Scene {
        known: known.iter().step_by(every).copied().collect(),
        seen,
        grid: Grid::new(seen.iter().map(|body| body.centroid).collect(), diameter),
        diameter,
        size: (f64::from(size.0), f64::from(size.1)),
    };
    let near = scene.refined((0.0, 0.0));
    if near.believed && near.overlap >= CERTAIN_OVERLAP * near.inside as f64 {
        return Some(near.way);
    }
    let starts = scene.votes();
    let jumps = starts
        .into_iter()
        .map(|start| scene.refined(start))
        .filter(|shift| shift.believed);
    // Of equals the first: that with more votes.
    let jump = jumps.reduce(|best, shift| {
        if shift.overlap > best.overlap {
            shift
        } else {
            best
        }
    });
    match jump {
        Some(jump) if !near.believed || jump.overlap > JUMP_GAIN * near.overlap => Some(jump.way),
        _ => near.believed.then_some(near.way),
    }
}

/// The cells from which the way is told.
struct Scene<'a> {
    known: Vec<&'a Known>,
    seen: &'a [Body],
    /// Centroids of `seen`.
    grid: Grid,
    /// The middle one of the known.
    diameter: f64,
    size: Point,
}

/// A way that the frame may have gone.
struct Shift {
    way: Point,
    /// Sum of the known cells' best overlaps with a seen one.
    overlap: f64,
    /// Known cells that are still in the frame.
    inside: usize,
    /// Enough of them have a cell where they should be.
    believed: bool,
}

impl Scene<'_> {
    fn refined(&self, start: Point) -> Shift {
        let (mut way, mut matched) = (start, 0);
        for round in 0..ROUNDS {
            // Starts are half a square off, cells that move a little more.
            let radius = self.diameter * if round == 0 { 0.75 } else { 0.5 } + 1.0;
            let residuals = self.known.iter().filter_map(|cell| {
                let place = plus(cell.stayed(), way);
                let nearest = self.grid.nearest(place, radius)?;
                Some(minus(self.seen[nearest].centroid, place))
            });
            let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = residuals.unzip();
            matched = xs.len();
            let step = (median(&mut xs), median(&mut ys));
            way = plus(way, step);
            if length(step) < 0.01 {
                break;
            }
        }
        let inside = self
            .known
            .iter()
            .filter(|cell| self.is_inside(plus(cell.stayed(), way)));
        let inside = inside.count();
        Shift {
            way,
            overlap: self
                .known
                .iter()
                .map(|cell| self.best_overlap(cell, way))
                .sum(),
            inside,
            believed: matched >= LEAST_CELLS && 2 * matched >= inside,
        }
    }

    fn is_inside(&self, (x, y): Point) -> bool {
        0.0 <= x && x < self.size.0 && 0.0 <= y && y < self.size.1
    }

    fn best_overlap(&self, cell: &Known, way: Point) -> f64 {
        let radius = cell.body.diameter.max(self.diameter);
        let near = self.grid.near(plus(cell.stayed(), way), radius);
        let moved = plus(cell.drifted, way);
        near.map(|(seen, _)| iou(&cell.body, moved, &self.seen[seen]))
            .fold(0.0, f64::max)
    }

    /// Ways on which most pairs of like cells agree, up to half a frame long; the best first.
    fn votes(&self) -> Vec<Point> {
        let longest = f64::max(self.size.0, self.size.1);
        let side = (self.diameter / 4.0).max(longest / MOST_SQUARES).max(1.0);
        let reach = (self.size.0 / 2.0, self.size.1 / 2.0);
        // One empty square on each side, so that every square has eight neighbours.
        let columns = (2.0 * reach.0 / side) as usize + 3;
        let rows = (2.0 * reach.1 / side) as usize + 3;
        let mut votes = vec![0u32; columns * rows];
        for cell in &self.known {
            for body in self.seen {
                let way = minus(body.centroid, cell.stayed());
                let alike = body.class_index == cell.body.class_index
                    && body.area < 2.0 * cell.body.area
                    && cell.body.area < 2.0 * body.area;
                if alike && way.0.abs() <= reach.0 && way.1.abs() <= reach.1 {
                    let column = ((way.0 + reach.0) / side) as usize + 1;
                    let row = ((way.1 + reach.1) / side) as usize + 1;
                    votes[row * columns + column] += 1;
                }
            }
        }
        let mut sums = around(&votes, columns, rows);
        let mut starts = Vec::new();
        while starts.len() < MOST_STARTS {
            // Of equals the first.
            let best = (0..sums.len()).rev().max_by_key(|&square| sums[square]);
            let Some(best) = best.filter(|&best| sums[best] > 0) else {
                break;
            };
            let (column, row) = (best % columns, best / columns);
            let middle = |square: usize, reach: f64| (square as f64 - 0.5) * side - reach;
            starts.push((middle(column, reach.0), middle(row, reach.1)));
            for row in row.saturating_sub(2)..=(row + 2).min(rows - 1) {
                let columns_near = column.saturating_sub(2)..=(column + 2).min(columns - 1);
                columns_near.for_each(|column| sums[row * columns + column] = 0);
            }
        }
        starts
    }
}

/// Sums over each square and its eight neighbours; 0 at the edge.
fn around(votes: &[u32], columns: usize, rows: usize) -> Vec<u32> {
    let mut sums = vec![0; votes.len()];
    for row in 1..rows - 1 {
        for column in 1..columns - 1 {
            let rows = [row - 1, row, row + 1].map(|row| &votes[row * columns + column - 1..][..3]);
            sums[row * columns + column] = rows.into_iter().flatten().sum();
        }
    }
    sums
}
