//! The page's events and pictures: what somebody who looks is told, and what it costs who is looked at.

use cellsegd::proto::{self as pb, frame_reply::Outcome, stream_request::Request};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::{Session, frame, outcome},
    daemon::{Daemon, PATIENCE},
    operations::get,
};

/// Somebody who looks: an answer that goes on.
struct Looking {
    stream: TcpStream,
    text: String,
}

impl Looking {
    async fn at(daemon: &Daemon, path: &str) -> Self {
        let mut stream = TcpStream::connect(daemon.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut looking = Looking {
            stream,
            text: String::new(),
        };
        looking.until("\r\n\r\n").await.expect("headers");
        looking
    }

    /// Reads as far as `end`; None: it is over before.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let mut bytes = vec![0; 1 << 16];
            let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await;
            let read = read.expect("something in time").unwrap_or(0);
            if read == 0 {
                return None;
            }
            self.text += &String::from_utf8_lossy(&bytes[..read]);
        }
    }

    /// The next event of this name; None: there are no more.
    async fn event(&mut self, name: &str) -> Option<Value> {
        loop {
            self.until("event: ").await?;
            let event = self.until("\n\n").await?;
            // Chunks of HTTP/1.1 have their sizes between the lines.
            let (kind, rest) = event.split_once('\n')?;
            if kind == name {
                let data = rest.trim().strip_prefix("data: ").unwrap_or("null");
                return Some(serde_json::from_str(data).expect("an event is JSON"));
            }
        }
    }

    /// Waits until the stream is over.
    async fn over(mut self) {
        while self.until("\n\n").await.is_some() {}
    }
}

async fn open(daemon: &Daemon, name: &str) -> (Session, String) {
    let options = pb::SessionOptions {
        name: name.to_owned(),
        ..Default::default()
    };
    let (session, opened) = Session::open(daemon, options).await;
    (session, opened.session)
}

async fn segment(session: &mut Session, ids: std::ops::Range<u64>) {
    for id in ids {
        session.send(Request::Frame(frame(id))).await;
        assert_eq!(outcome(&session.frame_reply().await), "9 cells");
    }
}

