//! The cells around a cell, by their centroids.

use crate::segmentation::{Neighbourhood, Neighbours};

/// Each one's nearest other and, with a radius, the others at most that far away; pixels.
pub(super) fn neighbours(centroids: &[(f64, f64)], radius_px: Option<f64>) -> Vec<Neighbours> {
    let grid = Grid::new(centroids);
    centroids
        .iter()
        .enumerate()
        .map(|(cell, &centroid)| Neighbours {
            nearest_px: grid.nearest(cell, centroid),
            // Itself is within any radius.
            within_radius: radius_px.map(|radius| grid.within(centroid, radius).saturating_sub(1)),
        })
        .collect()
}

/// Over all cells of a frame.
pub(super) fn means(found: &[Neighbours]) -> Neighbourhood {
    let mean = |values: Vec<f64>| match values.len() {
        0 => None,
        n => Some(values.iter().sum::<f64>() / n as f64),
    };
    let counts = found.iter().filter_map(|cell| cell.within_radius);
    Neighbourhood {
        nearest_mean_px: mean(found.iter().filter_map(|cell| cell.nearest_px).collect()),
        neighbours_mean: mean(counts.map(f64::from).collect()),
    }
}

/// Centroids in squares, about one a square, so that near ones are found near by.
struct Grid {
    left: f64,
    top: f64,
    side: f64,
    columns: usize,
    rows: usize,
    /// Where each square's cells begin in `cells`, row by row, and where the last ones end.
    starts: Vec<usize>,
    /// Number and centroid.
    cells: Vec<(usize, (f64, f64))>,
}

impl Grid {
    fn new(centroids: &[(f64, f64)]) -> Self {
        let bounds = |of: fn(&(f64, f64)) -> f64| {
            let values = centroids.iter().map(of);
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (value.min(low), value.max(high))
            })
        };
        let ((left, right), (top, bottom)) = (bounds(|c| c.0), bounds(|c| c.1));
        let (width, height) = ((right - left).max(1.0), (bottom - top).max(1.0));
        // No more squares along a long thin row than there are cells.
        let n = centroids.len().max(1) as f64;
        let side = (width * height / n).sqrt().max(width.max(height) / n);
        let (columns, rows) = match centroids {
            [] => (1, 1),
            _ => ((width / side) as usize + 1, (height / side) as usize + 1),
        };
        let mut grid = Grid {
            left,
            top,
            side,
            columns,
            rows,
            starts: vec![0; columns * rows + 1],
            cells: centroids.iter().copied().enumerate().collect(),
        };
        let mut cells = std::mem::take(&mut grid.cells);
        cells.sort_by_cached_key(|&(_, centroid)| grid.square(centroid));
        for &(_, centroid) in &cells {
            let square = grid.square(centroid);
            grid.starts[square + 1] += 1;
        }
        for square in 0..columns * rows {
            grid.starts[square + 1] += grid.starts[square];
        }
        Grid { cells, ..grid }
    }

    fn column(&self, x: f64) -> usize {
        // A cast clips: what lies left is in the first column.
        (((x - self.left) / self.side) as usize).min(self.columns - 1)
    }

    fn row(&self, y: f64) -> usize {
        (((y - self.top) / self.side) as usize).min(self.rows - 1)
    }

    fn square(&self, (x, y): (f64, f64)) -> usize {
        self.row(y) * self.columns + self.column(x)
    }

    /// The cells of the squares `first..=last` of a row.
    fn stretch(&self, row: usize, first: usize, last: usize) -> &[(usize, (f64, f64))] {
        let start = row * self.columns;
        &self.cells[self.starts[start + first]..self.starts[start + last + 1]]
    }

    fn nearest(&self, cell: usize, centroid: (f64, f64)) -> Option<f64> {
        let (row, column) = (self.row(centroid.1), self.column(centroid.0));
        let mut best = f64::INFINITY;
        let look = |row, first, last, best: &mut f64| {
            for &(other, at) in self.stretch(row, first, last) {
                if other != cell {
                    *best = square_distance(centroid, at).min(*best);
                }
            }
        };
        for away in 0..self.rows.max(self.columns) {
            // Squares `away` from the own one, and those only.
            let (left, right) = (column.checked_sub(away), column + away);
            let (first, last) = (left.unwrap_or(0), right.min(self.columns - 1));
            let (top, bottom) = (row.checked_sub(away), row + away);
            for edge in [top, (away > 0).then_some(bottom)].into_iter().flatten() {
                if edge < self.rows {
                    look(edge, first, last, &mut best);
                }
            }
            for row in (row + 1).saturating_sub(away)..(row + away).min(self.rows) {
                for edge in [left, Some(right)].into_iter().flatten() {
                    if edge < self.columns && away > 0 {
                        look(row, edge, edge, &mut best);
                    }
                }
            }
            // Whoever is in none of them is farther than `away` squares.
            let seen = away as f64 * self.side;
            if best <= seen * seen {
                break;
            }
        }
        best.is_finite().then(|| best.sqrt())
    }

    /// Cells at most `radius` from `centroid`, those at it too.
    fn within(&self, centroid: (f64, f64), radius: f64) -> u32 {
        let (x, y) = centroid;
        let square_radius = radius * radius;
        let near = |cells: &[(usize, (f64, f64))]| {
            let is_near =
                |&&(_, at): &&(usize, (f64, f64))| square_distance(centroid, at) <= square_radius;
            cells.iter().filter(is_near).count()
        };
        let mut count = 0;
        for row in self.row(y - radius)..=self.row(y + radius) {
            // Of the row's band of y the farthest line: squares wholly nearer than that need no looking at.
            let band = self.top + row as f64 * self.side;
            let far = (band - y).abs().max((band + self.side - y).abs());
            let half = (square_radius - far * far).max(0.0).sqrt();
            let (first, last) = (self.column(x - radius), self.column(x + radius));
            // A square less on both sides, so that rounding does not matter.
            let (inner_first, inner_last) = (self.column(x - half) + 2, self.column(x + half));
            if half > 0.0 && inner_first + 2 < inner_last && 0 < row && row + 1 < self.rows {
                let inner_last = inner_last - 2;
                count += near(self.stretch(row, first, inner_first - 1));
                count += self.stretch(row, inner_first, inner_last).len();
                count += near(self.stretch(row, inner_last + 1, last));
            } else {
                count += near(self.stretch(row, first, last));
            }
        }
        count as u32
    }
}

fn square_distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2)
}
