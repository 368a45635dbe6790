//! What goes wrong between us and TensorRT.

/// Split by what its reader can do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrtError {
    /// Install a library, or name one in the settings.
    #[error("{0}")]
    Library(String),
    /// Build the engine again, or take another.
    #[error("{0}")]
    Engine(String),
    /// Look at what TensorRT says.
    #[error("{what} failed: {said}")]
    Call {
        /// What we asked for.
        what: String,
        /// What TensorRT logged meanwhile.
        said: String,
    },
}