async fn shown(daemon: &Daemon) -> u64 {
    let text = get(daemon, "/metrics").await.body;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("cellsegd_frames_shown_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_sees_the_sessions_and_the_newest_frame_with_its_cells() {
    let daemon = Daemon::instant();
    let (mut session, id) = open(&daemon, "scope-2 <script>").await;
    let mut looking = Looking::at(&daemon, &format!("/v1/observe/{id}")).await;
    let hello = looking.event("hello").await.unwrap();
    assert_eq!(hello["is_logged_in"], false);
    let status = looking.event("status").await.unwrap();
    assert_eq!(status["sessions"][0]["name"], "scope-2 <script>");
    segment(&mut session, 1..2).await;
    let told = looking.event("frame").await.unwrap();
    assert_eq!(told["reply"]["segmentation"]["summary"]["count"], 9);
    assert_eq!(told["cells"].as_array().unwrap().len(), 9);
    assert_eq!(told["picture"]["width"], 32);
    let numbers = looking.event("numbers").await.unwrap();
    assert_eq!(numbers["curves"][0]["points"][0][1], 9);

    let path = format!("/v1/observe/{id}/frame?seq={}", told["seq"]);
    let mut picture = TcpStream::connect(daemon.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    picture.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, picture.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let jpeg = image::load_from_memory(&answer[at.unwrap() + 4..]).unwrap();
    assert_eq!((jpeg.width(), jpeg.height()), (32, 24));

    session.close().await;
    assert!(looking.event("over").await.is_some());
    let gone = get(&daemon, &path).await;
    assert_eq!(gone.code, 404);
    assert!(
        gone.body.contains("no session of this id is open"),
        "{}",
        gone.body
    );
    assert_eq!(get(&daemon, "/v1/observe/nobody").await.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_watched_loses_nothing_and_one_that_is_not_costs_nothing() {
    let daemon = Daemon::instant();
    let (mut watched, id) = open(&daemon, "watched").await;
    let (mut other, _) = open(&daemon, "other").await;
    segment(&mut other, 1..200).await;
    segment(&mut watched, 1..10).await;
    assert_eq!(shown(&daemon).await, 0, "nobody looks");

    let path = format!("/v1/observe/{id}");
    let mut looking = Looking::at(&daemon, &path).await;
    // It never reads.
    let _slow = Looking::at(&daemon, &path).await;
    looking.event("hello").await.unwrap();
    let started = std::time::Instant::now();
    segment(&mut watched, 10..500).await;
    segment(&mut other, 200..700).await;
    let told = looking.event("frame").await.unwrap();
    assert!(told["seq"].as_u64() > Some(0));
    let most = 6 + started.elapsed().as_millis() as u64 / 200;
    let shown = shown(&daemon).await;
    assert!((1..=most).contains(&shown), "{shown}, at most {most}");
    for (session, frames) in [(watched, 499), (other, 699)] {
        let closed = session.close().await;
        assert_eq!(
            (closed.segmented, closed.dropped + closed.failed),
            (frames, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_fails_is_told_to_who_looks() {
    let daemon = Daemon::instant();
    let (mut session, id) = open(&daemon, "").await;
    let mut looking = Looking::at(&daemon, &format!("/v1/observe/{id}")).await;
    looking.event("hello").await.unwrap();
    let bad = crate::client::raw(7, pb::RawPixels::default());
    session.send(Request::Frame(bad)).await;
    let reply = session.frame_reply().await;
    let Some(Outcome::Failed(failed)) = reply.outcome else {
        panic!("it cannot be segmented: {reply:?}");
    };
    let numbers = loop {
        let numbers = looking.event("numbers").await.unwrap();
        if numbers["troubles"][0].is_object() {
            break numbers;
        }
    };
    assert_eq!(numbers["troubles"][0]["message"], failed.message);
    assert_eq!(numbers["answers"][0]["reason"], "INVALID_FRAME");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_may_look_at_the_same_time_and_the_next_is_told() {
    let daemon = Daemon::instant();
    let mut held = Vec::new();
    for _ in 0..32 {
        let mut looking = Looking::at(&daemon, "/v1/observe").await;
        looking.event("hello").await.unwrap();
        held.push(looking);
    }
    let refused = get(&daemon, "/v1/observe").await;
    assert_eq!(refused.code, 429);
    assert!(
        refused.headers.contains("retry-after: "),
        "{}",
        refused.headers
    );
    held.pop();
    // The place is free once the daemon has seen that the page is gone.
    let again = async {
        loop {
            let mut stream = TcpStream::connect(daemon.http).await.unwrap();
            let request = b"GET /v1/observe HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            if first.ends_with(b"200") {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.expect("a place in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_does_not_hold_up_the_end() {
    let mut daemon = Daemon::instant();
    let mut looking = Looking::at(&daemon, "/v1/observe").await;
    looking.event("hello").await.unwrap();
    daemon.stop();
    let (ended, ()) = tokio::join!(daemon.ended(), looking.over());
    assert_eq!(ended, cellsegd::server::Ended::Drained);
}

/// The answer to a request, as text.
async fn ask(daemon: &Daemon, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(daemon.http).await.unwrap();
    let length = body.len();
    let request = format!(
        "{request}\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_login_and_who_is_of_another_site_is_told_so() {
    let daemon = Daemon::instant();
    let json = "POST /login HTTP/1.1\r\nContent-Type: application/json";
    let secret = "5ec2e7";
    for (request, body, code, words) in [
        (
            json,
            format!("{{\"token\": \"{secret}\"}}"),
            401,
            "not known here",
        ),
        (json, secret.to_owned(), 400, "a login is"),
        (
            json,
            format!("{{\"token\": [\"{secret}\"]}}"),
            400,
            "a login is",
        ),
        (json, secret.repeat(800), 413, "at most 4096 bytes"),
        (
            "POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded",
            format!("token={secret}"),
            415,
            "application/json",
        ),
        (
            "POST /login HTTP/1.1\r\nContent-Type: application/json\r\nOrigin: https://evil.example",
            format!("{{\"token\": \"{secret}\"}}"),
            403,
            "other sites",
        ),
        (
            "GET /v1/observe HTTP/1.1\r\nSec-Fetch-Site: cross-site",
            String::new(),
            403,
            "other sites",
        ),
        ("GET /login HTTP/1.1", String::new(), 405, "POST"),
        (
            "GET /v1/observe/1/frame?seq=x HTTP/1.1",
            String::new(),
            400,
            "seq is a whole number",
        ),
    ] {
        let answer = ask(&daemon, request, &body).await;
        let told = format!("{request}: {answer}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{told}");
        assert!(answer.contains(words) && !answer.contains(secret), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_of_one_piece_and_takes_nothing_from_elsewhere() {
    let daemon = Daemon::instant();
    let mut stream = TcpStream::connect(daemon.http).await.unwrap();
    let request =
        "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.contains("default-src 'self'"), "{page}");
    assert!(page.contains("frame-ancestors 'none'"), "{page}");
    let mut names: Vec<String> = Vec::new();
    let mut waiting = named(&page);
    while let Some(name) = waiting.pop() {
        if names.contains(&name) {
            continue;
        }
        let file = get(&daemon, &name).await;
        assert_eq!(file.code, 200, "{name}");
        assert!(file.headers.contains("x-content-type-options: nosniff"));
        assert!(
            !file.body.contains("//cdn") && !file.body.contains("innerHTML"),
            "{name}"
        );
        waiting.extend(named(&file.body));
        names.push(name);
    }
    assert!(names.len() >= 5, "{names:?}");
    assert_eq!(get(&daemon, "/assets/../Cargo.toml").await.code, 404);
    // A script that asks is told what there is.
    assert!(get(&daemon, "/").await.body.contains("/metrics"));
}

/// The files that a text names.
fn named(text: &str) -> Vec<String> {
    text.match_indices("\"/assets/")
        .filter_map(|(at, _)| text[at + 1..].split('"').next())
        .map(str::to_owned)
        .collect()
}
