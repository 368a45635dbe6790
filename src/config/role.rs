//! What somebody may do.

use serde::{Deserialize, Serialize};

/// What somebody may do; each may all that the one before may.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// See: models, health, status, metrics.
    Observe,
    /// Send frames.
    Infer,
    /// Change what is served.
    Admin,
}
