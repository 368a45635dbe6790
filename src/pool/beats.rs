//! Tells a lane that is slow from one that hangs: by the beats of the frame on it, and by the time that it takes to open or to
//! close, where nothing beats.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::error;

use super::{Answer, OPENS_WITHIN, lane, queue::Queue};
use crate::backend::{LaneError, Ticket};

/// What each lane runs.
pub(super) struct Running {
    frames: Mutex<Vec<Option<Run>>>,
    chores: Mutex<Vec<Option<(Chore, Duration)>>>,
}

/// What a lane does between frames, and may hang in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// With the frame that warms it up.
    Opens,
    Closes,
}

impl Chore {
    /// How long it may take where a frame may be silent for `hung_after`.
    fn patience(self, hung_after: Duration) -> Duration {
        match self {
            Chore::Opens => OPENS_WITHIN.max(10 * hung_after),
            Chore::Closes => 10 * hung_after,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Chore::Opens => "open",
            Chore::Closes => "close",
        }
    }
}

/// A frame on a lane.
struct Run {
    ticket: Ticket,
    answer: Answer,
    /// When we last looked.
    beats: u64,
    /// How long we have seen it without a beat.
    silent: Duration,
}

impl Running {
    pub(super) fn new(lanes: usize) -> Self {
        Running {
            frames: Mutex::new((0..lanes).map(|_| None).collect()),
            chores: Mutex::new(vec![None; lanes]),
        }
    }

    /// `lane` begins a chore, or is done with it.
    pub(super) fn chore(&self, lane: usize, chore: Option<Chore>) {
        self.chores()[lane] = chore.map(|chore| (chore, Duration::ZERO));
    }

    /// Counts `elapsed` for every lane at a chore. Takes away those that have been at it for too long: what to say.
    fn look_at_chores(&self, elapsed: Duration, hung_after: Duration) -> Vec<String> {
        let mut hung = Vec::new();
        for (lane, place) in self.chores().iter_mut().enumerate() {
            let Some((chore, taken)) = place else {
                continue;
            };
            *taken += elapsed;
            let patience = chore.patience(hung_after);
            if patience <= *taken {
                let (name, seconds) = (chore.name(), patience.as_secs_f64());
                hung.push(format!("lane {lane} did not {name} within {seconds} s"));
                *place = None;
            }
        }
        hung
    }

    fn chores(&self) -> MutexGuard<'_, Vec<Option<(Chore, Duration)>>> {
        // Nothing panics under the lock.
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `lane` has taken a frame; its answer stays here until the lane is done or is given up.
    pub(super) fn begin(&self, lane: usize, ticket: Ticket, answer: Answer) {
        let beats = ticket.beats();
        self.lock()[lane] = Some(Run {
            ticket,
            answer,
            beats,
            silent: Duration::ZERO,
        });
    }

    /// The lane is done. None: it was given up meanwhile, and somebody else has answered.
    pub(super) fn end(&self, lane: usize) -> Option<Answer> {
        self.lock()[lane].take().map(|run| run.answer)
    }

    /// Frames on lanes.
    pub(super) fn count(&self) -> usize {
        self.lock().iter().flatten().count()
    }

    /// Counts `elapsed` as silence of every lane whose frame has not beaten since the last look. Takes away what was silent
    /// for `hung_after`: lanes and answers.
    fn look(&self, elapsed: Duration, hung_after: Duration) -> Vec<(usize, Answer)> {
        let mut hung = Vec::new();
        for (lane, place) in self.lock().iter_mut().enumerate() {
            let Some(run) = place else { continue };
            let beats = run.ticket.beats();
            run.silent = match run.beats == beats {
                true => run.silent + elapsed,
                false => Duration::ZERO,
            };
            run.beats = beats;
            if hung_after <= run.silent {
                hung.extend(place.take().map(|run| (lane, run.answer)));
            }
        }
        hung
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Run>>> {
        // Nothing panics under the lock.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the lanes until the pool is over. A lane that hangs costs the device: its frame fails, and so does every frame
/// that waits, for there may be no lane left to take them.
pub(super) fn run(queue: &Queue, hung_after: Duration) {
    let pace = (hung_after / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut looked = Instant::now();
    while !queue.rest_until_over(pace) {
        let now = Instant::now();
        // A process that was stopped for an hour has not watched its lanes for an hour.
        let elapsed = (now - looked).min(2 * pace);
        looked = now;
        for (lane, answer) in queue.running().look(elapsed, hung_after) {
            let why = format!(
                "lane {lane} gave no sign of life for {} s",
                hung_after.as_secs_f64()
            );
            error!(%why, "lane hangs, and the frame on it is lost");
            queue.hang(&why);
            answer(Err(LaneError::Device(why)));
        }
        for why in queue.running().look_at_chores(elapsed, hung_after) {
            error!(%why, "lane hangs");
            queue.hang(&why);
        }
        if queue.hung().is_some() {
            lane::fail_waiting(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn hung(running: &Running) -> Vec<usize> {
        let hung = running.look(SECOND, 3 * SECOND);
        hung.into_iter().map(|(lane, _)| lane).collect()
    }

    #[test]
    fn only_a_frame_without_a_beat_for_the_whole_time_is_given_up() {
        let running = Running::new(3);
        let (slow, stuck) = (Ticket::default(), Ticket::default());
        running.begin(0, slow.clone(), Box::new(|_| {}));
        running.begin(2, stuck, Box::new(|_| {}));
        for _ in 0..2 {
            slow.beat();
            assert!(hung(&running).is_empty());
        }
        // Lane 1 is idle, which is no silence.
        slow.beat();
        assert_eq!(hung(&running), [2]);
        assert!(running.end(2).is_none(), "answered by who gave it up");
        for _ in 0..2 {
            assert!(hung(&running).is_empty());
        }
        assert_eq!(hung(&running), [0], "a beat begins the time anew");
    }

    #[test]
    fn a_lane_that_does_not_close_is_given_up_later_than_a_frame() {
        let running = Running::new(2);
        running.chore(0, Some(Chore::Closes));
        running.chore(1, Some(Chore::Closes));
        for _ in 0..29 {
            assert!(running.look_at_chores(SECOND, 3 * SECOND).is_empty());
        }
        running.chore(0, None);
        let hung = running.look_at_chores(SECOND, 3 * SECOND);
        assert_eq!(hung, ["lane 1 did not close within 30 s"]);
        assert!(running.look_at_chores(SECOND, 3 * SECOND).is_empty());
        // Compiling takes minutes, however short a frame is.
        running.chore(0, Some(Chore::Opens));
        assert!(running.look_at_chores(500 * SECOND, SECOND).is_empty());
        assert_eq!(running.look_at_chores(100 * SECOND, SECOND).len(), 1);
    }

    #[test]
    fn a_lane_that_is_done_answers_itself() {
        let running = Running::new(1);
        let (send, receive) = mpsc::channel();
        running.begin(
            0,
            Ticket::default(),
            Box::new(move |_| send.send(()).unwrap()),
        );
        let answer = running.end(0).unwrap();
        answer(Err(LaneError::Frame("on order".to_owned())));
        receive.try_recv().unwrap();
        for _ in 0..5 {
            assert!(hung(&running).is_empty());
        }
    }
}
