//! Which points lie near a place, without looking at all of them.

use super::body::{Point, length, minus};

/// Squares along a side at most: bounds the grid's memory whatever the points.
const MOST_SQUARES: f64 = 256.0;

/// Points sorted into squares.
pub(super) struct Grid {
    points: Vec<Point>,
    origin: Point,
    side: f64,
    columns: usize,
    rows: usize,
    /// Point numbers square by square, rising in each.
    order: Vec<usize>,
    /// Where each square begins in `order`; one more at the end.
    starts: Vec<usize>,
}

impl Grid {
    /// Squares of about `side`.
    pub(super) fn new(points: Vec<Point>, side: f64) -> Self {
        let least = |of: fn(&Point) -> f64| points.iter().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn(&Point) -> f64| points.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        let (origin, end) = match points.is_empty() {
            true => ((0.0, 0.0), (0.0, 0.0)),
            false => (
                (least(|point| point.0), least(|point| point.1)),
                (most(|point| point.0), most(|point| point.1)),
            ),
        };
        let extent = f64::max(end.0 - origin.0, end.1 - origin.1);
        let side = side.max(extent / MOST_SQUARES).max(1.0);
        let mut grid = Grid {
            points,
            origin,
            side,
            columns: ((end.0 - origin.0) / side) as usize + 1,
            rows: ((end.1 - origin.1) / side) as usize + 1,
            order: Vec::new(),
            starts: Vec::new(),
        };
        let squares: Vec<usize> = grid
            .points
            .iter()
            .map(|&point| grid.square(point))
            .collect();
        grid.order = (0..squares.len()).collect();
        grid.order.sort_by_key(|&point| (squares[point], point));
        grid.starts = vec![0; grid.columns * grid.rows + 1];
        for square in squares {
            grid.starts[square + 1] += 1;
        }
        for square in 1..grid.starts.len() {
            grid.starts[square] += grid.starts[square - 1];
        }
        grid
    }

    /// Numbers of the points at most `radius` from `place`, with their distance; in an order that depends on the points alone.
    pub(super) fn near(&self, place: Point, radius: f64) -> impl Iterator<Item = (usize, f64)> {
        let (left, top) = self.clamped((place.0 - radius, place.1 - radius));
        let (right, bottom) = self.clamped((place.0 + radius, place.1 + radius));
        (top..=bottom)
            .flat_map(move |row| {
                let row = row * self.columns;
                &self.order[self.starts[row + left]..self.starts[row + right + 1]]
            })
            .map(move |&point| (point, length(minus(self.points[point], place))))
            .filter(move |&(_, distance)| distance <= radius)
    }

    /// The nearest point at most `radius` from `place`; of equals the first.
    pub(super) fn nearest(&self, place: Point, radius: f64) -> Option<usize> {
        self.near(place, radius)
            .min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
            .map(|(point, _)| point)
    }

    /// Column and row of the square nearest to `place`.
    fn clamped(&self, place: Point) -> (usize, usize) {
        // Below 0 the conversion saturates to 0.
        let column = ((place.0 - self.origin.0) / self.side) as usize;
        let row = ((place.1 - self.origin.1) / self.side) as usize;
        (column.min(self.columns - 1), row.min(self.rows - 1))
    }

    fn square(&self, place: Point) -> usize {
        let (column, row) = self.clamped(place);
        row * self.columns + column
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Grid;
    use crate::track::body::{length, minus};

    #[test]
    fn nobody_is_near_where_there_is_nobody() {
        assert_eq!(Grid::new(Vec::new(), 10.0).nearest((1.0, 1.0), 1e9), None);
    }

    proptest! {
        #[test]
        fn exactly_the_points_within_the_radius_are_near(
            points in prop::collection::vec((-500.0..5000.0f64, -500.0..5000.0f64), 0..60),
            place in (-900.0..6000.0f64, -900.0..6000.0f64),
            radius in 0.0..3000.0f64,
            side in 0.0..900.0f64,
        ) {
            let grid = Grid::new(points.clone(), side);
            let mut near: Vec<usize> = grid.near(place, radius).map(|(point, _)| point).collect();
            near.sort_unstable();
            let expected: Vec<usize> =
                (0..points.len()).filter(|&i| length(minus(points[i], place)) <= radius).collect();
            prop_assert_eq!(near, expected);
        }
    }
}
