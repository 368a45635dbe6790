//! Bodies as they come: never more than is allowed, never waited for without an end.

use std::{future::Future, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request, multipart::MultipartError},
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use bytes::BytesMut;
use tokio_stream::StreamExt;

use super::content;
use crate::server::problem::Problem;

/// Reads a body of at most `most` bytes whose next bytes come within `patience`.
pub(super) async fn whole(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    patience: Duration,
) -> Result<Bytes, Problem> {
    let announced = announced(headers);
    let mut stream = body.into_data_stream();
    if announced.is_some_and(|bytes| most < bytes) {
        return Err(too_large(announced, most));
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(0));
    while let Some(piece) = within(patience, stream.next()).await? {
        let piece = piece.map_err(|_| broken())?;
        if most - whole.len() < piece.len() {
            return Err(too_large(announced, most));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// A part of a form.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) bytes: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) file_name: Option<String>,
}

/// What a form may hold: the names of its parts, and the most bytes of each.
pub(super) type Parts = [(&'static str, usize)];

/// Reads a form of at most `most` bytes, whose parts are among `known`.
pub(super) async fn form(
    mut request: Request,
    most: usize,
    known: &Parts,
    patience: Duration,
) -> Result<Vec<Part>, Problem> {
    let announced = announced(request.headers());
    if announced.is_some_and(|bytes| most < bytes) {
        return Err(too_large(announced, most));
    }
    DefaultBodyLimit::max(most).apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| content::unsupported(error.body_text()))?;
    parts(&mut form, most, known, patience).await
}

async fn parts(
    form: &mut Multipart,
    most: usize,
    known: &Parts,
    patience: Duration,
) -> Result<Vec<Part>, Problem> {
    let wrong = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_many_bytes("the form", most),
        _ => Problem::bad_request(format!("multipart/form-data: {}", error.body_text())),
    };
    let mut parts: Vec<Part> = Vec::new();
    while let Some(mut field) = within(patience, form.next_field()).await?.map_err(wrong)? {
        let said = field.name().unwrap_or_default();
        let Some(&(name, most)) = known.iter().find(|(name, _)| *name == said) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(Problem::bad_request(format!(
                "part {said:?} of the form: there are {}",
                names.join(", ")
            )));
        };
        if parts.iter().any(|part| part.name == name) {
            return Err(Problem::bad_request(format!(
                "part {name:?} of the form: once only"
            )));
        }
        let content_type = field.content_type().map(str::to_owned);
        let file_name = field.file_name().map(str::to_owned);
        let mut bytes = BytesMut::new();
        while let Some(piece) = within(patience, field.chunk()).await?.map_err(wrong)? {
            if most - bytes.len() < piece.len() {
                return Err(too_many_bytes(&format!("part {name:?} of the form"), most));
            }
            bytes.extend_from_slice(&piece);
        }
        parts.push(Part {
            name,
            bytes: bytes.freeze(),
            content_type,
            file_name,
        });
    }
    Ok(parts)
}

async fn within<T>(patience: Duration, next: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(patience, next).await.map_err(|_| {
        let detail = format!(
            "nothing more of the body came within {} s",
            patience.as_secs()
        );
        Problem::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", detail)
    })
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(announced: Option<usize>, most: usize) -> Problem {
    match announced {
        Some(bytes) => too_many_bytes(&format!("a body of {bytes} bytes"), most),
        None => too_many_bytes("the body", most),
    }
}

fn too_many_bytes(what: &str, most: usize) -> Problem {
    let detail = format!("{what}: at most {most} bytes are taken here");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail)
}

fn broken() -> Problem {
    Problem::bad_request("the body ended before its end")
}
