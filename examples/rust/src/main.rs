//! A microscope controller in Rust: frames from a camera's own thread to cellsegd, cells with their ids back.
//!
//! `cargo run --release -p cellsegd-controller [URL [FRAMES [FRAMES_PER_SECOND]]]`; copied elsewhere, this folder and
//! segmentation.proto are all that is needed. CI builds it and runs it against a daemon.
//!
//! The camera never waits: what does not fit into the queue is lost here, and counted. The sending half waits where the daemon's
//! window is full. `examples/resume.rs` goes on after the daemon was away; `cellsegd pair` prints what TLS and a token need.

use std::{collections::HashMap, env, error::Error, sync::Arc, thread, time::Duration};

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use pb::{
    Frame, FrameMetadata, PixelFormat, RawPixels, SessionOptions, StreamRequest, Tracking,
    frame::Pixels, frame_reply::Outcome, segmenter_client::SegmenterClient, stream_reply::Reply,
    stream_request::Request,
};

/// Generated from the contract.
#[allow(clippy::all, clippy::pedantic, reason = "generated")]
mod pb {
    tonic::include_proto!("cellseg.v1");
}

/// Frames that may wait between the camera and the network.
const QUEUE: usize = 64;
/// Answers with the masks of large frames are over the stock bound of 4 MiB.
const MAX_REPLY_BYTES: usize = 256 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let n_frames: u64 = args.next().map_or(Ok(20), |n| n.parse())?;
    let per_second: f64 = args.next().map_or(Ok(5.0), |n| n.parse())?;

    // A session is a stream each way; its first message opens it. What is not set takes the model's or the server's default.
    let (requests, outgoing) = mpsc::channel(1);
    let options = SessionOptions {
        name: "controller.rs".to_owned(),
        tracking: Some(Tracking::default()),
        ..Default::default()
    };
    requests.send(message(Request::Open(options))).await?;
    let mut replies = SegmenterClient::connect(url)
        .await?
        .max_decoding_message_size(MAX_REPLY_BYTES)
        .stream(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    let Some(Reply::Opened(opened)) = replies.message().await?.and_then(|m| m.reply) else {
        return Err("not cellsegd".into());
    };
    let model = opened.model.unwrap_or_default();
    println!("model {} on {}", model.name, opened.device);

    // As many frames are in flight as the daemon has granted.
    let window = Arc::new(Semaphore::new(opened.window as usize));
    let mut frames = camera(n_frames, per_second);
    let sending = tokio::spawn({
        let window = Arc::clone(&window);
        async move {
            while let Some(frame) = frames.recv().await {
                let Ok(place) = window.acquire().await else {
                    return;
                };
                // Given back when the frame's reply is here.
                place.forget();
                if requests.send(message(Request::Frame(frame))).await.is_err() {
                    return;
                }
            }
            // `requests` is dropped: no more frames, and the daemon says goodbye once all are answered.
        }
    });

    // Every frame has exactly one reply, in the order in which they were sent.
    while let Some(reply) = replies.message().await?.and_then(|message| message.reply) {
        match reply {
            Reply::Frame(reply) => {
                window.add_permits(1);
                print(reply.id, reply.outcome);
            }
            Reply::Closed(sum) => println!(
                "{} frames: {} segmented, {} dropped, {} failed",
                sum.frames, sum.segmented, sum.dropped, sum.failed
            ),
            Reply::Opened(_) | Reply::Changed(_) => {}
        }
    }
    sending.await?;
    Ok(())
}

fn message(request: Request) -> StreamRequest {
    StreamRequest {
        request: Some(request),
    }
}

fn print(id: u64, outcome: Option<Outcome>) {
    match outcome {
        Some(Outcome::Segmentation(found)) => {
            println!("frame {id}: {} cells", found.instances.len());
            for cell in found.instances {
                let (track, place) = (
                    cell.track.unwrap_or_default(),
                    cell.r#box.unwrap_or_default(),
                );
                let mother = track
                    .parent_id
                    .map_or(String::new(), |id| format!(", of {id}"));
                // Pixel edges: x to the right, y down.
                println!(
                    "  id {}{mother}: score {:.2}, {},{} to {},{}",
                    track.id, cell.score, place.x0, place.y0, place.x1, place.y1
                );
            }
        }
        Some(Outcome::Dropped(dropped)) => {
            println!("frame {id}: dropped, {}", dropped.reason().as_str_name());
        }
        Some(Outcome::Failed(failed)) => println!("frame {id}: failed, {}", failed.message),
        Some(Outcome::Measured(_)) | None => {}
    }
}

/// Stands for yours: a thread that calls when a picture is there. 640 x 480, 16 bit, one bright disc that drifts to the right.
fn camera(n_frames: u64, per_second: f64) -> mpsc::Receiver<Frame> {
    let (queue, frames) = mpsc::channel(QUEUE);
    thread::spawn(move || {
        let mut n_lost = 0;
        for id in 0..n_frames {
            n_lost += u64::from(queue.try_send(picture(id)).is_err());
            thread::sleep(Duration::from_secs_f64(1.0 / per_second));
        }
        if n_lost > 0 {
            println!("{n_lost} frames were lost before they were sent");
        }
    });
    frames
}

fn picture(id: u64) -> Frame {
    let (width, height) = (640, 480);
    let centre = 100 + 4 * (id % 110) as i32;
    let lit = |i: i32| (i % width - centre).pow(2) + (i / width - 240).pow(2) < 40 * 40;
    let counts = (0..width * height).map(|i| if lit(i) { 30_000u16 } else { 2_000 });
    let pixels = RawPixels {
        format: PixelFormat::Mono16.into(),
        width: width as u32,
        height: height as u32,
        data: counts.flat_map(u16::to_le_bytes).collect(),
        ..Default::default()
    };
    Frame {
        id,
        pixels: Some(Pixels::Raw(pixels)),
        metadata: Some(FrameMetadata {
            index: HashMap::from([("t".to_owned(), id as u32)]),
            ..Default::default()
        }),
        ..Default::default()
    }
}
