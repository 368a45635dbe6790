//! Order, windows, drops: what happens to a frame between its sending and its one reply.

use std::time::Duration;

use cellsegd::{
    config::Settings,
    proto::{self as pb, stream_reply::Reply, stream_request::Request},
};

use crate::{
    client::{Session, frame, outcome},
    daemon::{Daemon, Gate},
};

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
        std::thread::sleep(Duration::from_millis(u64::from(frame.data()[0])));
        Ok(cellsegd::backend::fake::cells(frame, 1, 4))
    });
    let daemon = Daemon::start(Settings::default(), backend, 2);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    for (id, slow) in [(0, 30), (1, 1), (2, 20), (3, 0)] {
        let pixels = pb::RawPixels {
            format: pb::PixelFormat::Mono8.into(),
            width: 8,
            height: 8,
            data: vec![slow; 64].into(),
            ..Default::default()
        };
        session
            .send(Request::Frame(crate::client::raw(id, pixels)))
            .await;
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
        session.send(Request::Frame(frame(id))).await;
    }
    gate.started().await;
    gate.started().await;
    // The second in order is done; its answer cannot leave before the first, so the third must not start.
    gate.release(1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        !gate.has_started_another(),
        "a third frame in a window of two"
    );
    gate.release(1);
    gate.started().await;
    gate.release(1);
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
    gate.started().await;
    for (id, position) in [(1, "A"), (2, "B"), (3, "A"), (4, "A"), (5, "B")] {
        session.send(Request::Frame(in_series(id, position))).await;
    }
    // Answered in order, so everything sent was read once this update is answered.
    session.send(Request::Update(Default::default())).await;
    session.half_close();
    let mut ends = Vec::new();
    for _ in 0..3 {
        gate.release(1);
    }
    while let Ok(Some(reply)) = session.next().await {
        match reply {
            Reply::Frame(reply) => ends.push((reply.id, outcome(&reply))),
            Reply::Closed(closed) => assert_eq!(
                (closed.segmented, closed.dropped),
                (
                    ends.iter().filter(|(_, end)| end == "1 cells").count() as u64,
                    ends.iter().filter(|(_, end)| end == "NewerFrame").count() as u64
                )
            ),
            _ => {}
        }
    }
    assert_eq!(
        ends.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5]
    );
    assert_eq!(
        (ends[0].1.as_str(), ends[1].1.as_str()),
        ("1 cells", "NewerFrame")
    );
    assert_eq!(
        (ends[4].1.as_str(), ends[5].1.as_str()),
        ("1 cells", "1 cells"),
        "the newest of each series"
    );
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
    gate.started().await;
    for frame_id in [7, 8, 99] {
        session.send(Request::Cancel(pb::Cancel { frame_id })).await;
    }
    session.send(Request::Frame(frame(9))).await;
    gate.release(1);
    gate.started().await;
    gate.release(2);
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
    gate.started().await;
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
    // Its place is free again although the lane still holds the first: with a window of four, four more are taken.
    for id in 3..6 {
        session.send(Request::Frame(frame(id))).await;
    }
    for _ in 0..4 {
        gate.release(1);
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
