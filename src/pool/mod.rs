//! Lanes: one OS thread each, shared fairly by everybody who has frames.
//!
//! The pool pulls: a [`Source`] keeps its own frames, and a lane that is free asks for the next one. So a frame that was dropped,
//! cancelled or replaced meanwhile is simply not there. A panic or a lost lane fails its frame and the lane is opened again.
//! A lane whose frame gives no sign of life is given up, and the device with it: its thread cannot be ended from outside.

mod beats;
mod lane;
mod queue;
mod self_test;

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError, mpsc::RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
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

    /// Frames that wait.
    fn waiting(&self) -> usize {
        usize::from(self.waiting_since().is_some())
    }

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
    /// Who wants to know.
    pub answer: Answer,
}

/// Called once, on the lane's thread or on that of who gave the lane up: it must be quick.
pub type Answer = Box<dyn FnOnce(Result<RawSegmentation, LaneError>) + Send>;

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

/// The lanes of one model. Dropping it ends them after the frames that wait; it does not wait for a lane that hangs.
pub struct LanePool {
    backend: Arc<dyn Backend>,
    queue: Arc<Queue>,
    n_lanes: usize,
    lanes: Mutex<Vec<JoinHandle<()>>>,
    watch: Option<JoinHandle<()>>,
}

/// A source's place in the queue; leaves when dropped.
pub struct Membership {
    queue: Arc<Queue>,
    key: u64,
}

impl LanePool {
    /// [`LanePool::start_with`] and its default patience, [`HUNG_AFTER`].
    pub fn start(backend: Arc<dyn Backend>, lanes: usize) -> Result<Self, LaneError> {
        Self::start_with(backend, lanes, HUNG_AFTER)
    }

    /// Opens `lanes` lanes and runs a frame on each to warm it up. Blocks until all are warm; fails if one cannot be opened.
    /// From then on a frame that gives no sign of life for `hung_after` costs the device.
    pub fn start_with(
        backend: Arc<dyn Backend>,
        lanes: usize,
        hung_after: Duration,
    ) -> Result<Self, LaneError> {
        // Dropped on failure, the pool ends the lanes that did open. It is watched from the beginning: they may hang in that.
        let mut pool = LanePool {
            backend,
            queue: Arc::new(Queue::new(lanes)),
            n_lanes: lanes,
            lanes: Mutex::default(),
            watch: None,
        };
        let queue = Arc::clone(&pool.queue);
        let watch = thread("lane-watch".to_owned(), move || {
            beats::run(&queue, hung_after);
        })?;
        pool.watch = Some(watch);
        let (report, opened) = std::sync::mpsc::channel();
        pool.spawn(|backend, queue, index| {
            let report = report.clone();
            move || lane::run(&*backend, &queue, index, report)
        })?;
        drop(report);
        let until = Instant::now() + OPENS_WITHIN;
        for _ in 0..lanes {
            match opened.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(report) => report?,
                // A lane's thread is over without a word: it panicked, which is logged.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(LaneError::Lane(
                        "a lane ended while it was opened".to_owned(),
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {
                    // Dropping it must not wait for what hangs.
                    pool.abandon();
                    let seconds = OPENS_WITHIN.as_secs();
                    return Err(LaneError::Lane(format!(
                        "a lane did not open within {seconds} s"
                    )));
                }
            }
        }
        Ok(pool)
    }

    /// Ends the lanes after the frames that wait, and frees what they hold; the model stays loaded, and frames that come wait.
    /// Blocks until they have ended, or one hangs: the device is lost then.
    pub fn pause(&self) {
        self.queue.close();
        self.end_lanes();
        self.queue.all_lanes_down();
    }

    /// Opens the lanes again after [`LanePool::pause`], however long that takes: frames wait meanwhile. `Err`: the device is
    /// lost, or is given up because there is no thread for a lane, for frames would wait for ever.
    pub fn resume(&self) -> Result<(), LaneError> {
        if let Some(why) = self.device_lost() {
            return Err(LaneError::Device(why));
        }
        self.queue.reopen();
        self.spawn(|backend, queue, index| {
            move || lane::run_when_it_opens(&*backend, &queue, index)
        })
        .inspect_err(|error| self.queue.lose_device(&error.to_string()))
    }

    fn spawn<F: FnOnce() + Send + 'static>(
        &self,
        run: impl Fn(Arc<dyn Backend>, Arc<Queue>, usize) -> F,
    ) -> Result<(), LaneError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for index in 0..self.n_lanes {
            let run = run(Arc::clone(&self.backend), Arc::clone(&self.queue), index);
            lanes.push(thread(format!("lane-{index}"), run)?);
        }
        Ok(())
    }

    fn end_lanes(&self) {
        let lanes = std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.queue.all_ended(lanes.len()) {
            // One hangs, or nobody cares: their threads are left behind, for nobody can end them.
            return;
        }
        for lane in lanes {
            // A lane catches its panics; if its thread panicked all the same there is nobody left to tell.
            let _ = lane.join();
        }
    }

    /// The model that the lanes run.
    pub fn model(&self) -> &Arc<ModelSpec> {
        self.backend.model()
    }

    /// What runs, where and why.
    pub fn description(&self) -> &Description {
        self.backend.description()
    }

    /// As [`Backend::pin`].
    pub fn pin(&self, memory: &Bytes, is_writable: bool) -> Option<Box<dyn Any + Send + Sync>> {
        self.backend.pin(memory, is_writable)
    }

    /// How the lanes are, now and whenever it changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.queue.health()
    }

    /// Lanes, and how many of them run.
    pub fn lanes(&self) -> (usize, usize) {
        (self.n_lanes, self.queue.lanes_up())
    }

    /// Frames that wait for a lane, now.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Frames on lanes, now.
    pub fn running(&self) -> usize {
        self.queue.running().count()
    }

    /// The lane that hangs, in words; the device is lost then, and the process must end.
    pub fn hung(&self) -> Option<String> {
        self.queue.hung()
    }

    /// Why the device is lost, where it is.
    pub fn device_lost(&self) -> Option<String> {
        self.queue.device_lost()
    }

    /// The process ends: dropping the pool will not wait for frames that run.
    pub fn abandon(&self) {
        self.queue.abandon();
    }

    /// How many take part in the sharing of lanes, now and whenever it changes.
    pub fn members(&self) -> watch::Receiver<usize> {
        self.queue.members()
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
        self.end_lanes();
        self.queue.nothing_to_watch();
        if let Some(watch) = self.watch.take() {
            // As for a lane.
            let _ = watch.join();
        }
    }
}

fn thread(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LaneError> {
    let started = std::thread::Builder::new().name(name.clone()).spawn(run);
    started.map_err(|error| LaneError::Lane(format!("no thread for {name}: {error}")))
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

/// How long a frame may give no sign of life, unless the settings say otherwise. Nothing beats within a run of the network.
pub const HUNG_AFTER: Duration = Duration::from_secs(60);

/// How long a lane may take to open and to warm up: TensorRT-RTX compiles for minutes.
pub const OPENS_WITHIN: Duration = Duration::from_secs(600);

/// How long a lane that could not be opened waits before the next try.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
