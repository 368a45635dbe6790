//! A microscope controller's first program: sends frames to `cellsegd serve` and prints what comes back.
//!
//! `cargo run --release --example fake_camera [URL [FILE...]]`: made-up frames, or the image files'.
//! Only what `proto/cellseg/v1/segmentation.proto` generates is used; other languages generate the same.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::{env, error::Error, fs, time::Instant};

use cellsegd::proto::{
    EncodedImage, Frame, PixelFormat, RawPixels, SessionOptions, StreamRequest, frame::Pixels,
    frame_reply::Outcome, segmenter_client::SegmenterClient, stream_reply::Reply,
    stream_request::Request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let frames: Vec<Pixels> = match args.len() {
        0 => (0..10).map(camera_frame).collect(),
        _ => args.map(image_file).collect::<Result<_, _>>()?,
    };

    // A session is a stream each way. Its first message opens it: here with every default.
    let (requests, queue) = mpsc::channel(1);
    let open = Request::Open(SessionOptions::default());
    requests
        .send(StreamRequest {
            request: Some(open),
        })
        .await?;
    let mut client = SegmenterClient::connect(url).await?;
    let mut replies = client
        .stream(ReceiverStream::new(queue))
        .await?
        .into_inner();
    replies.message().await?;

    // Every frame gets exactly one reply, in order.
    for (id, pixels) in (0..).zip(frames) {
        let sent_at = Instant::now();
        let frame = Request::Frame(Frame {
            id,
            pixels: Some(pixels),
            ..Default::default()
        });
        requests
            .send(StreamRequest {
                request: Some(frame),
            })
            .await?;
        let Some(Reply::Frame(reply)) = replies.message().await?.and_then(|m| m.reply) else {
            return Err("the session has ended".into());
        };
        let what = match reply.outcome {
            Some(Outcome::Segmentation(cells)) => format!("{} cells", cells.instances.len()),
            Some(Outcome::Failed(failed)) => failed.message,
            other => format!("{other:?}"),
        };
        println!(
            "frame {id}: {what}, {:.1} ms",
            1e3 * sent_at.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn image_file(path: String) -> std::io::Result<Pixels> {
    let data = fs::read(path)?.into();
    Ok(Pixels::Encoded(EncodedImage { data, page: 0 }))
}

/// 640 x 480, 16 bit: one bright disc that drifts to the right.
fn camera_frame(t: i32) -> Pixels {
    let (width, height) = (640, 480);
    let lit = |i: i32| (i % width - 200 - 20 * t).pow(2) + (i / width - 240).pow(2) < 40 * 40;
    let counts = (0..width * height).map(|i| if lit(i) { 30_000u16 } else { 2_000 });
    Pixels::Raw(RawPixels {
        format: PixelFormat::Mono16.into(),
        width: width as u32,
        height: height as u32,
        data: counts.flat_map(u16::to_le_bytes).collect(),
        ..Default::default()
    })
}
