//! `/v1/sessions`: the same sessions as a stream's, for clients that cannot stream.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use utoipa::openapi::HttpMethod;

use super::{
    Call,
    accept::{self, Form},
    answer::{Shown, Told},
    held::InUse,
    json_response,
    openapi::{Described, body_of_frame, body_of_json, body_of_options, cells_answer, json_answer},
    parameters::{FORM, FRAME, MEASURE_ON, OPTIONS, PIXELS, THRESHOLDS},
    query::{Parameter, Query},
    request::{self, Bounds},
};
use crate::{
    proto as pb,
    server::{Peer, Shared, convert, dialog::Dialog, problem::Problem, stream::on_work_pool},
};

const OF_FRAME: &[&[Parameter]] = &[FORM, PIXELS, FRAME, THRESHOLDS, MEASURE_ON];
const OF_SESSION: &[&[Parameter]] = &[OPTIONS, THRESHOLDS];
const NONE: &[&[Parameter]] = &[];

const SESSION: &str = "/v1/sessions/{session}";

/// The calls, and what is said of them.
pub(super) fn calls() -> Vec<Call> {
    let open = Described::new("openSession", "Open a session")
        .about(
            "Tracking, growth, measure_on and live delivery need one. It belongs to who opened it. One that nobody has asked for \
             in `limits.session_idle_s` is closed; asking for its state is asking for it.",
        )
        .parameters(OF_SESSION)
        .body(body_of_options())
        .answers(json_answer(201, "SessionOpened", "It is open; `Location` says where."))
        .problems(&[400, 404, 408, 413, 415, 422, 429, 503]);
    let frame = Described::new("segmentFrame", "Send a frame to a session")
        .about(
            "Frames are segmented in the order in which they come. The answer is the contract's `FrameReply`, or the cells in the \
             form asked for.",
        )
        .of_session()
        .parameters(OF_FRAME)
        .body(body_of_frame(false))
        .answers(cells_answer("FrameReply"))
        .problems(&[400, 404, 406, 408, 409, 413, 415, 422, 429, 500, 503, 504]);
    let update = Described::new("updateSession", "Change a session's settings")
        .about("For the frames after it. What is unset stays as it is; what is refused changes nothing.")
        .of_session()
        .body(body_of_json("SessionUpdate"))
        .answers(json_answer(200, "SessionChanged", "The settings as they are now."))
        .problems(&[400, 404, 408, 409, 413, 415, 422, 429, 503]);
    let state = Described::new("sessionState", "What a session did so far")
        .of_session()
        .answers(json_answer(200, "SessionStatus", "What it did so far."))
        .problems(&[400, 404, 429]);
    let close = Described::new("closeSession", "Close a session")
        .about("Once every frame of it is answered.")
        .of_session()
        .answers(json_answer(
            200,
            "SessionClosed",
            "Every frame accounted for.",
        ))
        .problems(&[400, 404, 409, 429, 503]);
    vec![
        Call::new(HttpMethod::Post, "/v1/sessions", post(opened), open),
        Call::new(HttpMethod::Get, SESSION, get(status), state),
        Call::new(HttpMethod::Patch, SESSION, patch(changed), update),
        Call::new(HttpMethod::Delete, SESSION, delete(closed), close),
        Call::new(
            HttpMethod::Post,
            "/v1/sessions/{session}/frames",
            post(segmented),
            frame,
        ),
    ]
}

async fn opened(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let peer = Peer::of_http(&request)?;
    let query = Query::of(request.uri(), OF_SESSION)?;
    let options = request::options(request, &query, Bounds::of(&shared.limits)).await?;
    let name = peer.to_string();
    let dialog = Dialog::open(Arc::clone(&shared), peer, options).await?;
    let opened = dialog.opened();
    shared.rest.keep(dialog, name);
    let location = format!("/v1/sessions/{}", opened.session);
    let answer = json_response("SessionOpened", &*opened)?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], answer).into_response())
}

