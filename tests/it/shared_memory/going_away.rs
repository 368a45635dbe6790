//! Memory that is taken away while frames in it are read.

use std::sync::{Mutex, mpsc};

use cellsegd::{
    backend::fake::{self, FakeBackend},
    proto::{self as pb, failed::Code as FailedCode, stream_request::Request},
};

use super::{Memory, SLOT, answer, controller, failure, has_none, in_slot, ours, slot};
use crate::{
    client::{Session, outcome},
    daemon::{Daemon, PATIENCE},
};

/// Lanes, the work pool and measurements read memory that is taken away under them, a thousand times each.
#[tokio::test(flavor = "multi_thread")]
async fn truncation_under_a_reader_fails_its_frame_and_nothing_else() {
    if has_none() {
        return;
    }
    const ROUNDS: u64 = 1000;
    const SIDE: u32 = 256;
    const BYTES: usize = (SIDE * SIDE) as usize;
    let (starts, started) = mpsc::channel::<()>();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let (starts, goes_on) = (Mutex::new(starts), Mutex::new(goes_on));
    let backend = FakeBackend::new(move |frame, _, _| {
        if frame.width() == SIDE {
            let first = frame.data()[0];
            starts.lock().unwrap().send(()).unwrap();
            goes_on.lock().unwrap().recv().unwrap();
            // Page after page is not there any more.
            let rest: u64 = frame.data().iter().map(|&byte| u64::from(byte)).sum();
            std::hint::black_box((first, rest));
        }
        Ok(fake::cells(frame, 1, 4))
    });
    let daemon = Daemon::start(ours(), backend, 1);
    let memory = Memory::new(BYTES);
    let mut controller = controller(&daemon).await;
    let options = pb::SessionOptions {
        measurements: Some(pb::Measurements {
            intensity: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    for id in 0..ROUNDS {
        memory.file.set_len(BYTES as u64).unwrap();
        let wanted = memory.registration("cam", BYTES);
        controller.register(wanted).await.unwrap();
        let flips = id % 3 == 1;
        let frame = pb::Frame {
            flip_vertical: flips,
            ..in_slot(id, "cam", 0, |l| (l.width, l.height) = (SIDE, SIDE))
        };
        session.send(Request::Frame(frame)).await;
        tokio::task::block_in_place(|| started.recv_timeout(PATIENCE)).expect("the lane starts");
        memory.file.set_len(id % 2 * 4096).unwrap();
        go_on.send(()).unwrap();
        let reply = session.frame_reply().await;
        let (code, message) = failure(&reply);
        assert_eq!(code, FailedCode::InvalidFrame);
        assert!(message.contains("register it again"), "{message}");
        // Before it is registered again nothing of it is read.
        let reply = answer(&mut session, slot(ROUNDS + id, "cam", 0)).await;
        assert!(failure(&reply).1.contains("truncated"), "{reply:?}");
    }
    memory.file.set_len(BYTES as u64).unwrap();
    let wanted = memory.registration("cam", BYTES);
    controller.register(wanted).await.unwrap();
    let reply = answer(&mut session, slot(0, "cam", 0)).await;
    assert_eq!(outcome(&reply), "1 cells");
    let closed = session.close().await;
    assert_eq!((closed.segmented, closed.failed), (1, 2 * ROUNDS));
}

/// A lane that reads nothing says nothing of memory that is gone; somebody else looks.
#[tokio::test(flavor = "multi_thread")]
async fn truncation_at_any_time_is_noticed_or_came_too_late() {
    if has_none() {
        return;
    }
    let backend = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 4)));
    let daemon = Daemon::start(ours(), backend, 2);
    let memory = Memory::new(4 * SLOT);
    let mut controller = controller(&daemon).await;
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let mut failed = 0;
    for round in 0..500 {
        memory.file.set_len(4 * SLOT as u64).unwrap();
        let wanted = memory.registration("cam", 4 * SLOT);
        controller.register(wanted).await.unwrap();
        for id in 0..4 {
            let frame = slot(4 * round + id, "cam", id * SLOT as u64);
            session.send(Request::Frame(frame)).await;
        }
        if round % 5 != 0 {
            memory.file.set_len(0).unwrap();
        }
        for _ in 0..4 {
            let reply = session.frame_reply().await;
            match outcome(&reply).as_str() {
                "1 cells" => {}
                _ => {
                    assert!(failure(&reply).1.contains("truncated"), "{reply:?}");
                    assert_ne!(round % 5, 0, "whole, and yet: {reply:?}");
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 0, "nothing was ever truncated in time");
    assert_eq!(session.close().await.frames, 2000);
}
