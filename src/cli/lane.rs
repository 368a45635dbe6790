//! A lane in this process: on its own thread, as lanes live, so that files are decoded and written while it computes.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

use super::{
    choices::{Choices, EngineFlags},
    daemon,
    record::Provenance,
    segmenter::{Answer, Outcome},
};
use crate::{
    backend::{Backend, LaneError, Ticket},
    config::Settings,
    decode::settle,
    frame::{Frame, FrameLimits},
    params::Params,
    segmentation::RawSegmentation,
    telemetry,
};

/// Dropped, it ends its thread and waits for that: a lane on a GPU must be closed before the process ends.
pub(super) struct LocalLane {
    /// None: it is being dropped; the same with those below.
    frames: Option<SyncSender<Frame>>,
    answers: Option<Receiver<Result<Outcome>>>,
    thread: Option<JoinHandle<()>>,
    limits: FrameLimits,
    provenance: Provenance,
}

impl LocalLane {
    /// One frame on the lane, one waiting: the lane never waits for a file.
    pub(super) const WINDOW: usize = 2;

    /// Opens a lane with `model`, else with the bundled model. Settings from the environment apply.
    pub(super) fn open(
        model: Option<PathBuf>,
        engine: &EngineFlags,
        choices: &Choices,
    ) -> Result<LocalLane> {
        let settings = Settings {
            lanes: 1,
            ..Settings::load(None, &engine.overrides(model))?
        };
        telemetry::start(&settings.log)?;
        let backend = daemon::backends(&settings)?.swap_remove(0);
        let params = choices.settle(backend.model(), settings.limits.max_cells)?;
        let raw_masks = choices.raw_masks;
        let provenance =
            Provenance::of_lane(backend.model(), backend.description(), &params, raw_masks);
        let (frames, frames_in) = sync_channel(Self::WINDOW);
        let (answers_out, answers) = sync_channel(Self::WINDOW);
        let thread = thread::Builder::new()
            .name("lane".to_owned())
            .spawn(move || {
                if let Err(error) =
                    answer_all(&*backend, &params, raw_masks, &frames_in, &answers_out)
                {
                    // Nobody listens any more if this cannot be sent.
                    answers_out.send(Err(error)).ok();
                }
            })?;
        Ok(LocalLane {
            frames: Some(frames),
            answers: Some(answers),
            thread: Some(thread),
            limits: settings.limits.frame(),
            provenance,
        })
    }

    /// What makes the answers.
    pub(super) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What a frame is held to.
    pub(super) fn limits(&self) -> FrameLimits {
        self.limits
    }

    /// Puts a frame in the queue.
    pub(super) fn send(&self, frame: Frame) -> Result<()> {
        let frames = self.frames.as_ref().expect("there until it is dropped");
        if frames.send(frame).is_ok() {
            return Ok(());
        }
        // The lane has ended: its last answer says why.
        loop {
            self.receive()?;
        }
    }

    /// Waits for the next answer.
    pub(super) fn receive(&self) -> Result<Outcome> {
        let answers = self.answers.as_ref().expect("there until it is dropped");
        answers.recv().context("the lane's thread has ended")?
    }
}

impl Drop for LocalLane {
    fn drop(&mut self) {
        // No more frames come, and nobody takes answers: its thread ends after the frame it is at.
        drop(self.frames.take());
        drop(self.answers.take());
        if let Some(thread) = self.thread.take() {
            // A panic was printed when it happened.
            thread.join().ok();
        }
    }
}

/// Until there are no more frames. A lost lane is opened again; an error ends the run.
fn answer_all(
    backend: &dyn Backend,
    params: &Params,
    raw_masks: bool,
    frames: &Receiver<Frame>,
    answers: &SyncSender<Result<Outcome>>,
) -> Result<()> {
    let mut lane = backend.open_lane()?;
    for frame in frames {
        let outcome = match lane.segment(&frame, params, &Ticket::default()) {
            Ok(raw) => Outcome::Segmented(Box::new(answer(raw, &frame, params, raw_masks))),
            Err(LaneError::Frame(why)) => Outcome::Failed(why),
            Err(error @ LaneError::Lane(_)) => {
                // First closed: two lanes may not have room on a GPU.
                drop(lane);
                lane = backend.open_lane()?;
                Outcome::Failed(error.to_string())
            }
            Err(error @ LaneError::Device(_)) => return Err(error.into()),
        };
        if answers.send(Ok(outcome)).is_err() {
            break;
        }
    }
    Ok(())
}

fn answer(raw: RawSegmentation, frame: &Frame, params: &Params, raw_masks: bool) -> Answer {
    let segmentation = settle(&raw, &params.thresholds, frame.metadata().pixel_size_um);
    Answer {
        notices: segmentation
            .notices
            .iter()
            .map(|notice| notice.message.clone())
            .collect(),
        segmentation,
        raw: raw_masks.then_some(raw.instances),
    }
}
