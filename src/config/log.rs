//! `[log]` and `[traces]`: what the daemon tells of itself, and to whom.

use serde::{Deserialize, Serialize};

use super::check::{SettingsError, wrong};

/// What is logged and how.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// As `RUST_LOG`: `info`, `cellsegd=debug,tonic=info`.
    pub filter: String,
    /// For a person, for a program or for the journal.
    pub format: LogFormat,
}

/// For a person, for a program or for the journal.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum LogFormat {
    /// The journal's fields where stderr leads to the journal, else lines for a person.
    #[default]
    Auto,
    /// Lines for a person.
    Text,
    /// One JSON object a line.
    Json,
    /// Fields of systemd's journal.
    Journald,
}

/// Where traces go.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceSettings {
    /// A collector that speaks OTLP over gRPC, as `http://127.0.0.1:4317`. Unset: nowhere.
    pub otlp: Option<String>,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            filter: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

impl TraceSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let is_good = |url: &str| {
            let rest = url.strip_prefix("http://");
            rest.is_some_and(|rest| {
                !rest.is_empty() && url.parse::<tonic::transport::Uri>().is_ok()
            })
        };
        match &self.otlp {
            Some(url) if !is_good(url) => Err(wrong(
                "traces.otlp",
                url,
                "must be http://HOST:PORT of a collector that speaks OTLP over gRPC, as http://127.0.0.1:4317; put one on \
                 this machine to send them on over TLS",
            )),
            _ => Ok(()),
        }
    }
}
