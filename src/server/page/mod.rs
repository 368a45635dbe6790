//! A page to look at: which sessions are open, and the newest frame of one with its cells. It observes only.
//!
//! Plain files, inside the program; they ask for nothing that is not here. `/v1/observe` is what they are told, as events.

mod assets;
mod events;
mod login;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn, map_response},
    response::Response,
    routing::{get, post},
};

use super::Shared;

/// What browsers are told of every answer: nothing from elsewhere, in nobody's frame, kept by nobody.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The page, what it is made of, and what it is told.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(assets::index))
        .route("/assets/{name}", get(assets::asset))
        .route("/login", post(login::log_in))
        .route("/logout", post(login::log_out))
        .merge(events())
        .layer(map_response(with_headers))
}

/// What the page is told.
fn events() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/observe", get(events::sessions))
        .route("/v1/observe/{session}", get(events::session))
        .route("/v1/observe/{session}/frame", get(events::frame))
        .layer(from_fn(events::only_ours))
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        // What an answer says itself stays: of pictures that never change.
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
