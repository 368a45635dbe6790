//! A lane in this process or a server: send a frame, get an answer. What `segment` does is written once, above both.

use std::path::PathBuf;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use super::{
    choices::{Choices, EngineFlags},
    client::{Credentials, ServerUrl, Session},
    lane::LocalLane,
    record::Provenance,
};
use crate::{
    frame::{Frame, FrameLimits},
    segmentation::{RawInstance, Segmentation},
};

/// Answers frames in the order in which they were sent.
pub(super) enum Segmenter {
    Lane(Box<LocalLane>),
    Server(Box<Remote>),
}

/// A session, and the threads that move its bytes while files are decoded and written.
pub(super) struct Remote {
    session: Session,
    runtime: Runtime,
    sent: u64,
}

/// What became of a frame.
pub(super) enum Outcome {
    Segmented(Box<Answer>),
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
}

impl Segmenter {
    /// A session with the server at `url`, where `model` is the name of one of its models; else a lane in this process, where
    /// `model` is an ONNX file.
    pub(super) fn open(
        url: Option<&ServerUrl>,
        credentials: &Credentials,
        model: Option<PathBuf>,
        engine: &EngineFlags,
        choices: &Choices,
    ) -> Result<Segmenter> {
        let Some(url) = url else {
            let lane = LocalLane::open(model, engine, choices)?;
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
            choices,
        ))?;
        Ok(Segmenter::Server(Box::new(Remote {
            session,
            runtime,
            sent: 0,
        })))
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
    pub(super) fn send(&mut self, frame: &Frame) -> Result<()> {
        match self {
            Segmenter::Lane(lane) => lane.send(frame.clone()),
            Segmenter::Server(remote) => {
                remote.sent += 1;
                remote
                    .runtime
                    .block_on(remote.session.send(remote.sent, frame))
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
