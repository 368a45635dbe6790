//! The Open Inference Protocol: each model as one that takes a FRAME and gives its cells.
//!
//! A door like the others: what a request asks for becomes the contract's own options and frame (`request`), and a session
//! answers it (`infer`); its answer becomes tensors (`tensors`). Raw tensors of a network are not offered: pixels in, cells out.
//! Where the protocol leaves a choice, a stock Triton server's is made: the goldens of `tests/py/oip_goldens.py` record them.

mod answer;
mod describe;
mod frame;
mod infer;
mod memory;
mod options;
mod parameters;
mod request;
mod sequences;
mod service;
mod statistics;
mod stream;
mod tensors;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

pub(super) use service::Inference;

use sequences::Sequences;
use statistics::Statistics;

/// What the requests of all listeners share.
#[derive(Default)]
pub(super) struct State {
    sequences: Sequences,
    statistics: Statistics,
    frames: AtomicU64,
}

impl State {
    /// Closes sequences that nobody has asked for so long; what their sessions were. Called about once a second.
    pub(super) fn close_idle(&self, now: Instant, idle: Duration) -> Vec<String> {
        self.sequences.close_idle(now, idle)
    }

    /// When the next sequence of `peer`, or of anybody, ends unless it is asked for.
    pub(super) fn next_end(
        &self,
        peer: Option<&str>,
        now: Instant,
        idle: Duration,
    ) -> Option<Duration> {
        self.sequences.next_end(peer, now, idle)
    }

    /// A number that no other frame has.
    fn next_frame_id(&self) -> u64 {
        self.frames.fetch_add(1, Ordering::Relaxed) + 1
    }
}
