//! Sequences: sessions that single requests name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{super::dialog::Dialog, options::SequenceId};
use crate::proto as pb;

/// Those that are open. Each holds a session's place, which bounds them.
#[derive(Default)]
pub(super) struct Sequences(Mutex<HashMap<Key, Sequence>>);

/// Whose a sequence is, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) peer: String,
    pub(super) model: String,
    pub(super) id: SequenceId,
}

/// A sequence's session.
#[derive(Clone)]
pub(super) struct Sequence {
    pub(super) dialog: Arc<Dialog>,
    /// As its first request asked for them.
    pub(super) options: pb::SessionOptions,
    used: Instant,
}

impl Sequences {
    /// From now on `key` is this one. One that did not end before is given up, as Triton does.
    pub(super) fn start(&self, key: Key, dialog: Arc<Dialog>, options: pb::SessionOptions) {
        let sequence = Sequence {
            dialog,
            options,
            used: Instant::now(),
        };
        let given_up = self.lock().insert(key, sequence);
        drop(given_up);
    }

    /// The open one of this name.
    pub(super) fn get(&self, key: &Key) -> Option<Sequence> {
        let mut open = self.lock();
        let sequence = open.get_mut(key)?;
        sequence.used = Instant::now();
        Some(sequence.clone())
    }

    /// Nobody asks for it by its name any more, if it is still the one of this session.
    pub(super) fn end(&self, key: &Key, dialog: &Arc<Dialog>) {
        let mut open = self.lock();
        if open
            .get(key)
            .is_some_and(|sequence| Arc::ptr_eq(&sequence.dialog, dialog))
        {
            open.remove(key);
        }
    }

    /// Ends those that were not used for so long and have nothing in flight; what their sessions were.
    pub(super) fn close_idle(&self, now: Instant, idle: Duration) -> Vec<String> {
        let mut closed = Vec::new();
        self.lock().retain(|_, sequence| {
            let is_busy = Arc::strong_count(&sequence.dialog) > 1;
            if is_busy {
                sequence.used = now;
            }
            let stays = is_busy || now.saturating_duration_since(sequence.used) < idle;
            if !stays {
                closed.push(sequence.dialog.opened().session.clone());
            }
            stays
        });
        closed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Sequence>> {
        // A map that is changed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
