//! Settings that are words: how each is read and written, the same in files, in the environment and on the command line.

use std::{fmt, str::FromStr};

use super::{EngineKind, GpuFallback, GpuPriority, GpuWait, Listen, LogFormat};

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
        text.strip_prefix("tcp://")
            .and_then(|address| address.parse().ok())
            .map(Listen::Tcp)
            .ok_or_else(|| {
                format!("{text:?} must be tcp://IP:PORT, as tcp://127.0.0.1:50051, or unix:///PATH")
            })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "tcp://{address}"),
            Listen::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl FromStr for EngineKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(EngineKind::Auto),
            "rten" => Ok(EngineKind::Rten),
            "onnxruntime" => Ok(EngineKind::OnnxRuntime),
            _ => Err(format!("{text:?} must be auto, rten or onnxruntime")),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Auto => "auto",
            EngineKind::Rten => "rten",
            EngineKind::OnnxRuntime => "onnxruntime",
        })
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} must be text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
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

words!(GpuWait: "auto" = GpuWait::Auto, "spin" = GpuWait::Spin, "block" = GpuWait::Block; "auto, spin or block");
words!(GpuPriority: "low" = GpuPriority::Low, "normal" = GpuPriority::Normal, "high" = GpuPriority::High; "low, normal or high");
words!(GpuFallback: "never" = GpuFallback::Never, "cpu" = GpuFallback::Cpu; "never or cpu");

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
    GpuWait,
    GpuPriority,
    GpuFallback
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "tcp://127.0.0.1:50051",
            "tcp://[::1]:0",
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
