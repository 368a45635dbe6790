use super::Curve;
use crate::{params::GrowthOptions, segmentation::Growth};

fn curve() -> Curve {
    Curve::new(GrowthOptions::default())
}

/// The growth of one field, an hour between frames.
fn hourly(counts: &[u32]) -> Growth {
    let mut curve = curve();
    for (hour, &count) in counts.iter().enumerate() {
        curve.add(0, hour as f64, count, f64::from(count) / 1000.0);
    }
    curve.growth()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1e-3)
}

#[test]
fn rates_and_intervals_are_those_of_scipy() {
    // tests/py/growth_goldens.py writes these from scipy.stats.linregress and scipy.stats.t.
    let goldens = include_str!("../../tests/data/growth.json");
    let goldens: serde_json::Value = serde_json::from_str(goldens).expect("the script writes JSON");
    let cases = goldens.as_array().expect("a list of cases");
    assert!(cases.len() >= 5);
    for case in cases {
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let numbers = |key: &str| -> Vec<f64> {
            case[key]
                .as_array()
                .expect("a list")
                .iter()
                .map(number)
                .collect()
        };
        let name = &case["name"];
        let mut curve = curve();
        for (hours, count) in numbers("hours").into_iter().zip(numbers("counts")) {
            curve.add(0, hours, count as u32, count / 5000.0);
        }
        let growth = curve.growth();
        assert_eq!(
            u64::from(growth.points),
            case["points"].as_u64().expect("a number"),
            "{name}"
        );
        for rate in [growth.count, growth.confluence] {
            let rate = rate.unwrap_or_else(|| panic!("{name}: no rate"));
            assert!(
                close(rate.per_hour, number(&case["per_hour"])),
                "{name}: {rate:?}"
            );
            match rate.doubling_hours {
                None => assert!(case["doubling_hours"].is_null(), "{name}"),
                Some((estimate, low, high)) => {
                    let expected = numbers("doubling_hours");
                    for (value, &expected) in [estimate, low, high].into_iter().zip(&expected) {
                        assert!(close(value, expected), "{name}: {value} is not {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn cells_that_double_every_hour_double_every_hour() {
    let growth = hourly(&[10, 20, 40, 80, 160, 320]);
    let (estimate, low, high) = growth
        .count
        .and_then(|rate| rate.doubling_hours)
        .expect("it is certain");
    assert!(close(estimate, 1.0) && low <= estimate && estimate <= high && close(low, high));
    assert_eq!(
        (growth.points, growth.span_hours, growth.fields),
        (6, 5.0, 1)
    );
}

#[test]
fn cells_that_halve_have_a_time_below_0() {
    let growth = hourly(&[1024, 512, 256, 130, 64, 32]);
    let (estimate, low, high) = growth
        .count
        .and_then(|rate| rate.doubling_hours)
        .expect("it is certain");
    assert!(low < estimate && estimate < high && high < 0.0 && (estimate + 1.0).abs() < 0.01);
}

#[test]
fn cells_that_stay_as_they_are_do_not_double() {
    for counts in [&[70u32; 8][..], &[3, 3, 3, 3, 3], &[70, 71, 70, 69, 70, 71]] {
        let rate = hourly(counts).count.expect("there are points enough");
        assert!(
            rate.per_hour.abs() < 0.01 && rate.doubling_hours.is_none(),
            "{counts:?}: {rate:?}"
        );
    }
}

#[test]
fn a_rate_needs_five_points_over_two_hours() {
    assert_eq!(hourly(&[1, 2, 4, 8]).count, None);
    assert_ne!(hourly(&[1, 2, 4, 8, 16]).count, None);
    let over = |minutes: f64| {
        let mut curve = curve();
        (0..7).for_each(|i| curve.add(0, f64::from(i) * minutes / 60.0, 10 + i, 0.1));
        curve.growth().count
    };
    assert_eq!(over(19.0), None);
    assert_ne!(over(20.0), None);
}

#[test]
fn frames_that_are_two_hours_apart_but_for_rounding_are_two_hours_apart() {
    let mut curve = Curve::new(GrowthOptions {
        window_hours: 2.0,
        ..GrowthOptions::default()
    });
    for frame in 1..=20 {
        let hours = f64::from(frame) * 600_000.0 / 3.6e6;
        curve.add(0, hours, 10 + frame, 0.1);
        let growth = curve.growth();
        assert_eq!(
            growth.count.is_some(),
            frame >= 13,
            "frame {frame}: {growth:?}"
        );
        assert_eq!(growth.points, frame.min(13), "frame {frame}");
    }
}

#[test]
fn points_without_a_cell_are_counted_but_not_fitted() {
    let growth = hourly(&[0, 2, 4, 8, 0, 32, 64]);
    let rate = growth.count.expect("five points have cells");
    assert!(close(rate.per_hour, 2f64.ln()));
    assert_eq!(growth.points, 7);
    assert_eq!(hourly(&[0, 2, 4, 8, 0, 32]).count, None);
    assert_eq!(hourly(&[0; 9]).count, None);
}

#[test]
fn only_the_window_counts() {
    let counts: Vec<u32> = (0..30)
        .map(|hour| if hour < 15 { 900 } else { 1 << (hour - 15) })
        .collect();
    let growth = hourly(&counts);
    assert_eq!((growth.points, growth.span_hours), (13, 12.0));
    assert!(close(
        growth.count.expect("points enough").per_hour,
        2f64.ln()
    ));
}

#[test]
fn fields_of_a_well_are_summed_at_their_mean_time() {
    let mut curve = curve();
    for round in 0..6u32 {
        let hours = f64::from(round);
        // One field is empty throughout; the sum doubles all the same.
        curve.add(7, hours, 3 << round, 0.01);
        curve.add(2, hours + 0.1, 0, 0.0);
        curve.add(4, hours + 0.2, 5 << round, 0.02);
    }
    let growth = curve.growth();
    assert_eq!((growth.points, growth.fields), (6, 3));
    assert!(close(
        growth.count.expect("points enough").per_hour,
        2f64.ln()
    ));
}

#[test]
fn a_round_without_one_of_its_fields_is_left_out() {
    let mut curve = curve();
    for round in 0..8u32 {
        curve.add(0, f64::from(round), 100 << round, 0.1);
        if round != 3 && round != 7 {
            curve.add(1, f64::from(round) + 0.1, 50 << round, 0.1);
        }
    }
    curve.exclude();
    curve.exclude();
    let growth = curve.growth();
    // Of round 3 and of the one that is going on, one field is not there.
    assert_eq!((growth.points, growth.fields, growth.excluded), (6, 2, 2));
    assert!(close(
        growth.count.expect("points enough").per_hour,
        2f64.ln()
    ));
}

#[test]
fn fields_may_come_later_and_go() {
    let mut curve = curve();
    for round in 0..4u32 {
        curve.add(0, f64::from(round), 10, 0.1);
    }
    for round in 4..6u32 {
        curve.add(0, f64::from(round), 10, 0.1);
        curve.add(1, f64::from(round), 10, 0.1);
    }
    let growth = curve.growth();
    assert_eq!((growth.points, growth.fields), (2, 2));
    for round in 6..9u32 {
        curve.add(0, f64::from(round), 10, 0.1);
    }
    let growth = curve.growth();
    assert_eq!((growth.points, growth.fields), (9, 1));
}

#[test]
fn time_that_cannot_be_meant_excludes_the_frame() {
    let mut curve = curve();
    curve.add(0, 5.0, 10, 0.1);
    for hours in [f64::NAN, f64::INFINITY, 4.9] {
        curve.add(0, hours, 10, 0.1);
    }
    let growth = curve.growth();
    assert_eq!((growth.points, growth.excluded), (1, 3));
}

#[test]
fn fast_frames_take_no_more_memory_than_slow_ones() {
    let mut curve = curve();
    for frame in 0..6000u32 {
        let hours = f64::from(frame) / 450.0;
        curve.add(0, hours, 1000, (0.1 * hours).exp() / 100.0);
    }
    assert!(curve.rounds.len() <= 513, "{}", curve.rounds.len());
    assert!(curve.bytes() < 50_000, "{}", curve.bytes());
    let growth = curve.growth();
    assert!((growth.confluence.expect("points enough").per_hour - 0.1).abs() < 1e-9);
    assert!(growth.span_hours > 11.9);
}
