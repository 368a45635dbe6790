//! A lane in this process: on its own thread, as lanes live, so that files are decoded and written while it computes.

mod work;

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

use self::work::Work;
use super::{
    choices::EngineFlags,
    daemon,
    record::{FlatFieldRecord, Options, Provenance},
    segmenter::{Job, Outcome, Wishes},
};
use crate::{
    config::Settings,
    frame::{FlatField, Frame, FrameLimits, FrameMetadata, decode_image},
    telemetry,
};

/// Dropped, it ends its thread and waits for that: a lane on a GPU must be closed before the process ends.
pub(super) struct LocalLane {
    /// None: it is being dropped; the same with those below.
    jobs: Option<SyncSender<Job>>,
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
        wishes: &Wishes,
    ) -> Result<LocalLane> {
        let settings = Settings {
            lanes: 1,
            ..Settings::load(None, &engine.overrides(model))?
        };
        telemetry::start(&settings.log)?;
        let backend = daemon::backends(&settings)?.swap_remove(0);
        let limits = settings.limits.frame();
        let params = wishes
            .choices
            .settle(backend.model(), settings.limits.max_cells)?;
        let flat_field = flat_field(wishes, &limits)?;
        let options = Options::new(
            &params,
            &wishes.analysis,
            FlatFieldRecord::of(wishes),
            wishes.choices.raw_masks,
        );
        let provenance = Provenance::of_lane(backend.model(), backend.description(), options);
        let mut work = Work::new(params, wishes, flat_field)?;
        let (jobs, jobs_in) = sync_channel(Self::WINDOW);
        let (answers_out, answers) = sync_channel(Self::WINDOW);
        let thread = thread::Builder::new()
            .name("lane".to_owned())
            .spawn(move || {
                if let Err(error) = work.all(&*backend, &jobs_in, &answers_out) {
                    // Nobody listens any more if this cannot be sent.
                    answers_out.send(Err(error)).ok();
                }
            })?;
        Ok(LocalLane {
            jobs: Some(jobs),
            answers: Some(answers),
            thread: Some(thread),
            limits,
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
    pub(super) fn send(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.as_ref().expect("there until it is dropped");
        if jobs.send(job).is_ok() {
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
        drop(self.jobs.take());
        drop(self.answers.take());
        if let Some(thread) = self.thread.take() {
            // A panic was printed when it happened.
            thread.join().ok();
        }
    }
}

fn flat_field(wishes: &Wishes, limits: &FrameLimits) -> Result<Option<FlatField>> {
    let image = |path: &Path| -> Result<Frame> {
        let read = || -> Result<Frame> {
            let (layout, pixels) = decode_image(&std::fs::read(path)?, 0, limits)?;
            Ok(Frame::new(
                layout,
                pixels,
                FrameMetadata::default(),
                limits,
            )?)
        };
        read().with_context(|| path.display().to_string())
    };
    let Some(flat) = &wishes.flat else {
        return Ok(None);
    };
    let dark = wishes.dark.as_deref().map(image).transpose()?;
    Ok(Some(FlatField::new(&image(flat)?, dark.as_ref())?))
}
