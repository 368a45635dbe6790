//! Ids of a session's frames, where its client gives none.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts a session's frames, from 1.
pub(in crate::server) struct FrameIds(AtomicU64);

impl FrameIds {
    /// The id of the next frame that brings none.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// A frame brings this id: those that bring none are counted on from it, so that none takes it while it is in flight.
    pub(super) fn brought(&self, id: u64) {
        // Behind the greatest there is none: the count stays where it is.
        let next = id.wrapping_add(1);
        self.0.fetch_max(next, Ordering::Relaxed);
    }
}

impl Default for FrameIds {
    fn default() -> Self {
        FrameIds(AtomicU64::new(1))
    }
}
