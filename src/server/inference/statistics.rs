//! How many requests each model had, and where their time went: what perf_analyzer reads.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::super::Served;
use crate::{inference as oip, proto as pb};

/// Of all models that are served, by name and generation.
#[derive(Default)]
pub(super) struct Statistics(Mutex<HashMap<(String, u64), Counts>>);

/// Of one model.
#[derive(Clone, Copy, Default)]
struct Counts {
    last: Option<SystemTime>,
    success: Sum,
    fail: Sum,
    queue: Sum,
    compute_input: Sum,
    compute_infer: Sum,
    compute_output: Sum,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    count: u64,
    time: Duration,
}

impl Statistics {
    /// A request that took so long was answered: with cells, of which `timing` tells, or not.
    pub(super) fn count(&self, served: &Served, took: Duration, timing: Option<&pb::Timing>) {
        let mut all = self.lock();
        // Of earlier generations nobody asks any more, though some may still answer.
        let is_newer = |(name, generation): &(String, u64)| {
            name == served.name() && served.generation() < *generation
        };
        if all.keys().any(is_newer) {
            return;
        }
        let key = (served.name().to_owned(), served.generation());
        if !all.contains_key(&key) {
            all.retain(|(name, _), _| name != served.name());
        }
        let counts = all.entry(key).or_default();
        let Some(timing) = timing else {
            counts.fail.add(took);
            return;
        };
        let micros = |stages: &[u32]| {
            Duration::from_micros(stages.iter().map(|&stage| u64::from(stage)).sum())
        };
        counts.last = Some(SystemTime::now());
        counts.success.add(took);
        counts.queue.add(micros(&[timing.queued]));
        let input = [timing.unpack, timing.copy_up, timing.preprocess];
        counts.compute_input.add(micros(&input));
        counts.compute_infer.add(micros(&[timing.infer]));
        let output = [
            timing.decode,
            timing.copy_down,
            timing.measure,
            timing.track,
            timing.encode,
        ];
        counts.compute_output.add(micros(&output));
    }

    /// Of a model, as the protocol tells them.
    pub(super) fn told(&self, served: &Served) -> oip::ModelStatistics {
        let key = (served.name().to_owned(), served.generation());
        let counts = self.lock().get(&key).copied().unwrap_or_default();
        let since = |last: SystemTime| last.duration_since(UNIX_EPOCH).unwrap_or_default();
        let last = counts.last.map_or(0, |last| since(last).as_millis() as u64);
        let told = oip::InferStatistics {
            success: Some(counts.success.told()),
            fail: Some(counts.fail.told()),
            queue: Some(counts.queue.told()),
            compute_input: Some(counts.compute_input.told()),
            compute_infer: Some(counts.compute_infer.told()),
            compute_output: Some(counts.compute_output.told()),
            cache_hit: Some(Sum::default().told()),
            cache_miss: Some(Sum::default().told()),
        };
        let batch = oip::InferBatchStatistics {
            batch_size: 1,
            compute_input: told.compute_input,
            compute_infer: told.compute_infer,
            compute_output: told.compute_output,
        };
        oip::ModelStatistics {
            name: served.name().to_owned(),
            version: served.generation().to_string(),
            last_inference: last,
            inference_count: counts.success.count,
            execution_count: counts.success.count,
            inference_stats: Some(told),
            batch_stats: vec![batch],
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u64), Counts>> {
        // Sums that are added to one after the other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn add(&mut self, time: Duration) {
        self.count += 1;
        self.time += time;
    }

    fn told(self) -> oip::StatisticDuration {
        oip::StatisticDuration {
            count: self.count,
            ns: self.time.as_nanos() as u64,
        }
    }
}
