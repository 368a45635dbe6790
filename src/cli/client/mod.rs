//! A session with a server: frames out, replies back, in our own types. What a stock gRPC client does, with the transport set
//! up for camera frames.

mod analysis;
mod connect;
mod measures;
mod options;
mod reload;
mod reply;
mod request;
mod status;
mod url;

pub(super) use connect::{ConnectFlags, CredentialFlags, Credentials, LOCAL_SOCKET, connect};
pub(super) use options::OptionsFile;
pub(super) use reload::{Reloaded, reload};
pub(super) use status::ShowStatus;
pub(super) use url::ServerUrl;

use anyhow::{Result, anyhow, bail};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    latency::StagesUs,
    record::{FlatFieldRecord, Provenance},
    segmenter::{Outcome, Wishes},
};
use crate::{
    frame::{Frame, FrameLimits},
    proto::{
        self, StreamReply, StreamRequest, frame_reply, segmenter_client::SegmenterClient,
        stream_reply, stream_request,
    },
};

/// Replies hold run lengths or bits of every cell: 300 cells are 40 kB, so this is a bound against nonsense.
const MAX_REPLY_BYTES: usize = 1 << 30;
/// Room for replies that the client has not read yet.
const WINDOW_BYTES: u32 = 16 << 20;

/// An open stream. **Invariant:** the caller keeps at most `window` frames in flight, so `send` never waits for long.
pub(super) struct Session {
    opened: proto::SessionOpened,
    provenance: Provenance,
    requests: mpsc::Sender<StreamRequest>,
    replies: Streaming<StreamReply>,
}

/// The answer to one frame; masks are decoded when they are asked for.
pub(super) struct Reply(proto::FrameReply);

/// What became of a frame, in brief.
pub(super) enum Fate {
    Segmented,
    Dropped,
    Failed,
}

impl Session {
    /// Connects and opens a session: with the server's first model unless `model` names another, and with the server's window
    /// unless `window` asks for one.
    pub(super) async fn open(
        url: &ServerUrl,
        credentials: &Credentials,
        model: Option<&str>,
        window: Option<u32>,
        wishes: &Wishes,
    ) -> Result<Session> {
        let options = request::session_options(model, window, wishes)?;
        let connection = connect(url, credentials).await?;
        // A server that sends no headers before it has read a message must find one.
        let (requests, queue) = mpsc::channel(1);
        requests.try_send(message(stream_request::Request::Open(options)))?;
        let mut replies = SegmenterClient::new(connection)
            .max_decoding_message_size(MAX_REPLY_BYTES)
            .stream(ReceiverStream::new(queue))
            .await
            .map_err(refusal)?
            .into_inner();
        let opened = match replies
            .message()
            .await
            .map_err(refusal)?
            .and_then(|m| m.reply)
        {
            Some(stream_reply::Reply::Opened(opened)) => opened,
            other => {
                bail!("{url} answered the opening of a session with {other:?}: is it cellsegd?")
            }
        };
        Ok(Session {
            provenance: reply::provenance(url, &opened, FlatFieldRecord::of(wishes)),
            opened,
            requests,
            replies,
        })
    }

    /// What will make the answers.
    pub(super) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Frames in flight granted.
    pub(super) fn window(&self) -> usize {
        self.opened.window.max(1) as usize
    }

    /// What the server accepts.
    pub(super) fn limits(&self) -> FrameLimits {
        let limits = self.opened.limits.unwrap_or_default();
        FrameLimits {
            max_frame_bytes: limits.max_frame_bytes,
            max_side: limits.max_side,
        }
    }

    /// Sends a frame; its pixels are not copied before the transport's own buffer.
    pub(super) async fn send(&mut self, id: u64, frame: &Frame) -> Result<()> {
        self.request(request::frame(id, None, frame)).await
    }

    /// Sends a frame to be measured in the cells of frame `on`.
    pub(super) async fn measure(&mut self, id: u64, on: u64, frame: &Frame) -> Result<()> {
        self.request(request::frame(id, Some(on), frame)).await
    }

    async fn request(&mut self, frame: proto::Frame) -> Result<()> {
        if self
            .requests
            .send(message(stream_request::Request::Frame(frame)))
            .await
            .is_ok()
        {
            return Ok(());
        }
        // The stream has ended: its last message says why.
        loop {
            self.receive().await?;
        }
    }

    /// The next answer, in the order in which frames were sent.
    pub(super) async fn receive(&mut self) -> Result<Reply> {
        loop {
            match self
                .replies
                .message()
                .await
                .map_err(refusal)?
                .and_then(|m| m.reply)
            {
                Some(stream_reply::Reply::Frame(reply)) => return Ok(Reply(reply)),
                Some(stream_reply::Reply::Closed(_)) | None => {
                    bail!("the server closed the session")
                }
                Some(stream_reply::Reply::Changed(_) | stream_reply::Reply::Opened(_)) => {}
            }
        }
    }

    /// Says that no frame follows, and waits for the server's goodbye.
    pub(super) async fn close(mut self) -> Result<()> {
        drop(self.requests);
        while self.replies.message().await.map_err(refusal)?.is_some() {}
        Ok(())
    }
}

impl Reply {
    /// The frame's id.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// Where the time went.
    pub(super) fn stages_us(&self) -> StagesUs {
        reply::stages_us(&self.0.timing.unwrap_or_default())
    }

    /// What became of the frame, without a look at its masks.
    pub(super) fn fate(&self) -> Fate {
        match self.0.outcome {
            Some(frame_reply::Outcome::Segmentation(_)) => Fate::Segmented,
            Some(frame_reply::Outcome::Dropped(_)) => Fate::Dropped,
            // Nobody who asks here sends frames to be measured only.
            Some(frame_reply::Outcome::Failed(_) | frame_reply::Outcome::Measured(_)) | None => {
                Fate::Failed
            }
        }
    }

    /// The answer with its masks, from the session that it came on.
    pub(super) fn outcome(self, session: &Session) -> Result<Outcome> {
        reply::outcome(self.0, &session.provenance.options)
    }
}

fn message(request: stream_request::Request) -> StreamRequest {
    StreamRequest {
        request: Some(request),
    }
}

/// What the server says, without the transport's own words.
fn refusal(status: Status) -> anyhow::Error {
    anyhow!("the server says {:?}: {}", status.code(), status.message())
}
