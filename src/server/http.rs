//! The HTTP door: REST for programs, `/metrics` for Prometheus, `/livez` and `/readyz` for whoever supervises the daemon.
//!
//! Through the same accepting code as gRPC. It stays open while the daemon drains, and says so.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use tonic::{service::Routes, transport::server};

use super::{
    KEEPALIVE_TIMEOUT, Shared, linger, origin, page, problem::Problem, rest, status::word,
};

/// What Prometheus is told that it gets.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is, for who is no browser.
pub(super) const INDEX: &str = "cellsegd: frames go to the gRPC port, or here by POST; see `cellsegd status`.\n\
    /              for a browser: the page, which shows the open sessions\n\
    /v1/segment    one frame, and its cells\n\
    /v1/sessions   frames that belong together: tracks, growth, live view\n\
    /v1/models     what can be asked for\n\
    /v1/status     what the daemon is doing\n\
    /v1/observe    the same as events, and of a session the newest frame\n\
    /openapi.json  all of this for programs\n\
    /metrics       what it counts, for Prometheus\n\
    /livez         200 while the process is well; 503: start it again\n\
    /readyz        200 while frames are segmented; 503 and why not\n";

/// Most streams of an HTTP/2 connection, and what a client may send of one before it is read, bytes.
const STREAMS: u32 = 16;
const STREAM_WINDOW: u32 = 1 << 20;

/// The routes, as the transport serves them. The gate bounds how long a call may take.
pub(super) fn router(shared: &Arc<Shared>) -> server::Router {
    let routes = match shared.has_page {
        true => page::router(),
        false => Router::new().route("/", get(INDEX)),
    };
    let routes = routes
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .merge(rest::router())
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_so)
        .layer(from_fn(origin::check))
        .layer(from_fn(check))
        .with_state(Arc::clone(shared));
    let routes = shared.gate.guard(routes).layer(from_fn(linger::listen_out));
    server::Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAMS * STREAM_WINDOW)
        .http2_keepalive_interval(Some(shared.limits.keepalive()))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(Routes::from(routes))
}

/// Refuses what no call may have, whichever it is.
async fn check(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if 1 < headers.get_all(header::HOST).iter().count() {
        return Problem::bad_request("two headers Host: one is expected").into_response();
    }
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if let Some(encoding) = encodings.find(|encoding| *encoding != "identity") {
        let detail =
            format!("Content-Encoding {encoding:?}: bodies are taken as they are; leave it out");
        let (status, code) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE");
        return Problem::new(status, code, detail)
            .with_header(header::ACCEPT_ENCODING, "identity")
            .into_response();
    }
    next.run(request).await
}

async fn nothing_there(request: Request) -> Problem {
    let detail = format!(
        "{}: nothing is there; / lists what there is",
        request.uri().path()
    );
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
}

/// The router adds which methods there are.
async fn not_so(request: Request) -> Problem {
    let detail = format!(
        "{} {}: not by this method; the header Allow says by which",
        request.method(),
        request.uri().path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut levels = shared.levels();
    (levels.gpus, levels.sensors) = shared.machine.look().await;
    shared.metrics.observe(&levels);
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        shared.metrics.text(),
    )
}

/// The process is of no use any more only where a device is lost.
async fn livez(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.device_lost() {
        None => (StatusCode::OK, "alive\n".to_owned()),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("device lost: {why}\n"),
        ),
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let condition = shared.worst();
    let code = match condition.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut text = word(condition.state).to_owned();
    if !condition.why.is_empty() {
        text = format!("{text}: {}", condition.why);
    }
    (code, text + "\n")
}
