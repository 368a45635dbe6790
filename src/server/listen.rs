//! Where clients come in: TCP and unix sockets.

use std::{future::Future, io, path::PathBuf};

use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::{Router, TcpIncoming};

use crate::config::Listen;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix socket and the path that it is removed from at the end.
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

/// Binds every address, or none: what was bound is given back if one fails.
pub fn bind(addresses: &[Listen]) -> io::Result<Vec<Listener>> {
    addresses.iter().map(Listener::bind).collect()
}

impl Listener {
    fn bind(listen: &Listen) -> io::Result<Self> {
        let context = |error: io::Error| io::Error::new(error.kind(), format!("{listen}: {error}"));
        match listen {
            Listen::Tcp(address) => std::net::TcpListener::bind(address)
                .map(Listener::Tcp)
                .map_err(context),
            Listen::Unix(path) => {
                // A socket left by a daemon that died is nobody's; one that answers is somebody's.
                if std::os::unix::net::UnixStream::connect(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
                {
                    std::fs::remove_file(path).map_err(context)?;
                }
                let listener = std::os::unix::net::UnixListener::bind(path).map_err(context)?;
                Ok(Listener::Unix(listener, path.clone()))
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
            Listener::Unix(_, path) => Listen::Unix(path.clone()).to_string(),
        }
    }

    /// Serves `router` until `stop` completes and every stream has ended. Needs a runtime.
    pub(super) fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<impl Future<Output = Result<(), tonic::transport::Error>> + Send> {
        enum Incoming {
            Tcp(TcpIncoming),
            Unix(UnixListenerStream, PathBuf),
        }
        let incoming = match self {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                // Replies are small and awaited: they must not wait for more.
                Incoming::Tcp(TcpIncoming::from(listener).with_nodelay(Some(true)))
            }
            Listener::Unix(listener, path) => {
                listener.set_nonblocking(true)?;
                Incoming::Unix(
                    UnixListenerStream::new(tokio::net::UnixListener::from_std(listener)?),
                    path,
                )
            }
        };
        Ok(async move {
            match incoming {
                Incoming::Tcp(incoming) => {
                    router.serve_with_incoming_shutdown(incoming, stop).await
                }
                Incoming::Unix(incoming, path) => {
                    let served = router.serve_with_incoming_shutdown(incoming, stop).await;
                    // Somebody may have removed it already.
                    let _ = std::fs::remove_file(path);
                    served
                }
            }
        })
    }
}
