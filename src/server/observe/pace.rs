//! How often a session's frames are shown: some at once, so that a burst over several positions is seen whole, then a few a second.

use std::time::{Duration, Instant};

/// Between two frames in the long run.
const EVERY: Duration = Duration::from_millis(200);

/// Frames at once after a pause.
const BURST: u32 = 5;

/// Bytes a second that the pages of a session are told in the long run: frames with very many cells come less often.
const BYTES_PER_S: f64 = 4e6;

/// When the next frame may be shown.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// From then on a whole burst is free.
    free: Option<Instant>,
}

impl Pace {
    /// Whether a frame is shown now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let free = self.free.map_or(now, |free| free.max(now));
        if EVERY * (BURST - 1) < free - now {
            return false;
        }
        self.free = Some(free + EVERY);
        true
    }

    /// The frame that was shown came to so many bytes.
    pub(super) fn spent(&mut self, bytes: usize) {
        let took = Duration::from_secs_f64(bytes as f64 / BYTES_PER_S);
        if let Some(free) = &mut self.free {
            *free += took.saturating_sub(EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pace: &mut Pace, start: Instant, ms: std::ops::Range<u64>, bytes: usize) -> usize {
        let frames = ms.map(|ms| start + Duration::from_millis(ms));
        let taken = frames.filter(|&now| {
            let taken = pace.take(now);
            if taken {
                pace.spent(bytes);
            }
            taken
        });
        taken.count()
    }

    #[test]
    fn a_burst_is_shown_whole_and_a_stream_a_few_times_a_second() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(shown(&mut pace, start, 0..5, 100_000), 5);
        assert_eq!(shown(&mut pace, start, 5..200, 100_000), 0);
        assert_eq!(shown(&mut pace, start, 200..10_200, 100_000), 50);
        // After a pause a burst again.
        assert_eq!(shown(&mut pace, start, 60_000..60_005, 100_000), 5);
    }

    #[test]
    fn frames_with_very_many_cells_come_less_often() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let large = shown(&mut pace, start, 0..30_000, 4_000_000);
        assert!((28..=33).contains(&large), "{large}");
    }
}
