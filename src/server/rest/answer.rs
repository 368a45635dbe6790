//! From a frame's answer to HTTP's.
//!
//! Cells are a 200, in the form asked for; what is beside them in the reply goes into headers where the form has no room for it. A
//! frame that failed or was dropped is a problem, which carries its whole reply.

use std::sync::Arc;

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::{accept::Form, forms};
use crate::{
    export::{ExportError, FrameCells, labels},
    frame::Frame,
    proto::{self as pb, dropped::Reason, failed::Code, frame_reply::Outcome},
    segmentation::Segmentation,
    server::{
        Peer, Shared, convert,
        dialog::FrameAnswer,
        json,
        problem::Problem,
        stream::{Unread, on_work_pool},
        wording,
    },
};

const SESSION: HeaderName = HeaderName::from_static("x-cellsegd-session");
const MODEL: HeaderName = HeaderName::from_static("x-cellsegd-model");
const FRAME: HeaderName = HeaderName::from_static("x-cellsegd-frame");
const REVISION: HeaderName = HeaderName::from_static("x-cellsegd-revision");
const CELLS: HeaderName = HeaderName::from_static("x-cellsegd-cells");
const CONFLUENCE: HeaderName = HeaderName::from_static("x-cellsegd-confluence");
const TRUNCATED: HeaderName = HeaderName::from_static("x-cellsegd-truncated");
const NOTICE: HeaderName = HeaderName::from_static("x-cellsegd-notice");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// A frame's answer and what it takes to tell it.
pub(super) struct Told {
    pub(super) answer: FrameAnswer,
    pub(super) form: Form,
    /// The image's file, as the client called it.
    pub(super) file: String,
    /// For forms that show the frame.
    pub(super) shown: Option<Shown>,
    /// JSON begins with what the session got, as `Segment` answers.
    pub(super) has_opened: bool,
}

/// A frame that is shown with its cells.
pub(super) struct Shown {
    pub(super) frame: pb::Frame,
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
}

/// What was made of an answer: unread until these bytes have left.
struct Unsent {
    bytes: Vec<u8>,
    _unread: Unread,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Shown {
    /// It, as the session understood it; before any flat field.
    fn understood(&self, metadata: &pb::FrameMetadata) -> Result<Frame, pb::Failed> {
        let limits = self.shared.limits.frame();
        let slots = convert::Slots {
            regions: &self.shared.regions,
            peer: &self.peer,
        };
        convert::frame(self.frame.clone(), metadata, slots, &limits)?.into_frame(&limits)
    }
}

impl Told {
    /// The answer; computed on the work pool.
    pub(super) async fn respond(self) -> Response {
        let place = match &self.shown {
            Some(shown) => Some(shown.shared.drawing.begin().await),
            None => None,
        };
        let told = on_work_pool(move || {
            // Until it is written, also where its client has gone meanwhile.
            let _place = place;
            self.written()
        });
        let defect = || {
            let failed = convert::defect("writing its answer");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                failed.message,
            )
        };
        match told.await.unwrap_or_else(|| Err(defect())) {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }

    fn written(self) -> Result<Response, Problem> {
        let reply = &self.answer.reply;
        match &reply.outcome {
            Some(Outcome::Failed(failed)) => return Err(refused(reply, failed)?),
            Some(Outcome::Dropped(dropped)) => return Err(not_segmented(reply, dropped)?),
            Some(Outcome::Segmentation(_) | Outcome::Measured(_)) | None => {}
        }
        let headers = self.headers();
        let body = match (&self.answer.cells, self.form) {
            (_, Form::Json) if self.has_opened => {
                let reply = pb::SegmentReply {
                    opened: Some(Arc::unwrap_or_clone(self.answer.opened)),
                    frame: Some(self.answer.reply),
                };
                json::encode("SegmentReply", &reply)?
            }
            (_, Form::Json) => json::encode("FrameReply", reply)?,
            (Some(cells), form) => self.exported(form, cells)?,
            (None, _) => {
                let detail =
                    "an answer to measure_on is measurements alone: ask for application/json";
                return Err(Problem::new(
                    StatusCode::NOT_ACCEPTABLE,
                    "NOT_ACCEPTABLE",
                    detail,
                ));
            }
        };
        let body = Bytes::from_owner(Unsent {
            bytes: body,
            _unread: self.answer.unread,
        });
        Ok((headers, body).into_response())
    }

