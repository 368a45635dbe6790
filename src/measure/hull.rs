//! The convex hull of a cell, and its calipers.
//!
//! As scikit-image has it: the hull of the middles of all pixel sides, drawn as an image of the pixels whose middles lie in it or
//! on it. Calipers go along the middles of that image's pixel sides. All in half pixels, in integers: pixel (x, y) has its middle
//! at (2x, 2y).

use crate::{mask::Mask, segmentation::Hull};

type Point = (i64, i64);

/// A convex outline, and what it is made from; kept from cell to cell.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// First and last pixel of each row of a box; first over last: none.
    spans: Vec<(i64, i64)>,
    /// One chain of pixels' middles.
    middles: Vec<Point>,
    /// Leftmost points from top to bottom.
    left: Vec<Point>,
    /// Rightmost points from top to bottom.
    right: Vec<Point>,
    /// Corners, once round.
    corners: Vec<Point>,
}

impl Outline {
    /// Of `mask`, which has at least one pixel.
    pub(super) fn hull(&mut self, mask: &Mask) -> Hull {
        self.spans.clear();
        self.spans
            .extend((0..mask.height()).map(|y| span(mask.row(y))));
        self.enclose();
        let convex_area: i64 = self.draw();
        self.enclose();
        let (feret_max, feret_min) = self.calipers();
        Hull {
            convex_area_px: convex_area as f64,
            solidity: f64::from(mask.area()) / convex_area as f64,
            feret_max_px: feret_max,
            feret_min_px: feret_min,
        }
    }

    /// The hull of the side middles of the spans' pixels, as its left and right chain. It is the hull of the pixels' middles, with
    /// a pixel's four side middles in place of each corner.
    fn enclose(&mut self) {
        let Outline {
            spans,
            middles,
            left,
            right,
            ..
        } = self;
        for (chain, side) in [(left, -1), (right, 1)] {
            middles.clear();
            for (y, &(first, last)) in (0..).zip(&*spans) {
                if first <= last {
                    let x = if side < 0 { first } else { last };
                    extend(middles, (2 * x, 2 * y), side);
                }
            }
            chain.clear();
            for &(x, y) in &*middles {
                for corner in [(x, y - 1), (x + side, y), (x, y + 1)] {
                    extend(chain, corner, side);
                }
            }
        }
    }

    /// Draws the hull into the spans; its pixels.
    fn draw(&mut self) -> i64 {
        let (mut left, mut right) = (Edge::new(&self.left), Edge::new(&self.right));
        let mut area = 0;
        for (y, span) in (0..).zip(&mut self.spans) {
            // ceil(left / 2) and floor(right / 2).
            let (over, under) = left.at(2 * y);
            let first = (over + 2 * under - 1).div_euclid(2 * under);
            let (over, under) = right.at(2 * y);
            let last = over.div_euclid(2 * under);
            *span = (first, last);
            area += (last + 1 - first).max(0);
        }
        area
    }

    /// Largest distance of corners and smallest width, pixels: rotating calipers (Shamos 1978).
    fn calipers(&mut self) -> (f64, f64) {
        self.corners.clear();
        self.corners.extend(&self.right);
        self.corners.extend(self.left.iter().rev());
        // One pixel wide at the top or bottom: both chains begin or end in the same point.
        self.corners.dedup();
        if self.corners.first() == self.corners.last() {
            self.corners.pop();
        }
        let corners = &self.corners;
        let n = corners.len();
        let (mut longest, mut narrowest) = (0, f64::INFINITY);
        let mut far = 1;
        for i in 0..n {
            let (a, b) = (corners[i], corners[(i + 1) % n]);
            // The farthest corner from the edge moves on with the edge.
            while cross(a, b, corners[(far + 1) % n]) > cross(a, b, corners[far]) {
                far = (far + 1) % n;
            }
            let width = cross(a, b, corners[far]) as f64 / (square(a, b) as f64).sqrt();
            narrowest = width.min(narrowest);
            // The next corner may be as far, and then it can be the farthest from an end.
            for far in [corners[far], corners[(far + 1) % n]] {
                longest = square(a, far).max(square(b, far)).max(longest);
            }
        }
        // From half pixels.
        ((longest as f64).sqrt() / 2.0, narrowest / 2.0)
    }
}

/// First and last pixel of a row.
fn span(row: &[u32]) -> (i64, i64) {
    let first = row.iter().position(|&word| word != 0);
    let last = row.iter().rposition(|&word| word != 0);
    match (first, last) {
        (Some(first), Some(last)) => (
            32 * first as i64 + i64::from(row[first].trailing_zeros()),
            32 * last as i64 + 31 - i64::from(row[last].leading_zeros()),
        ),
        _ => (0, -1),
    }
}

/// Adds a point below all others and takes those away that lie within; `side` is 1 for the right chain, -1 for the left.
fn extend(chain: &mut Vec<Point>, point: Point, side: i64) {
    while let [.., a, b] = chain[..]
        && side * cross(a, b, point) <= 0
    {
        chain.pop();
    }
    chain.push(point);
}

/// Above zero if the way from `a` over `b` to `c` turns clockwise on screen, where y points down; twice the area of the triangle.
fn cross(a: Point, b: Point, c: Point) -> i64 {
    (b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1)
}

fn square(a: Point, b: Point) -> i64 {
    (b.0 - a.0).pow(2) + (b.1 - a.1).pow(2)
}

/// Goes down a chain.
struct Edge<'a> {
    chain: &'a [Point],
}

impl<'a> Edge<'a> {
    fn new(chain: &'a [Point]) -> Self {
        Edge { chain }
    }

    /// x at the line `y` as a fraction, denominator above zero. Lines come in rising order, all within the chain.
    fn at(&mut self, y: i64) -> (i64, i64) {
        while let [_, next, ..] = self.chain
            && next.1 <= y
        {
            self.chain = &self.chain[1..];
        }
        match *self.chain {
            [a, b, ..] => {
                let dy = b.1 - a.1;
                (a.0 * dy + (y - a.1) * (b.0 - a.0), dy)
            }
            [a] => (a.0, 1),
            [] => (0, 1),
        }
    }
}
