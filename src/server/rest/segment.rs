//! `POST /v1/segment`: one frame, and its cells.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
    routing::post,
};
use utoipa::openapi::HttpMethod;

use super::{
    Call,
    accept::{self, Form},
    answer::{Shown, Told},
    openapi::{Described, body_of_frame, cells_answer},
    parameters::{FORM, FRAME, OPTIONS, PIXELS, THRESHOLDS},
    query::{Parameter, Query},
    request::{self, Bounds},
};
use crate::server::{Peer, Shared, dialog::Dialog, problem::Problem};

const PARAMETERS: &[&[Parameter]] = &[FORM, OPTIONS, THRESHOLDS, PIXELS, FRAME];

/// The call, and what is said of it.
pub(super) fn calls() -> Vec<Call> {
    let described = Described::new("segment", "Find the cells of one frame")
        .about(
            "The body is an image file, raw pixels that the parameters describe, or a form with the image, its metadata and every \
             option of a session. The answer is the contract's `SegmentReply`, or the cells in the form asked for.",
        )
        .parameters(PARAMETERS)
        .body(body_of_frame(true))
        .answers(cells_answer("SegmentReply"))
        .problems(&[400, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504]);
    vec![Call::new(
        HttpMethod::Post,
        "/v1/segment",
        post(segment),
        described,
    )]
}

async fn segment(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let peer = Peer::of_http(&request)?;
    let query = Query::of(request.uri(), PARAMETERS)?;
    let form = accept::chosen(query.text("as"), request.headers())?;
    let mut asked = request::frame(request, &query, Bounds::of(&shared.limits), true).await?;
    if asked.frame.id == 0 {
        asked.frame.id = 1;
    }
    let shown = (form == Form::Overlay).then(|| Shown {
        frame: asked.frame.clone(),
        shared: Arc::clone(&shared),
        peer: peer.clone(),
    });
    let dialog = Dialog::once(Arc::clone(&shared), peer, asked.options).await?;
    let answer = dialog.frame(asked.frame).await?;
    // It has nothing in flight: how it ended, a draining daemon included, takes nothing from its answer.
    let _ = dialog.close().await;
    let told = Told {
        answer,
        form,
        file: asked.file,
        shown,
        has_opened: true,
    };
    Ok(told.respond().await)
}
