//! A straight line through points, and how sure its slope is.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::segmentation::GrowthRate;

/// Of the interval that is given.
const CONFIDENCE: f64 = 0.95;

/// The slope of ln N against hours by least squares. None without three points at two times. `points`: hours, N above 0.
pub(super) fn rate(points: &[(f64, f64)]) -> Option<GrowthRate> {
    let &(first_hours, first_n) = points.first()?;
    // From the first point on: N that stays the same is a slope of exactly 0, and hours since 1970 lose no digits.
    let points = || {
        points
            .iter()
            .map(|&(hours, n)| (hours - first_hours, (n / first_n).ln()))
    };
    let n = points().count() as f64;
    if n < 3.0 {
        return None;
    }
    let x_mean = points().map(|(x, _)| x).sum::<f64>() / n;
    let y_mean = points().map(|(_, y)| y).sum::<f64>() / n;
    let x_spread: f64 = points().map(|(x, _)| (x - x_mean) * (x - x_mean)).sum();
    if x_spread <= 0.0 {
        return None;
    }
    let slope = points()
        .map(|(x, y)| (x - x_mean) * (y - y_mean))
        .sum::<f64>()
        / x_spread;
    if !slope.is_finite() {
        return None;
    }
    let residual = |(x, y): (f64, f64)| y - y_mean - slope * (x - x_mean);
    let residuals: f64 = points()
        .map(residual)
        .map(|residual| residual * residual)
        .sum();
    let error = (residuals / (n - 2.0) / x_spread).sqrt();
    // Valid for any number of points from 3 on.
    let t = StudentsT::new(0.0, 1.0, n - 2.0)
        .ok()?
        .inverse_cdf((1.0 + CONFIDENCE) / 2.0);
    let (low, high) = (slope - t * error, slope + t * error);
    let doubling = |rate: f64| std::f64::consts::LN_2 / rate;
    Some(GrowthRate {
        per_hour: slope,
        doubling_hours: (low > 0.0 || high < 0.0)
            .then(|| (doubling(slope), doubling(high), doubling(low))),
    })
}
