//! Sequences: sessions that single requests name.

use super::{super::held, options::SequenceId};
use crate::proto as pb;

/// Those that are open. One that is started again before it ended is given up, as Triton does.
pub(super) type Sequences = held::HeldSessions<Name, pb::SessionOptions>;

/// Whose a sequence is, and what it is called there.
pub(super) type Key = held::Key<Name>;

/// A sequence's session, and its options as its first request asked for them.
pub(super) type Sequence = held::Held<pb::SessionOptions>;

/// What a sequence is called: each model has its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) model: String,
    pub(super) id: SequenceId,
}
