//! Failed frames in the log: the first at once, those that follow as a count.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

/// How often what goes on is told.
const EVERY: Duration = Duration::from_secs(10);

/// What failed lately, by the contract's word for why. Over all sessions: a client that opens many must not fill the disk.
#[derive(Default)]
pub(super) struct Failures(Mutex<BTreeMap<&'static str, Lately>>);

/// A frame that failed.
pub(super) struct Failed<'a> {
    /// The contract's word for why.
    pub(super) code: &'static str,
    pub(super) frame: u64,
    pub(super) message: &'a str,
    pub(super) session: &'a str,
    pub(super) model: &'a str,
}

/// Since something was last told.
struct Lately {
    told: Instant,
    count: u64,
    /// Message and session of the last one.
    last: (String, String),
}

/// What was not told one by one.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    code: &'static str,
    count: u64,
    message: String,
    session: String,
}

impl Failures {
    /// Tells it, unless one like it was told lately.
    pub(super) fn failed(&self, failed: &Failed<'_>, now: Instant) {
        if self.is_first(failed, now) {
            let Failed {
                code,
                frame,
                message,
                session,
                model,
            } = failed;
            warn!(code, frame, %session, %model, why = ?message, "frame failed");
        }
    }

    /// Tells how many failed since.
    pub(super) fn attend(&self, now: Instant) {
        for summary in self.due(now) {
            let Summary {
                code,
                count,
                message,
                session,
            } = summary;
            warn!(
                code,
                count,
                last_session = %session,
                last_why = ?message,
                "more frames failed"
            );
        }
    }

    fn is_first(&self, failed: &Failed<'_>, now: Instant) -> bool {
        // Nothing panics under the lock.
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lately) = codes.get_mut(failed.code) {
            lately.count += 1;
            lately.last = (failed.message.to_owned(), failed.session.to_owned());
            return false;
        }
        let lately = Lately {
            told: now,
            count: 0,
            last: Default::default(),
        };
        codes.insert(failed.code, lately);
        true
    }

    /// Summaries whose time has come. What has not failed again is forgotten: its next failure is a first one.
    fn due(&self, now: Instant) -> Vec<Summary> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        codes.retain(|code, lately| {
            if now.saturating_duration_since(lately.told) < EVERY {
                return true;
            }
            if lately.count == 0 {
                return false;
            }
            let (message, session) = std::mem::take(&mut lately.last);
            due.push(Summary {
                code,
                count: std::mem::take(&mut lately.count),
                message,
                session,
            });
            lately.told = now;
            true
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: &'static str) -> Failed<'static> {
        Failed {
            code,
            frame: 1,
            message: "lane lost: on order",
            session: "s",
            model: "cell",
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_as_a_count() {
        let failures = Failures::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert!(failures.is_first(&failed("LANE_LOST"), at(0)));
        assert!(failures.is_first(&failed("TOO_LARGE"), at(1)), "another");
        for _ in 0..1000 {
            assert!(!failures.is_first(&failed("LANE_LOST"), at(2)));
        }
        assert_eq!(failures.due(at(9)), []);
        let summary = |count| Summary {
            code: "LANE_LOST",
            count,
            message: "lane lost: on order".to_owned(),
            session: "s".to_owned(),
        };
        assert_eq!(failures.due(at(10)), [summary(1000)]);
        assert!(!failures.is_first(&failed("LANE_LOST"), at(12)));
        assert_eq!(failures.due(at(20)), [summary(1)]);
        assert_eq!(failures.due(at(30)), [], "over");
        assert!(failures.is_first(&failed("LANE_LOST"), at(31)), "anew");
    }
}
