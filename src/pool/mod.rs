//! Lanes: one OS thread each, shared fairly by everybody who has frames.
//!
//! The pool pulls: a [`Source`] keeps its own frames, and a lane that is free asks for the next one. So a frame that was dropped,
//! cancelled or replaced meanwhile is simply not there. A panic or a lost lane fails its frame and the lane is opened again.

mod lane;
mod queue;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub use queue::Priority;
use queue::Queue;

use crate::{
    backend::{Backend, Description, LaneError, Ticket},
    frame::Frame,
    model::ModelSpec,
    params::Params,
    segmentation::RawSegmentation,
};

/// Somebody who has frames: a session.
pub trait Source: Send + Sync {
    /// When the frame that would start next arrived; none if no frame waits.
    fn waiting_since(&self) -> Option<Instant>;

    /// Hands out the frame that starts now.
    fn start(&self, now: Instant) -> Option<Work>;
}

/// A frame to run, and who wants the answer.
pub struct Work {
    /// The frame.
    pub frame: Frame,
    /// How.
    pub params: Arc<Params>,
    /// To give it up.
    pub ticket: Ticket,
    /// Called once, on the lane's thread: it must be quick.
    pub answer: Box<dyn FnOnce(Result<RawSegmentation, LaneError>) + Send>,
}

/// How the lanes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// At least one lane runs.
    Serving,
    /// Every lane is being opened again.
    Down,
    /// The device broke: every frame fails, the process must end.
    DeviceLost,
}

/// The lanes of one model. Dropping it ends them after the frames that wait.
pub struct LanePool {
    backend: Arc<dyn Backend>,
    queue: Arc<Queue>,
    lanes: Vec<JoinHandle<()>>,
}

/// A source's place in the queue; leaves when dropped.
pub struct Membership {
    queue: Arc<Queue>,
    key: u64,
}

impl LanePool {
    /// Opens `lanes` lanes and runs a frame on each to warm it up. Blocks until all are warm; fails if one cannot be opened.
    pub fn start(backend: Arc<dyn Backend>, lanes: usize) -> Result<Self, LaneError> {
        let queue = Arc::new(Queue::new(lanes));
        let (report, opened) = std::sync::mpsc::channel();
        let threads = (0..lanes).map(|index| {
            let (backend, queue, report) =
                (Arc::clone(&backend), Arc::clone(&queue), report.clone());
            std::thread::Builder::new()
                .name(format!("lane-{index}"))
                .spawn(move || lane::run(&*backend, &queue, report))
                .map_err(|error| LaneError::Lane(format!("no thread for lane {index}: {error}")))
        });
        let lanes = threads.collect::<Result<Vec<_>, _>>();
        drop(report);
        // Dropped on failure, the pool ends the lanes that did open.
        let pool = LanePool {
            backend,
            queue,
            lanes: lanes?,
        };
        opened.into_iter().collect::<Result<(), _>>()?;
        Ok(pool)
    }

    /// The model that the lanes run.
    pub fn model(&self) -> &Arc<ModelSpec> {
        self.backend.model()
    }

    /// What runs, where and why.
    pub fn description(&self) -> &Description {
        self.backend.description()
    }

    /// How the lanes are, now and whenever it changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.queue.health()
    }

    /// Takes part in the sharing of lanes.
    pub fn join(&self, source: Arc<dyn Source>, priority: Priority) -> Membership {
        Membership {
            key: self.queue.join(source, priority),
            queue: Arc::clone(&self.queue),
        }
    }
}

impl Drop for LanePool {
    fn drop(&mut self) {
        self.queue.close();
        for lane in self.lanes.drain(..) {
            // A lane catches its panics; if its thread panicked all the same there is nobody left to tell.
            let _ = lane.join();
        }
    }
}

impl Membership {
    /// A frame waits: wakes a lane.
    pub fn wake(&self) {
        self.queue.wake();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.queue.leave(self.key);
    }
}

/// How long a lane that could not be opened waits before the next try.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
