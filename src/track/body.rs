//! What the tracker knows of a cell.

use crate::{mask::Mask, segmentation::Track};

/// A place or a way, frame pixels to the right and down; places are pixel edges.
pub(super) type Point = (f64, f64);

/// A cell in one frame.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub mask: Mask,
    pub class_index: u32,
    pub centroid: Point,
    /// Pixels; at least 1.
    pub area: f64,
    /// Of the disc with its area, pixels.
    pub diameter: f64,
}

/// A cell of earlier frames.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// As it was last answered.
    pub track: Track,
    /// As it was last seen, in the coordinates of that frame.
    pub body: Body,
    /// Frames since then, those that nobody looked at too.
    pub missing: u32,
    /// Of them, frames that nobody looked at.
    pub dropped: u32,
    /// By how much the frame has moved since then.
    pub drifted: Point,
}

impl Body {
    pub(super) fn new(mask: &Mask, class_index: u32) -> Self {
        let (mut x_sum, mut y_sum, mut pixels) = (0.0, 0.0, 0.0);
        for y in 0..mask.height() {
            for xs in mask.row_runs(y) {
                let run = f64::from(xs.end - xs.start);
                x_sum += run * f64::from(xs.start + xs.end) / 2.0;
                y_sum += run * (f64::from(y) + 0.5);
                pixels += run;
            }
        }
        let area = f64::max(pixels, 1.0);
        Body {
            mask: mask.clone(),
            class_index,
            centroid: (
                f64::from(mask.x()) + x_sum / area,
                f64::from(mask.y()) + y_sum / area,
            ),
            area,
            diameter: (4.0 * area / std::f64::consts::PI).sqrt(),
        }
    }
}

impl Known {
    /// Where it would be now if it had stayed where it was on the specimen.
    pub(super) fn stayed(&self) -> Point {
        plus(self.body.centroid, self.drifted)
    }

    /// Its way since it was last seen if it went on as it last did; none if it never moved.
    pub(super) fn went_on(&self) -> Option<Point> {
        let (x, y) = self.track.moved_px?;
        let frames = f64::from(self.missing) + 1.0;
        let per_frame = frames / (f64::from(self.track.gap) + 1.0);
        Some((x * per_frame, y * per_frame))
    }

    /// Looks after its last sight in which it was not found.
    pub(super) fn unseen(&self) -> u32 {
        self.missing - self.dropped
    }
}

/// `a + b`.
pub(super) fn plus(a: Point, b: Point) -> Point {
    (a.0 + b.0, a.1 + b.1)
}

/// `a - b`.
pub(super) fn minus(a: Point, b: Point) -> Point {
    (a.0 - b.0, a.1 - b.1)
}

/// How long a way is.
pub(super) fn length(way: Point) -> f64 {
    way.0.hypot(way.1)
}

/// The middle value, the upper one of two; 0 of none. Leaves `values` in another order.
pub(super) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::{Body, median};
    use crate::mask::testing::drawn;

    #[test]
    fn a_centroid_is_the_mean_of_pixel_middles() {
        let body = Body::new(&drawn(10, 20, &["##", "#."]), 0);
        assert_eq!(body.area, 3.0);
        assert!((body.centroid.0 - (10.5 + 11.5 + 10.5) / 3.0).abs() < 1e-12);
        assert!((body.centroid.1 - (20.5 + 20.5 + 21.5) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_median_of_two_is_the_upper_one() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0, -1.0]), 3.0);
        assert_eq!(median(&mut [3.0, -1.0, 2.0]), 2.0);
    }
}
