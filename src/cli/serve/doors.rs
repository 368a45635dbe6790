//! Where clients come in: addresses of the settings, and sockets that systemd bound in their place.

use std::io;

use tracing::info;

use crate::{
    config::{Listen, Settings, SettingsError},
    server::{self, Listener},
    systemd::{Handed, Socket},
};

/// Every door, as the settings and systemd want it.
#[derive(Debug)]
pub(super) struct Doors {
    /// gRPC.
    pub(super) grpc: Door,
    /// HTTP.
    pub(super) http: Door,
}

/// What is bound already, and what is to be bound beside it.
#[derive(Debug)]
pub(super) struct Door {
    handed: Vec<Socket>,
    bind: Vec<Listen>,
}

impl Doors {
    /// Settings then name the sockets that were handed over too and are checked again: an address that other machines reach
    /// needs the same care, whoever bound it.
    pub(super) fn new(settings: &mut Settings, handed: Handed) -> Result<Self, SettingsError> {
        let default = Settings::default();
        let doors = Doors {
            grpc: Door::new(&mut settings.listen, &default.listen, handed.grpc),
            http: Door::new(&mut settings.http, &default.http, handed.http),
        };
        settings.check()?;
        Ok(doors)
    }
}

impl Door {
    /// With sockets handed over the default says nothing about their kind, TCP or unix; an address that was written down is
    /// bound beside them.
    fn new(configured: &mut Vec<Listen>, default: &[Listen], handed: Vec<Socket>) -> Self {
        let is_default = configured == default;
        // Each was asked for its address when it was taken.
        let addresses: Vec<Listen> = handed.iter().flat_map(Socket::address).collect();
        let mut bind = configured.clone();
        bind.retain(|address| match is_default {
            true => !addresses.iter().any(|other| is_same_kind(address, other)),
            false => !addresses.contains(address),
        });
        *configured = [addresses, bind.clone()].concat();
        Door { handed, bind }
    }

    /// Binds what is to be bound.
    pub(super) fn open(self) -> io::Result<Vec<Listener>> {
        for socket in &self.handed {
            info!(address = %socket.address()?, "socket from systemd");
        }
        let adopted = self.handed.into_iter().map(|socket| match socket {
            Socket::Tcp(socket) => Listener::adopt_tcp(socket),
            Socket::Tls(socket) => Listener::adopt_tls(socket),
            Socket::Unix(socket) => Listener::adopt_unix(socket),
        });
        let bound = server::bind(&self.bind)?;
        Ok(adopted.chain(bound).collect())
    }
}

fn is_same_kind(a: &Listen, b: &Listen) -> bool {
    matches!(a, Listen::Unix(_)) == matches!(b, Listen::Unix(_))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn tcp(address: &str) -> Handed {
        Handed {
            grpc: vec![Socket::Tcp(TcpListener::bind(address).unwrap())],
            ..Handed::default()
        }
    }

    fn settings(listen: &[&str]) -> Settings {
        Settings {
            listen: listen.iter().map(|each| each.parse().unwrap()).collect(),
            ..Settings::default()
        }
    }

    #[test]
    fn addresses_that_were_written_down_are_bound_beside_the_sockets() {
        let handed = tcp("127.0.0.1:0");
        let address = handed.grpc[0].address().unwrap();
        let mut settings = settings(&["tcp://127.0.0.1:1", &address.to_string(), "unix:///s"]);
        let doors = Doors::new(&mut settings, handed).unwrap();
        let beside = [
            "tcp://127.0.0.1:1".parse().unwrap(),
            "unix:///s".parse().unwrap(),
        ];
        assert_eq!(doors.grpc.bind, beside);
        assert_eq!(settings.listen[0], address);
        assert_eq!(settings.listen[1..], beside);
    }

    #[test]
    fn a_socket_takes_the_place_of_the_default() {
        let mut settings = Settings::default();
        let handed = tcp("127.0.0.1:0");
        let address = handed.grpc[0].address().unwrap();
        let doors = Doors::new(&mut settings, handed).unwrap();
        assert_eq!((doors.grpc.bind.len(), settings.listen), (0, vec![address]));
    }

    #[test]
    fn a_socket_that_other_machines_reach_is_held_to_the_same_rules() {
        let mut settings = settings(&["tcp://127.0.0.1:1"]);
        let error = Doors::new(&mut settings, tcp("0.0.0.0:0")).err().unwrap();
        assert!(error.to_string().contains("tcp://0.0.0.0"), "{error}");
    }
}
