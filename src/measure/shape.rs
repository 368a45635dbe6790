//! The form of a cell: ellipse, perimeter, Euler number.

use std::f64::consts::{FRAC_PI_4, PI, SQRT_2};

use super::{
    bits::{Padded, from_left, from_right},
    moments::{Moments, Spread},
};
use crate::{mask::Mask, segmentation::Shape};

/// `padded` holds `mask`, which is tight.
pub(super) fn shape(moments: &Moments, padded: &Padded, mask: &Mask) -> Shape {
    let area = moments.area();
    let spread = moments.spread();
    let (major, minor) = eigenvalues(spread);
    let perimeter = perimeter(padded);
    Shape {
        perimeter_px: perimeter,
        major_axis_px: 4.0 * major.sqrt(),
        minor_axis_px: 4.0 * minor.sqrt(),
        eccentricity: match major > 0.0 {
            true => (1.0 - minor / major).sqrt(),
            false => 0.0,
        },
        orientation_rad: orientation(spread),
        extent: area / (f64::from(mask.width()) * f64::from(mask.height())),
        equivalent_diameter_px: (4.0 * area / PI).sqrt(),
        circularity: match perimeter > 0.0 {
            true => 4.0 * PI * area / (perimeter * perimeter),
            false => 0.0,
        },
        euler_number: euler_number(padded),
    }
}

/// Of the covariance of the pixels' middles, larger one first; a pixel counts as a point.
fn eigenvalues(Spread { xx, yy, xy }: Spread) -> (f64, f64) {
    let half_sum = (xx + yy) / 2.0;
    let major = half_sum + ((xx - yy) / 2.0).hypot(xy);
    // By the determinant: the difference would lose the digits of a thin cell's width.
    let minor = match major > 0.0 {
        true => ((xx * yy - xy * xy) / major).clamp(0.0, major),
        false => 0.0,
    };
    (major, minor)
}

/// From the row axis to the major axis, counter-clockwise; -pi/4 where there is none.
fn orientation(Spread { xx, yy, xy }: Spread) -> f64 {
    match xx == yy {
        true if xy > 0.0 => FRAC_PI_4,
        true => -FRAC_PI_4,
        false => 0.5 * (2.0 * xy).atan2(yy - xx),
    }
}

/// Benkrid and Crookes' estimate, as scikit-image has it: border pixels are those with a 4-neighbour outside; each weighs by how
/// many of its 4-neighbours and diagonal neighbours are border pixels too.
fn perimeter(padded: &Padded) -> f64 {
    let n = padded.row_words();
    let (mut straight, mut diagonal, mut between) = (0, 0, 0);
    // Border pixels of the rows above, at and below the one that is weighed.
    let mut above = vec![0; n];
    let mut here = vec![0; n];
    let mut below = vec![0; n];
    border(padded, 0, &mut here);
    for y in 0..padded.height() as isize {
        border(padded, y + 1, &mut below);
        for i in 0..n {
            if here[i] == 0 {
                continue;
            }
            let sides = Count::of([
                above[i],
                below[i],
                from_left(&here, i),
                from_right(&here, i),
            ]);
            let corners = Count::of([
                from_left(&above, i),
                from_right(&above, i),
                from_left(&below, i),
                from_right(&below, i),
            ]);
            let ones = |bits: u64| (here[i] & bits).count_ones();
            straight += ones(sides.two_or_three() & corners.at_most_two());
            diagonal += ones(sides.none() & corners.two() | sides.one() & corners.three());
            between += ones(sides.one() & (corners.one() | corners.two()));
        }
        std::mem::swap(&mut above, &mut here);
        std::mem::swap(&mut here, &mut below);
    }
    f64::from(straight) + f64::from(diagonal) * SQRT_2 + f64::from(between) * (1.0 + SQRT_2) / 2.0
}

/// The pixels of row `y` with a 4-neighbour outside.
fn border(padded: &Padded, y: isize, out: &mut [u64]) {
    let (above, row, below) = (padded.row(y - 1), padded.row(y), padded.row(y + 1));
    for (i, out) in out.iter_mut().enumerate() {
        *out = row[i] & !(above[i] & below[i] & from_left(row, i) & from_right(row, i));
    }
}

/// How many of four bits are set, for 64 pixels at once: a binary number of three digits.
struct Count {
    ones: u64,
    twos: u64,
    four: u64,
}

impl Count {
    fn of([a, b, c, d]: [u64; 4]) -> Self {
        let (ab, cd) = (a ^ b, c ^ d);
        let (both_ab, both_cd) = (a & b, c & d);
        Count {
            ones: ab ^ cd,
            twos: both_ab ^ both_cd ^ (ab & cd),
            four: both_ab & both_cd,
        }
    }

    fn none(&self) -> u64 {
        !(self.ones | self.twos | self.four)
    }

    fn one(&self) -> u64 {
        self.ones & !self.twos
    }

    fn two(&self) -> u64 {
        self.twos & !self.ones
    }

    fn three(&self) -> u64 {
        self.ones & self.twos
    }

    fn two_or_three(&self) -> u64 {
        self.twos
    }

    fn at_most_two(&self) -> u64 {
        !(self.four | self.three())
    }
}

/// Pieces minus holes, where pixels that touch at a corner are connected. Of closed squares: runs of all rows, minus the points and
/// stretches in which the runs of neighbouring rows meet.
fn euler_number(padded: &Padded) -> i32 {
    let mut euler = 0;
    for y in 0..padded.height() as isize {
        let (row, below) = (padded.row(y), padded.row(y + 1));
        for i in 0..padded.row_words() {
            let (row_left, below_left) = (from_left(row, i), from_left(below, i));
            let starts = row[i] & !row_left;
            let corners = (row[i] | row_left) & (below[i] | below_left);
            let edges = row[i] & below[i];
            euler += starts.count_ones() as i32 - corners.count_ones() as i32
                + edges.count_ones() as i32;
        }
    }
    euler
}
