//! Where clients come in: TCP, with TLS or without, and unix sockets; bound here, or handed over by systemd.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Router;

use super::{
    Shared,
    accept::{Socket, accept},
};
use crate::config::Listen;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// TCP with TLS.
    Tls(std::net::TcpListener),
    /// A unix socket, and the path that is removed at the end if the socket is ours.
    Unix(std::os::unix::net::UnixListener, Option<PathBuf>),
}

/// Binds every address, or none: what was bound is given back if one fails.
pub fn bind(addresses: &[Listen]) -> io::Result<Vec<Listener>> {
    addresses.iter().map(Listener::bind).collect()
}

/// Binds a unix socket.
pub(super) fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    // A socket left by a daemon that died is nobody's; one that answers is somebody's.
    if std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    std::os::unix::net::UnixListener::bind(path)
}

impl Listener {
    /// A socket that somebody else has bound, as systemd does.
    pub fn adopt_tcp(listener: std::net::TcpListener) -> Self {
        Listener::Tcp(listener)
    }

    /// The same, with TLS: `[tls]` must name a certificate.
    pub fn adopt_tls(listener: std::net::TcpListener) -> Self {
        Listener::Tls(listener)
    }

    /// A socket that somebody else has bound: it outlives this process.
    pub fn adopt_unix(listener: std::os::unix::net::UnixListener) -> Self {
        Listener::Unix(listener, None)
    }

    fn bind(listen: &Listen) -> io::Result<Self> {
        let context = |error: io::Error| io::Error::new(error.kind(), format!("{listen}: {error}"));
        match listen {
            Listen::Tcp(address) => std::net::TcpListener::bind(address)
                .map(Listener::Tcp)
                .map_err(context),
            Listen::Tls(address) => std::net::TcpListener::bind(address)
                .map(Listener::Tls)
                .map_err(context),
            Listen::Unix(path) => {
                let listener = bind_unix(path).map_err(context)?;
                Ok(Listener::Unix(listener, Some(path.clone())))
            }
        }
    }

    /// As a client writes it: `tcp://127.0.0.1:50051`, with the port that was taken.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => Listen::Tcp(address).to_string(),
                Err(error) => format!("tcp://? ({error})"),
            },
            Listener::Tls(listener) => match listener.local_addr() {
                Ok(address) => Listen::Tls(address).to_string(),
                Err(error) => format!("tls://? ({error})"),
            },
            Listener::Unix(_, Some(path)) => Listen::Unix(path.clone()).to_string(),
            Listener::Unix(listener, None) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => Listen::Unix(path.to_owned()).to_string(),
                    None => "unix://? (without a path)".to_owned(),
                },
                Err(error) => format!("unix://? ({error})"),
            },
        }
    }

    /// The same, for programs of this machine that have no certificate to check. None: it is not for them.
    pub(super) fn local_address(&self) -> Option<String> {
        match self {
            Listener::Tcp(listener) => {
                let mut address = listener.local_addr().ok()?;
                if address.ip().is_unspecified() {
                    address.set_ip(match address {
                        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                    });
                }
                Some(Listen::Tcp(address).to_string())
            }
            Listener::Tls(_) => None,
            Listener::Unix(..) => Some(self.address()).filter(|address| !address.contains('?')),
        }
    }

    /// Serves `router` until `stop` completes and every stream has ended. Needs a runtime.
    pub(super) fn serve(
        self,
        shared: Arc<Shared>,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<impl Future<Output = Result<(), tonic::transport::Error>> + Send> {
        let tcp = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let (socket, path) = match self {
            Listener::Tcp(listener) => (Socket::Tcp(tcp(listener)?), None),
            Listener::Tls(listener) => (Socket::Tls(tcp(listener)?), None),
            Listener::Unix(listener, path) => {
                listener.set_nonblocking(true)?;
                (Socket::Unix(UnixListener::from_std(listener)?), path)
            }
        };
        let (connections, incoming) = mpsc::channel(1);
        let accepting = accept(socket, shared, connections);
        Ok(async move {
            let serving = router.serve_with_incoming_shutdown(ReceiverStream::new(incoming), stop);
            let (served, ()) = tokio::join!(serving, accepting);
            if let Some(path) = path {
                // Somebody may have removed it already.
                let _ = std::fs::remove_file(path);
            }
            served
        })
    }
}
