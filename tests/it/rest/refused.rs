//! What is wrong, and what goes wrong, with what is said of it.

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{LimitSettings, Settings},
};
use tokio::io::AsyncWriteExt;

use super::{BYTES, JSON, PIXELS, RAW, call, connect, no_session_is_left, read, request};
use crate::daemon::Daemon;

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
            "/v1/segment?width=32&height=24",
            BYTES,
            &PIXELS,
            (400, "BAD_REQUEST"),
            "missing: format",
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
            b"null",
            (400, "BAD_REQUEST"),
            "invalid type: null",
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
