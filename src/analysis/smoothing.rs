//! Brightness smoothed over time: by which earlier frames of its series a frame is shown.
//!
//! Frame n is shown by the frames up to n - window, folded in their order. A LOSSLESS session has answered all of them when
//! frame n is offered, for at most `window` of its frames are in flight: so neither the number of lanes nor timing shows.
//! Where frames are dropped, what is not known when it is folded is left out.

use std::collections::{BTreeMap, VecDeque};

use super::MAX_SERIES;
use crate::{frame::SeriesKey, params::Span};

/// The brightness of a session's series so far. Bounded: the series that was longest without a frame starts afresh.
#[derive(Debug)]
pub struct Smoothing {
    window: usize,
    next: u64,
    series: BTreeMap<SeriesKey, Course>,
}

/// Where a frame's own percentiles belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    series: SeriesKey,
    number: u64,
}

/// One series.
#[derive(Debug, Default)]
struct Course {
    /// Of the frames folded so far: sum and weight.
    sum: Option<(Span, f64)>,
    /// Frames not folded yet, oldest first; none: not known, or nothing to show by.
    recent: VecDeque<(u64, Option<Span>)>,
}

impl Smoothing {
    /// For frames of which at most `window` are in flight.
    pub fn new(window: usize) -> Self {
        Smoothing {
            window: window.max(1),
            next: 0,
            series: BTreeMap::new(),
        }
    }

    /// The next frame of `series` is offered: where its percentiles belong once they are known, and those by which it is shown;
    /// none: by its own. An older frame weighs `smoothing` times as much as the next, 0 to 1.
    pub fn offered(&mut self, series: &SeriesKey, smoothing: f64) -> (Place, Option<Span>) {
        let place = Place {
            series: series.clone(),
            number: self.next,
        };
        self.next += 1;
        if !self.series.contains_key(series) {
            self.make_room();
        }
        let course = self.series.entry(series.clone()).or_default();
        course.recent.push_back((place.number, None));
        while self.window < course.recent.len() {
            if let Some((_, Some(span))) = course.recent.pop_front() {
                course.fold(span, smoothing);
            }
        }
        (place, course.shown_by())
    }

    /// The own percentiles of a frame are known; none where it has none to show by.
    pub fn settled(&mut self, place: &Place, own: Option<Span>) {
        // Its series may have started afresh.
        let Some(course) = self.series.get_mut(&place.series) else {
            return;
        };
        let number = |&(number, _): &(u64, _)| number;
        if let Ok(index) = course.recent.binary_search_by_key(&place.number, number) {
            course.recent[index].1 = own;
        }
    }

    /// Every series starts afresh.
    pub fn forget(&mut self) {
        self.series.clear();
    }

    /// The series of `position` start afresh.
    pub fn forget_position(&mut self, position: &str) {
        self.series.retain(|series, _| !series.is_at(position));
    }

    fn make_room(&mut self) {
        if self.series.len() < MAX_SERIES {
            return;
        }
        let last = |course: &Course| course.recent.back().map(|&(number, _)| number);
        let oldest = self.series.iter().min_by_key(|(_, course)| last(course));
        if let Some(oldest) = oldest.map(|(series, _)| series.clone()) {
            self.series.remove(&oldest);
        }
    }
}

impl Course {
    fn fold(&mut self, span: Span, smoothing: f64) {
        self.sum = Some(match self.sum {
            None => (span, 1.0),
            Some((sum, weight)) => {
                let sum = Span {
                    low: sum.low * smoothing + span.low,
                    high: sum.high * smoothing + span.high,
                };
                (sum, weight * smoothing + 1.0)
            }
        });
    }

    fn shown_by(&self) -> Option<Span> {
        self.sum.map(|(sum, weight)| Span {
            low: sum.low / weight,
            high: sum.high / weight,
        })
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

    fn span(low: f64) -> Option<Span> {
        Some(Span {
            low,
            high: low + 100.0,
        })
    }

    #[test]
    fn a_frame_is_shown_by_the_mean_of_those_a_window_before_whatever_is_known_earlier() {
        let lows = [10.0, 20.0, 40.0, 80.0, 160.0];
        // Answers known as early as they may be, and as late.
        for known_after in [1, 2] {
            let mut smoothing = Smoothing::new(2);
            let mut places = VecDeque::new();
            let shown: Vec<Option<Span>> = lows
                .iter()
                .map(|&low| {
                    let (place, shown) = smoothing.offered(&series("A"), 0.5);
                    places.push_back((place, low));
                    if places.len() == known_after {
                        let (place, low) = places.pop_front().unwrap();
                        smoothing.settled(&place, span(low));
                    }
                    shown
                })
                .collect();
            let mean = |folded: &[f64]| {
                let weights = (0..folded.len()).rev().map(|age| 0.5f64.powi(age as i32));
                let sum: f64 = folded.iter().zip(weights.clone()).map(|(a, b)| a * b).sum();
                span(sum / weights.sum::<f64>())
            };
            let expected = [
                None,
                None,
                mean(&lows[..1]),
                mean(&lows[..2]),
                mean(&lows[..3]),
            ];
            for (shown, expected) in shown.iter().zip(&expected) {
                let low = |span: &Option<Span>| span.map(|span| span.low);
                match (low(shown), low(expected)) {
                    (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "{a} {b}"),
                    (a, b) => assert_eq!(a, b),
                }
            }
        }
    }

    #[test]
    fn each_series_has_its_own_brightness_and_may_start_afresh() {
        let mut smoothing = Smoothing::new(1);
        for position in ["A", "B"] {
            let (place, shown) = smoothing.offered(&series(position), 0.9);
            assert_eq!(shown, None);
            smoothing.settled(&place, span(7.0));
        }
        smoothing.forget_position("A");
        let (late, shown) = smoothing.offered(&series("A"), 0.9);
        assert_eq!(shown, None);
        assert_eq!(smoothing.offered(&series("B"), 0.9).1, span(7.0));
        smoothing.forget();
        smoothing.settled(&late, span(9.0));
        assert_eq!(smoothing.offered(&series("A"), 0.9).1, None);
    }

    #[test]
    fn a_frame_without_percentiles_is_left_out_and_ever_new_series_are_bounded() {
        let mut smoothing = Smoothing::new(1);
        let (place, _) = smoothing.offered(&series("A"), 0.5);
        smoothing.settled(&place, span(7.0));
        let (place, _) = smoothing.offered(&series("A"), 0.5);
        smoothing.settled(&place, None);
        assert_eq!(smoothing.offered(&series("A"), 0.5).1, span(7.0));
        for position in 0..MAX_SERIES {
            smoothing.offered(&series(&position.to_string()), 0.5);
        }
        assert_eq!(smoothing.series.len(), MAX_SERIES);
        assert_eq!(smoothing.offered(&series("A"), 0.5).1, None, "the oldest");
    }
}
