//! Between the contract and our own types: the only place where messages become them and they become messages.

mod frame;
mod options;
mod pixels;
mod reply;

use std::time::{Duration, SystemTime};

use tonic::Status;

pub(super) use frame::{
    defect, duplicate_id, echo, failure_of, frame, frame_failure, invalid, lane_failure,
    metadata_of, not_analysed, not_kept, series,
};
pub use options::Asked;
pub(super) use options::{Outputs, Settled, forgotten, opened, reopened, resumed};
pub(super) use pixels::Slots;
pub(super) use reply::{
    Analysed, Answer, Times, answered_measured, changed, closed, dropped, encode, failed,
    label_image, measured, segmented,
};

use super::{Reload, ReloadOutcome};
use crate::{analysis::AnalysisError, config::LimitSettings, model::ModelSpec, proto as pb};

/// Why a request ends its stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// Nothing of that name.
    #[error("{0}")]
    NotFound(String),
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}

/// What gRPC's own retries wait for, milliseconds.
pub(super) const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Longest time after which a client is told to try again: places come free sooner than is known, too.
const LONGEST_PUSHBACK: Duration = Duration::from_secs(60);

/// There is no room for more; `free_in`: when there will be.
pub(super) fn full(why: String, free_in: Duration) -> Status {
    let ms = free_in.min(LONGEST_PUSHBACK).as_millis() as u64;
    let mut status = Status::resource_exhausted(why);
    status.metadata_mut().insert(RETRY_PUSHBACK, ms.into());
    status
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Invalid(_) => Status::invalid_argument(text),
            Refusal::NotFound(_) => Status::not_found(text),
            Refusal::Internal(_) => Status::internal(text),
        }
    }
}

impl From<AnalysisError> for Refusal {
    fn from(error: AnalysisError) -> Self {
        Refusal::Invalid(error.to_string())
    }
}

impl From<crate::params::ParamError> for Refusal {
    fn from(error: crate::params::ParamError) -> Self {
        Refusal::Invalid(error.to_string())
    }
}

/// A model, as the contract tells it.
pub(super) fn model(spec: &ModelSpec) -> pb::Model {
    pb::Model {
        name: spec.name.clone(),
        version: spec.version.clone(),
        input_width: spec.input_width,
        input_height: spec.input_height,
        classes: spec.classes.clone(),
        trained_um_per_px: spec.trained_um_per_px.unwrap_or(0.0),
        sha256: spec.sha256.clone(),
        head: spec.head.name().to_owned(),
        precision: spec.precision.clone(),
    }
}

/// What a reload did, as the contract tells it.
pub(super) fn reloaded(reload: Reload) -> pb::ReloadReply {
    use pb::model_reload::Outcome;
    let models = reload.models.into_iter().map(|model| pb::ModelReload {
        name: model.name,
        outcome: match model.outcome {
            ReloadOutcome::Unchanged => Outcome::Unchanged,
            ReloadOutcome::Loaded => Outcome::Loaded,
            ReloadOutcome::Removed => Outcome::Removed,
            ReloadOutcome::Refused => Outcome::Refused,
        }
        .into(),
        message: model.message,
    });
    pb::ReloadReply {
        models: models.collect(),
        needs_restart: reload.needs_restart,
    }
}

fn limits(limits: &LimitSettings) -> pb::Limits {
    pb::Limits {
        max_frame_bytes: limits.max_frame_bytes,
        max_side: limits.max_side,
        max_cells: limits.max_cells,
        frames_kept: limits.frames_kept,
    }
}

/// An enum value that this version does not know reads as its default only if it is 0.
fn known<E: TryFrom<i32>>(field: &str, value: i32) -> Result<E, Refusal> {
    E::try_from(value).map_err(|_| {
        Refusal::Invalid(format!(
            "{field} {value}: no such value in this version's contract"
        ))
    })
}

fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// Whole microseconds, as many as fit.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
