//! The analysed area of a frame: what rings enclose.

use super::{Mask, Ring};

/// Corners that all rings of a region may have together: a well's outline has some hundred.
pub const MAX_REGION_CORNERS: usize = 4096;

/// How far from the frame's origin a corner may lie, pixels: over any camera's side, and exact in 64 bits.
const FARTHEST: i32 = 1 << 24;

/// Why rings are not a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegionError(String);

/// Refuses rings that are no region of a frame of any size.
pub fn check_region(rings: &[Ring]) -> Result<(), RegionError> {
    let n_corners: usize = rings.iter().map(|ring| ring.corners.len()).sum();
    if n_corners > MAX_REGION_CORNERS {
        return Err(RegionError(format!(
            "region has {n_corners} corners: at most {MAX_REGION_CORNERS}"
        )));
    }
    if rings.is_empty() {
        return Err(RegionError(
            "region has no rings: give at least one, or no region for the whole frame".to_owned(),
        ));
    }
    for (i, ring) in rings.iter().enumerate() {
        if ring.corners.len() < 3 {
            return Err(RegionError(format!(
                "ring {i} of the region has {} corners: at least 3",
                ring.corners.len()
            )));
        }
        let far = |&&(x, y): &&(i32, i32)| {
            x.unsigned_abs() > FARTHEST as u32 || y.unsigned_abs() > FARTHEST as u32
        };
        if let Some((x, y)) = ring.corners.iter().find(far) {
            return Err(RegionError(format!(
                "ring {i} of the region has a corner at ({x}, {y}): coordinates are -{FARTHEST} to {FARTHEST}"
            )));
        }
    }
    Ok(())
}

/// The pixels of a `width` x `height` frame whose middles lie inside `rings`, in a tight box. Even-odd: a pixel belongs if a line
/// from it to the left crosses the rings an odd number of times, whichever way they run; a middle on a ring counts as right of it.
/// Corners may lie outside the frame. Refused if no pixel is left.
pub fn region(rings: &[Ring], width: u32, height: u32) -> Result<Mask, RegionError> {
    check_region(rings)?;
    let mut mask = Mask::empty(0, 0, width, height);
    // First a bit wherever a ring crosses a row: there, pixels change sides.
    for ring in rings {
        let next = ring.corners.iter().cycle().skip(1);
        for (&a, &b) in ring.corners.iter().zip(next) {
            cross_rows(a, b, &mut mask);
        }
    }
    let past_width = match width % 32 {
        0 => 0,
        used => u32::MAX << used,
    };
    for y in 0..height {
        let mut inside = 0;
        let row = mask.row_mut(y);
        for word in &mut *row {
            // Every bit becomes the parity of itself and all before it.
            for shift in [1, 2, 4, 8, 16] {
                *word ^= *word << shift;
            }
            *word ^= inside;
            inside = 0_u32.wrapping_sub(*word >> 31);
        }
        if let Some(last) = row.last_mut() {
            *last &= !past_width;
        }
    }
    match mask.is_empty() {
        true => Err(RegionError(format!(
            "region encloses no pixel's middle of the {width}x{height} frame"
        ))),
        false => Ok(mask.trim()),
    }
}

