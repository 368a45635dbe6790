//! Logs go to stderr, so that stdout stays a command's answer: lines for a person, JSON for a program, or the journal's own
//! fields where stderr leads there. A line that cannot be written is lost; nothing else is.

use std::{
    env,
    io::{IsTerminal, stderr},
    os::fd::AsFd,
    sync::OnceLock,
};

use rustix::fs::fstat;
use tracing::warn;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
    util::TryInitError,
};

use super::journal::{Journal, SOCKET};
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

/// The filter in force: one for the process, as the log itself.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging for the whole process.
pub fn start(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.filter)?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let (format, no_journal) = settle(settings.format);
    let lines = match format {
        Format::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
        Format::Journal(journal) => journal.boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    // Empty so far: the process has just started its only log.
    let _ = FILTER.set(handle);
    if let Some(why) = no_journal {
        warn!(socket = SOCKET, %why, "the journal cannot be reached: logging text to stderr");
    }
    Ok(())
}

/// What is logged from now on, as `log.filter`.
pub fn set_filter(filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(filter)?;
    if let Some(handle) = FILTER.get() {
        // An error means that the log is gone, with the process.
        let _ = handle.reload(filter);
    }
    Ok(())
}

/// How lines are written.
enum Format {
    Text,
    Json,
    Journal(Journal),
}

/// What the word of the settings means here; and why the journal is not written to, where it should be.
fn settle(format: LogFormat) -> (Format, Option<std::io::Error>) {
    let stream = env::var("JOURNAL_STREAM").ok();
    match format {
        LogFormat::Text => (Format::Text, None),
        LogFormat::Json => (Format::Json, None),
        LogFormat::Auto if !leads_to_journal(stderr(), stream.as_deref()) => (Format::Text, None),
        LogFormat::Auto | LogFormat::Journald => match Journal::connect(SOCKET.as_ref()) {
            Ok(journal) => (Format::Journal(journal), None),
            Err(why) => (Format::Text, Some(why)),
        },
    }
}

/// Whether `stream` is the one that systemd connected to the journal: `JOURNAL_STREAM` names its device and inode. A process
/// whose output was redirected since inherits the variable all the same.
fn leads_to_journal(stream: impl AsFd, journal_stream: Option<&str>) -> bool {
    let (Some(named), Ok(stat)) = (journal_stream, fstat(stream)) else {
        return false;
    };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other] = ["a", "b"].map(|name| File::create(folder.path().join(name)).unwrap());
        let named = |file: &File| {
            let meta = file.metadata().unwrap();
            format!("{}:{}", meta.dev(), meta.ino())
        };
        assert!(leads_to_journal(&file, Some(&named(&file))));
        assert!(!leads_to_journal(&file, Some(&named(&other))), "redirected");
        for nonsense in [None, Some(""), Some("1"), Some("a:b")] {
            assert!(!leads_to_journal(&file, nonsense), "{nonsense:?}");
        }
    }
}
