//! Logs: to stderr, so that stdout stays a command's answer. Lines for a person, or JSON for a program.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{
    EnvFilter, layer::SubscriberExt, util::SubscriberInitExt, util::TryInitError,
};

use crate::config::{LogFormat, LogSettings};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Settings that were loaded have a good one: loading checks it.
    #[error("log.filter is not a filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Twice in one process.
    #[error("logs were started before")]
    Started(#[from] TryInitError),
}

/// Starts logging for the whole process.
pub fn start(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match settings.format {
        LogFormat::Text => registry
            .with(lines.with_ansi(stderr().is_terminal()))
            .try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}
