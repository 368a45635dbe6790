//! Sessions from call to call, and how they end.

use cellsegd::{
    config::{LimitSettings, Settings},
    server::Ended,
};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::{
    BYTES, JSON, PIXELS, RAW, call, connect, frame, frames_have_come, no_session_is_left, open,
    read, request, until,
};
use crate::daemon::{Daemon, Gate};

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
    frames_have_come(&daemon, 2).await;
    daemon.stop();
    let drains = |status: &Value| status["state"] == "STATE_DRAINING";
    until(&daemon, "it drains", drains).await;
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
async fn a_place_that_is_taken_is_told_with_when_it_comes_free() {
    let daemon = Daemon::limited(LimitSettings {
        sessions: 1,
        ..Default::default()
    });
    let session = open(&daemon, "{}").await;
    let again = async || {
        let answer = call(&daemon, "POST", "/v1/sessions", JSON, b"{}").await;
        let (code, word, detail) = answer.problem();
        assert_eq!((code, word.as_str()), (429, "RESOURCE_EXHAUSTED"));
        let (_, after) = answer.headers.split_once("retry-after: ").unwrap();
        let after: u64 = after.lines().next().unwrap().parse().unwrap();
        (after, detail)
    };
    // One that had no frame yet ends within a minute, one that had in half an hour: nobody is told to wait so long.
    let (after, detail) = again().await;
    assert!(50 < after && after <= 60, "{after}");
    assert!(detail.contains("60 s before its first frame"), "{detail}");
    assert!(detail.contains("DELETE /v1/sessions/ID"), "{detail}");
    assert_eq!(frame(&daemon, &session, "").await.code, 200);
    let (after, detail) = again().await;
    assert_eq!(after, 60);
    let left = detail.split_once("the next ends in ").unwrap().1;
    let left: u64 = left.split(' ').next().unwrap().parse().unwrap();
    assert!(1700 < left && left <= 1801, "{detail}");
    let at = format!("/v1/sessions/{session}");
    assert_eq!(call(&daemon, "DELETE", &at, "", b"").await.code, 200);
    no_session_is_left(&daemon).await;
    open(&daemon, "{}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_view_drops_by_policy_and_says_so() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let session = open(&daemon, r#"{"delivery": "DELIVERY_LATEST"}"#).await;
    let send = async |n: u64, pixels: &str| {
        let mut stream = connect(&daemon).await;
        let path = format!("/v1/sessions/{session}/frames?{pixels}&id={n}");
        let request = request("POST", &path, BYTES, &PIXELS);
        stream.write_all(&request).await.unwrap();
        frames_have_come(&daemon, n).await;
        stream
    };
    let first = send(1, RAW).await;
    let started = gate.started().await;
    let (second, third) = (send(2, RAW).await, send(3, RAW).await);
    // It takes nobody's place. That it has come says that the one before it is where it waits.
    let damaged = send(4, "format=Mono8&width=33&height=24").await;
    started.answer(1);
    gate.started().await.answer(2);
    let first = read(first).await.json();
    assert_eq!(first["segmentation"]["summary"]["count"], 1);
    let second = read(second).await;
    let (code, word, _) = second.problem();
    assert_eq!((code, word.as_str()), (503, "NEWER_FRAME"));
    assert_eq!(second.json()["frame"]["id"], "2");
    let third = read(third).await.json();
    assert_eq!(third["segmentation"]["summary"]["count"], 2);
    assert_eq!(read(damaged).await.problem().0, 422);
}
