//! Where a session sits: the model that runs its frames, and its place among those who have frames for it.

use std::sync::Arc;

use super::{super::Served, cell::Cell};
use crate::pool::{Membership, Priority};

/// A session's place at a model. The model lives as long as a session sits there, though a newer one may be served meanwhile.
pub(super) struct Seat {
    served: Arc<Served>,
    /// None: the session stepped aside, and no frame of it is run.
    membership: Option<Membership>,
}

impl Seat {
    /// Frames of `cell` are run by the lanes of `served` from now on.
    pub(super) fn take(served: Arc<Served>, cell: &Arc<Cell>, priority: Priority) -> Self {
        let membership = served.pool().join(Arc::clone(cell) as _, priority);
        Seat {
            served,
            membership: Some(membership),
        }
    }

    pub(super) fn served(&self) -> &Arc<Served> {
        &self.served
    }

    pub(super) fn is_taken(&self) -> bool {
        self.membership.is_some()
    }

    /// The lanes run nothing more of the session.
    pub(super) fn leave(&mut self) {
        self.membership = None;
    }

    /// To the same model.
    pub(super) fn come_back(&mut self, cell: &Arc<Cell>, priority: Priority) {
        *self = Seat::take(Arc::clone(&self.served), cell, priority);
    }

    /// A frame waits: wakes a lane.
    pub(super) fn wake(&self) {
        if let Some(membership) = &self.membership {
            membership.wake();
        }
    }
}
