//! A lane in this process or a server: send a frame, get an answer. What `segment` does is written once, above both.

use std::path::PathBuf;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use super::{
    choices::{Choices, EngineFlags, SessionChoices},
    client::{Credentials, ServerUrl, Session},
    lane::LocalLane,
    record::Provenance,
};
use crate::{
    frame::{Frame, FrameLimits, FrameMetadata},
    params::Analysis,
    segmentation::{Intensity, RawInstance, Segmentation},
    track::Resumed,
};

/// Everything that is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    pub(super) choices: Choices,
    pub(super) analysis: Analysis,
    /// Other channels will be measured in the cells.
    pub(super) other_channels: bool,
    /// Image files of an even field and of no light.
    pub(super) flat: Option<PathBuf>,
    pub(super) dark: Option<PathBuf>,
    /// What only a server's session has.
    pub(super) session: SessionChoices,
    /// Where each series stopped, by its last frame.
    pub(super) resumed: Vec<(FrameMetadata, Resumed)>,
}

/// Answers frames in the order in which they were sent.
pub(super) enum Segmenter {
    Lane(Box<LocalLane>),
    Server(Box<Remote>),
}

/// A session, and the threads that move its bytes while files are decoded and written.
pub(super) struct Remote {
    session: Session,
    runtime: Runtime,
}

/// A frame on its way.
pub(super) struct Job {
    /// Unique in a run.
    pub(super) id: u64,
    pub(super) frame: Frame,
    /// Not segmented: measured in the cells of that frame.
    pub(super) measure_on: Option<u64>,
}

/// What became of a frame.
pub(super) enum Outcome {
    Segmented(Box<Answer>),
    /// Of the cells of an earlier frame, in its order: one a colour channel.
    Measured(Vec<Vec<Intensity>>),
    /// By policy, and which.
    Dropped(String),
    /// By error, and which.
    Failed(String),
}

/// The cells of a frame.
pub(super) struct Answer {
    /// One truth about each cell.
    pub(super) segmentation: Segmentation,
    /// Masks as decoded, if they were asked for.
    pub(super) raw: Option<Vec<RawInstance>>,
    /// What somebody should know.
    pub(super) notices: Vec<String>,
    /// Pieces that the frame was cut into; 1: whole.
    pub(super) tiles: u32,
}

impl Segmenter {
    /// A session with the server at `url`, where `model` is the name of one of its models; else a lane in this process, where
    /// `model` is an ONNX file.
    pub(super) fn open(
        url: Option<&ServerUrl>,
        credentials: &Credentials,
        model: Option<PathBuf>,
        engine: &EngineFlags,
        wishes: &Wishes,
    ) -> Result<Segmenter> {
        let Some(url) = url else {
            let lane = LocalLane::open(model, engine, wishes)?;
            return Ok(Segmenter::Lane(Box::new(lane)));
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let model = model.map(|name| name.display().to_string());
        let session = runtime.block_on(Session::open(
            url,
            credentials,
            model.as_deref(),
            None,
            wishes,
        ))?;
        Ok(Segmenter::Server(Box::new(Remote { session, runtime })))
    }

    /// What makes the answers.
    pub(super) fn provenance(&self) -> &Provenance {
        match self {
            Segmenter::Lane(lane) => lane.provenance(),
            Segmenter::Server(remote) => remote.session.provenance(),
        }
    }

    /// What a frame is held to.
    pub(super) fn limits(&self) -> FrameLimits {
        match self {
            Segmenter::Lane(lane) => lane.limits(),
            Segmenter::Server(remote) => remote.session.limits(),
        }
    }

    /// Most frames sent and not yet answered.
    pub(super) fn window(&self) -> usize {
        match self {
            Segmenter::Lane(_) => LocalLane::WINDOW,
            Segmenter::Server(remote) => remote.session.window(),
        }
    }

    /// Sends a frame. An error ends the run: no frame after it can be answered.
    pub(super) fn send(&mut self, job: Job) -> Result<()> {
        match self {
            Segmenter::Lane(lane) => lane.send(job),
            Segmenter::Server(remote) => {
                let Job {
                    id,
                    frame,
                    measure_on,
                } = job;
                let sending = async {
                    match measure_on {
                        None => remote.session.send(id, &frame).await,
                        Some(on) => remote.session.measure(id, on, &frame).await,
                    }
                };
                remote.runtime.block_on(sending)
            }
        }
    }

    /// Waits for the next answer. An error ends the run.
    pub(super) fn receive(&mut self) -> Result<Outcome> {
        match self {
            Segmenter::Lane(lane) => lane.receive(),
            Segmenter::Server(remote) => {
                let reply = remote.runtime.block_on(remote.session.receive())?;
                reply.outcome(&remote.session)
            }
        }
    }

    /// Ends the session in order; every answer has been received.
    pub(super) fn close(self) -> Result<()> {
        match self {
            Segmenter::Lane(_) => Ok(()),
            Segmenter::Server(remote) => remote.runtime.block_on(remote.session.close()),
        }
    }
}
