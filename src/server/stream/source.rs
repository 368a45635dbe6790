//! A session as lanes see it: who has frames for them.

use std::{sync::Arc, time::Instant};

use super::{
    cell::{Cell, Waiting},
    settling::Settling,
};
use crate::{
    pool::{Source, Work},
    session,
};

impl Source for Cell {
    fn waiting_since(&self) -> Option<Instant> {
        self.lock().session.waiting_since()
    }

    fn waiting(&self) -> usize {
        self.lock().session.waiting()
    }

    fn start(&self, now: Instant) -> Option<Work> {
        // With `with`: frames past their deadline are dropped here, which is a reply.
        let (started, awaited) = self.with(|state| {
            let started = state.session.start(now);
            let is_last = state.session.waiting_since().is_none();
            let awaited = is_last && std::mem::take(&mut state.start_awaited);
            (started, awaited)
        });
        if awaited {
            self.changed.notify_one();
        }
        let started = started?;
        let session::Started {
            seq,
            arrived,
            frame,
        } = started;
        let Waiting {
            frame,
            params,
            outputs,
            answer,
            admitted,
            place,
        } = *frame;
        let cell = self.this.upgrade()?;
        let admitted = Arc::new(admitted);
        let look = self.account.watch().pick(&frame, &admitted, now);
        let settling = Settling {
            seq,
            arrived,
            queued: now.saturating_duration_since(arrived + answer.unpack),
            params: Arc::clone(&params),
            outputs,
            metadata: frame.metadata().clone(),
            pixels: None,
            place,
            answer,
            cell,
            look,
        };
        // Pixels that are looked at again keep their share of the budget.
        let (pixels, admitted) = match settling.cell.analyst.needs_pixels() {
            true => (Some((frame.clone(), admitted)), None),
            false => (None, Some(admitted)),
        };
        let settling = Settling { pixels, ..settling };
        let answer = move |result| {
            drop(admitted);
            settling.answer(result);
        };
        Some(Work {
            frame,
            params,
            ticket: self.ticket.of_frame(),
            answer: Box::new(answer),
        })
    }
}
