//! REST/JSON: the same sessions by `POST`, with the same bounds; and how it is refused.

use std::time::Duration;

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{LimitSettings, Settings},
    proto::{self as pb, admin_client::AdminClient},
    server::Ended,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::daemon::{Daemon, Gate, PATIENCE, let_it_be_read};

/// 32 x 24 pixels, of which the fake lanes read nothing.
const PIXELS: [u8; 32 * 24] = [100; 32 * 24];
const RAW: &str = "format=Mono8&width=32&height=24";
const BYTES: &str = "Content-Type: application/octet-stream\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

pub(crate) struct Answer {
    code: u16,
    headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        let end = end.expect("headers end");
        let headers = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let code = headers.split(' ').nth(1).expect("a status line");
        Answer {
            code: code.parse().unwrap(),
            body: bytes[end + 4..].to_vec(),
            headers: headers.to_lowercase(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// What a problem says, which it must be.
    fn problem(&self) -> (u16, String, String) {
        assert!(
            self.headers
                .contains("content-type: application/problem+json"),
            "{}",
            self.headers
        );
        let said = self.json();
        assert_eq!(said["status"], self.code);
        let text = |member: &str| said[member].as_str().unwrap().to_owned();
        (self.code, text("code"), text("detail"))
    }
}

async fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(daemon.http).await.unwrap()
}

fn request(method: &str, path: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("an answer in time")
        .unwrap();
    Answer::of(&bytes)
}

async fn call(daemon: &Daemon, method: &str, path: &str, more: &str, body: &[u8]) -> Answer {
    let mut stream = connect(daemon).await;
    let request = request(method, path, more, body);
    stream.write_all(&request).await.unwrap();
    read(stream).await
}

pub(crate) async fn frame(daemon: &Daemon, session: &str, query: &str) -> Answer {
    let path = format!("/v1/sessions/{session}/frames?{RAW}&{query}");
    call(daemon, "POST", &path, BYTES, &PIXELS).await
}

pub(crate) async fn open(daemon: &Daemon, options: &str) -> String {
    let answer = call(daemon, "POST", "/v1/sessions", JSON, options.as_bytes()).await;
    assert_eq!(
        answer.code,
        201,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    let session = answer.json()["session"].as_str().unwrap().to_owned();
    let location = format!("location: /v1/sessions/{session}");
    assert!(answer.headers.contains(&location), "{}", answer.headers);
    session
}

async fn sessions(daemon: &Daemon) -> Vec<pb::SessionStatus> {
    let mut admin = AdminClient::connect(daemon.address.clone()).await.unwrap();
    let status = admin.status(pb::StatusRequest {}).await.unwrap();
    status.into_inner().sessions
}

async fn no_session_is_left(daemon: &Daemon) {
    let gone = async {
        while !sessions(daemon).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("no session is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_is_answered_in_every_form() {
    let daemon = Daemon::instant();
    let path = format!("/v1/segment?{RAW}&id=7&masks=rings&t=3&channel=Phase");
    let answer = call(&daemon, "POST", &path, BYTES, &PIXELS).await;
    assert_eq!(
        answer.code,
        200,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    let reply = answer.json();
    assert_eq!(reply["opened"]["model"]["name"], "fake");
    assert_eq!(reply["frame"]["id"], "7");
    assert_eq!(reply["frame"]["metadata"]["index"]["t"], 3);
    assert_eq!(reply["frame"]["metadata"]["channel"], "Phase");
    let cells = &reply["frame"]["segmentation"];
    assert_eq!(cells["summary"]["count"], 9);
    assert!(cells["instances"][8]["rings"]["rings"].is_array());
    for (accept, kind, start) in [
        (
            "application/geo+json",
            "application/geo+json",
            &b"{\"type\":\"FeatureCollection\""[..],
        ),
        ("image/png", "image/png", b"\x89PNG"),
        ("image/png;kind=overlay", "image/png", b"\x89PNG"),
        ("image/tiff", "image/tiff", b"II"),
        (
            "text/csv",
            "text/csv; charset=utf-8; header=present",
            b"image_id,",
        ),
        ("application/zip", "application/zip", b"PK"),
    ] {
        let headers = format!("{BYTES}Accept: {accept}\r\n");
        let path = format!("/v1/segment?{RAW}");
        let answer = call(&daemon, "POST", &path, &headers, &PIXELS).await;
        assert_eq!(answer.code, 200, "{accept}");
        for line in [
            &format!("content-type: {kind}"),
            "x-cellsegd-cells: 9",
            "x-cellsegd-model: fake",
            "x-cellsegd-frame: 1",
            "x-cellsegd-truncated: false",
            "server-timing: ",
        ] {
            assert!(
                answer.headers.contains(line),
                "{accept}: {line}: {}",
                answer.headers
            );
        }
        assert!(
            answer.body.starts_with(start),
            "{accept}: {:?}",
            &answer.body[..20]
        );
    }
    no_session_is_left(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_from_call_to_call() {
    let daemon = Daemon::instant();
    let session = open(&daemon, r#"{"tracking": {}, "name": "LIMS"}"#).await;
    for n in 1..=3 {
        let reply = frame(&daemon, &session, "").await.json();
        assert_eq!(reply["id"], n.to_string());
        let track = &reply["segmentation"]["instances"][0]["track"];
        assert_eq!((&track["id"], &track["age"]), (&"1".into(), &n.into()));
    }
    // An update changes what comes after it; one that is refused changes nothing.
    let at = format!("/v1/sessions/{session}");
    let update = br#"{"thresholds": {"max_area_um2": 1}}"#;
    let changed = call(&daemon, "PATCH", &at, JSON, update).await.json();
    assert_eq!(
        (&changed["revision"], &changed["why"]),
        (&2.into(), &"update".into())
    );
    let reply = frame(&daemon, &session, "pixel_size_um=1").await.json();
    assert_eq!(reply["segmentation"]["summary"]["removed_by_area"], 9);
    assert_eq!(reply["revision"], 2);
    let refused = br#"{"thresholds": {"confidence": 2}}"#;
    let refused = call(&daemon, "PATCH", &at, JSON, refused).await;
    let (code, word, detail) = refused.problem();
    assert_eq!((code, word.as_str()), (422, "INVALID_ARGUMENT"), "{detail}");
    assert!(detail.contains("confidence"), "{detail}");
    // One frame's own thresholds are of no other.
    let query = "pixel_size_um=1&max_area_um2=1000";
    let one = frame(&daemon, &session, query).await.json();
    assert_eq!(one["segmentation"]["summary"]["count"], 9);
    let csv = frame(&daemon, &session, "as=csv&pixel_size_um=1").await;
    assert_eq!(csv.headers.matches("x-cellsegd-cells: 0").count(), 1);
    assert_eq!(csv.body.split(|&byte| byte == b'\n').count(), 1 + 1);
    // Other channels are measured in the cells of an earlier frame.
    let measured = frame(&daemon, &session, "measure_on=4").await.json();
    assert_eq!(measured["measured"]["measured_on"], "4");
    let (code, _, detail) = frame(&daemon, &session, "measure_on=4&as=csv")
        .await
        .problem();
    assert_eq!(code, 406, "{detail}");

    // Ids are counted on from one that was brought: the next frame is not taken for it.
    for (query, id) in [("id=40", "40"), ("", "41"), ("id=8", "8"), ("", "42")] {
        assert_eq!(frame(&daemon, &session, query).await.json()["id"], id);
    }

    let status = call(&daemon, "GET", &at, "", b"").await.json();
    assert_eq!(status["name"], "LIMS");
    assert_eq!(status["counts"]["frames"], "11");
    let closed = call(&daemon, "DELETE", &at, "", b"").await;
    assert_eq!(closed.code, 200);
    assert_eq!(closed.json()["segmented"], "11");
    no_session_is_left(&daemon).await;
    for method in ["GET", "DELETE"] {
        assert_eq!(call(&daemon, method, &at, "", b"").await.problem().0, 404);
    }
    assert_eq!(frame(&daemon, &session, "").await.problem().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_nothing_is_left_behind() {
    let daemon = Daemon::limited(LimitSettings {
        max_frame_bytes: 4096,
        ..Default::default()
    });
    let segment = format!("/v1/segment?{RAW}");
    let large = vec![b' '; 2 << 20];
    for (method, path, headers, body, expected, words) in [
        (
            "POST",
            "/v1/segment?format=Mono8&width=33&height=24",
            BYTES,
            &PIXELS[..],
            (422, "INVALID_FRAME"),
            "33x24 Mono8",
        ),
        (
            "POST",
            "/v1/segment?format=Mono8&width=9000&height=1",
            BYTES,
            &PIXELS,
            (413, "TOO_LARGE"),
            "9000x1",
        ),
        (
            "POST",
            "/v1/segment?format=Mono9",
            BYTES,
            &PIXELS,
            (400, "BAD_REQUEST"),
            "format=Mono9: must be one of Mono8",
        ),
        (
            "POST",
            "/v1/segment?colour=red",
            BYTES,
            &PIXELS,
            (400, "BAD_REQUEST"),
            "parameter \"colour\": there are as, model",
        ),
        (
            "POST",
            "/v1/segment?model=nobody&format=Mono8&width=32&height=24",
            BYTES,
            &PIXELS,
            (404, "NOT_FOUND"),
            "no model \"nobody\"; there are: fake",
        ),
        (
            "POST",
            "/v1/segment?confidence=2&format=Mono8&width=32&height=24",
            BYTES,
            &PIXELS,
            (422, "INVALID_ARGUMENT"),
            "confidence",
        ),
        (
            "POST",
            &segment,
            "Content-Type: image/png\r\n",
            b"GIF89a",
            (422, "INVALID_FRAME"),
            "look like a GIF file",
        ),
        (
            "POST",
            "/v1/segment",
            "Content-Type: image/png\r\n",
            b"\x89PNG\r\n\x1a\n",
            (422, "INVALID_FRAME"),
            "",
        ),
        (
            "POST",
            &segment,
            "Content-Type: text/plain\r\n",
            &PIXELS,
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            "send image/png",
        ),
        (
            "POST",
            &segment,
            "Content-Type: multipart/form-data\r\n",
            &PIXELS,
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            "boundary",
        ),
        (
            "POST",
            &segment,
            BYTES,
            b"",
            (422, "INVALID_FRAME"),
            "no bytes",
        ),
        (
            "POST",
            &segment,
            BYTES,
            &large,
            (413, "TOO_LARGE"),
            "at most 4096 bytes",
        ),
        (
            "POST",
            &segment,
            "Content-Type: application/octet-stream\r\nAccept: text/html\r\n",
            &PIXELS,
            (406, "NOT_ACCEPTABLE"),
            "there are application/json (?as=json)",
        ),
        (
            "POST",
            "/v1/sessions",
            JSON,
            b"{\"modle\": \"fake\"}",
            (400, "BAD_REQUEST"),
            "'modle' at line 1 column 8",
        ),
        (
            "POST",
            "/v1/sessions",
            JSON,
            &large,
            (413, "TOO_LARGE"),
            "2097152 bytes",
        ),
        (
            "POST",
            "/v1/sessions",
            BYTES,
            b"{}",
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            "application/json",
        ),
        (
            "GET",
            "/v1/sessions/../../etc/passwd",
            "",
            b"",
            (404, "NOT_FOUND"),
            "",
        ),
        (
            "GET",
            "/v1/sessions/%2e%2e%2fx",
            "",
            b"",
            (404, "NOT_FOUND"),
            "../x",
        ),
        (
            "GET",
            "/nowhere",
            "",
            b"",
            (404, "NOT_FOUND"),
            "nothing is there",
        ),
        (
            "PUT",
            "/v1/segment",
            "",
            b"",
            (405, "METHOD_NOT_ALLOWED"),
            "PUT /v1/segment",
        ),
        (
            "POST",
            &segment,
            "Content-Type: application/octet-stream\r\nOrigin: https://evil.example\r\n",
            &PIXELS,
            (403, "CROSS_ORIGIN"),
            "evil.example",
        ),
        (
            "POST",
            &segment,
            "Content-Type: application/octet-stream\r\nAuthorization: Bearer wrong\r\n",
            &PIXELS,
            (401, "UNAUTHENTICATED"),
            "not known here",
        ),
    ] {
        let answer = call(&daemon, method, path, headers, body).await;
        let (code, word, detail) = answer.problem();
        assert_eq!((code, word.as_str()), expected, "{method} {path}: {detail}");
        assert!(detail.contains(words), "{method} {path}: {detail}");
        match code {
            401 => assert!(answer.headers.contains("www-authenticate: bearer")),
            405 => assert!(answer.headers.contains("allow: post"), "{}", answer.headers),
            _ => {}
        }
    }
    no_session_is_left(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_not_waited_for() {
    let daemon = Daemon::limited(LimitSettings {
        first_message_s: 1,
        ..Default::default()
    });
    let mut stream = connect(&daemon).await;
    let path = format!("/v1/segment?{RAW}");
    let whole = request("POST", &path, BYTES, &PIXELS);
    stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
    let (code, _, detail) = read(stream).await.problem();
    assert_eq!(code, 408, "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_frame_along() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let mut stream = connect(&daemon).await;
    let path = format!("/v1/segment?{RAW}");
    stream
        .write_all(&request("POST", &path, BYTES, &PIXELS))
        .await
        .unwrap();
    let started = gate.started().await;
    assert_eq!(sessions(&daemon).await.len(), 1);
    drop(stream);
    no_session_is_left(&daemon).await;
    assert!(started.ticket.is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_asks_for_is_given_up_and_counted() {
    let daemon = Daemon::limited(LimitSettings {
        session_idle_s: 1,
        ..Default::default()
    });
    let session = open(&daemon, "{}").await;
    no_session_is_left(&daemon).await;
    assert_eq!(frame(&daemon, &session, "").await.problem().0, 404);
    let metrics = crate::operations::get(&daemon, "/metrics").await.body;
    let line = "cellsegd_refused_total{bound=\"session_idle\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_drains_answers_what_is_in_flight_and_closes_sessions() {
    let (gate, backend) = Gate::new();
    let mut daemon = Daemon::start(Settings::default(), backend, 1);
    open(&daemon, "{}").await;
    let session = open(&daemon, "{}").await;
    let path = format!("/v1/sessions/{session}/frames?{RAW}");
    let mut stream = connect(&daemon).await;
    stream
        .write_all(&request("POST", &path, BYTES, &PIXELS))
        .await
        .unwrap();
    let started = gate.started().await;
    let path = format!("/v1/segment?{RAW}");
    let mut single = connect(&daemon).await;
    single
        .write_all(&request("POST", &path, BYTES, &PIXELS))
        .await
        .unwrap();
    let_it_be_read().await;
    daemon.stop();
    let_it_be_read().await;
    let (code, word, _) = frame(&daemon, &session, "").await.problem();
    assert_eq!((code, word.as_str()), (503, "UNAVAILABLE"));
    started.answer(5);
    gate.started().await.answer(6);
    let reply = read(stream).await.json();
    assert_eq!(reply["segmentation"]["summary"]["count"], 5);
    let reply = read(single).await.json();
    assert_eq!(reply["frame"]["segmentation"]["summary"]["count"], 6);
    assert_eq!(daemon.ended().await, Ended::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_count_with_those_of_streams() {
    let daemon = Daemon::limited(LimitSettings {
        sessions: 1,
        ..Default::default()
    });
    let session = open(&daemon, "{}").await;
    let answer = call(&daemon, "POST", "/v1/sessions", JSON, b"{}").await;
    let (code, word, _) = answer.problem();
    assert_eq!((code, word.as_str()), (429, "RESOURCE_EXHAUSTED"));
    assert!(
        answer.headers.contains("retry-after: 1"),
        "{}",
        answer.headers
    );
    assert_eq!(frame(&daemon, &session, "").await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_view_drops_by_policy_and_says_so() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let session = open(&daemon, r#"{"delivery": "DELIVERY_LATEST"}"#).await;
    let path = format!("/v1/sessions/{session}/frames?{RAW}");
    let mut waiting = Vec::new();
    for n in 1..=3 {
        let mut stream = connect(&daemon).await;
        let path = format!("{path}&id={n}");
        let request = request("POST", &path, BYTES, &PIXELS);
        stream.write_all(&request).await.unwrap();
        waiting.push(stream);
        let_it_be_read().await;
    }
    gate.started().await.answer(1);
    gate.started().await.answer(2);
    let mut answers = Vec::new();
    for stream in waiting {
        answers.push(read(stream).await);
    }
    assert_eq!(answers[0].json()["segmentation"]["summary"]["count"], 1);
    let (code, word, _) = answers[1].problem();
    assert_eq!((code, word.as_str()), (503, "NEWER_FRAME"));
    assert_eq!(answers[1].json()["frame"]["id"], "2");
    assert_eq!(answers[2].json()["segmentation"]["summary"]["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_breaks_is_told_with_whether_to_try_again() {
    let backend = FakeBackend::new(|frame, _, _| match frame.width() {
        32 => Err(cellsegd::backend::LaneError::Lane("it broke".into())),
        _ => Ok(fake::cells(frame, 1, 4)),
    });
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let path = format!("/v1/segment?{RAW}");
    let answer = call(&daemon, "POST", &path, BYTES, &PIXELS).await;
    let (code, word, _) = answer.problem();
    assert_eq!((code, word.as_str()), (503, "LANE_LOST"));
    assert!(
        answer.headers.contains("retry-after: 1"),
        "{}",
        answer.headers
    );
    assert_eq!(answer.json()["frame"]["failed"]["retryable"], true);
}

#[test]
fn the_description_equals_the_committed_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let made = cellsegd::server::openapi();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/openapi.json is not what the daemon answers: where that is meant, run again with UPDATE_EXPECT=1"
    );
}
