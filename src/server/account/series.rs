//! Series of frames that stop coming.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::frame::SeriesKey;

/// Series of a session that are watched; of more, those that came first: taking turns, none would be known for long enough.
const WATCHED: usize = 4096;

/// Bytes of a series' names, as they are logged. One that is called longer is not watched.
const LONGEST: usize = 1024;

/// Intervals of which the median counts.
const INTERVALS: usize = 9;

/// Fewer tell nothing.
const ENOUGH: usize = 3;

/// A live view that pauses for a moment is no news.
const AT_LEAST: Duration = Duration::from_secs(5);

/// Since when each series of a session is silent.
#[derive(Debug, Default)]
pub(super) struct Silences(BTreeMap<SeriesKey, Series>);

#[derive(Debug)]
struct Series {
    last: Instant,
    intervals: VecDeque<Duration>,
    told: bool,
}

impl Silences {
    /// A frame of `series` came. Some: the series had been told as silent, for so long.
    pub(super) fn came(
        &mut self,
        series: SeriesKey,
        now: Instant,
    ) -> Option<(SeriesKey, Duration)> {
        if let Some(known) = self.0.get_mut(&series) {
            let interval = now.saturating_duration_since(known.last);
            known.last = now;
            if std::mem::take(&mut known.told) {
                // A pause is no interval.
                return Some((series, interval));
            }
            if known.intervals.len() == INTERVALS {
                known.intervals.pop_front();
            }
            known.intervals.push_back(interval);
            return None;
        }
        if self.0.len() == WATCHED || LONGEST < series.to_string().len() {
            return None;
        }
        let new = Series {
            last: now,
            intervals: VecDeque::new(),
            told: false,
        };
        self.0.insert(series, new);
        None
    }

    /// Those that have been silent for 2.5 times their own interval since the last time that this was asked: which, for how
    /// long, their interval.
    pub(super) fn fallen_silent(&mut self, now: Instant) -> Vec<(SeriesKey, Duration, Duration)> {
        let mut silent = Vec::new();
        for (key, series) in &mut self.0 {
            let Some(interval) = series.interval() else {
                continue;
            };
            let since = now.saturating_duration_since(series.last);
            if !series.told && (interval * 5 / 2).max(AT_LEAST) <= since {
                series.told = true;
                silent.push((key.clone(), since, interval));
            }
        }
        silent
    }
}

impl Series {
    fn interval(&self) -> Option<Duration> {
        if self.intervals.len() < ENOUGH {
            return None;
        }
        let mut sorted: Vec<_> = self.intervals.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
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

    fn names(silent: Vec<(SeriesKey, Duration, Duration)>) -> Vec<String> {
        silent
            .into_iter()
            .map(|(key, ..)| key.to_string())
            .collect()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_series_is_told_once_and_again_after_it_came_back() {
        let mut silences = Silences::default();
        let start = Instant::now();
        // Every ten minutes, one of them late.
        for minute in [0, 10, 20, 31] {
            silences.came(series("A1"), start + minute * MINUTE);
        }
        let at = |minute: u32| start + minute * MINUTE;
        assert!(silences.fallen_silent(at(31 + 24)).is_empty());
        let silent = silences.fallen_silent(at(31 + 25));
        assert_eq!(silent[0].1..=silent[0].2, 25 * MINUTE..=10 * MINUTE);
        assert!(silences.fallen_silent(at(31 + 26)).is_empty(), "once");
        let back = silences.came(series("A1"), at(91));
        assert_eq!(back, Some((series("A1"), 60 * MINUTE)));
        // The pause has not become its interval.
        assert!(silences.fallen_silent(at(91 + 24)).is_empty());
        assert_eq!(silences.fallen_silent(at(91 + 25)).len(), 1);
    }

    #[test]
    fn two_intervals_are_no_habit_and_a_short_pause_no_silence() {
        let mut silences = Silences::default();
        let start = Instant::now();
        for minute in 0..3 {
            silences.came(series("rare"), start + minute * MINUTE);
        }
        for frame in 0..100 {
            silences.came(series("live"), start + frame * Duration::from_millis(33));
        }
        let last = start + 99 * Duration::from_millis(33);
        let second = Duration::from_secs(1);
        assert!(silences.fallen_silent(last + 4 * second).is_empty());
        let silent = silences.fallen_silent(last + 5 * second);
        assert_eq!(names(silent), ["position \"live\""]);
        assert!(silences.fallen_silent(start + 600 * MINUTE).is_empty());
    }

    #[test]
    fn a_client_that_names_ever_new_series_is_bounded() {
        let mut silences = Silences::default();
        let start = Instant::now();
        for frame in 0..10_000_u32 {
            silences.came(series(&frame.to_string()), start);
        }
        assert_eq!(silences.0.len(), WATCHED);
        assert!(silences.0.contains_key(&series("0")));
        let mut silences = Silences::default();
        silences.came(series(&"n".repeat(LONGEST)), start);
        assert!(silences.0.is_empty());
    }

    #[test]
    fn the_wells_of_several_plates_are_told_when_they_fall_silent() {
        let mut silences = Silences::default();
        let start = Instant::now();
        let wells = 3 * 384;
        for round in 0..4 {
            for well in 0..wells {
                silences.came(series(&well.to_string()), start + round * 30 * MINUTE);
            }
        }
        let silent = silences.fallen_silent(start + (90 + 75) * MINUTE);
        assert_eq!(silent.len(), wells);
    }
}
