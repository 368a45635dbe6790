//! What the benches of round trips share: servers in processes of their own, a session, and a lane that answers at once.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::Settings,
    geometry::BoxF,
    mask::Mask,
    pool::LanePool,
    proto::{
        self as pb, frame::Pixels, frame_reply::Outcome, segmenter_client::SegmenterClient,
        stream_reply::Reply, stream_request::Request as Event,
    },
    segmentation::{RawInstance, RawSegmentation},
    server::{self, Server},
};
use tokio::{runtime::Builder, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

/// A mask of this side is 20 KiB of bits.
pub(crate) const MASK_SIDE: u32 = 404;

/// As `cellsegd serve` runs: one thread moves bytes.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A server in a process of its own, ended with this.
pub(crate) struct Peer {
    process: Child,
    /// What it said first: where it listens.
    pub(crate) address: String,
}

impl Peer {
    /// This program again, with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server process");
        let stdout = process.stdout.take().expect("piped");
        let mut address = String::new();
        BufReader::new(stdout)
            .read_line(&mut address)
            .expect("an address");
        Peer {
            process,
            address: address.trim().to_owned(),
        }
    }

    pub(crate) async fn connect(&self) -> Channel {
        Endpoint::from_shared(self.address.replace("tcp://", "http://"))
            .expect("an address")
            .initial_stream_window_size(64 << 20)
            .initial_connection_window_size(64 << 20)
            .tcp_nodelay(true)
            .connect()
            .await
            .expect("the server listens")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A session with one frame in flight.
pub(crate) struct Session {
    requests: mpsc::Sender<pb::StreamRequest>,
    replies: Streaming<pb::StreamReply>,
}

impl Session {
    pub(crate) async fn open(channel: Channel) -> Self {
        let mut client = SegmenterClient::new(channel).max_decoding_message_size(usize::MAX);
        let (requests, receiver) = mpsc::channel(1);
        let outputs = pb::Outputs {
            masks: pb::MaskEncoding::Bits.into(),
            ..Default::default()
        };
        let options = pb::SessionOptions {
            outputs: Some(outputs),
            ..Default::default()
        };
        let open = pb::StreamRequest {
            request: Some(Event::Open(options)),
        };
        requests.send(open).await.expect("room");
        let stream = client.stream(ReceiverStream::new(receiver)).await;
        let mut replies = stream.expect("a stream").into_inner();
        replies.message().await.expect("no error").expect("opened");
        Session { requests, replies }
    }

    /// A frame there and its cells back.
    pub(crate) async fn round(&mut self, id: u64, pixels: Pixels) {
        let frame = pb::Frame {
            id,
            pixels: Some(pixels),
            ..Default::default()
        };
        let request = pb::StreamRequest {
            request: Some(Event::Frame(frame)),
        };
        self.requests.send(request).await.expect("room");
        let reply = self.replies.message().await;
        let reply = reply.expect("no error").expect("a reply");
        assert!(is_segmented(&reply), "{reply:?}");
    }
}

fn is_segmented(reply: &pb::StreamReply) -> bool {
    match &reply.reply {
        Some(Reply::Frame(reply)) => matches!(reply.outcome, Some(Outcome::Segmentation(_))),
        _ => false,
    }
}

/// Median and 99th percentile, milliseconds.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort();
    [50, 99].map(|percent| times[times.len() * percent / 100].as_secs_f64() * 1e3)
}

/// Says where it listens, and answers each frame at once with one cell of 20 KiB.
pub(crate) async fn serve_daemon(settings: &Settings) {
    // The mask is made once.
    let made = OnceLock::new();
    let backend = FakeBackend::new(move |frame, _, _| {
        // Smaller are those that warm a lane up.
        let instances = match frame.width() < MASK_SIDE {
            true => Vec::new(),
            false => vec![made.get_or_init(one_cell).clone()],
        };
        Ok(RawSegmentation {
            instances,
            ..fake::cells(frame, 0, 1)
        })
    });
    let pool = LanePool::start(Arc::new(backend), 1).expect("a lane");
    let listeners = server::bind(&settings.listen).expect("a free address");
    println!("{}", listeners[0].address());
    Server::new(settings, vec![pool])
        .run(listeners, std::future::pending())
        .await
        .expect("served");
}

fn one_cell() -> RawInstance {
    let side = MASK_SIDE;
    let mut mask = Mask::empty(0, 0, side, side);
    (0..side).for_each(|y| (0..side).for_each(|x| mask.set(x, y)));
    let detected_box = BoxF {
        x0: 0.0,
        y0: 0.0,
        x1: side as f32,
        y1: side as f32,
    };
    RawInstance {
        class_index: 0,
        score: 0.9,
        detected_box,
        mask,
    }
}
