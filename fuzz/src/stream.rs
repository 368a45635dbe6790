//! A client's messages, against the daemon's own code for sessions over lanes that answer at once.

use std::{cell::OnceCell, sync::Arc, time::Duration};

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{LimitSettings, Settings},
    pool::LanePool,
    proto::{
        StreamReply, StreamRequest, failed, frame_reply::Outcome, stream_reply::Reply,
        stream_request::Request,
    },
    server::Server,
};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt;
use tonic::Status;

/// Far more than a few frames on instant lanes take.
const PATIENCE: Duration = Duration::from_secs(20);

type Requests = Vec<Result<StreamRequest, Status>>;

/// Any bytes as messages, each behind its length. What cannot be decoded reaches the session as the transport's error.
pub(crate) fn messages(input: &[u8]) {
    let mut rest = input;
    let mut requests = Requests::new();
    while !rest.is_empty() && requests.len() < 64 {
        match StreamRequest::decode_length_delimited(&mut rest) {
            Ok(request) => requests.push(Ok(request)),
            Err(error) => {
                requests.push(Err(Status::internal(error.to_string())));
                break;
            }
        }
    }
    check(requests);
}

/// Sends all of `requests` and looks at every reply.
fn check(requests: Requests) {
    let sent: Vec<Option<u64>> = requests.iter().map(frame_id).collect();
    let replies = replies(requests);
    let mut replies = replies.into_iter();
    match replies.next() {
        Some(Ok(StreamReply {
            reply: Some(Reply::Opened(_)),
        })) => {}
        // A session that was not opened: nothing else comes.
        Some(Err(_)) => return assert_eq!(replies.count(), 0),
        other => panic!("the first reply is {other:?}"),
    }
    let mut answered = Vec::new();
    let mut closed = None;
    let mut error = None;
    for reply in replies {
        assert!(closed.is_none() && error.is_none(), "a reply after the end");
        match reply.map(|message| message.reply) {
            Ok(Some(Reply::Frame(frame))) => {
                if let Some(Outcome::Failed(failed)) = &frame.outcome {
                    use failed::Code::{DeviceLost, Internal, LaneLost, Unspecified};
                    let defect = [Internal, LaneLost, DeviceLost, Unspecified];
                    assert!(!defect.contains(&failed.code()), "{failed:?}");
                }
                assert!(frame.outcome.is_some(), "an answer without an outcome");
                answered.push(frame.id);
            }
            Ok(Some(Reply::Changed(_))) => {}
            Ok(Some(Reply::Closed(counts))) => closed = Some(counts),
            Err(status) => error = Some(status),
            other => panic!("{other:?} within a session"),
        }
    }
    let frames: Vec<u64> = sent.iter().flatten().copied().collect();
    match (closed, error) {
        (Some(counts), None) => {
            assert_eq!(answered, frames, "each frame once, in order");
            let sum = counts.segmented + counts.dropped + counts.failed;
            assert_eq!((counts.frames, sum), (frames.len() as u64, counts.frames));
        }
        (None, Some(status)) => {
            assert_eq!(
                answered,
                frames[..answered.len()],
                "in order, until {status}"
            );
            assert!(
                stops(&sent).contains(&answered.len()),
                "{} of {sent:?} answered, but a frame never ends a stream: {status}",
                answered.len()
            );
        }
        ends => panic!("a session ends once: {ends:?}"),
    }
}

fn frame_id(request: &Result<StreamRequest, Status>) -> Option<u64> {
    match request.as_ref().ok()?.request.as_ref()? {
        Request::Frame(frame) => Some(frame.id),
        _ => None,
    }
}

/// How many frames come before each message that is none.
fn stops(sent: &[Option<u64>]) -> Vec<usize> {
    let mut n_frames = 0;
    let mut stops = Vec::new();
    for message in sent {
        match message {
            Some(_) => n_frames += 1,
            None => stops.push(n_frames),
        }
    }
    stops
}

fn replies(requests: Requests) -> Vec<Result<StreamReply, Status>> {
    thread_local! {
        static DAEMON: OnceCell<(Runtime, Server)> = const { OnceCell::new() };
    }
    DAEMON.with(|daemon| {
        let (runtime, server) = daemon.get_or_init(daemon_inside);
        runtime.block_on(async {
            let replies = server.in_process(tokio_stream::iter(requests));
            tokio::time::timeout(PATIENCE, replies.collect())
                .await
                .expect("the session ends")
        })
    })
}

fn daemon_inside() -> (Runtime, Server) {
    let settings = Settings {
        limits: LimitSettings {
            max_frame_bytes: 1 << 18,
            max_side: 1024,
            frames_in_flight_bytes: 1 << 19,
            ..Default::default()
        },
        ..Default::default()
    };
    let backend = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 5, 4)));
    let lanes = LanePool::start(Arc::new(backend), 1).expect("a lane");
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    (runtime, Server::new(&settings, vec![lanes]))
}
