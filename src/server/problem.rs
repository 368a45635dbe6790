//! What HTTP clients are told where something went wrong: RFC 9457's `application/problem+json`.
//!
//! Beside the standard's members each has `code`, one word for programs: those of the contract for frames, gRPC's names for what a
//! session answers, HTTP's own for the rest.

use axum::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::convert::RETRY_PUSHBACK;

/// What a problem's body is.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a call that met a full or a stopping daemon may be made again, where nothing else is known.
const AGAIN_S: u64 = 1;

/// Why a call was not answered as it was asked for.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    more: Map<String, Value>,
}

impl Problem {
    /// `code`: one word, upper case. `detail`: what was wrong, with the value, and what would be right.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Problem {
            status,
            code,
            detail: detail.into(),
            headers: Vec::new(),
            more: Map::new(),
        }
    }

    /// A request that cannot be read as one: 400.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail)
    }

    /// The same, with a header.
    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        // Only what is text of ours is given; what were not a header's value would be left out.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The same, and when to try again, seconds.
    pub(super) fn again_after(self, seconds: u64) -> Self {
        self.with_header(RETRY_AFTER, &seconds.to_string())
    }

    /// The same, with a member of its own.
    pub(super) fn with(mut self, member: &str, value: Value) -> Self {
        self.more.insert(member.to_owned(), value);
        self
    }
}

impl From<Status> for Problem {
    /// What a session or a call of the contract ended with.
    fn from(status: Status) -> Self {
        let (http, code) = match status.code() {
            Code::InvalidArgument => (StatusCode::UNPROCESSABLE_ENTITY, "INVALID_ARGUMENT"),
            Code::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            Code::FailedPrecondition => (StatusCode::CONFLICT, "FAILED_PRECONDITION"),
            Code::OutOfRange => (StatusCode::PAYLOAD_TOO_LARGE, "OUT_OF_RANGE"),
            Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            Code::PermissionDenied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED"),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "UNIMPLEMENTED"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        };
        let problem = Problem::new(http, code, status.message());
        match http {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                problem.again_after(seconds_of(&status).unwrap_or(AGAIN_S))
            }
            _ => problem,
        }
    }
}

/// When the call may be made again, whole seconds, if `status` says so.
fn seconds_of(status: &Status) -> Option<u64> {
    let ms = status.metadata().get(RETRY_PUSHBACK)?.to_str().ok()?;
    let ms: u64 = ms.parse().ok()?;
    Some(ms.div_ceil(1000).max(AGAIN_S))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("type".to_owned(), json!("about:blank"));
        let title = self.status.canonical_reason().unwrap_or_default();
        body.insert("title".to_owned(), json!(title));
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        body.insert("code".to_owned(), json!(self.code));
        let text = Value::Object(body).to_string() + "\n";
        let mut response = (self.status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.extend(self.headers);
        response
    }
}
