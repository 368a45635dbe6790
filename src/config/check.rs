//! What settings must hold, each alone and together.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf};

use config::ConfigError;
use tracing_subscriber::EnvFilter;

use super::Settings;

/// Settings that cannot be meant. The program ends with 78 (`EX_CONFIG`).
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file or the environment: not readable, an unknown key, a value of the wrong kind.
    #[error(transparent)]
    Source(#[from] Box<ConfigError>),
    /// A file that a setting names.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// A value outside its range, or one that does not fit another.
    #[error("{key} = {value}: {right}")]
    Value {
        /// As in the file.
        key: &'static str,
        /// What was asked for.
        value: String,
        /// What may be asked for.
        right: String,
    },
}

impl Settings {
    /// That they can be meant. Those that were loaded have been checked; to be called again by whoever changes them.
    pub fn check(&self) -> Result<(), SettingsError> {
        in_range("lanes", self.lanes, 1..=64)?;
        in_range("io_threads", self.io_threads, 1..=64)?;
        in_range("grace_s", self.grace_s, 0..=86_400)?;
        in_range("hung_after_s", self.hung_after_s, 1..=86_400)?;
        in_range("engine.threads", self.engine.threads, 0..=1024)?;
        self.gpu.check()?;
        self.trust.check()?;
        self.limits.check()?;
        self.shared_memory.check()?;
        self.tls.check(self.listen.iter().chain(&self.http))?;
        self.auth.check()?;
        self.traces.check()?;
        if let Err(error) = EnvFilter::builder().parse(&self.log.filter) {
            return Err(wrong(
                "log.filter",
                &self.log.filter,
                format!("{error}; as RUST_LOG: info, or cellsegd=debug,tonic=info"),
            ));
        }
        if self.listen.is_empty() {
            return Err(wrong(
                "listen",
                "[]",
                "at least one address is needed, as tcp://127.0.0.1:50051",
            ));
        }
        match self.exposed().next() {
            Some(listen) if !self.insecure => Err(wrong(
                match self.http.contains(listen) {
                    true => "http",
                    false => "listen",
                },
                listen,
                "other machines can reach it, and nothing is encrypted: write it as tls:// ('cellsegd pair NAME' makes the \
                 certificate), use a loopback address or a unix socket, or set insecure = true where everybody is trusted",
            )),
            _ => Ok(()),
        }
    }
}

pub(super) fn in_range<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), SettingsError> {
    if range.contains(&value) {
        return Ok(());
    }
    let right = format!("must be {} to {}", range.start(), range.end());
    Err(wrong(key, value, right))
}

pub(super) fn wrong(
    key: &'static str,
    value: impl ToString,
    right: impl Into<String>,
) -> SettingsError {
    SettingsError::Value {
        key,
        value: value.to_string(),
        right: right.into(),
    }
}
