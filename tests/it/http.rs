//! What HTTP's calls have in common, whatever they ask for: who is refused is told so, and waits where others do.

use std::net::SocketAddr;

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{AuthSettings, Grant, Settings},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::daemon::{Daemon, PATIENCE};

const PIXELS: &str = "format=Mono8&width=32&height=24";

/// The answer to a `POST`, headers and body, as text.
async fn post(http: SocketAddr, path: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(http).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    let answered = timeout(PATIENCE, async {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream.read_to_end(&mut answer).await.unwrap();
    });
    answered.await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_before_the_body_is_read_still_reads_why() {
    let open = Daemon::instant();
    let closed = Settings {
        auth: AuthSettings {
            loopback: Grant::None,
            ..Default::default()
        },
        ..Default::default()
    };
    let backend = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 4)));
    let closed = Daemon::start(closed, backend, 1);
    // More than the sockets hold between them.
    let body = vec![0; 16 << 20];
    for (daemon, path, headers, code) in [
        (&closed, "/v1/segment", "", 401),
        (&open, "/nothing", "", 404),
        (&open, "/v1/segment?nothing=1", "", 400),
        (&open, "/metrics", "", 405),
        (&open, "/v1/segment", "Accept: video/mp4\r\n", 406),
        (&open, "/v1/segment", "Content-Type: text/plain\r\n", 415),
        (&open, "/v1/segment", "Content-Encoding: gzip\r\n", 415),
        (
            &open,
            "/v1/sessions",
            "Content-Type: application/json\r\n",
            413,
        ),
    ] {
        let answer = post(daemon.http, path, headers, &body).await;
        let expected = format!("HTTP/1.1 {code} ");
        assert!(answer.starts_with(&expected), "{path} {headers}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_to_send_and_is_refused_meanwhile_still_reads_why() {
    let daemon = Daemon::instant();
    let mut stream = TcpStream::connect(daemon.http).await.unwrap();
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    let told = "HTTP/1.1 100 Continue\r\n\r\n";
    // More than the call may have, and than the sockets hold between them.
    let body = vec![b' '; 16 << 20];
    let (mut first, mut answer) = (vec![0; told.len()], String::new());
    let answered = timeout(PATIENCE, async {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_exact(&mut first).await.unwrap();
        let size = format!("{:x}\r\n", body.len());
        stream.write_all(size.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
    });
    answered.await.expect("an answer in time");
    assert_eq!(first, told.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("TOO_LARGE"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_call_may_have_is_named() {
    let daemon = Daemon::instant();
    for (headers, code, words) in [
        (
            "Content-Encoding: gzip\r\n",
            415,
            "Content-Encoding \\\"gzip\\\"",
        ),
        ("Host: evil.example\r\n", 400, "two headers Host"),
        ("Content-Encoding: identity\r\n", 200, "application/json"),
    ] {
        let path = format!("/v1/segment?{PIXELS}");
        let answer = post(daemon.http, &path, headers, &[100; 32 * 24]).await;
        let expected = format!("HTTP/1.1 {code} ");
        assert!(answer.starts_with(&expected), "{headers}: {answer}");
        assert!(answer.contains(words), "{headers}: {answer}");
    }
}
