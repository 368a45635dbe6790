//! The daemon's own time where frames lie in shared memory: round trips of 2048x2048 Mono16 over a unix socket with a lane that
//! answers at once, beside a bare hand-over: the same write into the slot, a byte to a process that waits, the same answer back.
//!
//! `cargo bench --bench shared_memory` prints a table. The client is this process, the servers are this program again, and they are
//! measured in turns.

#![allow(clippy::print_stdout, reason = "prints its results")]
#![allow(unsafe_code, reason = "writes into a mapping, as a controller does")]

mod round_trip;

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    ptr,
    time::{Duration, Instant},
};

use cellsegd::{
    config::{Listen, Settings, SharedMemorySettings},
    proto::{self as pb, frame::Pixels, shared_memory_client::SharedMemoryClient},
};
use round_trip::{MASK_SIDE, Peer, Session, percentiles, runtime, serve_daemon};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// Rounds of each way before the others have their turn.
const ROUNDS: usize = 200;
const TURNS: usize = 8;
/// Pixels.
const FRAME_SIDE: u32 = 2048;
const FRAME_BYTES: usize = (FRAME_SIDE * FRAME_SIDE) as usize * 2;
/// As long as a cell's mask.
const ANSWER_BYTES: usize = (MASK_SIDE * MASK_SIDE.div_ceil(32) * 4) as usize;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("hand-over"), Some(path)) => serve_bare(&path),
        (Some("daemon"), Some(path)) => runtime().block_on(serve_daemon(&Settings {
            listen: vec![Listen::Unix(path.into())],
            shared_memory: SharedMemorySettings {
                keys: vec!["/cellsegd-bench-*".to_owned()],
                ..Default::default()
            },
            ..Default::default()
        })),
        _ => runtime().block_on(measure()),
    }
}

async fn measure() {
    let slot = Slot::new();
    let folder = tempfile::tempdir().expect("a folder");
    let [bare, daemon] = ["hand-over", "daemon"].map(|role| {
        let socket = folder.path().join(role);
        Peer::start(&[role, socket.to_str().expect("a path in UTF-8")])
    });
    let mut bare_socket = UnixStream::connect(&bare.address).expect("it listens");
    let channel = daemon.connect().await;
    let mut memory = SharedMemoryClient::new(channel.clone());
    memory.register(slot.wanted()).await.expect("registered");
    let mut session = Session::open(channel).await;
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
    let times = times.map(percentiles);
    for (i, name) in names.into_iter().enumerate() {
        let [p50, p99] = times[i];
        let ratio = p50 / times[1][0];
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

    fn wanted(&self) -> pb::RegisterRegion {
        let name = self.path.file_name().expect("a name").to_string_lossy();
        pb::RegisterRegion {
            name: "camera".to_owned(),
            key: format!("/{name}"),
            offset: 0,
            byte_size: FRAME_BYTES as u64,
        }
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

/// Answers each byte with 20 KiB.
fn serve_bare(path: &str) {
    let listener = UnixListener::bind(path).expect("a free path");
    println!("{path}");
    let (mut stream, _) = listener.accept().expect("a client");
    let (mut byte, answer) = ([0], vec![0; ANSWER_BYTES]);
    while stream.read_exact(&mut byte).is_ok() {
        stream.write_all(&answer).expect("it reads");
    }
}
