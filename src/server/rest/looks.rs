//! What can be looked at: models, the daemon's state, this interface's own description.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::openapi::HttpMethod;

use super::{
    Call, json_response,
    openapi::{self, Described, json_answer},
    query::Query,
};
use crate::server::{Shared, problem::Problem};

/// The calls, and what is said of them.
pub(super) fn calls() -> Vec<Call> {
    let models = Described::new("models", "The models that can be asked for")
        .answers(json_answer(
            200,
            "ListModelsReply",
            "The first is the default.",
        ))
        .problems(&[400, 429]);
    let status = Described::new("status", "What the daemon is doing")
        .answers(json_answer(200, "StatusReply", "Now."))
        .problems(&[400, 429]);
    vec![
        Call::new(HttpMethod::Get, "/v1/models", get(list_models), models),
        Call::new(HttpMethod::Get, "/v1/status", get(told), status),
    ]
}

async fn list_models(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Problem> {
    Query::of(request.uri(), &[])?;
    json_response("ListModelsReply", &shared.models.listed())
}

async fn told(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    Query::of(request.uri(), &[])?;
    json_response("StatusReply", &shared.status())
}

/// `/openapi.json`.
pub(super) async fn description() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], openapi::text())
}
