//! What operators see: status, metrics, liveness, and a lane that hangs.

use std::{sync::Mutex, sync::mpsc, time::Duration};

use cellsegd::{
    backend::{
        OnGpu,
        fake::{self, FakeBackend},
    },
    config::Settings,
    proto::{self as pb, admin_client::AdminClient, stream_request::Request},
    server::Ended,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::{Session, frame, outcome, raw},
    daemon::{Daemon, Gate, PATIENCE},
};

/// Status and body of an answer, and its headers.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

pub(crate) async fn get(daemon: &Daemon, path: &str) -> Answer {
    let mut stream = TcpStream::connect(daemon.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .expect("an answer in time")
        .unwrap();
    let (headers, body) = text.split_once("\r\n\r\n").expect("headers end");
    let code = headers.split(' ').nth(1).expect("a status line");
    Answer {
        code: code.parse().unwrap(),
        headers: headers.to_lowercase(),
        body: body.to_owned(),
    }
}

async fn status(daemon: &Daemon) -> pb::StatusReply {
    let mut admin = AdminClient::connect(daemon.address.clone()).await.unwrap();
    admin
        .status(pb::StatusRequest {})
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_each_session_did() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 2);
    let options = pb::SessionOptions {
        name: "scope-2 / incubator A".to_owned(),
        priority: pb::Priority::Urgent.into(),
        ..Default::default()
    };
    let (mut session, opened) = Session::open(&daemon, options).await;
    session.send(Request::Frame(frame(1))).await;
    gate.started().await.answer(6);
    assert_eq!(outcome(&session.frame_reply().await), "6 cells");
    session
        .send(Request::Frame(raw(2, Default::default())))
        .await;
    assert_eq!(outcome(&session.frame_reply().await), "InvalidFrame");
    session.send(Request::Frame(frame(3))).await;
    let running = gate.started().await;

    let told = status(&daemon).await;
    assert_eq!(told.state(), pb::State::Serving);
    let [model] = &told.models[..] else {
        panic!("one model: {told:?}")
    };
    assert_eq!((model.lanes, model.lanes_up), (2, 2));
    assert_eq!((model.sessions, model.generation), (1, 1));
    let [account] = &told.sessions[..] else {
        panic!("one session: {told:?}")
    };
    assert_eq!(account.session, opened.session);
    assert_eq!(account.name, "scope-2 / incubator A");
    assert_eq!(account.priority(), pb::Priority::Urgent);
    let counts = pb::SessionClosed {
        frames: 3,
        segmented: 1,
        dropped: 0,
        failed: 1,
    };
    assert_eq!(account.counts, Some(counts));
    assert_eq!(account.cells, 6);
    assert!(0.0 < account.confluence && account.confluence < 1.0);
    assert!(0 < account.p50_us && account.p50_us <= account.p95_us);
    assert!(account.since_last_frame.is_some());

    let metrics = get(&daemon, "/metrics").await.body;
    for line in [
        "cellsegd_sessions 1.0",
        "cellsegd_frames_running{model=\"fake\"} 1.0",
        "cellsegd_frames_waiting{model=\"fake\"} 0.0",
        "cellsegd_frames_total{model=\"fake\",outcome=\"segmented\",reason=\"\"} 1",
        "cellsegd_frames_total{model=\"fake\",outcome=\"failed\",reason=\"INVALID_FRAME\"} 1",
        "cellsegd_frame_stage_seconds_count{model=\"fake\",stage=\"total\"} 1",
        // 32 x 24 pixels, in whole KiB.
        "cellsegd_frames_in_flight_bytes 1024.0",
        "cellsegd_shared_memory_regions 0.0",
        "cellsegd_shared_memory_bytes 0.0",
        "cellsegd_model_state{model=\"fake\",state=\"serving\"} 1.0",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    running.answer(0);
    session.close().await;
    while !status(&daemon).await.sessions.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_says_whether_the_daemon_lives_and_is_ready() {
    let (gate, backend) = Gate::new();
    let mut daemon = Daemon::start(Settings::default(), backend, 1);
    let ready = get(&daemon, "/readyz").await;
    assert_eq!((ready.code, ready.body.as_str()), (200, "serving\n"));
    assert_eq!(get(&daemon, "/livez").await.code, 200);
    let metrics = get(&daemon, "/metrics").await;
    let kind = "content-type: application/openmetrics-text; version=1.0.0";
    assert!(metrics.headers.contains(kind), "{}", metrics.headers);
    assert!(metrics.body.ends_with("# EOF\n"));
    assert!(get(&daemon, "/").await.body.contains("/readyz"));
    assert_eq!(get(&daemon, "/nothing").await.code, 404);

    // A frame holds up the end: meanwhile the daemon lives and is not ready.
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(frame(1))).await;
    let running = gate.started().await;
    daemon.stop();
    let draining = loop {
        let answer = get(&daemon, "/readyz").await;
        if answer.code != 200 {
            break answer;
        }
    };
    let wanted = (503, "draining: the daemon is stopping\n");
    assert_eq!((draining.code, draining.body.as_str()), wanted);
    assert_eq!(get(&daemon, "/livez").await.code, 200);
    running.answer(1);
    assert_eq!(outcome(&session.frame_reply().await), "1 cells");
    drop(session);
    assert_eq!(daemon.ended().await, Ended::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_as_it_was_meant_to_be_is_degraded_and_ready() {
    let backend = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 4)));
    let backend = backend.meant_for_a_gpu(OnGpu::No);
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let told = status(&daemon).await;
    assert_eq!(told.state(), pb::State::Degraded);
    assert!(!told.models[0].why.is_empty());
    let ready = get(&daemon, "/readyz").await;
    assert_eq!(ready.code, 200);
    assert!(
        ready.body.starts_with("degraded: model fake: "),
        "{}",
        ready.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_hangs_fails_its_frames_and_ends_the_daemon() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let backend = FakeBackend::new(move |frame, _, _| {
        if frame.data()[0] == 100 {
            // Until the test is over.
            let _ = held.lock().unwrap().recv();
        }
        Ok(fake::cells(frame, 1, 4))
    });
    let settings = Settings {
        hung_after_s: 1,
        ..Default::default()
    };
    let daemon = Daemon::start(settings, backend, 1);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    for id in 1..=2 {
        session.send(Request::Frame(frame(id))).await;
    }
    for id in 1..=2 {
        let reply = session.frame_reply().await;
        assert_eq!((reply.id, outcome(&reply).as_str()), (id, "DeviceLost"));
    }
    let (code, _) = session.error().await;
    assert_eq!(code, tonic::Code::Unavailable);
    let ended = timeout(Duration::from_secs(20), daemon.ended()).await;
    assert_eq!(
        ended.expect("the hung lane holds up nobody"),
        Ended::DeviceLost
    );
    drop(release);
}
