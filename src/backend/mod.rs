//! What runs a frame end to end: the seam between the daemon and an engine.
//!
//! The seam is around the whole frame, not between stages: a trait per stage would need a tensor that is sometimes on the host
//! and sometimes on a GPU. With this one the traffic is fixed by the signature: pixels in, raw masks out.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{frame::Frame, model::ModelSpec, params::Params, segmentation::RawSegmentation};

pub mod cpu;
pub mod cuda;
pub mod fake;
mod memory;
pub mod tiled;

/// A model on a device, which opens lanes.
pub trait Backend: Send + Sync {
    /// Opens a lane. Called on the lane's own thread; the lane lives and dies there.
    fn open_lane(&self) -> Result<Box<dyn Lane>, LaneError>;

    /// The model that its lanes run.
    fn model(&self) -> &Arc<ModelSpec>;

    /// What runs, where and why.
    fn description(&self) -> &Description;

    /// Lets the device copy frames straight from memory that another program has mapped too, as long as what comes back lives.
    /// None: it cannot, and such frames are copied as any other. Blocks while pages are locked.
    fn pin(&self, _memory: &Bytes, _is_writable: bool) -> Option<Box<dyn Any + Send + Sync>> {
        None
    }
}

/// Runs one frame at a time, on the thread that opened it. Blocks on purpose: overlap comes from more lanes. Called through
/// [`tiled::segment`], which cuts what is too large.
pub trait Lane {
    /// One frame from pixels to raw masks.
    fn segment(
        &mut self,
        frame: &Frame,
        params: &Params,
        ticket: &Ticket,
    ) -> Result<RawSegmentation, LaneError>;

    /// Tiles that it takes at a time.
    fn batch(&self) -> usize {
        1
    }

    /// The same for each of at most [`Lane::batch`] frames: tiles of one frame. Each is a sign of life.
    fn segment_many(
        &mut self,
        frames: &[Frame],
        params: &Params,
        ticket: &Ticket,
    ) -> Result<Vec<RawSegmentation>, LaneError> {
        frames
            .iter()
            .map(|frame| self.segment(frame, params, ticket))
            .collect()
    }
}

/// What runs, where and why: for the log and for a session's opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// "rten 0.27 (embedded): no ONNX Runtime found", "TensorRT 10.3.0 (fp16)".
    pub backend: String,
    /// "cpu (1 thread)".
    pub device: String,
    /// Whether a model that was meant for a GPU runs on one.
    pub gpu: OnGpu,
    /// Where it does not run as it was meant to: why, and what the operator can do.
    pub degraded: Option<String>,
    /// Of the files that it was made from: the same only for the same bytes.
    pub identity: String,
}

/// Whether a model that was meant for a GPU runs on one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGpu {
    /// It is an ONNX file: nobody meant it for a GPU.
    #[default]
    NotMeant,
    /// It does.
    Yes,
    /// The CPU runs it instead: `gpu.fallback` of the settings.
    No,
}

/// What goes with a frame onto a lane: a way to give it up, and a sign of life.
#[derive(Clone, Debug, Default)]
pub struct Ticket {
    cancelled: Arc<AtomicBool>,
    beats: Arc<AtomicU64>,
}

/// Why a frame was not segmented. Three variants because the caller can do three things.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Answer this frame, go on.
    #[error("{0}")]
    Frame(String),
    /// Answer this frame, open the lane again.
    #[error("lane lost: {0}")]
    Lane(String),
    /// Every frame on this device fails; the process must end.
    #[error("device lost: {0}")]
    Device(String),
}

impl Ticket {
    /// For one more frame of somebody who has this ticket: given up together, each with beats of its own.
    pub fn of_frame(&self) -> Ticket {
        Ticket {
            cancelled: Arc::clone(&self.cancelled),
            beats: Arc::default(),
        }
    }

    /// Gives the frame up; a lane looks between its stages.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits for the frame any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The lane is at work: tells slow from hung.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Signs of life so far.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// For a lane between two stages: a sign of life, and an error if nobody waits any more.
    pub fn look(&self) -> Result<(), LaneError> {
        self.beat();
        match self.is_cancelled() {
            true => Err(LaneError::Frame("cancelled".to_owned())),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LaneError, Ticket};

    #[test]
    fn a_frame_that_nobody_waits_for_is_given_up() {
        let ticket = Ticket::default();
        assert!(ticket.look().is_ok());
        ticket.cancel();
        assert!(matches!(ticket.look(), Err(LaneError::Frame(_))));
        assert_eq!(ticket.beats(), 2);
    }

    #[test]
    fn frames_of_one_session_are_given_up_together_and_beat_each_for_itself() {
        let session = Ticket::default();
        let (one, other) = (session.of_frame(), session.of_frame());
        one.beat();
        assert_eq!((one.beats(), other.beats()), (1, 0));
        session.cancel();
        assert!(one.is_cancelled() && other.is_cancelled());
    }
}
