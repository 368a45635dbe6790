//! A controller, as a user would write it.

use cellsegd::proto::{
    self as pb, frame::Pixels, frame_reply::Outcome, segmenter_client::SegmenterClient,
    stream_reply::Reply, stream_request::Request,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::daemon::{Daemon, PATIENCE};

pub(crate) struct Session {
    requests: Option<mpsc::Sender<pb::StreamRequest>>,
    replies: Streaming<pb::StreamReply>,
}

pub(crate) async fn connect(daemon: &Daemon) -> SegmenterClient<Channel> {
    let client = SegmenterClient::connect(daemon.address.clone())
        .await
        .expect("the daemon listens");
    client.max_decoding_message_size(usize::MAX)
}

impl Session {
    /// A stream on a connection of its own; nothing is sent yet.
    pub(crate) async fn new(daemon: &Daemon) -> Self {
        Self::on(connect(daemon).await).await
    }

    pub(crate) async fn on(mut client: SegmenterClient<Channel>) -> Self {
        let (requests, receiver) = mpsc::channel(1);
        // Headers come before anything is sent.
        let stream = timeout(PATIENCE, client.stream(ReceiverStream::new(receiver))).await;
        let replies = stream
            .expect("headers come at once")
            .expect("the stream opens")
            .into_inner();
        Session {
            requests: Some(requests),
            replies,
        }
    }

    pub(crate) async fn open(
        daemon: &Daemon,
        options: pb::SessionOptions,
    ) -> (Self, pb::SessionOpened) {
        let mut session = Self::new(daemon).await;
        session.send(Request::Open(options)).await;
        match session.reply().await {
            Reply::Opened(opened) => (session, opened),
            other => panic!("not opened: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, request: Request) {
        assert!(self.try_send(request).await, "the server takes it in time");
    }

    /// False: the server does not take it.
    pub(crate) async fn try_send(&mut self, request: Request) -> bool {
        let requests = self.requests.as_ref().expect("not half-closed");
        timeout(
            PATIENCE,
            requests.send(pb::StreamRequest {
                request: Some(request),
            }),
        )
        .await
        .is_ok_and(|sent| sent.is_ok())
    }

    pub(crate) fn requests(&self) -> mpsc::Sender<pb::StreamRequest> {
        self.requests.clone().expect("not half-closed")
    }

    pub(crate) fn half_close(&mut self) {
        self.requests = None;
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Reply>, Status> {
        let message = timeout(PATIENCE, self.replies.message())
            .await
            .expect("a reply in time")?;
        Ok(message.map(|message| message.reply.expect("a reply is one of four")))
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        self.next().await.expect("no error").expect("not the end")
    }

    pub(crate) async fn frame_reply(&mut self) -> pb::FrameReply {
        match self.reply().await {
            Reply::Frame(reply) => reply,
            other => panic!("not a frame's reply: {other:?}"),
        }
    }

    /// Reads on to the error that ends the stream.
    pub(crate) async fn error(&mut self) -> (Code, String) {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(status) => return (status.code(), status.message().to_owned()),
            }
        }
    }

    /// Half-closes and reads the last message.
    pub(crate) async fn close(mut self) -> pb::SessionClosed {
        self.half_close();
        loop {
            if let Reply::Closed(closed) = self.reply().await {
                assert_eq!(self.next().await.unwrap(), None, "nothing follows");
                return closed;
            }
        }
    }
}

/// A dense grey frame that is not of the warm-up's size.
pub(crate) fn frame(id: u64) -> pb::Frame {
    raw(
        id,
        pb::RawPixels {
            format: pb::PixelFormat::Mono8.into(),
            width: 32,
            height: 24,
            data: vec![100; 32 * 24].into(),
            ..Default::default()
        },
    )
}

pub(crate) fn raw(id: u64, pixels: pb::RawPixels) -> pb::Frame {
    pb::Frame {
        id,
        pixels: Some(Pixels::Raw(pixels)),
        ..Default::default()
    }
}

/// How a frame ended, in a word or two.
pub(crate) fn outcome(reply: &pb::FrameReply) -> String {
    match reply.outcome.as_ref().expect("every reply has an outcome") {
        Outcome::Segmentation(segmentation) => format!("{} cells", segmentation.instances.len()),
        Outcome::Dropped(dropped) => format!("{:?}", dropped.reason()),
        Outcome::Failed(failed) => format!("{:?}", failed.code()),
        Outcome::Measured(_) => "measured".to_owned(),
    }
}
