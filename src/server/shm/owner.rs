//! Whose regions are.

use super::{
    super::{Origin, Peer},
    RegionError,
    file::Asker,
};

/// Whose a region is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    /// As it is called: an address, a user, a token.
    pub(super) peer: String,
    /// None: the program that the daemon is inside of.
    pub(super) origin: Option<Origin>,
}

impl Owner {
    /// The peer as an owner. Errors: it is of another machine.
    pub(super) fn of(peer: &Peer) -> Result<Owner, RegionError> {
        let origin = peer.origin().map(Origin::counted);
        match origin.is_some_and(Origin::is_remote) {
            true => Err(RegionError::Denied(
                "shared memory is of one machine: a caller from another sends its pixels"
                    .to_owned(),
            )),
            false => Ok(Owner {
                peer: peer.to_string(),
                origin,
            }),
        }
    }

    /// Who asks for a file. `gid`: of a unix socket, the group of the process that connected.
    pub(super) fn asker(&self, gid: Option<u32>) -> Asker {
        match self.origin {
            Some(Origin::User { uid }) => Asker::User { uid, gid },
            Some(Origin::Ip(_)) => Asker::Anybody,
            None => Asker::User {
                uid: rustix::process::geteuid().as_raw(),
                gid: Some(rustix::process::getegid().as_raw()),
            },
        }
    }

    /// Without a connection.
    #[cfg(test)]
    pub(super) fn named(peer: &str) -> Owner {
        Owner {
            peer: peer.to_owned(),
            origin: None,
        }
    }
}
