//! What the page is told: server-sent events, and the pictures that they name.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response, Sse, sse::Event},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::server::{
    Draining, Shared,
    account::{Account, Curve},
    gate::Credentials,
    json,
    observe::{Sight, Trouble, WatcherPlace, Watching},
    problem::Problem,
};

/// How often numbers are told.
const EVERY: Duration = Duration::from_secs(1);

/// Seconds after which there may be a place again.
const AGAIN_S: u64 = 10;

/// How long a page may take to read what it was sent.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Serialize)]
struct Hello<'a> {
    peer: &'a str,
    /// The cookie is what lets the page in: then it can log out.
    is_logged_in: bool,
    /// Where controllers on the daemon's machine find it, if they do without TLS.
    server: Option<&'a str>,
}

/// Beside `SessionStatus`.
#[derive(Serialize)]
struct Numbers {
    answers: Vec<Answers>,
    /// Since somebody looks.
    troubles: Vec<Trouble>,
    /// Points that were not told yet.
    curves: Vec<Curve>,
}

#[derive(Serialize)]
struct Answers {
    outcome: &'static str,
    reason: &'static str,
    frames: u64,
}

/// Which picture.
#[derive(Deserialize)]
pub(super) struct Wanted {
    seq: Option<u64>,
}

/// Which sessions there are, once a second.
pub(super) async fn sessions(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    observe(shared, None, &request)
}

/// The same, and the frames of one session.
pub(super) async fn session(
    State(shared): State<Arc<Shared>>,
    Path(session): Path<String>,
    request: Request,
) -> Response {
    match shared.accounts.find(&session) {
        Some(account) => observe(shared, Some(account), &request),
        None => gone(),
    }
}

/// The picture of a frame that was told as `seq`; without it, the newest.
pub(super) async fn frame(
    State(shared): State<Arc<Shared>>,
    Path(session): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Ok(Query(wanted)) = wanted else {
        let why = "seq is a whole number, as an event told it";
        return Problem::bad_request(why).into_response();
    };
    let Some(account) = shared.accounts.find(&session) else {
        return gone();
    };
    match account.watch().picture(wanted.seq) {
        Some((seq, picture)) => (
            [
                (header::CONTENT_TYPE, "image/jpeg".to_owned()),
                (HeaderName::from_static("cellsegd-seq"), seq.to_string()),
            ],
            picture,
        )
            .into_response(),
        None => {
            let why = "there is no such picture: they are made while somebody reads the session's events, and the last \
                few are kept";
            Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", why).into_response()
        }
    }
}

/// Pages of other sites must not take the places of those who look, nor show pictures as if they were theirs.
pub(super) async fn only_ours(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site");
    match site.map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => next.run(request).await,
        Some(_) => {
            let why = "pages of other sites may not look";
            Problem::new(StatusCode::FORBIDDEN, "CROSS_ORIGIN", why).into_response()
        }
    }
}

fn gone() -> Response {
    let why = "no session of this id is open; the events of /v1/observe tell which are";
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", why).into_response()
}

fn observe(shared: Arc<Shared>, account: Option<Arc<Account>>, request: &Request) -> Response {
    let place = match shared.accounts.watchers().enter() {
        Ok(place) => place,
        Err(most) => {
            let why = format!("{most} pages are looking: close one that nobody needs");
            let full = Problem::new(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", why);
            return full.again_after(AGAIN_S).into_response();
        }
    };
    let credentials = match shared.gate.credentials(request) {
        Ok(credentials) => credentials,
        Err(refusal) => return refusal.problem().into_response(),
    };
    let (events, receiver) = mpsc::channel(1);
    let page = Page {
        draining: shared.draining.subscribe(),
        watching: account.as_ref().map(|account| account.watch().look()),
        account,
        told: 0,
        credentials,
        shared,
        events,
        _place: place,
    };
    // Ends when the page is gone, does not read, may not look any more, or with the daemon.
    tokio::spawn(page.run());
    Sse::new(ReceiverStream::new(receiver)).into_response()
}

/// A page that looks.
struct Page {
    shared: Arc<Shared>,
    account: Option<Arc<Account>>,
    watching: Option<Watching>,
    /// Up to which point the curves are told.
    told: u64,
    credentials: Credentials,
    draining: watch::Receiver<Option<Draining>>,
    events: mpsc::Sender<Result<Event, Infallible>>,
    _place: WatcherPlace,
}

/// Nobody reads any more, or may.
struct Over;

impl Page {
    async fn run(mut self) {
        // Why it is over is nothing that somebody waits for.
        let Err(Over) = self.tell().await;
    }

    async fn tell(&mut self) -> Result<Infallible, Over> {
        let mut times = interval(EVERY);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.hello().await?;
        loop {
            tokio::select! {
                () = self.events.closed() => return Err(Over),
                _ = times.tick() => self.numbers().await?,
                changed = self.draining.changed() => {
                    changed.map_err(|_| Over)?;
                    self.numbers().await?;
                }
                sight = next(&mut self.watching) => match sight {
                    Some(sight) => self.say("frame", sight.told.clone()).await?,
                    None => {
                        self.watching = None;
                        self.say("over", String::new()).await?;
                    }
                },
            }
        }
    }

    async fn hello(&self) -> Result<(), Over> {
        let peer = self
            .shared
            .gate
            .settle(&self.credentials)
            .map_err(|_| Over)?;
        let hello = Hello {
            peer: &peer.to_string(),
            is_logged_in: self.credentials.is_login(),
            server: self.shared.local_address.get().and_then(Option::as_deref),
        };
        self.say_json("hello", &hello).await
    }

    async fn numbers(&mut self) -> Result<(), Over> {
        // A token that was taken away, or a login that is over, ends this as well.
        self.shared
            .gate
            .settle(&self.credentials)
            .map_err(|_| Over)?;
        let status = self.shared.status();
        let is_end = self.draining.borrow().is_some() && status.sessions.is_empty();
        let status = json::value("StatusReply", &status).map_err(|_| Over)?;
        self.say("status", status.to_string()).await?;
        if let (Some(account), Some(watching)) = (&self.account, &self.watching) {
            let (curves, told) = account.curves(self.told);
            let answers = account.answers().into_iter();
            let numbers = Numbers {
                answers: answers
                    .map(|(outcome, reason, frames)| Answers {
                        outcome,
                        reason,
                        frames,
                    })
                    .collect(),
                troubles: watching.troubles(),
                curves,
            };
            self.told = told;
            self.say_json("numbers", &numbers).await?;
        }
        match is_end {
            true => Err(Over),
            false => Ok(()),
        }
    }

    async fn say_json(&self, event: &str, value: &impl Serialize) -> Result<(), Over> {
        let text = serde_json::to_string(value).map_err(|_| Over)?;
        self.say(event, text).await
    }

    async fn say(&self, event: &str, data: String) -> Result<(), Over> {
        let event = Event::default().event(event).data(data);
        match timeout(PATIENCE, self.events.send(Ok(event))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }
}

async fn next(watching: &mut Option<Watching>) -> Option<Arc<Sight>> {
    match watching {
        Some(watching) => watching.next().await,
        None => pending().await,
    }
}
