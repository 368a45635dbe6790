//! Sockets that systemd bound for the daemon: sd_listen_fds(3).

use std::{env, io, net::TcpListener, os::unix::net::UnixListener};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::config::Listen;

/// The variable with the sockets' names, colons between them: `FileDescriptorName=` of the socket units.
const NAMES: &str = "LISTEN_FDNAMES";

/// Sockets that were handed over, by what is spoken on them.
#[derive(Debug, Default)]
pub struct Handed {
    /// gRPC: named `grpc`, `tls` or `unix`, or by nobody.
    pub grpc: Vec<Socket>,
    /// HTTP: named `http` or `https`.
    pub http: Vec<Socket>,
}

/// A socket that listens.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// TCP on which TLS is spoken.
    Tls(TcpListener),
    /// A unix socket; its file is systemd's.
    Unix(UnixListener),
}

/// Why handed sockets cannot be used: the unit must be changed.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// Neither TCP nor unix, or datagrams, or no socket at all.
    #[error(
        "socket {fd} ({name}) from systemd: must be a TCP or a unix stream socket (ListenStream=): {why}"
    )]
    Kind {
        /// Its number.
        fd: usize,
        /// Its name.
        name: String,
        /// What the kernel says.
        why: io::Error,
    },
    /// A connection perhaps, as inetd would hand over.
    #[error("socket {fd} ({name}) from systemd does not listen: Accept=no is needed")]
    Deaf {
        /// Its number.
        fd: usize,
        /// Its name.
        name: String,
    },
    /// Nobody says what is spoken on it, or it cannot be spoken on its kind.
    #[error(
        "socket {fd} from systemd is named {name:?}: FileDescriptorName= must be grpc, unix (gRPC on a unix socket) or http"
    )]
    Name {
        /// Its number.
        fd: usize,
        /// Its name.
        name: String,
    },
    /// It has no address that could be logged and checked.
    #[error("socket {fd} ({name}) from systemd has no address: {why}")]
    Address {
        /// Its number.
        fd: usize,
        /// Its name.
        name: String,
        /// What is missing.
        why: io::Error,
    },
}

/// The sockets that were handed to this process, none under no systemd. To be called once and before there are threads: the
/// variables are removed from the environment, so that no child believes that it is meant.
pub fn take() -> Result<Handed, HandedError> {
    let names = env::var(NAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut fds = ListenFd::from_env();
    let mut handed = Handed::default();
    for index in 0..fds.len() {
        // sd_listen_fds(3): they follow standard input, output and error.
        let fd = index + 3;
        let name = names.next().unwrap_or_default();
        let socket = Socket::take(&mut fds, index, fd, name)?;
        socket.check(fd, name)?;
        let (door, socket) = match (name, socket) {
            // A socket unit that says no name gives its own; `unknown` is what older systemd gives.
            ("grpc" | "" | "unknown", socket) => (&mut handed.grpc, socket),
            (unit, socket) if unit.ends_with(".socket") => (&mut handed.grpc, socket),
            ("tls", Socket::Tcp(socket)) => (&mut handed.grpc, Socket::Tls(socket)),
            ("unix", Socket::Unix(socket)) => (&mut handed.grpc, Socket::Unix(socket)),
            ("http", socket) => (&mut handed.http, socket),
            ("https", Socket::Tcp(socket)) => (&mut handed.http, Socket::Tls(socket)),
            (name, _) => {
                let name = name.to_owned();
                return Err(HandedError::Name { fd, name });
            }
        };
        door.push(socket);
    }
    Ok(handed)
}

impl Socket {
    fn take(fds: &mut ListenFd, index: usize, fd: usize, name: &str) -> Result<Self, HandedError> {
        let socket = match fds.take_tcp_listener(index) {
            Ok(socket) => socket.map(Socket::Tcp),
            Err(_) => fds
                .take_unix_listener(index)
                .map_err(|why| HandedError::Kind {
                    fd,
                    name: name.to_owned(),
                    why,
                })?
                .map(Socket::Unix),
        };
        Ok(socket.expect("each index is taken once"))
    }

    /// That it listens, and that its address can be said.
    fn check(&self, fd: usize, name: &str) -> Result<(), HandedError> {
        let name = name.to_owned();
        match (self.listens(), self.address()) {
            (Ok(true), Ok(_)) => Ok(()),
            (Ok(false), _) => Err(HandedError::Deaf { fd, name }),
            (Err(why), _) | (_, Err(why)) => Err(HandedError::Address { fd, name, why }),
        }
    }

    fn listens(&self) -> io::Result<bool> {
        Ok(match self {
            Socket::Tcp(socket) | Socket::Tls(socket) => socket_acceptconn(socket)?,
            Socket::Unix(socket) => socket_acceptconn(socket)?,
        })
    }

    /// As it would stand in `listen`.
    pub fn address(&self) -> io::Result<Listen> {
        match self {
            Socket::Tcp(socket) => socket.local_addr().map(Listen::Tcp),
            Socket::Tls(socket) => socket.local_addr().map(Listen::Tls),
            Socket::Unix(socket) => socket
                .local_addr()?
                .as_pathname()
                .map(|path| Listen::Unix(path.to_owned()))
                .ok_or_else(|| io::Error::other("a unix socket needs a path")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, os::fd::OwnedFd};

    use super::*;

    #[test]
    fn a_connection_is_told_from_a_socket_that_listens() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        assert!(Socket::Tcp(listening).listens().unwrap());
        let connection = TcpListener::from(OwnedFd::from(client));
        assert!(!Socket::Tcp(connection).listens().unwrap());
    }
}
