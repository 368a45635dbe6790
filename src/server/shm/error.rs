//! Why there is no region, and what is said of it.

use tonic::Status;

use super::{MAX_NAME, mapping::Mapping};

/// Why there is no region, or no such part of one. Split by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum RegionError {
    /// Ask for something else.
    #[error("{0}")]
    Invalid(String),
    /// Ask the operator, or the file's owner.
    #[error("{0}")]
    Denied(String),
    /// Register it.
    #[error("{0}")]
    NotFound(String),
    /// Unregister others.
    #[error("{0}")]
    Full(String),
    /// Register it again.
    #[error("{0}")]
    Broken(String),
}

impl From<RegionError> for Status {
    fn from(error: RegionError) -> Status {
        let text = error.to_string();
        match error {
            RegionError::Invalid(_) => Status::invalid_argument(text),
            RegionError::Denied(_) => Status::permission_denied(text),
            RegionError::NotFound(_) => Status::not_found(text),
            RegionError::Full(_) => Status::resource_exhausted(text),
            RegionError::Broken(_) => Status::failed_precondition(text),
        }
    }
}

/// Of a region that was not all there when it was read.
pub(super) fn truncated(name: &str) -> RegionError {
    RegionError::Broken(format!(
        "region {}: it was truncated, or the machine has no memory for it; register it again",
        shown(name)
    ))
}

/// Of a name that the caller has not registered.
pub(super) fn unknown(name: &str) -> RegionError {
    RegionError::NotFound(format!(
        "no region {} of this caller: register it first (SharedMemory.Register)",
        shown(name)
    ))
}

/// Of bytes that are not all in the region.
pub(super) fn outside(name: &str, mapping: &Mapping, offset: u64, len: usize) -> RegionError {
    RegionError::Invalid(format!(
        "region {}: {len} bytes from {offset} are not all in it; it has {} bytes",
        shown(name),
        mapping.len()
    ))
}

/// A name that a client sent, of which no more is repeated than a name may have.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(MAX_NAME).collect::<String>())
}
