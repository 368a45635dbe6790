//! `/v1/sessions`: the same sessions as a stream's, for clients that cannot stream.

use std::{mem, sync::Arc};

use axum::{
    RequestExt,
    extract::{FromRequest, Path, Request, State},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use utoipa::openapi::HttpMethod;

use super::{
    Call,
    accept::{self, Form},
    answer::{Shown, Told},
    frame_ids::FrameIds,
    json_response,
    openapi::{Described, body_of_frame, body_of_json, body_of_options, cells_answer, json_answer},
    parameters::{FORM, FRAME, MEASURE_ON, OPTIONS, PIXELS, THRESHOLDS},
    query::{Parameter, Query},
    request::{self, Bounds},
};
use crate::{
    proto as pb,
    server::{
        Peer, Shared, convert,
        dialog::Dialog,
        held::{BEFORE_A_FRAME, Held, Key},
        problem::Problem,
        stream::on_work_pool,
    },
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
             in `limits.session_idle_s`, or in a minute before its first frame, is closed; asking for its state is asking for it.",
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

/// A call of a session that there is, by whoever opened it.
struct OfSession {
    shared: Arc<Shared>,
    key: Key<String>,
    session: Held<Arc<FrameIds>>,
    request: Request,
}

impl FromRequest<Arc<Shared>> for OfSession {
    type Rejection = Problem;

    async fn from_request(mut request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let peer = Peer::of_http(&request)?.to_string();
        let Path(name) = request
            .extract_parts::<Path<String>>()
            .await
            .map_err(|error| Problem::bad_request(error.body_text()))?;
        let key = Key { peer, name };
        let session = shared.rest.get(&key).ok_or_else(|| unknown(&key.name))?;
        Ok(OfSession {
            shared: Arc::clone(shared),
            key,
            session,
            request,
        })
    }
}

impl OfSession {
    /// Nobody finds the session any more: it has ended, or is about to.
    fn forget(&self) {
        self.shared.rest.forget(&self.key, &self.session.dialog);
    }
}

async fn opened(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let peer = Peer::of_http(&request)?;
    let query = Query::of(request.uri(), OF_SESSION)?;
    let options = request::options(request, &query, Bounds::of(&shared.limits)).await?;
    let name = peer.to_string();
    let dialog = Dialog::open(Arc::clone(&shared), peer, options).await?;
    let opened = dialog.opened();
    let key = Key {
        peer: name,
        name: opened.session.clone(),
    };
    shared.rest.keep(key, Arc::new(dialog), Arc::default());
    let location = format!("/v1/sessions/{}", opened.session);
    let answer = json_response("SessionOpened", &*opened)?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], answer).into_response())
}

async fn segmented(mut call: OfSession) -> Result<Response, Problem> {
    refuse_while_draining(&call.shared)?;
    let request = mem::take(&mut call.request);
    let OfSession {
        shared, session, ..
    } = &call;
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
        None => asked.frame.id = session.beside.next(),
        Some(_) => session.beside.brought(asked.frame.id),
    }
    let shown = (form == Form::Overlay).then(|| Shown {
        frame: asked.frame.clone(),
        shared: Arc::clone(shared),
        peer,
    });
    let answer = session.dialog.frame(asked.frame).await;
    let told = Told {
        answer: answer.map_err(|status| over(&call, status))?,
        form,
        file: asked.file,
        shown,
        has_opened: false,
    };
    Ok(told.respond().await)
}

async fn changed(mut call: OfSession) -> Result<Response, Problem> {
    refuse_while_draining(&call.shared)?;
    let request = mem::take(&mut call.request);
    Query::of(request.uri(), NONE)?;
    let bounds = Bounds::of(&call.shared.limits);
    let update: pb::SessionUpdate = request::message(request, "SessionUpdate", bounds).await?;
    let dialog = &call.session.dialog;
    try_out(&call.shared, dialog, &update).await?;
    let changed = dialog.update(update).await;
    json_response(
        "SessionChanged",
        &changed.map_err(|status| over(&call, status))?,
    )
}

async fn status(call: OfSession) -> Result<Response, Problem> {
    Query::of(call.request.uri(), NONE)?;
    let all = call.shared.status().sessions;
    let own = all
        .into_iter()
        .find(|status| status.session == call.key.name);
    let own = own.ok_or_else(|| {
        call.forget();
        unknown(&call.key.name)
    })?;
    json_response("SessionStatus", &own)
}

async fn closed(call: OfSession) -> Result<Response, Problem> {
    Query::of(call.request.uri(), NONE)?;
    // Before it has ended: whoever asked may be gone by then.
    call.forget();
    let closed = call.session.dialog.close().await;
    json_response("SessionClosed", &closed?)
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
        "session {id:?}: there is none of yours; it was closed, or nobody asked for it in limits.session_idle_s, {} s before its \
         first frame: open another",
        BEFORE_A_FRAME.as_secs()
    );
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
}

/// The session has ended.
fn over(call: &OfSession, status: tonic::Status) -> Problem {
    call.forget();
    status.into()
}

/// A stream ends by an update that is refused. Here it is tried out before, so that the session stays.
async fn try_out(
    shared: &Shared,
    dialog: &Dialog,
    update: &pb::SessionUpdate,
) -> Result<(), Problem> {
    let opened = dialog.opened();
    let Some(served) = dialog.served() else {
        // It has ended, which it says itself.
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
