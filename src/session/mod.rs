//! One client's stream as a pure state machine: what may start, what may be sent, what is dropped.
//!
//! No threads, no clock, no I/O: events go in with their time, decisions come out. `F` is a frame that waits, `R` an answer
//! that is ready. Every frame that is offered gets exactly one answer, and answers leave in the order of the offers.
//!
//! **Invariant:** at most `window` frames are in flight (waiting, running or answered and not yet taken), and at most
//! [`MAX_NOTES`] drop notices and other small replies are held. LATEST keeps two places for each of up to [`MAX_SERIES`]
//! series beside its window, one to run and one to wait: else a frame of one series would hold up what is newer in another.
//!
//! Between a lane and its answer a frame may take a turn ([`Session::next_turn`]): one after the other, in the order of the
//! offers, for what depends on the frames before. `S` is what waits for its turn. In a session [`Session::in_order`] every frame
//! passes there, dropped and failed ones too, before its reply leaves; elsewhere only what asks for a turn.

use std::{collections::VecDeque, time::Instant};

use crate::frame::SeriesKey;
pub use turns::Turn;

#[cfg(test)]
mod tests;
mod turns;

/// Drop notices and announcements held for a client that does not read them; past it nothing more is read from it.
pub const MAX_NOTES: usize = 1024;

/// Series that have places of their own in a LATEST session.
pub const MAX_SERIES: usize = 16;

/// Frames of one series that a LATEST session takes whatever its window: one runs, one waits.
const PLACES_OF_A_SERIES: usize = 2;

/// One client's frames, from offer to answer.
#[derive(Debug)]
pub struct Session<F, R, S = R> {
    delivery: Delivery,
    window: usize,
    /// In order of offering; the front is the next to be answered.
    slots: VecDeque<Slot<F, R, S>>,
    /// Sequence number of the front.
    front: u64,
    /// Replies wait for their turn.
    in_order: bool,
    /// Sequence number of the first slot that had no turn yet.
    turn: u64,
    in_flight: usize,
    notes: usize,
    counts: Counts,
}

/// What happens when frames come faster than they are segmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is dropped; the client is held back.
    Lossless,
    /// Per series at most one frame waits; a newer one replaces it.
    Latest,
}

/// A frame as it is offered.
#[derive(Clone, Debug)]
pub struct Offer<F> {
    /// The client's.
    pub id: u64,
    /// Frames that follow one another.
    pub series: SeriesKey,
    /// When it arrived.
    pub arrived: Instant,
    /// If it has not started by then it is dropped.
    pub deadline: Option<Instant>,
    /// The frame.
    pub frame: F,
}

/// A frame that a lane has to run now.
#[derive(Debug, PartialEq, Eq)]
pub struct Started<F> {
    /// Names the frame in [`Session::finish`].
    pub seq: u64,
    /// When it arrived.
    pub arrived: Instant,
    /// The frame.
    pub frame: F,
}

/// What leaves a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<R> {
    /// An answer or an announcement, as it was handed in.
    Ready(R),
    /// A frame that was not segmented, by policy.
    Dropped {
        /// The client's.
        id: u64,
        /// Which policy.
        reason: DropReason,
    },
}

/// Why a frame was not segmented, by policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// A newer frame of its series took its place.
    NewerFrame,
    /// Not started in time.
    Deadline,
    /// The client said so.
    Cancelled,
    /// The daemon is stopping.
    Draining,
}

/// How a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With cells, zero cells included.
    Segmented,
    /// By error.
    Failed,
}

/// Every frame accounted for; counted when its answer is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered with cells.
    pub segmented: u64,
    /// By policy.
    pub dropped: u64,
    /// By error.
    pub failed: u64,
}

#[derive(Debug)]
struct Slot<F, R, S> {
    id: u64,
    series: Option<SeriesKey>,
    state: State<F, R, S>,
}

#[derive(Debug)]
enum State<F, R, S> {
    Waiting {
        /// When its series began to wait: a frame that replaces another keeps its turn.
        since: Instant,
        arrived: Instant,
        deadline: Option<Instant>,
        frame: F,
    },
    /// On a lane, or between its turn and its answer.
    Running,
    /// Waits for its turn.
    Settled(S),
    Answered(Outcome, R),
    Dropped(DropReason),
    Note(R),
}

impl<F, R, S> Session<F, R, S> {
    /// A session that may have `window` frames in flight.
    pub fn new(delivery: Delivery, window: usize) -> Self {
        Session {
            delivery,
            window: window.max(1),
            slots: VecDeque::new(),
            front: 0,
            in_order: false,
            turn: 0,
            in_flight: 0,
            notes: 0,
            counts: Counts::default(),
        }
    }

