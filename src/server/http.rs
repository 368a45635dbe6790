//! The HTTP door: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever supervises the daemon.
//!
//! Through the same accepting code as gRPC. It stays open while the daemon drains, and says so.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tonic::{service::Routes, transport::server};

use super::{KEEPALIVE_TIMEOUT, Shared, status::word};
use crate::proto::State as Condition;

/// What Prometheus is told that it gets.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const INDEX: &str = "cellsegd: frames go to the gRPC port; see `cellsegd status`.\n\
    /metrics  what it counts, for Prometheus\n\
    /livez    200 while the process is well; 503: start it again\n\
    /readyz   200 while frames are segmented; 503 and why not\n";

/// Most streams of an HTTP/2 connection, and the seconds that a request may take.
const STREAMS: u32 = 16;
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The routes, as the transport serves them.
pub(super) fn router(shared: &Arc<Shared>) -> server::Router {
    let routes = Router::new()
        .route("/", get(INDEX))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback((
            StatusCode::NOT_FOUND,
            "there are /metrics, /livez and /readyz\n",
        ))
        .with_state(Arc::clone(shared));
    server::Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(shared.limits.keepalive()))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .timeout(TIMEOUT)
        .add_routes(Routes::from(shared.gate.guard(routes)))
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
    let models = shared.models.living();
    let lost = models.iter().find_map(|served| served.pool().device_lost());
    match lost {
        None => (StatusCode::OK, "alive\n".to_owned()),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("device lost: {why}\n"),
        ),
    }
}

async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let condition = shared.worst();
    let ready = matches!(condition.state, Condition::Serving | Condition::Degraded);
    let code = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut text = word(condition.state).to_owned();
    if !condition.why.is_empty() {
        text = format!("{text}: {}", condition.why);
    }
    (code, text + "\n")
}
