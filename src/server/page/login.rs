//! A token for a cookie.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use crate::server::{Shared, problem::Problem};

/// Bytes of a request: a token has 43.
const MOST: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

/// `{"token": "..."}`. As JSON only, which no form of another site can send.
pub(super) async fn log_in(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let credentials = match shared.gate.credentials(&request) {
        Ok(credentials) => credentials,
        Err(refusal) => return refusal.problem().into_response(),
    };
    let kind = request.headers().get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        let why = "a login is JSON: Content-Type: application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Problem::new(status, "UNSUPPORTED_MEDIA_TYPE", why).into_response();
    }
    let Ok(body) = to_bytes(request.into_body(), MOST).await else {
        let why = format!("a login has at most {MOST} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Problem::new(status, "TOO_LARGE", why).into_response();
    };
    // What was sent is not repeated: it may be a token.
    let Ok(Login { token }) = serde_json::from_slice(&body) else {
        return Problem::bad_request("a login is {\"token\": \"...\"}").into_response();
    };
    match shared.gate.log_in(&credentials, &token) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(refusal) => shared.gate.refused(&credentials, refusal).into_response(),
    }
}

/// The cookie is worth nothing any more.
pub(super) async fn log_out(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match shared.gate.credentials(&request) {
        Ok(credentials) => {
            let cookie = shared.gate.log_out(&credentials);
            (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
        }
        Err(refusal) => refusal.problem().into_response(),
    }
}
