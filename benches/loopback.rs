//! The daemon's own time: round trips over loopback with a lane that answers at once, beside a bare tonic echo of the same bytes
//! with the same transport settings. Server and client are two processes; the two servers are measured in turns.
//!
//! `cargo bench --bench loopback` prints a table. The client is this process, the servers are this program again.

#![allow(clippy::print_stdout, reason = "prints its results")]

mod round_trip;

use std::time::{Duration, Instant};

use cellsegd::{
    config::{Listen, Settings},
    proto::{
        self as pb,
        frame::Pixels,
        segmenter_server::{Segmenter, SegmenterServer},
        stream_reply::Reply,
    },
};
use round_trip::{MASK_SIDE, Peer, Session, percentiles, runtime, serve_daemon};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

/// Rounds of each server before the other has its turn.
const ROUNDS: usize = 300;
const TURNS: usize = 8;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("serve-echo") => runtime().block_on(serve_echo()),
        Some("serve-daemon") => runtime().block_on(serve_daemon(&Settings {
            listen: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
            ..Default::default()
        })),
        _ => runtime().block_on(measure()),
    }
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
        let peers = ["serve-echo", "serve-daemon"].map(|role| Peer::start(&[role]));
        let mut sessions = [
            Session::open(peers[0].connect().await).await,
            Session::open(peers[1].connect().await).await,
        ];
        let mut times = [Vec::new(), Vec::new()];
        for turn in 0..TURNS + 1 {
            for (session, times) in sessions.iter_mut().zip(&mut times) {
                let times_of_turn = rounds(session, &pixels).await;
                // The first turn warms up.
                if turn > 0 {
                    times.extend(times_of_turn);
                }
            }
        }
        let [echo, daemon] = times.map(percentiles);
        let cell = |[p50, p99]: [f64; 2]| format!("{p50:.3} / {p99:.3}");
        println!(
            "{name:<18}{:>18}{:>18}{:>10.2}",
            cell(echo),
            cell(daemon),
            daemon[0] / echo[0]
        );
    }
}

async fn rounds(session: &mut Session, pixels: &pb::RawPixels) -> Vec<Duration> {
    let mut times = Vec::with_capacity(ROUNDS);
    for id in 0..ROUNDS as u64 {
        let pixels = Pixels::Raw(pixels.clone());
        let start = Instant::now();
        session.round(id, pixels).await;
        times.push(start.elapsed());
    }
    times
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
            bits: vec![0xff; (MASK_SIDE * MASK_SIDE.div_ceil(32) * 4) as usize].into(),
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
