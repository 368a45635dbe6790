//! Who is calling.

use std::fmt;

use tonic::{Request, Status};

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
    /// The trace that the call belongs to.
    parent: Parent,
}

impl Peer {
    pub(super) fn new(name: String, role: Role, most: RoleLimits) -> Self {
        Peer {
            name,
            role,
            most,
            parent: Parent::default(),
        }
    }

    /// Who makes a call. The gate has put it there: without it nobody has checked, and nobody is let in.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer =
            peer.ok_or_else(|| Status::unauthenticated("nobody has checked who is calling"))?;
        let metadata = request.metadata();
        Ok(Peer {
            parent: Parent::of(|name| metadata.get(name)?.to_str().ok()),
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
            parent: Parent::default(),
        }
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.role
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
