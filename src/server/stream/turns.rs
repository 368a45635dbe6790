//! What is done in the order of the frames: identities, growth, and frames that are measured in the cells of earlier ones.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    time::Instant,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::convert::{self, Answer},
    cell::Cell,
    settling::Settled,
};
use crate::{
    analysis::NotKept,
    frame::Frame,
    segmentation::Segmentation,
    session::{Outcome, Turn},
};

/// A frame that waits for its turn.
pub(super) enum Due {
    /// A lane is through with it.
    Cells(Box<Settled>),
    /// It needs no lane.
    Measure(Box<ToMeasure>),
}

/// A frame that is measured in the cells of an earlier one.
pub(super) struct ToMeasure {
    pub(super) frame: Frame,
    /// The earlier one's id.
    pub(super) on: u64,
    pub(super) arrived: Instant,
    pub(super) answer: Answer,
    /// Its share of the byte budget.
    pub(super) admitted: OwnedSemaphorePermit,
}

impl Cell {
    /// On the work pool, by one at a time: until it is the turn of a frame that is not through its lane.
    pub(super) fn take_turns(self: &Arc<Self>) {
        loop {
            let (turn, forgotten) = self.with(|state| {
                let until = state.session.next_turn_seq();
                let mut forgotten = Vec::new();
                while let Some((_, positions)) =
                    state.forgotten.pop_front_if(|(seq, _)| *seq < until)
                {
                    forgotten.extend(positions);
                }
                let turn = match forgotten.is_empty() {
                    true => state.session.next_turn(),
                    // First these.
                    false => None,
                };
                state.takes_turns = turn.is_some() || !forgotten.is_empty();
                // Looked up before a lane can keep the cells of another frame, for which these may have to go.
                let cells = match &turn {
                    Some(Turn::Settled {
                        settled: Due::Measure(frame),
                        seq,
                    }) => {
                        let size = (frame.frame.width(), frame.frame.height());
                        Some(state.kept.find(frame.on, *seq, size))
                    }
                    _ => None,
                };
                (turn.map(|turn| (turn, cells)), forgotten)
            });
            // Poisoned by a panic that was caught: whoever caught it has seen to it.
            let mut timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
            for position in &forgotten {
                timeline.forget(position);
            }
            match turn {
                None if forgotten.is_empty() => return,
                None => {}
                Some((Turn::Missed { series, .. }, _)) => timeline.missed(&series),
                Some((Turn::Settled { settled, seq }, cells)) => match (settled, cells) {
                    (Due::Cells(settled), _) => settled.follow(&mut timeline),
                    (Due::Measure(frame), cells) => {
                        let cells = cells.expect("looked up with its turn");
                        let cell = Arc::clone(self);
                        rayon::spawn(move || frame.measure(&cell, seq, cells));
                    }
                },
            }
        }
    }
}

impl ToMeasure {
    fn measure(self, cell: &Cell, seq: u64, cells: Result<Arc<Segmentation>, NotKept>) {
        let ToMeasure {
            frame,
            on,
            arrived,
            answer,
            admitted,
        } = self;
        let measuring = Instant::now();
        let measured = match cells {
            Err(why) => Err(convert::not_kept(on, &why)),
            Ok(cells) => {
                let background = cell.analyst.wishes().measurements.background;
                // The work pool ends the process if its work panics.
                catch_unwind(AssertUnwindSafe(|| {
                    convert::measured(on, &cells, &frame, background)
                }))
                .map_err(|_| convert::defect("measuring it"))
            }
        };
        let measured = measured.and_then(|measured| answer.check().map(|()| measured));
        // What makes room for other frames goes before somebody is told.
        drop((frame, admitted));
        let (outcome, reply) = match measured {
            Ok(measured) => {
                let took = measuring.elapsed();
                let reply = convert::answered_measured(answer, measured, took);
                (Outcome::Segmented, reply)
            }
            Err(failed) => (Outcome::Failed, convert::failed(answer, failed)),
        };
        cell.finish(seq, arrived, outcome, reply, None);
    }
}