/// Flips, in every row whose middle the edge from `a` to `b` crosses, the first pixel whose own middle is not left of it.
fn cross_rows(a: (i32, i32), b: (i32, i32), mask: &mut Mask) {
    let ((x0, y0), (x1, y1)) = match a.1 <= b.1 {
        true => (a, b),
        false => (b, a),
    };
    let (x0, y0, x1, y1) = (i64::from(x0), i64::from(y0), i64::from(x1), i64::from(y1));
    let (dx, dy) = (x1 - x0, y1 - y0);
    for y in y0.max(0)..y1.min(i64::from(mask.height())) {
        // ceil(x0 + (y + 1/2 - y0) dx / dy - 1/2), exactly.
        let over_2dy = (2 * x0 - 1) * dy + (2 * (y - y0) + 1) * dx;
        let x = (over_2dy + 2 * dy - 1).div_euclid(2 * dy).max(0);
        if x < i64::from(mask.width()) {
            mask.row_mut(y as u32)[x as usize / 32] ^= 1 << (x % 32);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_REGION_CORNERS, region};
    use crate::mask::{Ring, rings, testing::*};

    fn ring(corners: &[(i32, i32)]) -> Ring {
        Ring {
            corners: corners.to_vec(),
            hole: false,
        }
    }

    #[test]
    fn middles_decide_and_the_left_edge_owns_what_lies_on_it() {
        for (corners, expected) in [
            // Through middles: (0.5, 0.5), (1.5, 1.5) and (2.5, 2.5) lie on the long edge, which is the left one.
            (&[(0, 0), (3, 0), (3, 3)][..], &["###", ".##", "..#"][..]),
            // Now it is the right one.
            (&[(0, 0), (3, 3), (0, 3)], &["...", "#..", "##."]),
            (
                &[(-5, -5), (2, -5), (2, 9), (-5, 9)],
                &["##.", "##.", "##."],
            ),
            // Crossing itself: even-odd.
            (&[(0, 0), (3, 0), (0, 3), (3, 3)], &["##.", "...", "##."]),
        ] {
            let mask = region(&[ring(corners)], 3, 3).expect("pixels inside");
            let expected = frame_pixels(&drawn(0, 0, expected), 3, 3);
            assert_eq!(frame_pixels(&mask, 3, 3), expected, "{corners:?}");
        }
    }

    #[test]
    fn what_is_no_region_is_refused_by_its_values() {
        let square = ring(&[(0, 0), (2, 0), (2, 2), (0, 2)]);
        let many = ring(&vec![(0, 0); MAX_REGION_CORNERS + 1]);
        for (rings, expected) in [
            (
                vec![],
                "region has no rings: give at least one, or no region for the whole frame",
            ),
            (
                vec![square.clone(), ring(&[(0, 0), (1, 1)])],
                "ring 1 of the region has 2 corners: at least 3",
            ),
            (vec![many], "region has 4097 corners: at most 4096"),
            (
                vec![ring(&[(0, 0), (i32::MIN, 5), (3, 3)])],
                "ring 0 of the region has a corner at (-2147483648, 5): coordinates are -16777216 to 16777216",
            ),
            (
                vec![ring(&[(10, 0), (12, 0), (12, 2)])],
                "region encloses no pixel's middle of the 8x6 frame",
            ),
            // Twice the same: nothing is inside an odd number of times.
            (
                vec![square.clone(), square],
                "region encloses no pixel's middle of the 8x6 frame",
            ),
        ] {
            let error = region(&rings, 8, 6).expect_err(expected);
            assert_eq!(error.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn rings_of_a_mask_enclose_the_mask((mask, width, height) in any_mask(70)) {
            let rings = rings(&mask);
            if !mask.is_empty() {
                prop_assert_eq!(region(&rings, width, height).expect("as drawn"), mask.trim());
            }
        }

        #[test]
        fn any_polygon_is_what_counting_crossings_gives(
            corners in prop::collection::vec((-9i32..50, -9i32..30), 3..9),
        ) {
            let inside = |x: u32, y: u32| {
                let (px, py) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
                let next = corners.iter().cycle().skip(1);
                let left = |&(&(ax, ay), &(bx, by)): &(&(i32, i32), &(i32, i32))| {
                    let [ax, ay, bx, by] = [ax, ay, bx, by].map(f64::from);
                    // Times (by - ay), so that all is exact.
                    (ay > py) != (by > py) && {
                        let side = (px - ax) * (by - ay) - (py - ay) * (bx - ax);
                        if by > ay { side >= 0.0 } else { side <= 0.0 }
                    }
                };
                corners.iter().zip(next).filter(left).count() % 2 == 1
            };
            let expected: Vec<bool> = (0..20).flat_map(|y| (0..40).map(move |x| (x, y))).map(|(x, y)| inside(x, y)).collect();
            match region(&[ring(&corners)], 40, 20) {
                Ok(mask) => prop_assert_eq!(frame_pixels(&mask, 40, 20), expected),
                Err(_) => prop_assert!(!expected.contains(&true)),
            }
        }
    }
}
