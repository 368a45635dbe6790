//! REST/JSON: the same sessions by `POST`, with the same bounds; and how it is refused.

mod one_frame;
mod refused;
mod sessions;

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::daemon::{Daemon, PATIENCE};

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

/// Changes a session's settings; what HTTP says to it.
pub(crate) async fn update(daemon: &Daemon, session: &str, update: &str) -> u16 {
    let at = format!("/v1/sessions/{session}");
    call(daemon, "PATCH", &at, JSON, update.as_bytes())
        .await
        .code
}

async fn status(daemon: &Daemon) -> Value {
    call(daemon, "GET", "/v1/status", "", b"").await.json()
}

/// Until the daemon says of itself what must come.
async fn until(daemon: &Daemon, what: &str, holds: impl Fn(&Value) -> bool) {
    let waiting = async {
        while !holds(&status(daemon).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("in vain until {what}"));
}

async fn no_session_is_left(daemon: &Daemon) {
    let is_empty = |status: &Value| status["sessions"] == Value::Array(Vec::new());
    until(daemon, "no session is left", is_empty).await;
}

/// Until so many frames have come to the sessions that are open.
async fn frames_have_come(daemon: &Daemon, frames: u64) {
    let count = |session: &Value| session["counts"]["frames"].as_str()?.parse::<u64>().ok();
    let so_many = |status: &Value| {
        let sessions = status["sessions"].as_array().unwrap();
        sessions.iter().filter_map(count).sum::<u64>() == frames
    };
    until(daemon, &format!("{frames} frames have come"), so_many).await;
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
