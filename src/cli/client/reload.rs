//! Asking a daemon to read its settings and models again.

use anyhow::{Context, Result, anyhow};
use tonic::Code;

use super::connect::Connection;
use crate::proto::{ReloadReply, ReloadRequest, admin_client::AdminClient, model_reload::Outcome};

/// What a daemon says of its reload.
pub(in crate::cli) struct Reloaded {
    /// A line for each model, and one for the settings that wait for a restart.
    pub(in crate::cli) lines: Vec<String>,
    /// A model could not be used.
    pub(in crate::cli) is_refused: bool,
}

/// Asks and waits until it is done.
pub(in crate::cli) async fn reload(connection: Connection) -> Result<Reloaded> {
    let reply = AdminClient::new(connection).reload(ReloadRequest {}).await;
    let status = match reply {
        Ok(reply) => return Ok(in_words(&reply.into_inner())),
        Err(status) => status,
    };
    let error = anyhow!("the server says {:?}: {}", status.code(), status.message());
    Err(error).context(match status.code() {
        // The daemon's bound on any call: TensorRT-RTX may compile for longer.
        Code::DeadlineExceeded | Code::Cancelled => {
            "not done yet: it goes on, and the daemon's log says how it ends"
        }
        Code::FailedPrecondition => "no model was reloaded",
        _ => "cannot reload",
    })
}

fn in_words(reply: &ReloadReply) -> Reloaded {
    let of_model = |model: &crate::proto::ModelReload| {
        let outcome = match model.outcome() {
            Outcome::Loaded => "loaded",
            Outcome::Unchanged => "unchanged",
            Outcome::Removed => "removed",
            Outcome::Refused => "refused",
            Outcome::Unspecified => "unknown to this version",
        };
        match &*model.message {
            "" => format!("{}: {outcome}", model.name),
            message => format!("{}: {outcome}: {message}", model.name),
        }
    };
    let mut lines: Vec<String> = reply.models.iter().map(of_model).collect();
    if !reply.needs_restart.is_empty() {
        let keys = reply.needs_restart.join(", ");
        lines.push(format!("changed, and read at the next start only: {keys}"));
    }
    Reloaded {
        lines,
        is_refused: reply
            .models
            .iter()
            .any(|model| model.outcome() == Outcome::Refused),
    }
}
