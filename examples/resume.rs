//! A client that loses nothing: numbered frames, kept until each is answered. When the daemon is gone, killed or restarted, it
//! says which frames were not answered, connects again, and sends exactly these again.
//!
//! `cargo run --release --example resume [URL [FRAMES [FRAMES_PER_SECOND]]]`
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    time::Duration,
};

use cellsegd::proto::{
    Delivery, Frame, PixelFormat, RawPixels, SessionOptions, StreamReply, StreamRequest,
    frame::Pixels, frame_reply::Outcome, segmenter_client::SegmenterClient, stream_reply::Reply,
    stream_request::Request,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

/// Between two tries to connect: doubled each time, up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A machine that lost its power says nothing: pings tell.
const PING: Duration = Duration::from_secs(5);

/// What is known about every frame so far.
struct Account {
    frames: u64,
    interval: Duration,
    began: Instant,
    /// The next one of the camera.
    next: u64,
    /// Taken and not answered. A frame leaves when its answer is here, and not before.
    open: BTreeMap<u64, Kept>,
    answered: u64,
    refused: u64,
    interruptions: u64,
    sent_again: u64,
}

struct Kept {
    frame: Frame,
    times_sent: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or("http://127.0.0.1:50051".to_owned());
    let frames = args.next().map_or(Ok(100), |n| n.parse())?;
    let per_second: u32 = args.next().map_or(Ok(10), |n| n.parse())?;
    let mut account = Account {
        frames,
        interval: Duration::from_secs(1) / per_second.max(1),
        began: Instant::now(),
        next: 0,
        open: BTreeMap::new(),
        answered: 0,
        refused: 0,
        interruptions: 0,
        sent_again: 0,
    };
    let mut wait = FIRST_WAIT;
    while !account.is_complete() {
        let before = account.answered;
        let Err(why) = session(&url, &mut account).await else {
            continue;
        };
        account.interruptions += 1;
        println!(
            "interrupted ({why}); not answered: {}",
            account.unanswered()
        );
        if before < account.answered {
            wait = FIRST_WAIT;
        }
        sleep(wait).await;
        wait = (2 * wait).min(LONGEST_WAIT);
    }
    println!(
        "account: {} frames, {} answered, {} refused, {} interruptions, {} sent again",
        account.frames,
        account.answered,
        account.refused,
        account.interruptions,
        account.sent_again
    );
    Ok(())
}

/// One session, until every frame is answered. An error ends it: the connection's, or the daemon's.
async fn session(url: &str, account: &mut Account) -> Result<(), Box<dyn Error>> {
    let channel = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(PING)
        .connect()
        .await?;
    let (requests, queue) = mpsc::channel(1);
    requests.try_send(message(Request::Open(SessionOptions {
        delivery: Delivery::Lossless.into(),
        name: "resume".to_owned(),
        ..Default::default()
    })))?;
    let mut replies = SegmenterClient::new(channel)
        .stream(ReceiverStream::new(queue))
        .await?
        .into_inner();
    let Some(Reply::Opened(opened)) = next(&mut replies).await? else {
        return Err("the session was not opened".into());
    };

    // Oldest first: what the session before did not answer, then the camera's new ones.
    let mut in_flight = BTreeSet::new();
    while !account.is_complete() {
        account.take_pictures();
        let waiting = account.open.keys().find(|id| !in_flight.contains(*id));
        let to_send = waiting
            .copied()
            .filter(|_| in_flight.len() < opened.window as usize);
        tokio::select! {
            reply = next(&mut replies) => match reply? {
                Some(Reply::Frame(reply)) => {
                    in_flight.remove(&reply.id);
                    account.answer(reply.id, reply.outcome)?;
                }
                Some(_) => {}
                None => return Err("the daemon closed the session".into()),
            },
            place = requests.reserve(), if to_send.is_some() => {
                if let Some(id) = to_send {
                    let frame = account.sent(id);
                    place?.send(message(Request::Frame(frame)));
                    in_flight.insert(id);
                }
            }
            () = sleep_until(account.next_picture()), if account.next < account.frames => {}
        }
    }
    Ok(())
}

async fn next(replies: &mut Streaming<StreamReply>) -> Result<Option<Reply>, tonic::Status> {
    Ok(replies.message().await?.and_then(|message| message.reply))
}

fn message(request: Request) -> StreamRequest {
    StreamRequest {
        request: Some(request),
    }
}

impl Account {
    fn is_complete(&self) -> bool {
        self.next == self.frames && self.open.is_empty()
    }

    /// The camera does not wait for anybody.
    fn next_picture(&self) -> Instant {
        self.began + self.interval * self.next as u32
    }

    fn take_pictures(&mut self) {
        while self.next < self.frames && self.next_picture() <= Instant::now() {
            let frame = camera_frame(self.next);
            let kept = Kept {
                frame,
                times_sent: 0,
            };
            self.open.insert(self.next, kept);
            self.next += 1;
        }
    }

    /// The frame, to be sent now; its pixels are shared, not copied.
    fn sent(&mut self, id: u64) -> Frame {
        let kept = self.open.get_mut(&id).expect("an open frame");
        kept.times_sent += 1;
        self.sent_again += u64::from(kept.times_sent > 1);
        kept.frame.clone()
    }

    /// An error: the daemon cannot do it now; the frame stays open, and another session tries again after a while.
    fn answer(&mut self, id: u64, outcome: Option<Outcome>) -> Result<(), String> {
        let what = match outcome {
            Some(Outcome::Segmentation(cells)) => format!("{} cells", cells.instances.len()),
            Some(Outcome::Dropped(dropped)) => {
                return Err(format!("frame {id}: {}", dropped.reason().as_str_name()));
            }
            Some(Outcome::Failed(failed)) if failed.retryable => {
                return Err(format!("frame {id}: {}", failed.message));
            }
            Some(Outcome::Failed(failed)) => {
                self.refused += 1;
                failed.message
            }
            other => format!("{other:?}"),
        };
        if let Some(kept) = self.open.remove(&id) {
            self.answered += 1;
            println!("frame {id}: {what}, sent {} times", kept.times_sent);
        }
        Ok(())
    }

    /// Frames that were sent and have no answer, as a list.
    fn unanswered(&self) -> String {
        let sent = self.open.iter().filter(|(_, kept)| kept.times_sent > 0);
        let ids: Vec<String> = sent.map(|(id, _)| id.to_string()).collect();
        ids.join(" ")
    }
}

/// 320 x 240, 8 bit: one bright disc that drifts to the right.
fn camera_frame(id: u64) -> Frame {
    let (width, height) = (320, 240);
    let centre = 40 + (id % 240) as i32;
    let lit = |i: i32| (i % width - centre).pow(2) + (i / width - 120).pow(2) < 30 * 30;
    let pixels = RawPixels {
        format: PixelFormat::Mono8.into(),
        width: width as u32,
        height: height as u32,
        data: (0..width * height)
            .map(|i| if lit(i) { 230 } else { 20 })
            .collect(),
        ..Default::default()
    };
    Frame {
        id,
        pixels: Some(Pixels::Raw(pixels)),
        ..Default::default()
    }
}
