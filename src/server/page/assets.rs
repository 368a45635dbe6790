//! The page's files.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::server::{http, problem::Problem};

/// Name, content type, content.
const FILES: [(&str, &str, &[u8]); 9] = [
    (
        "page.css",
        "text/css; charset=utf-8",
        include_bytes!("assets/page.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("assets/icon.svg"),
    ),
    ("dom.js", SCRIPT, include_bytes!("assets/dom.js")),
    ("curves.js", SCRIPT, include_bytes!("assets/curves.js")),
    ("page.js", SCRIPT, include_bytes!("assets/page.js")),
    ("panel.js", SCRIPT, include_bytes!("assets/panel.js")),
    ("sessions.js", SCRIPT, include_bytes!("assets/sessions.js")),
    ("stream.js", SCRIPT, include_bytes!("assets/stream.js")),
    ("view.js", SCRIPT, include_bytes!("assets/view.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page for a browser; for others a list of what there is.
pub(super) async fn index(headers: HeaderMap) -> Response {
    let wants_page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    match wants_page {
        true => (
            [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
            include_str!("assets/index.html"),
        )
            .into_response(),
        false => http::INDEX.into_response(),
    }
}

/// One of the files.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|file| file.0 == name) {
        Some(&(_, kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => {
            let why = format!("{name:?}: the page has no such file");
            Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", why).into_response()
        }
    }
}
