//! From a listening socket to connections that are worth serving.
//!
//! One loop a socket accepts; all that a stranger can draw out (TLS, HTTP's first words) happens beside it, within a time of its
//! own. What a connection does later is for HTTP/2's keepalive, which is stricter than TCP's: a client that does not answer a
//! ping, whatever else it sends, is gone.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    Origin, Shared,
    caller::Caller,
    connection::{Connection, Patience, Wire},
    places::{Full, Place},
    seldom::Seldom,
};
use crate::{config::Digest, telemetry::Bound};

/// How long nothing is accepted after an error that says that the machine is short of something, descriptors above all.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket that the runtime knows.
pub(super) enum Socket {
    Tcp(TcpListener),
    /// With TLS.
    Tls(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream),
    Tls(TcpStream),
    /// And the group of the process that connected.
    Unix(UnixStream, u32),
}

/// Accepts until nobody takes connections any more.
pub(super) async fn accept(
    socket: Socket,
    shared: Arc<Shared>,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    // Ends with this future.
    let mut arriving = JoinSet::new();
    let shortages = Seldom::default();
    loop {
        let accepted = tokio::select! {
            () = connections.closed() => return,
            Some(_) = arriving.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((wire, origin)) => {
                if let Some(place) = place(&shared, origin) {
                    arriving.spawn(arrive(
                        wire,
                        origin,
                        place,
                        Arc::clone(&shared),
                        connections.clone(),
                    ));
                }
            }
            Err(error) => pause_after(&error, &shortages).await,
        }
    }
}

/// After an error of accepting: nothing, where the client was gone again before it was accepted.
pub(super) async fn pause_after(error: &io::Error, shortages: &Seldom) {
    if is_about_one(error) {
        return;
    }
    if let Some(times) = shortages.say(std::time::Instant::now()) {
        warn!(%error, times, "no connection can be accepted: trying again");
    }
    tokio::time::sleep(PAUSE).await;
}

/// A place for a connection; without one it is closed at once, so that the next in line is looked at.
pub(super) fn place(shared: &Shared, origin: Origin) -> Option<Place<Origin>> {
    let limits = &shared.limits;
    let full = match shared
        .connections
        .take(origin.counted(), limits.connections_per_peer)
    {
        Ok(place) => return Some(place),
        Err(full) => full,
    };
    let (bound, most) = match full {
        Full::All => (Bound::Connections, limits.connections),
        Full::Own => (Bound::ConnectionsPerPeer, limits.connections_per_peer),
    };
    shared.metrics.refuse(bound);
    if let Some(times) = shared.refused_connections.say(std::time::Instant::now()) {
        warn!(peer = %origin, bound = bound.name(), most, times, "connections refused: too many are open");
    }
    None
}

/// TLS, then into service. What goes wrong here is the client's doing and harms nobody else.
async fn arrive(
    accepted: Accepted,
    origin: Origin,
    place: Place<Origin>,
    shared: Arc<Shared>,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let until = Instant::now() + shared.limits.patience();
    let (wire, caller) = match accepted {
        Accepted::Tcp(stream) => (Wire::Tcp(stream), Caller::new(origin, None)),
        Accepted::Unix(stream, gid) => (Wire::Unix(stream), Caller::new(origin, Some(gid))),
        Accepted::Tls(stream) => {
            let Some(config) = shared.gate.tls() else {
                debug!(peer = %origin, "TLS without a certificate");
                return;
            };
            match handshake(stream, config, until).await {
                Ok((wire, certificate)) => (wire, Caller::new(origin, None).encrypted(certificate)),
                Err(error) => {
                    shared.metrics.refuse(Bound::TlsHandshake);
                    if let Some(times) = shared.failed_handshakes.say(std::time::Instant::now()) {
                        warn!(peer = %origin, %error, times, "TLS handshake failed");
                    }
                    return;
                }
            }
        }
    };
    let late = {
        let metrics = Arc::clone(&shared.metrics);
        move || metrics.refuse(Bound::FirstMessage)
    };
    let patience = Patience::new(until, shared.limits.patience(), Box::new(late));
    let connection = Connection::new(wire, caller, patience, place);
    // Refused: the door is closed.
    let _ = connections.send(Ok(connection)).await;
}

async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    until: Instant,
) -> io::Result<(Wire, Option<Digest>)> {
    let stream = timeout_at(until, TlsAcceptor::from(config).accept(stream)).await??;
    let (_, session) = stream.get_ref();
    let certificate = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(Digest::of);
    Ok((Wire::Tls(Box::new(stream)), certificate))
}

impl Socket {
    async fn accept(&self) -> io::Result<(Accepted, Origin)> {
        match self {
            Socket::Tcp(listener) => tcp(listener).await.map(|(s, o)| (Accepted::Tcp(s), o)),
            Socket::Tls(listener) => tcp(listener).await.map(|(s, o)| (Accepted::Tls(s), o)),
            Socket::Unix(listener) => {
                let (stream, origin, gid) = accept_unix(listener).await?;
                Ok((Accepted::Unix(stream, gid), origin))
            }
        }
    }
}

/// A connection to a unix socket: the user of the process that connected, and its group.
pub(super) async fn accept_unix(listener: &UnixListener) -> io::Result<(UnixStream, Origin, u32)> {
    let (stream, _) = listener.accept().await?;
    let credentials = stream.peer_cred()?;
    let origin = Origin::User {
        uid: credentials.uid(),
    };
    Ok((stream, origin, credentials.gid()))
}

async fn tcp(listener: &TcpListener) -> io::Result<(TcpStream, Origin)> {
    let (stream, address) = listener.accept().await?;
    // Replies are small and awaited: they must not wait for more. A client that is gone by now is found out later.
    let _ = stream.set_nodelay(true);
    Ok((stream, Origin::Ip(address.ip().to_canonical())))
}

fn is_about_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected
    )
}
