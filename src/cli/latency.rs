//! Latencies of many frames, end to end and by stage.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

/// Stages of a frame's way through the daemon, as the contract's `Timing` names them.
pub(super) const STAGES: [&str; 11] = [
    "queued",
    "unpack",
    "copy_up",
    "preprocess",
    "infer",
    "decode",
    "copy_down",
    "measure",
    "encode",
    "track",
    "total",
];

/// Microseconds of each of [`STAGES`].
pub(super) type StagesUs = [u32; STAGES.len()];

/// Latencies of the frames answered so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    round_trips_us: Vec<u32>,
    stages_us: Vec<StagesUs>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

/// One line of a report: where time went.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    stage: &'static str,
    #[serde(flatten)]
    ms: Percentiles,
}

impl Latencies {
    /// A frame answered `round_trip` after it was sent.
    pub(super) fn add(&mut self, round_trip: Duration, stages_us: StagesUs) {
        self.round_trips_us
            .push(round_trip.as_micros().try_into().unwrap_or(u32::MAX));
        self.stages_us.push(stages_us);
    }

    /// Takes another's frames in.
    pub(super) fn merge(&mut self, other: Latencies) {
        self.round_trips_us.extend(other.round_trips_us);
        self.stages_us.extend(other.stages_us);
    }

    /// Of a stage that took time, or of "round trip"; none if no frame was answered.
    pub(super) fn median_ms(&self, stage: &str) -> Option<f64> {
        let row = self.rows().into_iter().find(|row| row.stage == stage)?;
        Some(row.ms.p50)
    }

    /// Stages that took time, then the round trip; empty if no frame was answered.
    pub(super) fn rows(&self) -> Vec<Row> {
        let stages = STAGES.iter().enumerate().map(|(i, &stage)| {
            let times_us: Vec<u32> = self.stages_us.iter().map(|stages| stages[i]).collect();
            (stage, times_us)
        });
        stages
            .filter(|(_, times_us)| times_us.iter().any(|&us| us > 0))
            .chain([("round trip", self.round_trips_us.clone())])
            .filter_map(|(stage, times_us)| {
                let ms = Percentiles::of(times_us)?;
                Some(Row { stage, ms })
            })
            .collect()
    }
}

impl Percentiles {
    /// By nearest rank: each is a latency that was measured.
    fn of(mut times_us: Vec<u32>) -> Option<Percentiles> {
        times_us.sort_unstable();
        let n = times_us.len();
        let rank = |percent: usize| {
            let index = (n * percent).div_ceil(100).checked_sub(1)?;
            Some(f64::from(times_us[index]) / 1000.0)
        };
        Some(Percentiles {
            p50: rank(50)?,
            p95: rank(95)?,
            p99: rank(99)?,
        })
    }
}

/// Aligned lines for a person.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!("  {:<12}{:>10}{:>10}{:>10}\n", "ms", "p50", "p95", "p99");
    for Row { stage, ms } in rows {
        let Percentiles { p50, p95, p99 } = ms;
        writeln!(text, "  {stage:<12}{p50:>10.2}{p95:>10.2}{p99:>10.2}")
            .expect("a String takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_latencies_that_were_measured() {
        let ms = |p50, p95, p99| Some(Percentiles { p50, p95, p99 });
        for (times_ms, expected) in [
            (vec![], None),
            (vec![7], ms(7.0, 7.0, 7.0)),
            (vec![4, 1, 3, 2], ms(2.0, 4.0, 4.0)),
            ((1..=100).rev().collect(), ms(50.0, 95.0, 99.0)),
            ((1..=101).collect(), ms(51.0, 96.0, 100.0)),
        ] {
            let times_us = times_ms.iter().map(|ms: &u32| ms * 1000).collect();
            assert_eq!(Percentiles::of(times_us), expected, "{times_ms:?}");
        }
    }

    #[test]
    fn stages_that_never_ran_are_not_listed() {
        let mut latencies = Latencies::default();
        let mut stages_us = StagesUs::default();
        stages_us[4] = 1500;
        latencies.add(Duration::from_millis(2), stages_us);
        let stages: Vec<_> = latencies
            .rows()
            .iter()
            .map(|row| (row.stage, row.ms.p50))
            .collect();
        assert_eq!(stages, [("infer", 1.5), ("round trip", 2.0)]);
    }
}
