//! Lanes that break, clients that go away.

use cellsegd::{
    backend::LaneError,
    config::{LimitSettings, Settings},
    proto::{self as pb, failed::Code, frame_reply::Outcome, stream_request::Request},
    server::Ended,
};

use crate::{
    client::{Session, frame, outcome},
    daemon::{Daemon, Gate, let_it_be_read},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lane_fails_its_frame_and_the_next_one_is_segmented() {
    let backend = cellsegd::backend::fake::FakeBackend::new(|frame, _, _| match frame.data()[0] {
        1 => panic!("on order"),
        _ => Ok(cellsegd::backend::fake::cells(frame, 2, 4)),
    });
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    for (id, fill) in [(1, 1), (2, 0)] {
        let pixels = pb::RawPixels {
            format: pb::PixelFormat::Mono8.into(),
            width: 32,
            height: 24,
            data: vec![fill; 32 * 24].into(),
            ..Default::default()
        };
        session
            .send(Request::Frame(crate::client::raw(id, pixels)))
            .await;
    }
    match session.frame_reply().await.outcome {
        Some(Outcome::Failed(failed)) => {
            assert_eq!((failed.code(), failed.retryable), (Code::LaneLost, true));
            assert_eq!(failed.message, "lane lost: panic: on order");
        }
        other => panic!("not failed: {other:?}"),
    }
    assert_eq!(outcome(&session.frame_reply().await), "2 cells");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_fails_what_is_in_flight_and_ends_the_daemon() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    for id in 1..=3 {
        session.send(Request::Frame(frame(id))).await;
    }
    let running = gate.started().await;
    let_it_be_read().await;
    running.fail(LaneError::Device("on order".to_owned()));
    for id in 1..=3 {
        let reply = session.frame_reply().await;
        assert_eq!((reply.id, outcome(&reply).as_str()), (id, "DeviceLost"));
    }
    let (code, text) = session.error().await;
    assert_eq!(code, tonic::Code::Unavailable);
    assert!(text.contains("device that segments was lost"), "{text}");
    assert_eq!(daemon.ended().await, Ended::DeviceLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_frees_its_place_and_its_frame_is_given_up() {
    let (gate, backend) = Gate::new();
    let limits = LimitSettings {
        sessions: 1,
        ..Default::default()
    };
    let daemon = Daemon::start(
        Settings {
            limits,
            ..Default::default()
        },
        backend,
        1,
    );
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    for id in 1..=3 {
        session.send(Request::Frame(frame(id))).await;
    }
    let running = gate.started().await;
    drop(session);
    while !running.ticket.is_cancelled() {
        tokio::task::yield_now().await;
    }
    running.answer(1);
    // One place in all: it must be free again. Between the vanishing and its noticing the daemon may still say no.
    let mut next = loop {
        let mut session = Session::new(&daemon).await;
        session.try_send(Request::Open(Default::default())).await;
        if let Ok(Some(_)) = session.next().await {
            break session;
        }
    };
    next.send(Request::Frame(frame(9))).await;
    gate.started().await.answer(5);
    assert_eq!(
        outcome(&next.frame_reply().await),
        "5 cells",
        "the frames of the client that vanished are gone"
    );
}

/// Room for `frames` frames of 768 bytes.
fn budget(frames: u64) -> Settings {
    let limits = LimitSettings {
        frames_in_flight_bytes: frames * 1024,
        max_frame_bytes: 1024,
        ..Default::default()
    };
    Settings {
        limits,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_wait_for_the_byte_budget_and_none_is_lost() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(budget(1), backend, 2);
    let (mut one, _) = Session::open(&daemon, Default::default()).await;
    let (mut two, _) = Session::open(&daemon, Default::default()).await;
    one.send(Request::Frame(frame(1))).await;
    let running = gate.started().await;
    two.send(Request::Frame(frame(2))).await;
    one.send(Request::Frame(frame(3))).await;
    let_it_be_read().await;
    assert!(!gate.has_started_another(), "the budget is taken");
    running.answer(1);
    for _ in 0..2 {
        gate.started().await.answer(1);
    }
    assert_eq!(one.frame_reply().await.id, 1);
    assert_eq!(two.frame_reply().await.id, 2);
    assert_eq!(one.frame_reply().await.id, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_held_behind_a_full_window_takes_nothing_from_others() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(budget(2), backend, 2);
    let options = pb::SessionOptions {
        window: 1,
        ..Default::default()
    };
    let (mut full, _) = Session::open(&daemon, options).await;
    full.send(Request::Frame(frame(1))).await;
    let running = gate.started().await;
    full.send(Request::Frame(frame(2))).await;
    let_it_be_read().await;
    let (mut other, _) = Session::open(&daemon, Default::default()).await;
    other.send(Request::Frame(frame(3))).await;
    gate.started().await.answer(3);
    assert_eq!(outcome(&other.frame_reply().await), "3 cells");
    running.answer(1);
    gate.started().await.answer(2);
    for cells in ["1 cells", "2 cells"] {
        assert_eq!(outcome(&full.frame_reply().await), cells);
    }
}
