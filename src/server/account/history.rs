//! How many cells each series of a session had, since it opened: for whoever opens the page in the morning.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::frame::SeriesKey;

/// Series of a session that have a curve; of more, those that came first.
const SERIES: usize = 96;

/// Bytes of a series' names, as they are shown. One that is called longer has no curve.
const LONGEST: usize = 256;

/// Points of a curve. A longer one gets coarser: every other point goes, and later ones come half as often.
const POINTS: usize = 256;

/// Between two points of a new curve.
const EVERY: Duration = Duration::from_secs(1);

/// Curves of a session.
#[derive(Debug, Default)]
pub(super) struct History {
    series: BTreeMap<SeriesKey, Course>,
    last: u64,
}

#[derive(Debug)]
struct Course {
    every: Duration,
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    /// Its place among all points of the session.
    number: u64,
    /// Milliseconds since 1970.
    at_ms: u64,
    cells: u32,
    confluence: f32,
}

/// Points of one series, the oldest first.
#[derive(Debug, PartialEq, Serialize)]
pub(in crate::server) struct Curve {
    /// As the series is called.
    pub(in crate::server) series: String,
    /// Milliseconds since 1970, cells, confluence.
    pub(in crate::server) points: Vec<(u64, u32, f32)>,
}

impl History {
    /// A frame of `series` had so many cells, and that confluence.
    pub(super) fn segmented(&mut self, series: SeriesKey, cells: (u32, f64), now: SystemTime) {
        if !self.series.contains_key(&series)
            && (self.series.len() == SERIES || LONGEST < series.bytes())
        {
            return;
        }
        let course = self.series.entry(series).or_insert_with(|| Course {
            every: EVERY,
            points: Vec::new(),
        });
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let at_ms = since.map_or(0, |since| since.as_millis() as u64);
        if let Some(last) = course.points.last()
            // A clock that was put back is no reason to stop.
            && last.at_ms <= at_ms
            && Duration::from_millis(at_ms - last.at_ms) < course.every
        {
            return;
        }
        if course.points.len() == POINTS {
            let mut place = 0;
            course.points.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            course.every *= 2;
        }
        self.last += 1;
        course.points.push(Point {
            number: self.last,
            at_ms,
            cells: cells.0,
            confluence: cells.1 as f32,
        });
    }

    /// What came after the point `after`, and the number of the last point.
    pub(super) fn after(&self, after: u64) -> (Vec<Curve>, u64) {
        let curves = self.series.iter().filter_map(|(series, course)| {
            let from = course.points.partition_point(|point| point.number <= after);
            let points = course.points.get(from..).filter(|new| !new.is_empty())?;
            Some(Curve {
                series: series.to_string(),
                points: points
                    .iter()
                    .map(|point| (point.at_ms, point.cells, point.confluence))
                    .collect(),
            })
        });
        (curves.collect(), self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameMetadata;

    fn series(position: &str) -> SeriesKey {
        let metadata = FrameMetadata {
            position: position.to_owned(),
            ..Default::default()
        };
        metadata.series()
    }

    #[test]
    fn a_long_curve_gets_coarser_and_keeps_its_ends() {
        let (mut history, start) = (History::default(), SystemTime::UNIX_EPOCH);
        let n = 100_000_u32;
        for second in 0..n {
            let at = start + Duration::from_secs(second.into());
            history.segmented(series("A1"), (second, 0.5), at);
        }
        let (curves, _) = history.after(0);
        let points = &curves[0].points;
        assert!(
            (POINTS / 2..=POINTS).contains(&points.len()),
            "{}",
            points.len()
        );
        assert_eq!(points[0], (0, 0, 0.5));
        let step = points[1].0;
        assert!(points[points.len() - 1].0 + 2 * step > u64::from(n) * 1000);
        assert!(points.windows(2).all(|two| two[1].0 - two[0].0 <= 2 * step));
    }

    #[test]
    fn a_live_view_has_a_point_a_second_and_only_new_ones_are_told_again() {
        let (mut history, start) = (History::default(), SystemTime::UNIX_EPOCH);
        for frame in 0..90_u32 {
            let at = start + frame * Duration::from_millis(33);
            history.segmented(series("A1"), (frame, 0.0), at);
        }
        let (curves, last) = history.after(0);
        assert_eq!(curves[0].points.len(), 3);
        assert_eq!(history.after(last), (Vec::new(), last));
        history.segmented(series("B2"), (7, 0.1), start);
        let (curves, _) = history.after(last);
        let names: Vec<_> = curves.iter().map(|curve| curve.series.as_str()).collect();
        assert_eq!(names, ["position \"B2\""]);
    }

    #[test]
    fn a_client_that_names_ever_new_series_is_bounded() {
        let (mut history, start) = (History::default(), SystemTime::UNIX_EPOCH);
        history.segmented(series(&"x".repeat(LONGEST + 1)), (1, 0.0), start);
        for frame in 0..10_000_u32 {
            history.segmented(series(&frame.to_string()), (1, 0.0), start);
        }
        assert_eq!(history.after(0).0.len(), SERIES);
    }
}
