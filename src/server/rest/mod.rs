//! REST/JSON: frames by `POST`, for programs that speak no gRPC.
//!
//! A thin door: bodies become the contract's own messages, which go through the same sessions as a stream's
//! ([`Dialog`](super::dialog)), and replies become JSON by the contract's descriptors, or what `cellsegd export` writes. Each call
//! is declared once, its route beside its description: [`openapi`] is made of the same list.

mod accept;
mod answer;
mod body;
mod content;
mod drawing;
mod forms;
mod frame_ids;
mod looks;
mod openapi;
mod parameters;
mod query;
mod request;
mod segment;
mod sessions;

use std::sync::Arc;

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use utoipa::openapi::HttpMethod;

use super::{Shared, held::HeldSessions, json, problem::Problem};
pub(super) use drawing::Drawing;
pub(crate) use drawing::drawing_bytes;
use frame_ids::FrameIds;
use openapi::Described;
pub use openapi::text as description;

/// The sessions that were opened by HTTP, by their ids.
pub(super) type Sessions = HeldSessions<String, Arc<FrameIds>>;

/// A call of this door: where it is, what answers it, and what is said of it.
struct Call {
    method: HttpMethod,
    path: &'static str,
    answers: MethodRouter<Arc<Shared>>,
    described: Described,
}

impl Call {
    fn new(
        method: HttpMethod,
        path: &'static str,
        answers: MethodRouter<Arc<Shared>>,
        described: Described,
    ) -> Self {
        Call {
            method,
            path,
            answers,
            described,
        }
    }
}

/// Every call.
fn calls() -> Vec<Call> {
    [segment::calls(), sessions::calls(), looks::calls()]
        .into_iter()
        .flatten()
        .collect()
}

/// The routes.
pub(super) fn router() -> Router<Arc<Shared>> {
    let described = Router::new().route("/openapi.json", get(looks::description));
    calls().into_iter().fold(described, |router, call| {
        router.route(call.path, call.answers)
    })
}

/// A message of the contract, as JSON.
fn json_response<M: prost::Message>(name: &str, message: &M) -> Result<Response, Problem> {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, json::encode(name, message)?).into_response())
}
