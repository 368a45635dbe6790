//! Who is at the other end of a connection, as far as the connection itself tells.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::config::Digest;

/// What a connection tells of its other end.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) origin: Origin,
    /// Of a unix socket: the group of the process that connected.
    pub(super) gid: Option<u32>,
    /// Over TLS.
    pub(super) is_encrypted: bool,
    /// The client's own certificate; the handshake has checked that it comes from `tls.client_ca`.
    pub(super) certificate: Option<Digest>,
    /// Whether a call of this connection has been one that its role allows.
    is_admitted: AtomicBool,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// TCP.
    Ip(IpAddr),
    /// A unix socket; the kernel says whose process it was that connected.
    User { uid: u32 },
}

impl Caller {
    /// Without TLS.
    pub(super) fn new(origin: Origin, gid: Option<u32>) -> Self {
        Caller {
            origin,
            gid,
            is_encrypted: false,
            certificate: None,
            is_admitted: AtomicBool::new(false),
        }
    }

    /// The same, over TLS.
    pub(super) fn encrypted(self, certificate: Option<Digest>) -> Self {
        Caller {
            is_encrypted: true,
            certificate,
            ..self
        }
    }

    /// A call that its role allows has come.
    pub(super) fn admit(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is worth keeping: one of another machine only once it has shown that it may do something.
    pub(super) fn is_known(&self) -> bool {
        !self.origin.is_remote() || self.is_admitted.load(Ordering::Relaxed)
    }
}

impl Origin {
    /// From another machine.
    pub(super) fn is_remote(self) -> bool {
        matches!(self, Origin::Ip(address) if !address.is_loopback())
    }

    /// What bounds of a peer are counted by: whoever has an IPv6 address has its whole /64.
    pub(super) fn counted(self) -> Self {
        match self {
            Origin::Ip(IpAddr::V6(address)) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Origin::Ip(Ipv6Addr::from_bits(network).into())
            }
            Origin::Ip(IpAddr::V4(_)) | Origin::User { .. } => self,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Ip(address) => write!(f, "{address}"),
            Origin::User { uid } => write!(f, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_peer_and_so_are_processes_of_one_user() {
        let ip = |text: &str| Origin::Ip(text.parse().unwrap()).counted();
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:0:0:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_ne!(ip("10.0.0.1"), ip("10.0.0.2"));
        let [one, other] = [Some(1), Some(2)].map(|gid| Caller::new(Origin::User { uid: 7 }, gid));
        assert_eq!(one.origin.counted(), other.origin.counted());
    }
}
