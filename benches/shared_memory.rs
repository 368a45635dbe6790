//! The daemon's own time where frames lie in shared memory: round trips of 2048x2048 Mono16 over a unix socket with a lane that
//! answers at once, beside a bare hand-over: the same write into the slot, a byte to a process that waits, the same answer back.
//!
//! `cargo bench --bench shared_memory` prints a table. The client is this process, the servers are this program again, and they are
//! measured in turns.

#![allow(clippy::print_stdout, reason = "prints its results")]
#![allow(unsafe_code, reason = "writes into a mapping, as a controller does")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    ptr,
    sync::Arc,
    time::{Duration, Instant},
};

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{Listen, Settings, SharedMemorySettings},
    geometry::BoxF,
    mask::Mask,
    pool::LanePool,
    proto::{
        self as pb, frame::Pixels, frame_reply::Outcome, segmenter_client::SegmenterClient,
        shared_memory_client::SharedMemoryClient, stream_reply::Reply,
        stream_request::Request as Event,
    },
    segmentation::{RawInstance, RawSegmentation},
    server::{self, Server},
};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use tokio::{runtime::Builder, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// Rounds of each way before the others have their turn.
const ROUNDS: usize = 200;
const TURNS: usize = 8;
/// Pixels.
const FRAME_SIDE: u32 = 2048;
const FRAME_BYTES: usize = (FRAME_SIDE * FRAME_SIDE) as usize * 2;
/// A mask of this side is 20 KiB of bits.
const MASK_SIDE: u32 = 404;
const ANSWER_BYTES: usize = 20 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("hand-over"), Some(path)) => serve_bare(&path),
        (Some("daemon"), Some(path)) => runtime().block_on(serve_daemon(&path)),
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
    let slot = Slot::new();
    let bare = Peer::start("hand-over");
    let mut bare_socket = UnixStream::connect(&bare.socket).expect("it listens");
    let daemon = Peer::start("daemon");
    let mut session = Session::open(&daemon, &slot).await;
    let camera = vec![0x5a; FRAME_BYTES];
    let sent: bytes::Bytes = camera.clone().into();
    let mut times: [Vec<Duration>; 4] = Default::default();
    for turn in 0..TURNS + 1 {
        let mut of_turn: [Vec<Duration>; 4] = Default::default();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            slot.write(&camera);
            of_turn[0].push(start.elapsed());
        }
        let mut answer = vec![0; ANSWER_BYTES];
        for _ in 0..ROUNDS {
            let start = Instant::now();
            slot.write(&camera);
            bare_socket.write_all(&[1]).expect("it reads");
            bare_socket.read_exact(&mut answer).expect("it answers");
            of_turn[1].push(start.elapsed());
        }
        for id in 0..ROUNDS as u64 {
            let start = Instant::now();
            slot.write(&camera);
            session.round(id, slot.pixels()).await;
            of_turn[2].push(start.elapsed());
        }
        for id in 0..ROUNDS as u64 {
            let start = Instant::now();
            session.round(id, Pixels::Raw(layout(sent.clone()))).await;
            of_turn[3].push(start.elapsed());
        }
        // The first turn warms up.
        if turn > 0 {
            for (times, more) in times.iter_mut().zip(of_turn) {
                times.extend(more);
            }
        }
    }
    println!(
        "round trip of 2048x2048 Mono16, 20 KiB reply, one frame in flight, ms: p50 / p99 of {} frames",
        ROUNDS * TURNS
    );
    let names = [
        "the write into the slot alone",
        "bare hand-over",
        "cellsegd, shared memory",
        "cellsegd, pixels sent",
    ];
    let [p50s, p99s] = [50, 99].map(|percent| {
        times.each_mut().map(|times| {
            times.sort();
            times[times.len() * percent / 100].as_secs_f64() * 1e3
        })
    });
    for (i, name) in names.into_iter().enumerate() {
        let (p50, p99) = (p50s[i], p99s[i]);
        let ratio = p50 / p50s[1];
        println!("{name:<32}{p50:>8.3} / {p99:<8.3}{ratio:>6.2} of the bare one");
    }
}