    /// The same, and no reply leaves before its frame had its turn: for what depends on earlier frames.
    pub fn in_order(self) -> Self {
        Session {
            in_order: true,
            ..self
        }
    }

    /// Whether a frame of `series` may be offered now. A frame without a series is one that failed before it was understood.
    pub fn has_room(&self, series: Option<&SeriesKey>) -> bool {
        if self.notes >= MAX_NOTES {
            return false;
        }
        self.in_flight < self.window
            || self.delivery == Delivery::Latest
                && series.is_some_and(|series| self.has_place(series))
    }

    /// Whether an announcement may be made now.
    pub fn has_room_for_note(&self) -> bool {
        self.notes < MAX_NOTES
    }

    /// Whether a frame of this id is in flight: ids must tell frames apart.
    pub fn is_in_flight(&self, id: u64) -> bool {
        self.slots
            .iter()
            .any(|slot| slot.id == id && slot.state.is_frame())
    }

    /// Takes a frame, or gives it back if there is no room: what [`Session::has_room`] said ends with the next event.
    pub fn offer(&mut self, offer: Offer<F>) -> Result<(), F> {
        if !self.has_room(Some(&offer.series)) {
            return Err(offer.frame);
        }
        let Offer {
            id,
            series,
            arrived,
            deadline,
            frame,
        } = offer;
        let replaced = self.replaceable(&series);
        let since = replaced.and_then(|index| self.slots[index].state.waiting_since());
        if let Some(index) = replaced {
            self.drop_slot(index, DropReason::NewerFrame);
        }
        let waiting = State::Waiting {
            since: since.unwrap_or(arrived),
            arrived,
            deadline,
            frame,
        };
        self.push(id, Some(series), waiting);
        Ok(())
    }

    /// Takes a frame that failed before it could be offered, with its answer; of a series, where that was understood. The caller
    /// has asked [`Session::has_room`].
    pub fn refuse(&mut self, id: u64, series: Option<SeriesKey>, answer: R) {
        self.push(id, series, State::Answered(Outcome::Failed, answer));
    }

    /// Takes a frame that needs no lane: it waits for its turn. The caller has asked [`Session::has_room`].
    pub fn pass_by(&mut self, id: u64, settled: S) {
        self.push(id, None, State::Settled(settled));
    }

    /// Takes a frame that is dropped on arrival.
    pub fn drop_on_arrival(&mut self, id: u64, reason: DropReason) {
        self.push(id, None, State::Dropped(reason));
    }

    /// Announces something, in order with the frames around it. The caller has asked [`Session::has_room_for_note`].
    pub fn announce(&mut self, note: R) {
        self.push(0, None, State::Note(note));
    }

