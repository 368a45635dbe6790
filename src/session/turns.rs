//! What is done in the order of the frames, between their lanes and their answers.

use super::{Outcome, Session, Slot, State};
use crate::frame::SeriesKey;

/// What happens next in the order of the frames.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn<S> {
    /// A frame has its turn, and is finished after it.
    Settled {
        /// Names the frame in [`Session::finish`].
        seq: u64,
        /// As it was handed in.
        settled: S,
    },
    /// A frame was dropped or failed; only in sessions that are [`Session::in_order`].
    Missed {
        /// Its place among the others.
        seq: u64,
        /// Its series.
        series: SeriesKey,
    },
}

impl<F, R, S> Session<F, R, S> {
    /// Whose turn it is, if that frame is through its lane. Each frame has one turn, in the order of the offers.
    pub fn next_turn(&mut self) -> Option<Turn<S>> {
        let (seq, in_order) = (self.turn, self.in_order);
        let slot = self.slots.get_mut(seq.checked_sub(self.front)? as usize)?;
        let turn = match &mut slot.state {
            state @ State::Settled(_) => match std::mem::replace(state, State::Running) {
                State::Settled(settled) => Turn::Settled { seq, settled },
                _ => unreachable!("the slot is settled"),
            },
            State::Answered(Outcome::Failed, _) | State::Dropped(_) if in_order => Turn::Missed {
                seq,
                series: slot.series.clone()?,
            },
            _ => return None,
        };
        self.turn += 1;
        self.skip_turns();
        Some(turn)
    }

    /// Whether [`Session::next_turn`] has one.
    pub fn has_turn(&self) -> bool {
        self.turn_slot()
            .is_some_and(|slot| slot.takes_turn(self.in_order))
    }

    fn turn_slot(&self) -> Option<&Slot<F, R, S>> {
        self.slots.get(self.turn.checked_sub(self.front)? as usize)
    }

    /// Nobody takes the turns of announcements, and of frames without a series.
    pub(super) fn skip_turns(&mut self) {
        self.turn = self.turn.max(self.front);
        while let Some(slot) = self.turn_slot()
            && slot.state.is_done()
            && !slot.takes_turn(self.in_order)
        {
            self.turn += 1;
        }
    }

    /// Whose turn it is, by its place: everybody before had theirs.
    pub fn next_turn_seq(&self) -> u64 {
        self.turn
    }
}

impl<F, R, S> Slot<F, R, S> {
    fn takes_turn(&self, in_order: bool) -> bool {
        match self.state {
            State::Settled(_) => true,
            State::Answered(Outcome::Failed, _) | State::Dropped(_) => {
                in_order && self.series.is_some()
            }
            State::Waiting { .. } | State::Running | State::Answered(..) | State::Note(_) => false,
        }
    }
}
