//! Who is calling.

use std::fmt;

use axum::http;
use tonic::{Request, Status};

use super::{Origin, caller::Caller};
use crate::{
    config::{PriorityCap, Role, RoleLimits},
    pool::Priority,
    telemetry::Parent,
};

/// Who is calling, as settled when the call was checked.
#[derive(Clone, Debug)]
pub struct Peer {
    name: String,
    role: Role,
    most: RoleLimits,
    /// Where its connection comes from, and of a unix socket the group of its process; None: it has none.
    from: Option<(Origin, Option<u32>)>,
    /// The trace that the call belongs to.
    parent: Parent,
}

impl Peer {
    pub(super) fn new(name: String, role: Role, most: RoleLimits) -> Self {
        Peer {
            name,
            role,
            most,
            from: None,
            parent: Parent::default(),
        }
    }

    /// The same, at the other end of a connection.
    pub(super) fn of_connection(self, caller: &Caller) -> Self {
        Peer {
            from: Some((caller.origin, caller.gid)),
            ..self
        }
    }

    /// Who makes a call. The gate has put it there: without it nobody has checked, and nobody is let in.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let metadata = request.metadata();
        Peer::settled(request.extensions(), |name| {
            metadata.get(name)?.to_str().ok()
        })
    }

    /// The same, of a call of HTTP.
    pub(super) fn of_http<T>(request: &http::Request<T>) -> Result<Self, Status> {
        let headers = request.headers();
        Peer::settled(request.extensions(), |name| {
            headers.get(name)?.to_str().ok()
        })
    }

    fn settled<'a>(
        extensions: &http::Extensions,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, Status> {
        let peer = extensions.get::<Peer>().cloned();
        let peer =
            peer.ok_or_else(|| Status::unauthenticated("nobody has checked who is calling"))?;
        Ok(Peer {
            parent: Parent::of(header),
            ..peer
        })
    }

    /// The trace that the call belongs to.
    pub(super) fn parent(&self) -> &Parent {
        &self.parent
    }

    /// The program that the daemon is inside of.
    pub(super) fn in_process() -> Self {
        Peer {
            name: "in process".to_owned(),
            role: Role::Admin,
            most: RoleLimits {
                sessions: usize::MAX,
                priority: PriorityCap::Urgent,
            },
            from: None,
            parent: Parent::default(),
        }
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where its connection comes from. None: it is the program that the daemon is inside of.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.from.map(|(origin, _)| origin)
    }

    /// Of a unix socket: the group of the process that connected.
    pub(super) fn gid(&self) -> Option<u32> {
        self.from.and_then(|(_, gid)| gid)
    }

    /// Sessions that it may have at the same time.
    pub(super) fn max_sessions(&self) -> usize {
        self.most.sessions
    }

    /// The highest priority that its sessions get.
    pub(super) fn max_priority(&self) -> Priority {
        match self.most.priority {
            PriorityCap::Background => Priority::Background,
            PriorityCap::Normal => Priority::Normal,
            PriorityCap::Urgent => Priority::Urgent,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
