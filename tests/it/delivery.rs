//! Order, windows, drops: what happens to a frame between its sending and its one reply.

use std::{sync::Arc, time::Duration};

use cellsegd::{
    config::{LimitSettings, Settings},
    pool::LanePool,
    proto::{self as pb, stream_reply::Reply, stream_request::Request},
    server::Server,
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};

use crate::{
    client::{Session, frame, outcome},
    daemon::{Daemon, Gate, let_it_be_read},
};

/// A frame that a lane can tell from others: every pixel is its id.
fn filled(id: u64) -> pb::Frame {
    let pixels = pb::RawPixels {
        format: pb::PixelFormat::Mono8.into(),
        width: 8,
        height: 8,
        data: vec![id as u8; 64].into(),
        ..Default::default()
    };
    crate::client::raw(id, pixels)
}

fn in_series(id: u64, position: &str) -> pb::Frame {
    let metadata = pb::FrameMetadata {
        position: position.to_owned(),
        ..Default::default()
    };
    pb::Frame {
        metadata: Some(metadata),
        ..frame(id)
    }
}

fn latest(window: u32) -> pb::SessionOptions {
    pb::SessionOptions {
        delivery: pb::Delivery::Latest.into(),
        window,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_is_answered_once_in_order() {
    let daemon = Daemon::instant();
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let requests = session.requests();
    let sending = tokio::spawn(async move {
        for id in 0..300 {
            requests
                .send(pb::StreamRequest {
                    request: Some(Request::Frame(frame(id))),
                })
                .await
                .unwrap();
        }
    });
    for id in 0..300 {
        let reply = session.frame_reply().await;
        assert_eq!((reply.id, outcome(&reply).as_str()), (id, "9 cells"));
    }
    sending.await.unwrap();
    let closed = session.close().await;
    assert_eq!(
        closed,
        pb::SessionClosed {
            frames: 300,
            segmented: 300,
            dropped: 0,
            failed: 0
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lanes_keep_the_order() {
    let backend = cellsegd::backend::fake::FakeBackend::new(|frame, _, _| {
        // Earlier frames take longer.
        std::thread::sleep(Duration::from_millis(
            30 - 10 * u64::from(frame.data()[0] % 4),
        ));
        Ok(cellsegd::backend::fake::cells(frame, 1, 4))
    });
    let daemon = Daemon::start(Settings::default(), backend, 2);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    for id in 0..4 {
        session.send(Request::Frame(filled(id))).await;
    }
    for id in 0..4 {
        assert_eq!(session.frame_reply().await.id, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_answers_count_as_in_flight() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 2);
    let options = pb::SessionOptions {
        window: 2,
        ..Default::default()
    };
    let (mut session, opened) = Session::open(&daemon, options).await;
    assert_eq!(opened.window, 2);
    for id in 0..3 {
        session.send(Request::Frame(filled(id))).await;
    }
    let mut running = [gate.started().await, gate.started().await];
    running.sort_by_key(|started| started.frame.data()[0]);
    let [first, second] = running;
    // The second's answer cannot leave before the first's, so the third must not start.
    second.answer(1);
    let_it_be_read().await;
    assert!(
        !gate.has_started_another(),
        "a third frame in a window of two"
    );
    first.answer(1);
    gate.started().await.answer(1);
    for id in 0..3 {
        assert_eq!(session.frame_reply().await.id, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_granted_up_to_the_servers() {
    let daemon = Daemon::instant();
    for (asked, delivery, granted) in [
        (0, pb::Delivery::Lossless, 4),
        (0, pb::Delivery::Latest, 2),
        (7, pb::Delivery::Lossless, 7),
        (
            10_000,
            pb::Delivery::Lossless,
            Settings::default().limits.window,
        ),
    ] {
        let options = pb::SessionOptions {
            window: asked,
            delivery: delivery.into(),
            ..Default::default()
        };
        let (_, opened) = Session::open(&daemon, options).await;
        assert_eq!(opened.window, granted, "asked for {asked}");
        assert_eq!(opened.settled.unwrap().window, granted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_replaces_what_waits_and_tells() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let (mut session, _) = Session::open(&daemon, latest(3)).await;
    session.send(Request::Frame(in_series(0, "A"))).await;
    let running = gate.started().await;
    for (id, position) in [(1, "A"), (2, "B"), (3, "A"), (4, "A"), (5, "B")] {
        session.send(Request::Frame(in_series(id, position))).await;
    }
    let_it_be_read().await;
    running.answer(1);
    gate.started().await.answer(1);
    gate.started().await.answer(1);
    for (id, end) in [
        (0, "1 cells"),
        (1, "NewerFrame"),
        (2, "NewerFrame"),
        (3, "NewerFrame"),
        (4, "1 cells"),
        (5, "1 cells"),
    ] {
        let reply = session.frame_reply().await;
        assert_eq!((reply.id, outcome(&reply).as_str()), (id, end));
    }
    let closed = session.close().await;
    assert_eq!(
        closed,
        pb::SessionClosed {
            frames: 6,
            segmented: 3,
            dropped: 3,
            failed: 0
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_has_a_place_for_each_series_and_a_turn_beside_others() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let (mut live, _) = Session::open(&daemon, latest(2)).await;
    let (mut acquisition, _) = Session::open(&daemon, Default::default()).await;
    live.send(Request::Frame(in_series(0, "A"))).await;
    let running = gate.started().await;
    for (id, position) in [(1, "A"), (2, "B"), (3, "B")] {
        live.send(Request::Frame(in_series(id, position))).await;
    }
    let_it_be_read().await;
    for id in 0..4 {
        acquisition.send(Request::Frame(frame(id))).await;
    }
    let_it_be_read().await;
    // Newer frames take the places of those that wait, and their turns.
    for (id, position) in [(4, "A"), (5, "B")] {
        live.send(Request::Frame(in_series(id, position))).await;
    }
    let_it_be_read().await;
    running.answer(1);
    let mut order = Vec::new();
    for _ in 0..6 {
        let started = gate.started().await;
        order.push(started.frame.metadata().position.clone());
        started.answer(1);
    }
    let lives: Vec<usize> = (0..6).filter(|&i| !order[i].is_empty()).collect();
    assert!(lives[1] <= 3, "the live view takes turns: {order:?}");
    for (id, end) in [
        (0, "1 cells"),
        (1, "NewerFrame"),
        (2, "NewerFrame"),
        (3, "NewerFrame"),
        (4, "1 cells"),
        (5, "1 cells"),
    ] {
        let reply = live.frame_reply().await;
        assert_eq!((reply.id, outcome(&reply).as_str()), (id, end));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_drops_a_frame_that_waits_and_frees_its_place() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let options = pb::SessionOptions {
        window: 2,
        ..Default::default()
    };
    let (mut session, _) = Session::open(&daemon, options).await;
    for id in [7, 8] {
        session.send(Request::Frame(frame(id))).await;
    }
    let running = gate.started().await;
    for frame_id in [7, 8, 99] {
        session.send(Request::Cancel(pb::Cancel { frame_id })).await;
    }
    session.send(Request::Frame(frame(9))).await;
    let_it_be_read().await;
    running.answer(1);
    gate.started().await.answer(2);
    for (id, end) in [(7, "1 cells"), (8, "Cancelled"), (9, "2 cells")] {
        let reply = session.frame_reply().await;
        assert_eq!((reply.id, outcome(&reply).as_str()), (id, end));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_not_started_by_its_deadline_is_dropped_while_the_lane_is_busy() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(frame(1))).await;
    let running = gate.started().await;
    let deadline = prost_types::Duration {
        seconds: 0,
        nanos: 1_000_000,
    };
    session
        .send(Request::Frame(pb::Frame {
            deadline: Some(deadline),
            ..frame(2)
        }))
        .await;
    // With a window of four and the lane busy, three more are taken only if the second gave up its place.
    for id in 3..6 {
        session.send(Request::Frame(frame(id))).await;
    }
    let_it_be_read().await;
    running.answer(1);
    for _ in 3..6 {
        gate.started().await.answer(1);
    }
    for (id, end) in [
        (1, "1 cells"),
        (2, "Deadline"),
        (3, "1 cells"),
        (4, "1 cells"),
        (5, "1 cells"),
    ] {
        let reply = session.frame_reply().await;
        assert_eq!((reply.id, outcome(&reply).as_str()), (id, end));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_session_does_not_hold_up_another_on_the_same_connection() {
    let daemon = Daemon::instant();
    let client = crate::client::connect(&daemon).await;
    let mut stalled = Session::on(client.clone()).await;
    stalled.send(Request::Open(Default::default())).await;
    let requests = stalled.requests();
    let flood = tokio::spawn(async move {
        for id in 0.. {
            let big = pb::RawPixels {
                format: pb::PixelFormat::Mono16.into(),
                width: 2048,
                height: 2048,
                data: vec![0; 8 << 20].into(),
                ..Default::default()
            };
            let request = Request::Frame(crate::client::raw(id, big));
            if requests
                .send(pb::StreamRequest {
                    request: Some(request),
                })
                .await
                .is_err()
            {
                break;
            }
        }
    });
    let mut other = Session::on(client).await;
    other.send(Request::Open(Default::default())).await;
    other.reply().await;
    for id in 0..50 {
        other.send(Request::Frame(frame(id))).await;
        assert_eq!(other.frame_reply().await.id, id);
    }
    flood.abort();
}

/// A frame that would replace another waits for the byte budget, and meanwhile a lane starts the other.
#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_gone_when_the_budget_has_come_is_waited_for_again() {
    let sized = |id, side: u32, position: &str| {
        let pixels = pb::RawPixels {
            format: pb::PixelFormat::Mono8.into(),
            width: 32,
            height: side,
            data: vec![0; 32 * side as usize].into(),
            ..Default::default()
        };
        pb::Frame {
            pixels: crate::client::raw(id, pixels).pixels,
            ..in_series(id, position)
        }
    };
    let (gate, backend) = Gate::new();
    let settings = Settings {
        limits: LimitSettings {
            max_frame_bytes: 4096,
            // Two large frames and a small one.
            frames_in_flight_bytes: 9 * 1024,
            ..Default::default()
        },
        ..Default::default()
    };
    let pool = LanePool::start(Arc::new(backend), 2).unwrap();
    let server = Server::new(&settings, vec![pool]);
    let open = |options| {
        let (requests, queue) = mpsc::channel(8);
        let open = pb::StreamRequest {
            request: Some(Request::Open(options)),
        };
        requests.try_send(Ok(open)).unwrap();
        (requests, server.in_process(ReceiverStream::new(queue)))
    };
    let send = |requests: &mpsc::Sender<_>, frame| {
        let request = Some(Request::Frame(frame));
        requests
            .try_send(Ok(pb::StreamRequest { request }))
            .unwrap();
    };

    let (others, mut other_replies) = open(pb::SessionOptions::default());
    other_replies.next().await.unwrap().unwrap();
    send(&others, sized(1, 8, "b"));
    let small = gate.started().await;
    let (requests, mut replies) = open(latest(1));
    replies.next().await.unwrap().unwrap();
    send(&requests, sized(1, 128, "a"));
    let first = gate.started().await;
    send(&requests, sized(2, 128, "a"));
    send(&requests, sized(3, 128, "a"));
    let_it_be_read().await;
    // The budget has room for the small frame only: frame 3 still waits for it, and frame 2 starts.
    small.answer(0);
    let second = gate.started().await;
    // Its bytes come back, but its answer is not read.
    first.answer(0);
    let_it_be_read().await;
    assert!(
        !gate.has_started_another(),
        "two frames of a series are in flight"
    );
    let ids = async |replies: &mut (dyn Stream<Item = _> + Send + Unpin)| match replies.next().await
    {
        Some(Ok(pb::StreamReply {
            reply: Some(Reply::Frame(frame)),
        })) => frame.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(ids(&mut replies).await, 1);
    let third = gate.started().await;
    second.answer(0);
    third.answer(0);
    assert_eq!([ids(&mut replies).await, ids(&mut replies).await], [2, 3]);
}
