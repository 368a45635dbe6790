//! Where a server is.

use std::{fmt, str::FromStr};

use tonic::transport::Endpoint;

/// `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:///PATH`, as a person wrote it; `http://` and `https://` mean the first two.
#[derive(Clone, Debug)]
pub(in crate::cli) struct ServerUrl {
    text: String,
    endpoint: Endpoint,
}

impl ServerUrl {
    /// Whether the server proves who it is.
    pub(super) fn is_tls(&self) -> bool {
        self.endpoint.uri().scheme_str() == Some("https")
    }

    /// For tonic.
    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let endpoint = match text.split_once("://") {
            Some(("tcp" | "http", rest)) => Endpoint::from_shared(format!("http://{rest}"))
                .ok()
                .filter(has_port),
            Some(("tls" | "https", rest)) => Endpoint::from_shared(format!("https://{rest}"))
                .ok()
                .filter(has_port),
            Some(("unix", path)) if path.len() > 1 && path.starts_with('/') => {
                Endpoint::from_shared(text.to_owned()).ok()
            }
            _ => None,
        };
        match endpoint {
            Some(endpoint) => Ok(ServerUrl {
                text: text.to_owned(),
                endpoint,
            }),
            None => Err("must be tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH".to_owned()),
        }
    }
}

fn has_port(endpoint: &Endpoint) -> bool {
    endpoint.uri().port().is_some()
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_the_server_prints_them() {
        for text in [
            "tcp://127.0.0.1:50051",
            "tcp://[::1]:50051",
            "http://scope-2:50051",
            "tls://scope-2:50051",
            "https://[::1]:50051",
            "unix:///run/cellsegd.sock",
        ] {
            assert_eq!(
                text.parse::<ServerUrl>().map(|url| url.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "scope-2",
            "scope-2:50051",
            "tcp://",
            "tcp://scope-2",
            "unix://x",
            "unix:///",
            "tls://scope-2",
            "tcp://a b:1",
        ] {
            let error = text.parse::<ServerUrl>().expect_err(text);
            assert!(error.contains("unix:///PATH"), "{text}: {error}");
        }
    }
}
