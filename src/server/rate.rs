//! Calls a second of each peer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Origin;

/// Peers remembered before those who may call as they like again are forgotten.
const MANY: usize = 4096;

/// A bucket of calls for each peer: it holds a second's worth, and fills as fast.
pub(super) struct Rate {
    per_s: f64,
    buckets: Mutex<HashMap<Origin, Bucket>>,
}

struct Bucket {
    calls: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(per_s: u32) -> Self {
        Rate {
            per_s: per_s.into(),
            buckets: Mutex::default(),
        }
    }

    /// Takes a call out of the bucket; `Err`: when there will be one.
    pub(super) fn take(&self, origin: Origin, now: Instant) -> Result<(), Duration> {
        // A bucket is two numbers, written together.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MANY {
            buckets.retain(|_, bucket| self.filled(bucket, now) < self.per_s);
        }
        let full = Bucket {
            calls: self.per_s,
            at: now,
        };
        let bucket = buckets.entry(origin).or_insert(full);
        bucket.calls = self.filled(bucket, now);
        bucket.at = now;
        if bucket.calls < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.calls) / self.per_s));
        }
        bucket.calls -= 1.0;
        Ok(())
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.calls + passed * self.per_s).min(self.per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_calls_at_once_then_as_many_as_time_brings() {
        let (rate, start) = (Rate::new(10), Instant::now());
        let [a, b] = [1, 2].map(|n| Origin::Ip([10, 0, 0, n].into()));
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!((0..20).filter(|_| rate.take(a, at(0)).is_ok()).count(), 10);
        let wait = rate.take(a, at(0)).unwrap_err();
        assert_eq!(wait.as_millis(), 100);
        assert!(rate.take(b, at(0)).is_ok(), "another is not held back");
        assert_eq!((0..9).filter(|_| rate.take(a, at(350)).is_ok()).count(), 3);
        assert_eq!(
            (0..99).filter(|_| rate.take(a, at(99_000)).is_ok()).count(),
            10
        );
    }

    #[test]
    fn those_who_are_quiet_are_forgotten() {
        let (rate, start) = (Rate::new(10), Instant::now());
        for n in 0..2 * MANY as u32 {
            let origin = Origin::Ip(n.to_be_bytes().into());
            let now = start + Duration::from_secs(u64::from(n));
            assert!(rate.take(origin, now).is_ok());
        }
        assert!(rate.buckets.lock().unwrap().len() <= MANY);
    }
}
