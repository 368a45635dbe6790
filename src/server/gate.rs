//! What every call passes before a service sees it: how many a second, who calls, and whether that role is enough.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use rustls::ServerConfig;
use tonic::{Status, metadata::MetadataValue};

use super::{
    Peer, SMALL_MESSAGE, Security,
    caller::Caller,
    places::{Full, Place, Places},
    rate::Rate,
    seldom::Seldom,
};
use crate::{
    config::{LimitSettings, Role},
    telemetry::{Bound, Metrics},
};

/// The contract's service, and those of its calls that carry no frame in their one message.
const SEGMENTER: &str = "/cellseg.v1.Segmenter/";
const STREAM: &str = "/cellseg.v1.Segmenter/Stream";
const LIST_MODELS: &str = "/cellseg.v1.Segmenter/ListModels";

/// Reads and builds models, for minutes where engines are compiled.
const RELOAD: &str = "/cellseg.v1.Admin/Reload";

/// How long a unary call may take, from its first byte to its answer: a message that is never finished holds memory.
const UNARY_TIMEOUT: Duration = Duration::from_secs(120);

/// The same of a reload, which goes on when nobody waits for it any more.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3600);

/// What stands before a gRPC message.
const GRPC_PREFIX: usize = 5;

/// Checks calls.
pub(super) struct Gate {
    /// Exchanged on reload; calls that came before keep what they were told.
    security: RwLock<Arc<Security>>,
    rate: Rate,
    /// For messages with a frame that come outside of a session: of all and of a peer as many as there may be sessions.
    messages: Arc<Places<String>>,
    metrics: Arc<Metrics>,
    refusals: Seldom,
}

/// Why a call is not let in.
enum Refusal {
    /// Nobody knows who calls.
    Unauthenticated(String),
    /// The role is not enough.
    Denied(String),
    /// Too many calls; again after this.
    TooMany(Duration, String),
    /// As many frames as may be are being sent outside of sessions.
    Busy(Full),
}

impl Gate {
    pub(super) fn new(security: Security, limits: &LimitSettings, metrics: Arc<Metrics>) -> Self {
        Gate {
            security: RwLock::new(Arc::new(security)),
            rate: Rate::new(limits.requests_per_s),
            messages: Places::new(limits.sessions),
            metrics,
            refusals: Seldom::default(),
        }
    }

    /// From now on.
    pub(super) fn exchange(&self, security: Security) {
        // An `Arc` is whole or not there.
        *self
            .security
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(security);
    }

