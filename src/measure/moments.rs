//! Area, centroid and second moments, exactly: integers until the last division.

use crate::mask::Mask;

/// Sums over the pixels of a mask, in its box's pixel numbers.
pub(super) struct Moments {
    x: u32,
    y: u32,
    n: i128,
    sum_x: i128,
    sum_y: i128,
    sum_xx: i128,
    sum_yy: i128,
    sum_xy: i128,
}

/// Variances and covariance of pixels' middles; square pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) xx: f64,
    pub(super) yy: f64,
    pub(super) xy: f64,
}

impl Moments {
    pub(super) fn of(mask: &Mask) -> Self {
        // 64 bits hold each sum over sides under 2^16, the most that a server takes; their products need more.
        let (mut n, mut sum_x, mut sum_y) = (0, 0, 0);
        let (mut sum_xx, mut sum_yy, mut sum_xy) = (0, 0, 0);
        for row in 0..mask.height() {
            let (mut row_n, mut row_x) = (0, 0);
            for xs in mask.row_runs(row) {
                let (start, end) = (u64::from(xs.start), u64::from(xs.end));
                row_n += end - start;
                row_x += triangle(end) - triangle(start);
                sum_xx += pyramid(end) - pyramid(start);
            }
            let y = u64::from(row);
            n += row_n;
            sum_x += row_x;
            sum_y += y * row_n;
            sum_yy += y * y * row_n;
            sum_xy += y * row_x;
        }
        let [n, sum_x, sum_y, sum_xx, sum_yy, sum_xy] =
            [n, sum_x, sum_y, sum_xx, sum_yy, sum_xy].map(i128::from);
        Moments {
            x: mask.x(),
            y: mask.y(),
            n,
            sum_x,
            sum_y,
            sum_xx,
            sum_yy,
            sum_xy,
        }
    }

    /// Pixels.
    pub(super) fn area(&self) -> f64 {
        self.n as f64
    }

    /// Mean of the pixels' middles in the frame, pixel edges: x, y.
    pub(super) fn centroid(&self) -> (f64, f64) {
        let mean = |sum: i128| sum as f64 / self.n as f64 + 0.5;
        (
            f64::from(self.x) + mean(self.sum_x),
            f64::from(self.y) + mean(self.sum_y),
        )
    }

    pub(super) fn spread(&self) -> Spread {
        let square = self.n as f64 * self.n as f64;
        let central = |sum: i128, a: i128, b: i128| (self.n * sum - a * b) as f64 / square;
        Spread {
            xx: central(self.sum_xx, self.sum_x, self.sum_x),
            yy: central(self.sum_yy, self.sum_y, self.sum_y),
            xy: central(self.sum_xy, self.sum_x, self.sum_y),
        }
    }
}

/// Sum of the numbers below `n`.
fn triangle(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// Sum of the squares of the numbers below `n`.
fn pyramid(n: u64) -> u64 {
    n * n.saturating_sub(1) * (2 * n).saturating_sub(1) / 6
}
