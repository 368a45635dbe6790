//! Words for the log that a stranger can make us say: at once, then at most every ten seconds, with a count.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long the next of its kind is only counted.
const QUIET: Duration = Duration::from_secs(10);

/// When it was said last, and how often not since.
#[derive(Default)]
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// How often it has happened since it was said last, this time included; None: not now.
    pub(super) fn say(&self, now: Instant) -> Option<u64> {
        // Two words, written together.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, times) = &mut *state;
        *times += 1;
        if last.is_some_and(|last| now.saturating_duration_since(last) < QUIET) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_many_are_counted() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let said: Vec<_> = [0, 1, 2, 10, 11, 25]
            .map(|s| seldom.say(start + Duration::from_secs(s)))
            .into();
        assert_eq!(said, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
