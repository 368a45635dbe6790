//! One frame, and its cells.

use cellsegd::config::Settings;
use tokio::io::AsyncWriteExt;

use super::{BYTES, PIXELS, RAW, call, connect, no_session_is_left, request, status};
use crate::daemon::{Daemon, Gate};

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
    assert_eq!(
        status(&daemon).await["sessions"].as_array().unwrap().len(),
        1
    );
    drop(stream);
    no_session_is_left(&daemon).await;
    assert!(started.ticket.is_cancelled());
}
