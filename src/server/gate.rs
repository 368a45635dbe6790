//! What every call passes before a service sees it: how many a second, who calls, and whether that role is enough.

mod credentials;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        Method,
        header::{CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
pub(super) use credentials::Credentials;
use rustls::ServerConfig;
use tonic::Status;

use super::{
    Peer, SMALL_MESSAGE, Security,
    caller::Caller,
    convert,
    logins::Logins,
    places::{Full, Place, Places},
    problem::Problem,
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

/// The Open Inference Protocol, and those of its calls that carry frames.
const INFERENCE: &str = "/inference.GRPCInferenceService/";
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const MODEL_STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// Regions that frames lie in.
const SHARED_MEMORY: &str = "/cellseg.v1.SharedMemory/";

/// HTTP's calls with frames, and those about sessions.
const SEGMENT: &str = "/v1/segment";
const SESSIONS: &str = "/v1/sessions";
const SESSION: &str = "/v1/sessions/";

/// Reads and builds models, for minutes where engines are compiled.
const RELOAD: &str = "/cellseg.v1.Admin/Reload";

/// How long a unary call may take, from its first byte to its answer: a message that is never finished holds memory.
const UNARY_TIMEOUT: Duration = Duration::from_secs(120);

/// The same of a reload, which goes on when nobody waits for it any more.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3600);

/// Tokens that may be typed in a second, from one address: nobody types faster, and nobody guesses 256 bits.
const TRIES_PER_S: u32 = 2;

/// What stands before a gRPC message.
const GRPC_PREFIX: usize = 5;

/// Checks calls.
pub(super) struct Gate {
    /// Exchanged on reload; calls that came before keep what they were told.
    security: RwLock<Arc<Security>>,
    rate: Rate,
    /// For messages with a frame that come outside of a session: of all and of a peer as many as there may be sessions.
    messages: Arc<Places<String>>,
    logins: Logins,
    /// Of tokens that are typed in.
    tries: Rate,
    metrics: Arc<Metrics>,
    refusals: Seldom,
}

/// Why a call is not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Nobody knows who calls.
    #[error("{0}")]
    Unauthenticated(String),
    /// The role is not enough.
    #[error("{0}")]
    Denied(String),
    /// Too many calls; again after this.
    #[error("{why}: try again in {} ms", wait.as_millis())]
    TooMany { wait: Duration, why: String },
    /// As many calls with frames as may be, this many, are in progress.
    #[error("{most} frames are in calls {}: wait for an answer, or stream them over gRPC", of(*full))]
    Busy { full: Full, most: usize },
}

impl Gate {
    pub(super) fn new(security: Security, limits: &LimitSettings, metrics: Arc<Metrics>) -> Self {
        Gate {
            security: RwLock::new(Arc::new(security)),
            rate: Rate::new(limits.requests_per_s),
            messages: Places::new(limits.sessions),
            logins: Logins::default(),
            tries: Rate::new(TRIES_PER_S),
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
        let credentials = self.credentials(request)?;
        let caller = &credentials.caller;
        take(&self.rate, caller)?;
        let path = request.uri().path();
        let Some(needed) = needed(path) else {
            return Ok(None);
        };
        let settled = self.settle(&credentials);
        let peer = settled.map_err(Refusal::Unauthenticated)?;
        allow(caller, peer, needed, path).map(Some)
    }

    /// Who has connected to a door that speaks no HTTP, if that is somebody with at least the role `needed` for `what`. `Err`: for
    /// them to read.
    pub(super) fn admit_connection(
        &self,
        caller: &Caller,
        needed: Role,
        what: &str,
    ) -> Result<Peer, String> {
        let admitted = take(&self.rate, caller).and_then(|()| {
            let settled = self
                .security()
                .rules
                .settle(caller, None, SystemTime::now());
            let peer = settled.map_err(Refusal::Unauthenticated)?;
            allow(caller, peer, needed, what)
        });
        admitted.map_err(|refusal| {
            self.note(Some(caller), &refusal);
            refusal.status().message().to_owned()
        })
    }

    /// Room for a message as large as a frame. None: it needs none.
    fn room(
        &self,
        peer: Option<&Peer>,
        request: &Request,
    ) -> Result<Option<Place<String>>, Refusal> {
        match peer {
            Some(peer) if is_large(request.method(), request.uri().path()) => {
                self.take_message(peer).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Room for a stream of messages as large as frames that no session counts. Errors: as many are there as may be.
    pub(super) fn take_place(&self, peer: &Peer) -> Result<Place<String>, Status> {
        self.take_message(peer).map_err(|refusal| {
            self.note(None, &refusal);
            refusal.status()
        })
    }

    fn refuse(&self, request: &Request, refusal: Refusal) -> Response {
        let caller = request.extensions().get::<Arc<Caller>>();
        self.note(caller.map(|caller| &**caller), &refusal);
        match is_grpc(request) {
            true => refusal.status().into_http::<Body>(),
            false => refusal.problem().into_response(),
        }
    }

    /// A call of `credentials` is refused by who answers it.
    pub(super) fn refused(&self, credentials: &Credentials, refusal: Refusal) -> Problem {
        self.note(Some(&*credentials.caller), &refusal);
        refusal.problem()
    }

    fn take_message(&self, peer: &Peer) -> Result<Place<String>, Refusal> {
        let own = peer.max_sessions();
        let taken = self.messages.take(peer.to_string(), own);
        taken.map_err(|full| {
            let most = match full {
                Full::All => self.messages.most(),
                Full::Own => own,
            };
            Refusal::Busy { full, most }
        })
    }

    fn note(&self, caller: Option<&Caller>, refusal: &Refusal) {
        let bound = match refusal {
            Refusal::Unauthenticated(_) => Bound::Unauthenticated,
            Refusal::Denied(_) => Bound::PermissionDenied,
            Refusal::TooMany { .. } => Bound::Requests,
            Refusal::Busy {
                full: Full::All, ..
            } => Bound::Sessions,
            Refusal::Busy {
                full: Full::Own, ..
            } => Bound::SessionsPerPeer,
        };
        self.metrics.refuse(bound);
        if let Some(times) = self.refusals.say(Instant::now()) {
            let from = caller.map_or("?".to_owned(), |caller| caller.origin.to_string());
            tracing::warn!(%from, bound = bound.name(), why = %refusal, times, "calls refused");
        }
    }
}

/// Whether a call's message may be as large as a frame and is read before anything counts it. A stream's session does.
fn is_large(method: &Method, path: &str) -> bool {
    match path.strip_prefix(SEGMENTER) {
        Some(_) => path != STREAM && path != LIST_MODELS,
        None if path == MODEL_INFER => true,
        None => is_of_frames(path) && matches!(*method, Method::POST | Method::PATCH),
    }
}

/// Whether a call's message holds no frame, though its service takes frames.
fn is_small(path: &str) -> bool {
    let takes_frames = path == MODEL_INFER || path == MODEL_STREAM_INFER;
    path == LIST_MODELS || path.starts_with(INFERENCE) && !takes_frames
}

/// Whether HTTP's `path` takes frames, or is about a session that does.
fn is_of_frames(path: &str) -> bool {
    path == SEGMENT || path == SESSIONS || path.starts_with(SESSION)
}

fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The least role for what a path does; None: anybody may. What is not named here is read only, or not there.
fn needed(path: &str) -> Option<Role> {
    match path {
        "/livez" | "/readyz" => None,
        // What the page is made of is no secret, and how else could anybody log in?
        "/" | "/login" | "/logout" => None,
        _ if path.starts_with("/assets/") => None,
        LIST_MODELS | "/cellseg.v1.Admin/Status" => Some(Role::Observe),
        _ if path.starts_with(SEGMENTER) || path.starts_with(SHARED_MEMORY) => Some(Role::Infer),
        _ if path.starts_with(INFERENCE) => match &path[INFERENCE.len()..] {
            // What supervisors ask, as they ask for health.
            "ServerLive" | "ServerReady" => None,
            "ServerMetadata" | "ModelReady" | "ModelMetadata" | "ModelConfig"
            | "ModelStatistics" | "RepositoryIndex" => Some(Role::Observe),
            _ => Some(Role::Infer),
        },
        _ if is_of_frames(path) => Some(Role::Infer),
        _ if path.starts_with("/cellseg.v1.Admin/") => Some(Role::Admin),
        _ if path.starts_with("/grpc.health.v1.Health/") => None,
        _ => Some(Role::Observe),
    }
}

/// `peer`, if its role is enough for `what`.
fn allow(caller: &Caller, peer: Peer, needed: Role, what: &str) -> Result<Peer, Refusal> {
    match needed <= peer.role() {
        true => {
            caller.admit();
            Ok(peer)
        }
        false => Err(Refusal::Denied(format!(
            "{what} needs the role {needed}; {peer} has the role {}",
            peer.role()
        ))),
    }
}

fn take(rate: &Rate, caller: &Caller) -> Result<(), Refusal> {
    let taken = rate.take(caller.origin.counted(), Instant::now());
    taken.map_err(|wait| Refusal::TooMany {
        wait: wait + Duration::from_millis(1),
        why: format!("{} calls too often", caller.origin),
    })
}

async fn check(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let peer = match gate.admit(&request) {
        Ok(peer) => peer,
        Err(refusal) => return gate.refuse(&request, refusal),
    };
    // Held until the call is answered.
    let _place = match gate.room(peer.as_ref(), &request) {
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
    let is_grpc = is_grpc(&request);
    let answered = tokio::time::timeout(patience, async {
        match is_small(request.uri().path()) {
            true => match small(request).await {
                Ok(request) => next.run(request).await,
                Err(status) => status.into_http(),
            },
            false => next.run(request).await,
        }
    });
    answered.await.unwrap_or_else(|_| {
        let s = patience.as_secs();
        let late = Status::deadline_exceeded(format!("the call was not over within {s} s"));
        match is_grpc {
            true => late.into_http(),
            false => Problem::from(late).into_response(),
        }
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

/// Whose calls are as many as may be.
fn of(full: Full) -> &'static str {
    match full {
        Full::All => "in progress, as many as there may be sessions",
        Full::Own => "of yours in progress, as many as you may have sessions",
    }
}

impl Refusal {
    /// For a gRPC client.
    fn status(self) -> Status {
        let text = self.to_string();
        match self {
            Refusal::Unauthenticated(_) => Status::unauthenticated(text),
            Refusal::Denied(_) => Status::permission_denied(text),
            Refusal::Busy { .. } => Status::resource_exhausted(text),
            Refusal::TooMany { wait, .. } => convert::full(text, wait),
        }
    }

    /// For a client of HTTP.
    pub(super) fn problem(self) -> Problem {
        match self {
            Refusal::Unauthenticated(_) => {
                Problem::from(self.status()).with_header(WWW_AUTHENTICATE, "Bearer")
            }
            _ => self.status().into(),
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
            ("/cellseg.v1.SharedMemory/Register", Some(Role::Infer)),
            ("/cellseg.v1.SharedMemory/ListRegions", Some(Role::Infer)),
            ("/inference.GRPCInferenceService/ServerLive", None),
            ("/inference.GRPCInferenceService/ServerReady", None),
            (
                "/inference.GRPCInferenceService/ServerMetadata",
                Some(Role::Observe),
            ),
            (
                "/inference.GRPCInferenceService/ModelStatistics",
                Some(Role::Observe),
            ),
            (
                "/inference.GRPCInferenceService/ModelInfer",
                Some(Role::Infer),
            ),
            (
                "/inference.GRPCInferenceService/ModelStreamInfer",
                Some(Role::Infer),
            ),
            (
                "/inference.GRPCInferenceService/SystemSharedMemoryRegister",
                Some(Role::Infer),
            ),
            ("/inference.GRPCInferenceService/Another", Some(Role::Infer)),
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
            ("/v1/segment", Some(Role::Infer)),
            ("/v1/sessions", Some(Role::Infer)),
            ("/v1/sessions/1/frames", Some(Role::Infer)),
            ("/v1/models", Some(Role::Observe)),
            ("/v1/status", Some(Role::Observe)),
            ("/openapi.json", Some(Role::Observe)),
            ("/", None),
            ("/assets/page.js", None),
            ("/login", None),
            ("/v1/observe", Some(Role::Observe)),
            ("/v1/observe/1/frame", Some(Role::Observe)),
            ("//", Some(Role::Observe)),
        ] {
            assert_eq!(needed(path), role, "{path}");
        }
    }
}
