//! Settings that are words: how each is read and written, the same in files, in the environment and on the command line.

use std::{fmt, str::FromStr};

use super::{
    ClientCertificates, EngineKind, GpuFallback, GpuPriority, GpuWait, Grant, Listen, LogFormat,
    PriorityCap, ReloadMode, Role,
};

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.starts_with('/') {
                true => Ok(Listen::Unix(path.into())),
                false => Err(format!(
                    "{text}: a unix socket needs an absolute path, as unix:///run/cellsegd.sock"
                )),
            };
        }
        let (is_tls, address) = match (text.strip_prefix("tcp://"), text.strip_prefix("tls://")) {
            (Some(address), _) => (false, address.parse().ok()),
            (_, Some(address)) => (true, address.parse().ok()),
            _ => (false, None),
        };
        match address {
            Some(address) if is_tls => Ok(Listen::Tls(address)),
            Some(address) => Ok(Listen::Tcp(address)),
            None => Err(format!(
                "{text:?} must be tcp://IP:PORT, as tcp://127.0.0.1:50051, tls://IP:PORT, as tls://0.0.0.0:50051, or unix:///PATH"
            )),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "tcp://{address}"),
            Listen::Tls(address) => write!(f, "tls://{address}"),
            Listen::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Words that stand for a value each, read and written by one table.
macro_rules! words {
    ($kind:ty: $($word:literal = $value:path),+; $right:literal) => {
        impl FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!(concat!("{:?} must be ", $right), text)),
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($value => $word,)+
                })
            }
        }
    };
}

words!(Role: "observe" = Role::Observe, "infer" = Role::Infer, "admin" = Role::Admin; "observe, infer or admin");
words!(EngineKind: "auto" = EngineKind::Auto, "rten" = EngineKind::Rten, "onnxruntime" = EngineKind::OnnxRuntime; "auto, rten or onnxruntime");
words!(LogFormat: "auto" = LogFormat::Auto, "text" = LogFormat::Text, "json" = LogFormat::Json, "journald" = LogFormat::Journald; "auto, text, json or journald");
words!(GpuWait: "auto" = GpuWait::Auto, "spin" = GpuWait::Spin, "block" = GpuWait::Block; "auto, spin or block");
words!(GpuPriority: "low" = GpuPriority::Low, "normal" = GpuPriority::Normal, "high" = GpuPriority::High; "low, normal or high");
words!(ReloadMode: "beside" = ReloadMode::Beside, "replace" = ReloadMode::Replace; "beside or replace");
words!(GpuFallback: "never" = GpuFallback::Never, "cpu" = GpuFallback::Cpu; "never or cpu");
words!(ClientCertificates: "none" = ClientCertificates::None, "optional" = ClientCertificates::Optional, "required" = ClientCertificates::Required; "none, optional or required");
words!(Grant: "none" = Grant::None, "observe" = Grant::Observe, "infer" = Grant::Infer, "admin" = Grant::Admin; "none, observe, infer or admin");
words!(PriorityCap: "background" = PriorityCap::Background, "normal" = PriorityCap::Normal, "urgent" = PriorityCap::Urgent; "background, normal or urgent");

/// serde goes through the words above.
macro_rules! as_string {
    ($($word:ty),*) => {$(
        impl TryFrom<String> for $word {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$word> for String {
            fn from(word: $word) -> String {
                word.to_string()
            }
        }
    )*};
}

as_string!(
    Listen,
    EngineKind,
    LogFormat,
    ReloadMode,
    Role,
    GpuWait,
    GpuPriority,
    GpuFallback,
    ClientCertificates,
    Grant,
    PriorityCap
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "tcp://127.0.0.1:50051",
            "tcp://[::1]:0",
            "tls://0.0.0.0:50051",
            "unix:///run/cellsegd/cellsegd.sock",
        ] {
            assert_eq!(
                text.parse::<Listen>().map(|listen| listen.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn an_address_that_cannot_be_bound_is_refused() {
        for text in [
            "",
            "127.0.0.1:50051",
            "tcp://localhost:50051",
            "tls://localhost:50051",
            "tcp://127.0.0.1",
            "unix://run/x",
            "http://127.0.0.1:1",
        ] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(
                error.contains(text) && error.contains("://"),
                "{text}: {error}"
            );
        }
    }
}
