//! What settings must hold, each alone and together.

use std::{fmt::Display, ops::RangeInclusive};

use config::ConfigError;
use tracing_subscriber::EnvFilter;

use super::{GpuSettings, LimitSettings, Listen, Settings};

/// Settings that cannot be meant. The program ends with 78 (`EX_CONFIG`).
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file or the environment: not readable, an unknown key, a value of the wrong kind.
    #[error(transparent)]
    Source(#[from] Box<ConfigError>),
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

/// HTTP/2 windows end at 2^31 - 1, and a stream's window holds two frames.
const MAX_FRAME_BYTES: u64 = (1 << 30) - 1;

/// 16 TiB, which no GPU has: what is more was not meant.
const MAX_MEMORY_MIB: u64 = 1 << 24;

impl Settings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        in_range("lanes", self.lanes, 1..=64)?;
        in_range("io_threads", self.io_threads, 1..=64)?;
        in_range("engine.threads", self.engine.threads, 0..=1024)?;
        self.gpu.check()?;
        self.limits.check()?;
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
                "listen",
                listen,
                "this version does not encrypt and asks nobody who they are: use a loopback address or a unix socket, \
                 or set insecure = true in a network where everybody is trusted",
            )),
            _ => Ok(()),
        }
    }

    /// Addresses that other machines can reach.
    pub fn exposed(&self) -> impl Iterator<Item = &Listen> {
        self.listen
            .iter()
            .filter(|listen| matches!(listen, Listen::Tcp(address) if !address.ip().is_loopback()))
    }
}

impl GpuSettings {
    fn check(&self) -> Result<(), SettingsError> {
        let device = &self.device;
        let is_index = !device.is_empty()
            && device.len() <= 4
            && device.bytes().all(|byte| byte.is_ascii_digit());
        in_range(
            "gpu.memory_limit_mib",
            self.memory_limit_mib,
            0..=MAX_MEMORY_MIB,
        )?;
        match is_index || device.to_ascii_uppercase().starts_with("GPU-") {
            true => Ok(()),
            false => Err(wrong(
                "gpu.device",
                format!("{device:?}"),
                "must be an index, as \"0\", or a UUID or its beginning, as \"GPU-5c1b\": cellsegd doctor lists them",
            )),
        }
    }
}

impl LimitSettings {
    fn check(&self) -> Result<(), SettingsError> {
        in_range(
            "limits.max_frame_bytes",
            self.max_frame_bytes,
            1..=MAX_FRAME_BYTES,
        )?;
        in_range("limits.max_side", self.max_side, 1..=65_535)?;
        in_range("limits.max_cells", self.max_cells, 1..=1_000_000)?;
        in_range("limits.sessions", self.sessions, 1..=65_535)?;
        in_range(
            "limits.streams_per_connection",
            self.streams_per_connection,
            1..=1024,
        )?;
        in_range("limits.window", self.window, 1..=1024)?;
        in_range("limits.first_message_s", self.first_message_s, 1..=86_400)?;
        in_range("limits.keepalive_s", self.keepalive_s, 1..=86_400)?;
        if self.frames_in_flight_bytes < self.max_frame_bytes {
            return Err(wrong(
                "limits.frames_in_flight_bytes",
                self.frames_in_flight_bytes,
                format!(
                    "must hold one frame: at least limits.max_frame_bytes, {}",
                    self.max_frame_bytes
                ),
            ));
        }
        Ok(())
    }
}

fn in_range<T: PartialOrd + Display>(
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

fn wrong(key: &'static str, value: impl ToString, right: impl Into<String>) -> SettingsError {
    SettingsError::Value {
        key,
        value: value.to_string(),
        right: right.into(),
    }
}
