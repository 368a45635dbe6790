//! From flags to a connection that the server lets in.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use super::{ServerUrl, WINDOW_BYTES};
use crate::config::refuse_open;

/// Where the packaged daemon listens for this machine's users.
pub(in crate::cli) const LOCAL_SOCKET: &str = "/run/cellsegd/cellsegd.sock";
/// Where a daemon without settings listens.
const LOCAL_PORT: &str = "tcp://127.0.0.1:50051";

/// A channel that says who calls.
pub(in crate::cli) type Connection = InterceptedService<Channel, Bearer>;

/// Which daemon, and what it is shown.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ConnectFlags {
    /// tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH [default: unix:///run/cellsegd/cellsegd.sock if it is there, else tcp://127.0.0.1:50051]
    #[arg(long, value_name = "URL")]
    server: Option<ServerUrl>,
    #[command(flatten)]
    credentials: CredentialFlags,
}

/// What a daemon is shown, and what it has to show.
#[derive(Args, Clone, Debug, Default)]
pub(in crate::cli) struct CredentialFlags {
    /// File with the token that 'cellsegd pair' printed
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate of the CA that the server's must come from, PEM; needed with tls://
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

/// What [`CredentialFlags`] name, read.
#[derive(Clone, Default)]
pub(in crate::cli) struct Credentials {
    bearer: Bearer,
    ca: Option<Certificate>,
    identity: Option<Identity>,
}

/// How long a daemon may take to accept a connection, TLS and all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts the token into every call.
#[derive(Clone, Default)]
pub(in crate::cli) struct Bearer(Option<MetadataValue<Ascii>>);

impl ConnectFlags {
    /// Which daemon is meant.
    pub(in crate::cli) fn url(&self) -> Result<ServerUrl> {
        if let Some(url) = &self.server {
            return Ok(url.clone());
        }
        let text = match Path::new(LOCAL_SOCKET).exists() {
            true => format!("unix://{LOCAL_SOCKET}"),
            false => LOCAL_PORT.to_owned(),
        };
        text.parse().map_err(anyhow::Error::msg)
    }

    /// Connects.
    pub(in crate::cli) async fn connect(&self) -> Result<Connection> {
        connect(&self.url()?, &self.credentials.read()?).await
    }
}

impl CredentialFlags {
    /// Reads the files.
    pub(in crate::cli) fn read(&self) -> Result<Credentials> {
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        let bearer = match &self.token_file {
            None => None,
            Some(path) => {
                refuse_open(path)?;
                let text = String::from_utf8(read(path)?)
                    .with_context(|| format!("{}: not a token", path.display()))?;
                let value = MetadataValue::try_from(format!("Bearer {}", text.trim()))
                    .with_context(|| format!("{}: not a token", path.display()))?;
                Some(value)
            }
        };
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                Some(Identity::from_pem(read(certificate)?, read(key)?))
            }
            _ => None,
        };
        let ca = self.ca.as_deref().map(read).transpose()?;
        Ok(Credentials {
            bearer: Bearer(bearer),
            ca: ca.map(Certificate::from_pem),
            identity,
        })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Connects to the daemon at `url`, with the transport set up for answers with many cells.
pub(in crate::cli) async fn connect(
    url: &ServerUrl,
    credentials: &Credentials,
) -> Result<Connection> {
    let mut endpoint = url
        .endpoint()
        .connect_timeout(PATIENCE)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if url.is_tls() {
        let Some(ca) = &credentials.ca else {
            bail!("{url}: --ca FILE is needed, the CA's certificate that 'cellsegd pair' made");
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(ca.clone());
        if let Some(identity) = &credentials.identity {
            tls = tls.identity(identity.clone());
        }
        endpoint = endpoint
            .tls_config(tls)
            .with_context(|| format!("{url}: the files for TLS"))?;
    } else if credentials.ca.is_some() || credentials.identity.is_some() {
        bail!("{url}: certificates are for tls://");
    }
    // The endpoint's own time-out ends with TCP: a port that accepts and says nothing would be waited for.
    let channel = tokio::time::timeout(PATIENCE, endpoint.connect())
        .await
        .with_context(|| format!("{url}: no answer within {} s", PATIENCE.as_secs()))?
        .with_context(|| match url.is_tls() {
            true => format!("no server that --ca vouches for answers at {url}"),
            false => format!("no server answers at {url}: start one with 'cellsegd serve'"),
        })?;
    Ok(InterceptedService::new(channel, credentials.bearer.clone()))
}
