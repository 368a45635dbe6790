//! Which model a session's frames go to: the one that it opened with, or a newer one, between two frames.

use std::sync::Arc;

use tonic::Status;

use super::{Reader, Stop};
use crate::server::{Served, convert, stream::seat::Seat};

impl Reader {
    /// Lets the lanes go that end for a newer model, once none of the session's frames waits for them.
    pub(super) fn step_aside(&mut self) {
        if self.seat.served().is_leaving() && self.cell.all_started() {
            self.seat.leave();
        }
    }

    /// The newer model that the session has to move to, or wants to.
    fn next_model(&self) -> Option<Arc<Served>> {
        let served = self.seat.served();
        let newer = self.shared.models.newer(served)?;
        let is_declined = self.declined.as_ptr() == Arc::as_ptr(&newer);
        let moves = served.is_leaving() || self.settled.follow_reload && !is_declined;
        moves.then_some(newer)
    }

    /// Whether the next frame may be offered to the lanes where the session sits.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.seat.is_taken() && !self.seat.served().is_leaving() && self.next_model().is_none()
    }

    /// Between two frames: moves to the model that is served now, where the session follows reloads or its own one ends. Frames
    /// that wait are run by the lanes that they came for.
    pub(super) async fn keep_up(&mut self) -> Result<(), Stop> {
        while !self.is_up_to_date() {
            let is_leaving = self.seat.served().is_leaving();
            match self.next_model() {
                // A reload that failed: the old model stays.
                None if !is_leaving => self.seat.come_back(&self.cell, self.settled.priority),
                Some(newer) if self.cell.all_started() => self.move_to(newer, is_leaving).await?,
                _ => self.disturbed(self.cell.next_deadline()).await?,
            }
        }
        Ok(())
    }

    async fn move_to(&mut self, newer: Arc<Served>, must: bool) -> Result<(), Stop> {
        let pool = newer.pool();
        match self.settled.onto(pool.model(), &self.shared.limits) {
            Ok(settled) => {
                self.settled = settled;
                convert::reopened(&mut self.opened, pool.model(), pool.description());
                self.seat = Seat::take(newer, &self.cell, self.settled.priority);
                self.announce("reload").await
            }
            Err(refusal) if must => Err(Stop::Refused(Status::invalid_argument(format!(
                "the model was replaced, and the session's options do not fit the new one: {refusal}"
            )))),
            Err(refusal) => {
                self.declined = Arc::downgrade(&newer);
                let why = format!("not reloaded, the session keeps its model: {refusal}");
                self.announce(&why).await
            }
        }
    }
}