    fn exported(&self, form: Form, cells: &Arc<Segmentation>) -> Result<Vec<u8>, Problem> {
        let reply = &self.answer.reply;
        let opened = &self.answer.opened;
        let settled = opened.settled.clone().unwrap_or_default();
        let model = opened.model.clone().unwrap_or_default();
        let provenance = forms::provenance(
            opened,
            &model,
            json::value("SessionOptions", &settled)?,
            reply.received_at,
        );
        let metadata = reply.metadata.clone().unwrap_or_default();
        let wrong = |failed: pb::Failed| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "INVALID_FRAME",
                failed.message,
            )
        };
        let shown = self.shown.as_ref().map(|it| it.understood(&metadata));
        let frame = shown.transpose().map_err(wrong)?;
        let frame_cells = FrameCells {
            image_id: &forms::image_id(&self.file, reply.id),
            file: &self.file,
            stack: false,
            metadata: &convert::metadata_of(&metadata).map_err(wrong)?,
            segmentation: cells,
        };
        let outputs = settled.outputs.unwrap_or_default();
        let by = match outputs.label_by() {
            pb::LabelBy::Track => labels::By::Track,
            pb::LabelBy::Instance | pb::LabelBy::Unspecified => labels::By::Cell,
        };
        let written = forms::write(form, &frame_cells, by, frame.as_ref(), &provenance);
        written.map_err(|error| match error {
            ExportError::DoesNotFit(why) => {
                Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", why)
            }
            ExportError::Io(_) | ExportError::Damaged(_) => {
                tracing::error!(%error, form = form.name(), "cells cannot be written");
                let detail = "a defect of the daemon while writing cells; its log says more";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
            }
        })
    }

    /// What every form has room for.
    fn headers(&self) -> HeaderMap {
        let reply = &self.answer.reply;
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(self.form.media_type()),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static("accept"));
        let opened = &self.answer.opened;
        let model = opened.model.as_ref().map_or("", |model| &model.name);
        for (name, text) in [
            (SESSION, opened.session.as_str()),
            (MODEL, model),
            (FRAME, &reply.id.to_string()),
            (REVISION, &reply.revision.to_string()),
        ] {
            headers.insert(name, header(text));
        }
        if let Some(Outcome::Segmentation(cells)) = &reply.outcome {
            let summary = cells.summary.clone().unwrap_or_default();
            headers.insert(CELLS, summary.count.into());
            headers.insert(CONFLUENCE, header(&summary.confluence.to_string()));
            headers.insert(TRUNCATED, header(&cells.truncated.to_string()));
        }
        for notice in &reply.notices {
            headers.append(NOTICE, header(&wording::notice(notice)));
        }
        if let Some(timing) = &reply.timing {
            headers.insert(SERVER_TIMING, header(&server_timing(timing)));
        }
        headers
    }
}

/// Text as a header takes it: what is not ASCII is escaped as in URLs.
fn header(text: &str) -> HeaderValue {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => escaped.push(byte.into()),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    HeaderValue::try_from(escaped).unwrap_or(HeaderValue::from_static(""))
}

/// As browsers' tools show it; milliseconds.
fn server_timing(timing: &pb::Timing) -> String {
    let stages = wording::stages(timing).into_iter();
    let told: Vec<String> = stages
        .chain([("total", timing.total)])
        .filter(|(_, micros)| 0 < *micros)
        .map(|(stage, micros)| format!("{stage};dur={:.3}", f64::from(micros) / 1e3))
        .collect();
    told.join(", ")
}

/// Of a frame that failed.
fn refused(reply: &pb::FrameReply, failed: &pb::Failed) -> Result<Problem, Problem> {
    let code = failed.code();
    let (status, word) = match code {
        Code::InvalidFrame => (StatusCode::UNPROCESSABLE_ENTITY, "INVALID_FRAME"),
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE"),
        Code::Unsupported => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED"),
        Code::LaneLost => (StatusCode::SERVICE_UNAVAILABLE, "LANE_LOST"),
        Code::DeviceLost => (StatusCode::SERVICE_UNAVAILABLE, "DEVICE_LOST"),
        Code::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED"),
        Code::Internal | Code::Unspecified => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
    };
    let problem = Problem::new(status, word, &failed.message)
        .with("frame", json::value("FrameReply", reply)?);
    Ok(match code {
        Code::LaneLost | Code::Overloaded => problem.again_after(1),
        // The daemon is started again.
        Code::DeviceLost => problem.again_after(10),
        _ => problem,
    })
}

/// Of a frame that was dropped.
fn not_segmented(reply: &pb::FrameReply, dropped: &pb::Dropped) -> Result<Problem, Problem> {
    let (status, word, why) = match dropped.reason() {
        Reason::Deadline => (
            StatusCode::GATEWAY_TIMEOUT,
            "DEADLINE",
            "the frame had not started within its deadline",
        ),
        Reason::Draining => (
            StatusCode::SERVICE_UNAVAILABLE,
            "DRAINING",
            "the daemon is stopping",
        ),
        Reason::NewerFrame => (
            StatusCode::SERVICE_UNAVAILABLE,
            "NEWER_FRAME",
            "a newer frame of its series took its place",
        ),
        Reason::Cancelled | Reason::Unspecified => (
            StatusCode::SERVICE_UNAVAILABLE,
            "CANCELLED",
            "the frame was cancelled",
        ),
    };
    let problem = Problem::new(status, word, why).with("frame", json::value("FrameReply", reply)?);
    Ok(match dropped.reason() {
        Reason::Draining => problem.again_after(10),
        _ => problem,
    })
}

#[cfg(test)]
mod tests;
