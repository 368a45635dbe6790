//! The daemon's own time: round trips over loopback with a lane that answers at once, beside a bare tonic echo of the same bytes
//! with the same transport settings. Server and client are two processes; the two servers are measured in turns.
//!
//! `cargo bench --bench loopback` prints a table. The client is this process, the servers are this program again.

#![allow(clippy::print_stdout, reason = "prints its results")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{Listen, Settings},
    frame::Frame,
    geometry::BoxF,
    mask::Mask,
    pool::LanePool,
    proto::{
        self as pb,
        segmenter_client::SegmenterClient,
        segmenter_server::{Segmenter, SegmenterServer},
        stream_reply::Reply,
        stream_request::Request as Event,
    },
    segmentation::{RawInstance, RawSegmentation},
    server::{self, Server},
};
use tokio::{runtime::Builder, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// Rounds of each server before the other has its turn.
const ROUNDS: usize = 300;
const TURNS: usize = 8;
/// A mask of this side is 20 KiB of bits.
const SIDE: u32 = 404;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("serve-echo") => runtime().block_on(serve_echo()),
        Some("serve-daemon") => runtime().block_on(serve_daemon()),
        _ => runtime().block_on(measure()),
    }
}

/// As `cellsegd serve` runs: one thread moves bytes.
fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn measure() {
    println!(
        "round trip, 20 KiB reply, one frame in flight, ms: p50 / p99 of {} frames",
        ROUNDS * TURNS
    );
    println!(
        "{:<18}{:>18}{:>18}{:>10}",
        "frame", "bare echo", "cellsegd", "ratio p50"
    );
    for (name, format, width, height, bytes) in [
        ("640x640 Mono8", pb::PixelFormat::Mono8, 640, 640, 640 * 640),
        (
            "2048x2048 Mono16",
            pb::PixelFormat::Mono16,
            2048,
            2048,
            2048 * 2048 * 2,
        ),
    ] {
        let pixels = pb::RawPixels {
            format: format.into(),
            width,
            height,
            data: vec![0; bytes].into(),
            ..Default::default()
        };
        let mut peers = [
            Peer::start("serve-echo").await,
            Peer::start("serve-daemon").await,
        ];
        let mut times = [Vec::new(), Vec::new()];
        for turn in 0..TURNS + 1 {
            for (peer, times) in peers.iter_mut().zip(&mut times) {
                let times_of_turn = peer.rounds(&pixels).await;
                // The first turn warms up.
                if turn > 0 {
                    times.extend(times_of_turn);
                }
            }
        }
        let [echo, daemon] = times.map(|mut times| {
            times.sort();
            (
                times[times.len() / 2].as_secs_f64() * 1e3,
                times[times.len() * 99 / 100].as_secs_f64() * 1e3,
            )
        });
        let cell = |(p50, p99): (f64, f64)| format!("{p50:.3} / {p99:.3}");
        println!(
            "{name:<18}{:>18}{:>18}{:>10.2}",
            cell(echo),
            cell(daemon),
            daemon.0 / echo.0
        );
    }
}

/// A server in a process of its own, and a session on it.
struct Peer {
    process: Child,
    requests: mpsc::Sender<pb::StreamRequest>,
    replies: Streaming<pb::StreamReply>,
}

impl Peer {
    async fn start(role: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .arg(role)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server process");
        let mut address = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut address)
            .expect("an address");
        let channel =
            tonic::transport::Channel::from_shared(address.trim().replace("tcp://", "http://"))
                .expect("an address")
                .initial_stream_window_size(64 << 20)
                .initial_connection_window_size(64 << 20)
                .tcp_nodelay(true)
                .connect()
                .await
                .expect("the server listens");
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
        let mut replies = client
            .stream(ReceiverStream::new(receiver))
            .await
            .expect("a stream")
            .into_inner();
        replies.message().await.expect("no error").expect("opened");
        Peer {
            process,
            requests,
            replies,
        }
    }

    async fn rounds(&mut self, pixels: &pb::RawPixels) -> Vec<Duration> {
        let mut times = Vec::with_capacity(ROUNDS);
        for id in 0..ROUNDS as u64 {
            let frame = pb::Frame {
                id,
                pixels: Some(pb::frame::Pixels::Raw(pixels.clone())),
                ..Default::default()
            };
            let start = Instant::now();
            self.requests
                .send(pb::StreamRequest {
                    request: Some(Event::Frame(frame)),
                })
                .await
                .expect("room");
            self.replies
                .message()
                .await
                .expect("no error")
                .expect("a reply");
            times.push(start.elapsed());
        }
        times
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn serve_daemon() {
    let settings = Settings {
        listen: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
        ..Default::default()
    };
    let one_cell = |frame: &Frame| {
        let side = SIDE.min(frame.width());
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
    };
    // The mask is made once: the lane answers at once.
    let made = std::sync::OnceLock::new();
    let backend = FakeBackend::new(move |frame, _, _| {
        let empty = fake::cells(frame, 0, 1);
        let instance = match frame.width() < SIDE {
            true => one_cell(frame),
            false => made.get_or_init(|| one_cell(frame)).clone(),
        };
        Ok(RawSegmentation {
            instances: vec![instance],
            ..empty
        })
    });
    let pool = LanePool::start(Arc::new(backend), 1).expect("a lane");
    let listeners = server::bind(&settings.listen).expect("a free port");
    println!("{}", listeners[0].address());
    Server::new(&settings, vec![pool])
        .run(listeners, std::future::pending())
        .await
        .expect("served");
}

/// Answers each message with 20 KiB and nothing else.
struct Echo;

#[tonic::async_trait]
impl Segmenter for Echo {
    type StreamStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::StreamReply, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<pb::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let bits = pb::BitMask {
            bits: vec![0xff; (SIDE * SIDE.div_ceil(32) * 4) as usize].into(),
            ..Default::default()
        };
        let instance = pb::Instance {
            mask: Some(pb::instance::Mask::Bits(bits)),
            ..Default::default()
        };
        let segmentation = pb::Segmentation {
            instances: vec![instance],
            ..Default::default()
        };
        let outcome = Some(pb::frame_reply::Outcome::Segmentation(segmentation));
        let reply = Reply::Frame(pb::FrameReply {
            outcome,
            ..Default::default()
        });
        let reply = pb::StreamReply { reply: Some(reply) };
        let replies = request
            .into_inner()
            .map(move |message| message.map(|_| reply.clone()));
        Ok(Response::new(Box::pin(replies)))
    }

    async fn segment(
        &self,
        _: Request<pb::SegmentRequest>,
    ) -> Result<Response<pb::SegmentReply>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn list_models(
        &self,
        _: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsReply>, Status> {
        Err(Status::unimplemented("an echo"))
    }
}

/// The transport settings of `server::grpc`.
async fn serve_echo() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    println!("tcp://{}", listener.local_addr().expect("an address"));
    let service = SegmenterServer::new(Echo).max_decoding_message_size(usize::MAX);
    tonic::transport::Server::builder()
        .initial_stream_window_size(128 << 20)
        .initial_connection_window_size(512 << 20)
        .max_frame_size(1 << 20)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .expect("served");
}