    /// What new TLS connections are met with.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.security().tls.clone()
    }

    /// Everything under `router` is checked.
    pub(super) fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::clone(self), check))
    }

    fn security(&self) -> Arc<Security> {
        Arc::clone(&self.security.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who calls, if that is somebody who may. None: anybody may.
    fn admit(&self, request: &Request) -> Result<Option<Peer>, Refusal> {
        let Some(caller) = request.extensions().get::<Arc<Caller>>() else {
            let why = "nobody knows where this call comes from".to_owned();
            return Err(Refusal::Unauthenticated(why));
        };
        self.rate
            .take(caller.origin.counted(), Instant::now())
            .map_err(|wait| {
                let why = format!("{} calls too often", caller.origin);
                Refusal::TooMany(wait, why)
            })?;
        let path = request.uri().path();
        let Some(needed) = needed(path) else {
            return Ok(None);
        };
        let authorization = request.headers().get(AUTHORIZATION);
        let peer = self
            .security()
            .rules
            .settle(
                caller,
                authorization.map(HeaderValue::as_bytes),
                SystemTime::now(),
            )
            .map_err(Refusal::Unauthenticated)?;
        match needed <= peer.role() {
            true => {
                caller.admit();
                Ok(Some(peer))
            }
            false => Err(Refusal::Denied(format!(
                "{path} needs the role {needed}; {peer} has the role {}",
                peer.role()
            ))),
        }
    }

    /// Room for a message as large as a frame. None: it needs none.
    fn room(&self, peer: Option<&Peer>, path: &str) -> Result<Option<Place<String>>, Refusal> {
        match peer {
            Some(peer) if is_large(path) => self
                .messages
                .take(peer.to_string(), peer.max_sessions())
                .map(Some)
                .map_err(Refusal::Busy),
            _ => Ok(None),
        }
    }

    fn refuse(&self, request: &Request, refusal: Refusal) -> Response {
        self.note(request, &refusal);
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        match is_grpc {
            true => refusal.status().into_http::<Body>(),
            false => refusal.page(),
        }
    }

    fn note(&self, request: &Request, refusal: &Refusal) {
        let (bound, why) = match refusal {
            Refusal::Unauthenticated(why) => (Bound::Unauthenticated, why.as_str()),
            Refusal::Denied(why) => (Bound::PermissionDenied, why.as_str()),
            Refusal::TooMany(_, why) => (Bound::Requests, why.as_str()),
            Refusal::Busy(Full::All) => (Bound::Sessions, busy(Full::All)),
            Refusal::Busy(Full::Own) => (Bound::SessionsPerPeer, busy(Full::Own)),
        };
        self.metrics.refuse(bound);
        if let Some(times) = self.refusals.say(Instant::now()) {
            let caller = request.extensions().get::<Arc<Caller>>();
            let from = caller.map_or("?".to_owned(), |caller| caller.origin.to_string());
            tracing::warn!(%from, bound = bound.name(), why, times, "calls refused");
        }
    }
}

/// Whether a call's message may be as large as a frame and is read before anything counts it. A stream's session does.
fn is_large(path: &str) -> bool {
    path.starts_with(SEGMENTER) && path != STREAM && path != LIST_MODELS
}

/// The least role for what a path does; None: anybody may. What is not named here is read only, or not there.
fn needed(path: &str) -> Option<Role> {
    match path {
        "/livez" | "/readyz" => None,
        LIST_MODELS | "/cellseg.v1.Admin/Status" => Some(Role::Observe),
        _ if path.starts_with(SEGMENTER) => Some(Role::Infer),
        _ if path.starts_with("/cellseg.v1.Admin/") => Some(Role::Admin),
        _ if path.starts_with("/grpc.health.v1.Health/") => None,
        _ => Some(Role::Observe),
    }
}

async fn check(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let peer = match gate.admit(&request) {
        Ok(peer) => peer,
        Err(refusal) => return gate.refuse(&request, refusal),
    };
    // Held until the call is answered.
    let _place = match gate.room(peer.as_ref(), request.uri().path()) {
        Ok(place) => place,
        Err(refusal) => return gate.refuse(&request, refusal),
    };
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    // A stream is answered with headers, at once; what it takes afterwards is its own.
    let patience = match request.uri().path() {
        RELOAD => RELOAD_TIMEOUT,
        _ => UNARY_TIMEOUT,
    };
    let answered = tokio::time::timeout(patience, async {
        match request.uri().path() {
            LIST_MODELS => match small(request).await {
                Ok(request) => next.run(request).await,
                Err(status) => status.into_http(),
            },
            _ => next.run(request).await,
        }
    });
    answered.await.unwrap_or_else(|_| {
        let s = patience.as_secs();
        Status::deadline_exceeded(format!("the call was not over within {s} s")).into_http()
    })
}

/// A call whose message holds no frame, though its service takes frames.
async fn small(request: Request) -> Result<Request, Status> {
    let (head, body) = request.into_parts();
    match to_bytes(body, SMALL_MESSAGE + GRPC_PREFIX).await {
        Ok(bytes) => Ok(Request::from_parts(head, Body::from(bytes))),
        Err(error) => Err(Status::out_of_range(format!(
            "a message of at most {SMALL_MESSAGE} bytes is expected: {error}"
        ))),
    }
}

/// What clients of unary calls are told.
fn busy(full: Full) -> &'static str {
    match full {
        Full::All => {
            "as many calls as there may be sessions are in progress: try again, or open a session"
        }
        Full::Own => {
            "as many of your calls as you may have sessions are in progress: try again, or open a session"
        }
    }
}

impl Refusal {
    /// For a gRPC client.
    fn status(self) -> Status {
        match self {
            Refusal::Unauthenticated(why) => Status::unauthenticated(why),
            Refusal::Denied(why) => Status::permission_denied(why),
            Refusal::Busy(full) => Status::resource_exhausted(busy(full)),
            Refusal::TooMany(wait, why) => {
                let ms = wait.as_millis() + 1;
                let mut status = Status::resource_exhausted(format!("{why}: try again in {ms} ms"));
                // What gRPC's own retries go by.
                if let Ok(value) = MetadataValue::try_from(ms.to_string()) {
                    status
                        .metadata_mut()
                        .insert("grpc-retry-pushback-ms", value);
                }
                status
            }
        }
    }

    /// For a browser or a scraper.
    fn page(self) -> Response {
        match self {
            Refusal::Unauthenticated(why) => (
                StatusCode::UNAUTHORIZED,
                [(WWW_AUTHENTICATE, "Bearer")],
                format!("{why}\n"),
            )
                .into_response(),
            Refusal::Denied(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
            Refusal::Busy(full) => {
                let why = format!("{}\n", busy(full));
                (StatusCode::TOO_MANY_REQUESTS, why).into_response()
            }
            Refusal::TooMany(wait, why) => (
                StatusCode::TOO_MANY_REQUESTS,
                [(RETRY_AFTER, (wait.as_secs() + 1).to_string())],
                format!("{why}\n"),
            )
                .into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_contract_needs_its_role() {
        for (path, role) in [
            ("/cellseg.v1.Segmenter/Stream", Some(Role::Infer)),
            ("/cellseg.v1.Segmenter/Segment", Some(Role::Infer)),
            ("/cellseg.v1.Segmenter/ListModels", Some(Role::Observe)),
            ("/cellseg.v1.Admin/Reload", Some(Role::Admin)),
            ("/cellseg.v1.Admin/Status", Some(Role::Observe)),
            ("/cellseg.v1.Admin/Another", Some(Role::Admin)),
            ("/grpc.health.v1.Health/Check", None),
            ("/grpc.health.v1.Health/Watch", None),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                Some(Role::Observe),
            ),
            ("/metrics", Some(Role::Observe)),
            ("/livez", None),
            ("/readyz", None),
            ("/livez/../metrics", Some(Role::Observe)),
            ("/", Some(Role::Observe)),
        ] {
            assert_eq!(needed(path), role, "{path}");
        }
    }
}
