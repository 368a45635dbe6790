//! COCO polygons as pixels, exactly those that pycocotools fills.
//!
//! Its rule: corners are rounded to a grid five times finer than the pixels, sides are drawn on it pixel by pixel, and where the
//! line passes the middle of a column of pixels the column changes between inside and outside.

use std::ops::Range;

/// Grid points a pixel.
const SCALE: f64 = 5.0;

/// The runs that a polygon fills down the columns of a frame of `width` x `height` pixels. `corners` are x and y in pixels, edges
/// at whole numbers; the last is joined to the first.
///
/// **Invariant:** corners lie within some frames' sides of the frame; the caller sees to it.
pub(super) fn runs_of_polygon(corners: &[(f64, f64)], width: u32, height: u32) -> Vec<Range<u64>> {
    let on_grid = |(x, y): (f64, f64)| {
        // Towards zero, as a conversion in C.
        let round = |v: f64| (SCALE * v + 0.5) as i64;
        (round(x), round(y))
    };
    let grid: Vec<(i64, i64)> = corners.iter().map(|&corner| on_grid(corner)).collect();
    let next = grid.iter().cycle().skip(1);
    let line: Vec<(i64, i64)> = grid
        .iter()
        .zip(next)
        .flat_map(|(&from, &to)| side(from, to))
        .collect();
    let mut changes: Vec<u64> = line
        .windows(2)
        .filter_map(|step| crossing(step[0], step[1], width, height))
        .collect();
    changes.sort_unstable();
    changes.push(u64::from(width) * u64::from(height));
    changes
        .chunks_exact(2)
        .map(|change| change[0]..change[1])
        .collect()
}

/// The grid points of a side, both ends included, a step along its longer extent at a time.
fn side(from: (i64, i64), to: (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
    let (dx, dy) = ((to.0 - from.0).abs(), (to.1 - from.1).abs());
    let flat = dx >= dy;
    let n = dx.max(dy);
    // Always drawn in the rising direction, so that it is the same from both ends.
    let falls = if flat { from.0 > to.0 } else { from.1 > to.1 };
    let (low, high) = if falls { (to, from) } else { (from, to) };
    (0..=n).map(move |i| {
        let t = if falls { n - i } else { i };
        let across = |start: i64, end: i64| match n {
            0 => start,
            _ => (start as f64 + (end - start) as f64 / n as f64 * t as f64 + 0.5) as i64,
        };
        match flat {
            true => (low.0 + t, across(low.1, high.1)),
            false => (across(low.0, high.0), low.1 + t),
        }
    })
}

/// The pixel from which on a column changes sides, where a step of the line passes the column's middle.
fn crossing(from: (i64, i64), to: (i64, i64), width: u32, height: u32) -> Option<u64> {
    if from.0 == to.0 {
        return None;
    }
    let pixel = |grid: i64| (grid as f64 + 0.5) / SCALE - 0.5;
    let x = pixel(if to.0 < from.0 { to.0 } else { to.0 - 1 });
    if x.floor() != x || x < 0.0 || x > f64::from(width) - 1.0 {
        return None;
    }
    let y = pixel(from.1.min(to.1)).clamp(0.0, f64::from(height)).ceil();
    Some(x as u64 * u64::from(height) + y as u64)
}

#[cfg(test)]
mod tests {
    use super::super::columns::mask_of_runs;
    use super::runs_of_polygon;
    use crate::mask::encode_coco;

    #[test]
    fn polygons_fill_the_pixels_that_pycocotools_fills() {
        for (corners, (width, height), expected) in [
            // pycocotools.mask.frPyObjects([...], height, width)[0]["counts"]
            (
                &[(1.0, 1.0), (4.0, 1.0), (4.0, 3.0), (1.0, 3.0)][..],
                (6, 5),
                "6230009",
            ),
            (
                &[(0.3, 0.2), (8.7, 3.1), (2.2, 7.9)],
                (9, 8),
                "0183L3MO2N100O2N6",
            ),
            (
                &[(-3.0, 2.5), (12.0, -4.0), (15.5, 20.0)],
                (10, 10),
                "1551N2O001OY1",
            ),
            (
                &[(0.0, 0.0), (8.0, 8.0), (8.0, 0.0), (0.0, 8.0)],
                (8, 8),
                "072N2N2N10O2N2N2O",
            ),
        ] {
            let mask = mask_of_runs(runs_of_polygon(corners, width, height).into_iter(), height);
            let counts = encode_coco(&mask, width, height);
            assert_eq!(String::from_utf8_lossy(&counts), expected, "{corners:?}");
        }
    }
}