/// A frame's place in shared memory, gone with this.
struct Slot {
    path: PathBuf,
    pages: *mut u8,
}

impl Slot {
    fn new() -> Self {
        let path = PathBuf::from(format!("/dev/shm/cellsegd-bench-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("shared memory");
        file.set_len(FRAME_BYTES as u64).expect("room");
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: at an address that the system chooses.
        let pages = unsafe {
            mmap(
                ptr::null_mut(),
                FRAME_BYTES,
                rights,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        Slot {
            path,
            pages: pages.expect("mapped").cast(),
        }
    }

    fn write(&self, pixels: &[u8]) {
        // SAFETY: so many bytes are mapped there until the process ends.
        unsafe { ptr::copy_nonoverlapping(pixels.as_ptr(), self.pages, FRAME_BYTES) };
    }

    fn pixels(&self) -> Pixels {
        Pixels::Shared(pb::SharedSlot {
            region: "camera".to_owned(),
            offset: 0,
            layout: Some(layout(bytes::Bytes::new())),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // It is a file of ours; if it is gone, so much the better.
        let _ = fs::remove_file(&self.path);
    }
}

fn layout(data: bytes::Bytes) -> pb::RawPixels {
    pb::RawPixels {
        format: pb::PixelFormat::Mono16.into(),
        width: FRAME_SIDE,
        height: FRAME_SIDE,
        data,
        ..Default::default()
    }
}

/// A server in a process of its own.
struct Peer {
    process: Child,
    socket: PathBuf,
}

impl Peer {
    fn start(role: &str) -> Self {
        let name = format!("cellsegd-bench-{role}-{}", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .arg(role)
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server process");
        let stdout = process.stdout.take().expect("piped");
        let mut ready = String::new();
        BufReader::new(stdout)
            .read_line(&mut ready)
            .expect("a line");
        Peer { process, socket }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// A session on the daemon, with the slot registered.
struct Session {
    requests: mpsc::Sender<pb::StreamRequest>,
    replies: Streaming<pb::StreamReply>,
    _memory: SharedMemoryClient<Channel>,
}

impl Session {
    async fn open(daemon: &Peer, slot: &Slot) -> Self {
        let url = format!("unix://{}", daemon.socket.display());
        let channel = Channel::from_shared(url)
            .expect("an address")
            .initial_stream_window_size(64 << 20)
            .initial_connection_window_size(64 << 20)
            .connect()
            .await
            .expect("the daemon listens");
        let mut memory = SharedMemoryClient::new(channel.clone());
        let name = slot.path.file_name().expect("a name").to_string_lossy();
        let wanted = pb::RegisterRegion {
            name: "camera".to_owned(),
            key: format!("/{name}"),
            offset: 0,
            byte_size: FRAME_BYTES as u64,
        };
        memory.register(wanted).await.expect("registered");
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
        Session {
            requests,
            replies,
            _memory: memory,
        }
    }

    async fn round(&mut self, id: u64, pixels: Pixels) {
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

/// Answers each byte with 20 KiB.
fn serve_bare(path: &str) {
    let listener = UnixListener::bind(path).expect("a free path");
    println!("ready");
    let (mut stream, _) = listener.accept().expect("a client");
    let (mut byte, answer) = ([0], vec![0; ANSWER_BYTES]);
    while stream.read_exact(&mut byte).is_ok() {
        stream.write_all(&answer).expect("it reads");
    }
}

async fn serve_daemon(path: &str) {
    let settings = Settings {
        listen: vec![Listen::Unix(path.into())],
        shared_memory: SharedMemorySettings {
            keys: vec!["/cellsegd-bench-*".to_owned()],
            ..Default::default()
        },
        ..Default::default()
    };
    // The mask is made once: the lane answers at once.
    let made = std::sync::OnceLock::new();
    let backend = FakeBackend::new(move |frame, _, _| {
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
    let listeners = server::bind(&settings.listen).expect("a free path");
    println!("ready");
    Server::new(&settings, vec![pool])
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