    /// Since when the series of the frame that would start next has waited.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.slots
            .iter()
            .find_map(|slot| slot.state.waiting_since())
    }

    /// Frames that wait for a lane.
    pub fn waiting(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.state.is_waiting())
            .count()
    }

    /// The frame that a lane runs next. Frames past their deadline are dropped on the way.
    pub fn start(&mut self, now: Instant) -> Option<Started<F>> {
        self.expire(now);
        let index = self.slots.iter().position(|slot| slot.state.is_waiting())?;
        let slot = &mut self.slots[index];
        match std::mem::replace(&mut slot.state, State::Running) {
            State::Waiting { arrived, frame, .. } => Some(Started {
                seq: self.front + index as u64,
                arrived,
                frame,
            }),
            _ => unreachable!("the slot waits"),
        }
    }

    /// The frame that [`Session::start`] gave out as `seq` waits for its turn. Ignored if the session was closed meanwhile.
    pub fn settle(&mut self, seq: u64, settled: S) {
        self.leave_lane(seq, State::Settled(settled));
    }

    /// Answers the frame that [`Session::start`] or [`Session::next_turn`] gave out as `seq`. Ignored if the session was closed
    /// meanwhile.
    pub fn finish(&mut self, seq: u64, outcome: Outcome, answer: R) {
        self.leave_lane(seq, State::Answered(outcome, answer));
    }

    fn leave_lane(&mut self, seq: u64, state: State<F, R, S>) {
        let Some(slot) = seq
            .checked_sub(self.front)
            .and_then(|i| self.slots.get_mut(i as usize))
        else {
            return;
        };
        debug_assert!(matches!(slot.state, State::Running), "finished twice");
        slot.state = state;
        self.skip_turns();
    }

    /// Drops the frame `id` if it has not started. Says whether it did.
    pub fn cancel(&mut self, id: u64) -> bool {
        let index = self
            .slots
            .iter()
            .position(|slot| slot.id == id && slot.state.is_waiting());
        index.is_some_and(|index| {
            self.drop_slot(index, DropReason::Cancelled);
            true
        })
    }

    /// Drops frames past their deadline.
    pub fn expire(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            if matches!(self.slots[index].state, State::Waiting { deadline: Some(deadline), .. } if deadline <= now)
            {
                self.drop_slot(index, DropReason::Deadline);
            }
        }
    }

    /// The earliest deadline of a frame that waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.slots
            .iter()
            .filter_map(|slot| match slot.state {
                State::Waiting { deadline, .. } => deadline,
                _ => None,
            })
            .min()
    }

    /// The next reply, if the frame whose turn it is has one.
    pub fn next_reply(&mut self) -> Option<Reply<R>> {
        if !self.has_reply() {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.front += 1;
        self.turn = self.turn.max(self.front);
        match slot.state {
            State::Answered(outcome, answer) => {
                self.in_flight -= 1;
                match outcome {
                    Outcome::Segmented => self.counts.segmented += 1,
                    Outcome::Failed => self.counts.failed += 1,
                }
                Some(Reply::Ready(answer))
            }
            State::Dropped(reason) => {
                self.notes -= 1;
                self.counts.dropped += 1;
                Some(Reply::Dropped {
                    id: slot.id,
                    reason,
                })
            }
            State::Note(note) => {
                self.notes -= 1;
                Some(Reply::Ready(note))
            }
            State::Waiting { .. } | State::Running | State::Settled(_) => {
                unreachable!("the slot is done")
            }
        }
    }

    /// Whether [`Session::next_reply`] has one.
    pub fn has_reply(&self) -> bool {
        let had_turn = !self.in_order || self.front < self.turn;
        had_turn && self.slots.front().is_some_and(|slot| slot.state.is_done())
    }

    /// The place that the next frame or announcement gets in the order of the offers.
    pub fn next_seq(&self) -> u64 {
        self.front + self.slots.len() as u64
    }

    /// Whether every frame was answered and every answer taken.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }

    /// Frames answered so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The client is gone: nothing starts any more, and what runs is answered to nobody.
    pub fn close(&mut self) {
        self.front += self.slots.len() as u64;
        self.turn = self.front;
        self.slots.clear();
        (self.in_flight, self.notes) = (0, 0);
    }

    fn push(&mut self, id: u64, series: Option<SeriesKey>, state: State<F, R, S>) {
        match state.is_frame() {
            true => self.in_flight += 1,
            false => self.notes += 1,
        }
        self.slots.push_back(Slot { id, series, state });
        self.skip_turns();
    }

    /// Whether LATEST takes a frame of `series` although the window is full.
    fn has_place(&self, series: &SeriesKey) -> bool {
        let of_series =
            |slot: &&Slot<F, R, S>| slot.state.is_frame() && slot.series.as_ref() == Some(series);
        self.replaceable(series).is_some()
            || self.in_flight < self.window + PLACES_OF_A_SERIES * MAX_SERIES
                && self.slots.iter().filter(of_series).count() < PLACES_OF_A_SERIES
    }

    /// The frame that a newer one of `series` replaces.
    fn replaceable(&self, series: &SeriesKey) -> Option<usize> {
        match self.delivery {
            Delivery::Lossless => None,
            Delivery::Latest => self
                .slots
                .iter()
                .position(|slot| slot.state.is_waiting() && slot.series.as_ref() == Some(series)),
        }
    }

    /// A drop frees its place in the window: a notice is small.
    fn drop_slot(&mut self, index: usize, reason: DropReason) {
        self.slots[index].state = State::Dropped(reason);
        self.in_flight -= 1;
        self.notes += 1;
        self.skip_turns();
    }
}

impl<F, R, S> State<F, R, S> {
    fn is_frame(&self) -> bool {
        !matches!(self, State::Dropped(_) | State::Note(_))
    }

    fn waiting_since(&self) -> Option<Instant> {
        match self {
            State::Waiting { since, .. } => Some(*since),
            _ => None,
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self, State::Waiting { .. })
    }

    fn is_done(&self) -> bool {
        !matches!(
            self,
            State::Waiting { .. } | State::Running | State::Settled(_)
        )
    }
}