async fn segmented(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let session = session(&shared, &id, &request)?;
    refuse_while_draining(&shared)?;
    let peer = Peer::of_http(&request)?;
    let query = Query::of(request.uri(), OF_FRAME)?;
    let form = accept::chosen(query.text("as"), request.headers())?;
    if form != Form::Json && query.text("measure_on").is_some() {
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "NOT_ACCEPTABLE",
            "measure_on: its answer is measurements alone; ask for application/json",
        ));
    }
    let mut asked = request::frame(request, &query, Bounds::of(&shared.limits), false).await?;
    match query.text("id") {
        None => asked.frame.id = session.next_id(),
        Some(_) => session.brought_id(asked.frame.id),
    }
    let shown = (form == Form::Overlay).then(|| Shown {
        frame: asked.frame.clone(),
        shared: Arc::clone(&shared),
        peer,
    });
    let answer = session.dialog.frame(asked.frame).await;
    let told = Told {
        answer: answer.map_err(|status| over(&shared, &session, status))?,
        form,
        file: asked.file,
        shown,
        has_opened: false,
    };
    Ok(told.respond().await)
}

async fn changed(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let session = session(&shared, &id, &request)?;
    refuse_while_draining(&shared)?;
    Query::of(request.uri(), NONE)?;
    let bounds = Bounds::of(&shared.limits);
    let update: pb::SessionUpdate = request::message(request, "SessionUpdate", bounds).await?;
    try_out(&shared, &session, &update).await?;
    let changed = session.dialog.update(update).await;
    let changed = changed.map_err(|status| over(&shared, &session, status))?;
    json_response("SessionChanged", &changed)
}

async fn status(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let session = session(&shared, &id, &request)?;
    Query::of(request.uri(), NONE)?;
    let all = shared.status().sessions;
    let own = all.into_iter().find(|status| status.session == id);
    let own = own.ok_or_else(|| {
        shared.rest.forget(&session);
        unknown(&id)
    })?;
    json_response("SessionStatus", &own)
}

async fn closed(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let session = session(&shared, &id, &request)?;
    Query::of(request.uri(), NONE)?;
    let closed = session.dialog.close().await;
    shared.rest.forget(&session);
    json_response("SessionClosed", &closed?)
}

fn session(shared: &Shared, id: &str, request: &Request) -> Result<InUse, Problem> {
    let peer = Peer::of_http(request)?.to_string();
    shared.rest.of(id, &peer).ok_or_else(|| unknown(id))
}

/// A session that drains answers what it has; what comes now would be told so only after that.
fn refuse_while_draining(shared: &Shared) -> Result<(), Problem> {
    match shared.draining.borrow().is_some() {
        true => Err(tonic::Status::unavailable("the daemon is draining").into()),
        false => Ok(()),
    }
}

/// Somebody else's is told from none by nothing.
fn unknown(id: &str) -> Problem {
    let detail = format!(
        "session {id:?}: there is none of yours; it was closed, or nobody asked for it in a while: open another"
    );
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
}

/// The session has ended: nobody finds it any more.
fn over(shared: &Shared, session: &InUse, status: tonic::Status) -> Problem {
    shared.rest.forget(session);
    status.into()
}

/// A stream ends by an update that is refused. Here it is tried out before, so that the session stays.
async fn try_out(
    shared: &Shared,
    session: &InUse,
    update: &pb::SessionUpdate,
) -> Result<(), Problem> {
    let opened = session.dialog.opened();
    let model = opened.model.as_ref().map_or("", |model| &model.name);
    let Some(served) = shared.models.get(model) else {
        // It was taken out of service: the session, which keeps it, knows better.
        return Ok(());
    };
    let options = pb::SessionOptions {
        flat_field: None,
        ..opened.settled.clone().unwrap_or_default()
    };
    let (limits, update) = (shared.limits.clone(), update.clone());
    let tried = on_work_pool(move || {
        convert::forgotten(&update)?;
        let mut settled = convert::Settled::new(&options, served.pool().model(), &limits)?;
        settled.update(&update)
    });
    match tried.await {
        Some(Err(refusal)) => Err(tonic::Status::from(refusal).into()),
        Some(Ok(())) | None => Ok(()),
    }
}
