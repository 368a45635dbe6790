//! Memory without a name, over the memory socket.

use std::{
    fs::File,
    io::{IoSlice, Read},
    mem::MaybeUninit,
    os::{
        fd::AsFd,
        unix::{fs::FileExt, net::UnixStream},
    },
};

use cellsegd::config::{Settings, SharedMemorySettings};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use tokio::time::timeout;

use super::{SLOT, answer, counting, failure, slot};
use crate::{
    client::{Session, outcome},
    daemon::{Daemon, PATIENCE},
};

/// What a client hands over a memory socket, and what it is told.
fn pass(path: &std::path::Path, line: &[u8], file: Option<&File>) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = file.map(|file| [file.as_fd()]);
    if let Some(files) = &files {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    }
    let sent = sendmsg(
        &stream,
        &[IoSlice::new(line)],
        &mut control,
        SendFlags::empty(),
    );
    assert_eq!(sent.unwrap(), line.len());
    let mut told = Vec::new();
    let mut byte = [0];
    while !told.ends_with(b"\n") && stream.read(&mut byte).unwrap() > 0 {
        told.extend(byte);
    }
    (stream, String::from_utf8(told).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_without_a_name_is_passed_over_a_socket_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("memory.sock");
    let settings = Settings {
        shared_memory: SharedMemorySettings {
            socket: Some(socket.clone()),
            ..SharedMemorySettings::default()
        },
        ..Settings::default()
    };
    let (backend, _addresses) = counting();
    let daemon = Daemon::start(settings, backend, 1);
    let memory = File::from(memfd_create("frames", MemfdFlags::CLOEXEC).unwrap());
    memory.set_len(2 * SLOT as u64).unwrap();
    memory.write_all_at(&[7], SLOT as u64).unwrap();
    let (held, told) = tokio::task::block_in_place(|| pass(&socket, b"camera 1\n", Some(&memory)));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["byte_size"], 2 * SLOT);
    assert_eq!(told["writable"], true);
    let region = told["region"].as_str().unwrap();
    // A caller over TCP, who was told the id.
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let reply = answer(&mut session, slot(1, region, SLOT as u64)).await;
    assert_eq!(outcome(&reply), "7 cells");
    drop(held);
    // The daemon has to hear of it first: until then frames in it are answered.
    let ending = async {
        for id in 2.. {
            let reply = answer(&mut session, slot(id, region, SLOT as u64)).await;
            if outcome(&reply) == "InvalidFrame" {
                assert!(failure(&reply).1.contains("no region"), "{reply:?}");
                break;
            }
        }
    };
    let ended = timeout(PATIENCE, ending).await;
    ended.expect("the region ends with its connection");

    let null = File::open("/dev/null").unwrap();
    let empty = File::from(memfd_create("empty", MemfdFlags::CLOEXEC).unwrap());
    let long = [b'n'; 300];
    let cases: [(&[u8], Option<&File>, &str); 6] = [
        (b"camera\n", None, "no descriptor"),
        (b"\n", Some(&memory), "a line is expected"),
        (b"\xff\n", Some(&memory), "a line is expected"),
        (&long, Some(&memory), "a line is expected"),
        (b"camera\n", Some(&null), "not shared memory"),
        (b"camera\n", Some(&empty), "the memory has 0 bytes"),
    ];
    for (line, file, text) in cases {
        let (_, told) = tokio::task::block_in_place(|| pass(&socket, line, file));
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let error = told["error"].as_str().unwrap();
        assert!(error.contains(text), "{line:?}: {error}");
    }
}
