//! What a stranger can do to the daemon, and what each bound answers.

use std::{io, sync::Arc, time::Duration};

use cellsegd::{
    config::{AuthSettings, LimitSettings, PriorityCap, RoleLimits, Settings},
    pool::LanePool,
    proto::{self as pb, stream_request::Request},
    server::{Ended, Server},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

use crate::{
    client::{Session, connect, frame, outcome, raw},
    clock::Clock,
    daemon::{Daemon, Gate, PATIENCE, let_it_be_read},
    operations::get,
};

/// What every HTTP/2 client says first, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn wire(daemon: &Daemon) -> TcpStream {
    let address = daemon.address.trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// Reads what comes until the daemon closes the connection.
async fn is_closed(wire: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    timeout(PATIENCE, wire.read_to_end(&mut read)).await.is_ok()
}

/// Whether the daemon has closed the connection by now.
fn is_closed_now(wire: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match wire.try_read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

async fn check_served(daemon: &Daemon) {
    let (mut session, _) = Session::open(daemon, Default::default()).await;
    session.send(Request::Frame(frame(1))).await;
    assert_eq!(outcome(&session.frame_reply().await), "1 cells");
    session.close().await;
}

/// How often clients ran into a bound.
pub(crate) async fn refused(daemon: &Daemon, bound: &str) -> u64 {
    let text = get(daemon, "/metrics").await.body;
    let line = format!("cellsegd_refused_total{{bound=\"{bound}\"}} ");
    let count = text.lines().find_map(|text| text.strip_prefix(&line));
    count.expect("every bound is counted").parse().unwrap()
}

/// Until somebody has run into that bound so many times.
pub(crate) async fn wait_until_refused(daemon: &Daemon, bound: &str, times: u64) {
    let so_often = async {
        while refused(daemon, bound).await < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, so_often).await;
    waited.unwrap_or_else(|_| panic!("{bound}: {times} times"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_so_many_connections_and_one_that_ends_makes_room() {
    let daemon = Daemon::limited(LimitSettings {
        connections_per_peer: 3,
        ..Default::default()
    });
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut wire = wire(&daemon).await;
        wire.write_all(PREFACE).await.unwrap();
        held.push(wire);
    }
    check_served(&daemon).await;
    // Its connection ends a moment after its client.
    let_it_be_read().await;
    let third = wire(&daemon).await;
    assert!(is_closed(&mut wire(&daemon).await).await, "one too many");
    drop(third);
    held.pop();
    let_it_be_read().await;
    assert!(refused(&daemon, "connections_per_peer").await >= 1);
    check_served(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_than_the_settings_allow() {
    let daemon = Daemon::limited(LimitSettings {
        connections: 2,
        ..Default::default()
    });
    let held = [wire(&daemon).await, wire(&daemon).await];
    assert!(is_closed(&mut wire(&daemon).await).await, "one too many");
    drop(held);
    let_it_be_read().await;
    check_served(&daemon).await;
    assert_eq!(refused(&daemon, "connections").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_word_is_closed() {
    let daemon = Daemon::limited(LimitSettings {
        first_message_s: 1,
        ..Default::default()
    });
    let mut silent = wire(&daemon).await;
    let mut slow = wire(&daemon).await;
    slow.write_all(&PREFACE[..10]).await.unwrap();
    let mut polite = wire(&daemon).await;
    polite.write_all(PREFACE).await.unwrap();
    assert!(is_closed(&mut silent).await && is_closed(&mut slow).await);
    assert!(!is_closed_now(&polite), "it has said who it is");
    assert_eq!(refused(&daemon, "first_message").await, 2);
    check_served(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_too_often_is_told_when_to_try_again() {
    let daemon = Daemon::limited(LimitSettings {
        requests_per_s: 5,
        ..Default::default()
    });
    let mut client = connect(&daemon).await;
    let mut served = 0;
    let refusal = loop {
        match client.list_models(pb::ListModelsRequest {}).await {
            Ok(_) => served += 1,
            Err(status) => break status,
        }
        assert!(served < 100, "nothing bounds the calls");
    };
    assert!(served >= 5);
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert!(
        refusal
            .message()
            .starts_with("127.0.0.1 calls too often: try again in ")
    );
    let ms = refusal.metadata().get("grpc-retry-pushback-ms").unwrap();
    let ms: u64 = ms.to_str().unwrap().parse().unwrap();
    assert!((1..=200).contains(&ms), "{ms}");
    tokio::time::sleep(Duration::from_millis(ms)).await;
    client.list_models(pb::ListModelsRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_so_many_sessions_and_no_higher_priority_than_its_role() {
    let infer = RoleLimits {
        priority: PriorityCap::Normal,
        sessions: 2,
    };
    let settings = Settings {
        auth: AuthSettings {
            infer,
            ..Default::default()
        },
        ..Default::default()
    };
    let (_gate, backend) = Gate::new();
    let daemon = Daemon::start(settings, backend, 1);
    let urgent = pb::SessionOptions {
        priority: pb::Priority::Urgent.into(),
        ..Default::default()
    };
    let (first, opened) = Session::open(&daemon, urgent).await;
    let granted = opened.settled.unwrap().priority();
    assert_eq!(granted, pb::Priority::Normal, "it is told what it got");
    let background = pb::SessionOptions {
        priority: pb::Priority::Background.into(),
        ..Default::default()
    };
    let (_second, opened) = Session::open(&daemon, background).await;
    let granted = opened.settled.unwrap().priority();
    assert_eq!(granted, pb::Priority::Background);
    let mut third = Session::new(&daemon).await;
    third.try_send(Request::Open(Default::default())).await;
    let (code, text) = third.error().await;
    assert_eq!(code, Code::ResourceExhausted);
    assert!(text.starts_with("127.0.0.1 has 2 sessions open"), "{text}");
    assert_eq!(refused(&daemon, "sessions_per_peer").await, 1);
    first.close().await;
    Session::open(&daemon, Default::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_answers_are_not_read_is_not_read_either() {
    let limits = LimitSettings {
        unread_answers_bytes: 1 << 20,
        ..Default::default()
    };
    let settings = Settings {
        limits,
        ..Default::default()
    };
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(settings, backend, 2);
    // An answer of 8 MiB: more than the transport takes off the session's hands.
    let large = |id| {
        let pixels = pb::RawPixels {
            format: pb::PixelFormat::Mono8.into(),
            width: 2048,
            height: 2048,
            data: vec![0; 2048 * 2048].into(),
            ..Default::default()
        };
        Request::Frame(raw(id, pixels))
    };
    let options = pb::SessionOptions {
        window: 16,
        outputs: Some(pb::Outputs {
            label_image: Some(true),
            label_compression: pb::Compression::None.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut stalled, _) = Session::open(&daemon, options).await;
    let mut answered = 0;
    loop {
        assert!(answered < 14, "it is read on and on");
        stalled.send(large(answered)).await;
        let_it_be_read().await;
        if refused(&daemon, "unread_answers_bytes").await != 0 {
            break;
        }
        gate.started().await.answer(1);
        answered += 1;
        let_it_be_read().await;
    }
    assert!(!gate.has_started_another(), "it is read all the same");
    // Nobody else is held back.
    let (mut other, _) = Session::open(&daemon, Default::default()).await;
    other.send(Request::Frame(frame(9))).await;
    gate.started().await.answer(2);
    assert_eq!(outcome(&other.frame_reply().await), "2 cells");
    for id in 0..answered {
        assert_eq!(stalled.frame_reply().await.id, id);
    }
    gate.started().await.answer(1);
    assert_eq!(stalled.frame_reply().await.id, answered);
    assert_eq!(stalled.close().await.segmented, answered + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_comes_while_the_daemon_drains_is_told_so() {
    let (_gate, backend) = Gate::new();
    let pool = LanePool::start(Arc::new(backend), 1).unwrap();
    let server = Server::new(&Settings::default(), vec![pool]);
    let open = || {
        let (requests, queue) = mpsc::channel(1);
        let request = Some(Request::Open(Default::default()));
        requests
            .try_send(Ok(pb::StreamRequest { request }))
            .unwrap();
        (requests, server.in_process(ReceiverStream::new(queue)))
    };
    let (_first, mut first) = open();
    let (_held, mut held) = open();
    // It begins when somebody asks for its replies.
    let (_late, mut late) = open();
    first.next().await.unwrap().unwrap();
    held.next().await.unwrap().unwrap();
    let running = tokio::spawn(server.run(Vec::new(), async {}));
    let told = timeout(PATIENCE, first.next()).await.unwrap().unwrap();
    assert_eq!(told.unwrap_err().code(), Code::Unavailable);
    let refusal = late.next().await.unwrap().unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.message()),
        (Code::Unavailable, "the daemon is draining")
    );
    drop(held);
    assert_eq!(running.await.unwrap().unwrap(), Ended::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_frames_may_be_no_larger_than_it_needs() {
    let daemon = Daemon::limited(LimitSettings::default());
    let channel = Endpoint::from_shared(daemon.address.clone()).unwrap();
    let mut grpc = Grpc::new(channel.connect().await.unwrap());
    grpc.ready().await.unwrap();
    // What the service would pass over, after it has read all of it.
    let request = pb::SessionOptions {
        name: "n".repeat(128 << 10),
        ..Default::default()
    };
    let path = PathAndQuery::from_static("/cellseg.v1.Segmenter/ListModels");
    let codec = ProstCodec::<pb::SessionOptions, pb::ListModelsReply>::default();
    let refusal = grpc.unary(tonic::Request::new(request), path, codec).await;
    assert_eq!(refusal.unwrap_err().code(), Code::OutOfRange);
}

/// A time-lapse's pauses are hours long: HTTP/2's pings alone decide whether a client is there.
#[tokio::test]
async fn a_session_without_frames_is_open_after_a_day() {
    let clock = Clock::stopped();
    let daemon = Daemon::limited(LimitSettings::default());
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let mut idle = connect(&daemon).await;
    clock.pass(Duration::from_secs(24 * 3600), || {}).await;
    session.send(Request::Frame(frame(1))).await;
    assert_eq!(outcome(&session.frame_reply().await), "1 cells");
    assert_eq!(session.close().await.segmented, 1);
    // So is a connection without a session.
    idle.list_models(pb::ListModelsRequest {}).await.unwrap();
}

/// Slow-loris: headers that never end, a byte now and then. No ping can be answered between their pieces, and there is a bound
/// on their number. A client that answers no pings is gone as well.
#[tokio::test]
async fn headers_that_never_end_and_clients_that_answer_no_ping_are_ended() {
    let clock = Clock::stopped();
    let daemon = Daemon::limited(LimitSettings::default());
    let mut loris = wire(&daemon).await;
    loris.write_all(PREFACE).await.unwrap();
    // HEADERS of stream 1 with one byte, END_HEADERS unset.
    loris
        .write_all(b"\0\0\x01\x01\0\0\0\0\x01\x82")
        .await
        .unwrap();
    // A client that only listens: it does not answer pings either.
    let mut deaf = wire(&daemon).await;
    deaf.write_all(PREFACE).await.unwrap();
    let (mut seconds, mut ended_after) = (0, [None; 2]);
    clock
        .pass(Duration::from_secs(120), || {
            seconds += Clock::STEP.as_secs();
            // CONTINUATION with one byte: nothing that ends the headers.
            let _ = loris.try_write(b"\0\0\x01\x09\0\0\0\0\x01\x84");
            for (wire, ended) in [&loris, &deaf].into_iter().zip(&mut ended_after) {
                if ended.is_none() && is_closed_now(wire) {
                    *ended = Some(seconds);
                }
            }
        })
        .await;
    for ended in ended_after {
        // A ping once 30 s are over, 20 s to answer it, and each is looked at in steps.
        let ended = ended.expect("it is ended");
        assert!((30..=80).contains(&ended), "{ended_after:?}");
    }
    check_served(&daemon).await;
}
