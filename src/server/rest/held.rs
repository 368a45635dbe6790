//! Sessions between calls: each belongs to who opened it, and is given up when nobody has asked for it in a while.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::server::dialog::Dialog;

/// The sessions that were opened by HTTP, by their ids. As many as there may be sessions at all.
pub(in crate::server) struct Sessions {
    held: Mutex<HashMap<String, Arc<Held>>>,
    idle: Duration,
}

/// A session, and who may use it.
pub(super) struct Held {
    pub(super) dialog: Dialog,
    peer: String,
    next_id: AtomicU64,
    calls: Mutex<Calls>,
}

struct Calls {
    in_progress: usize,
    /// When the last one ended.
    last: Instant,
}

/// A session while a call uses it.
pub(super) struct InUse(Arc<Held>);

impl Sessions {
    pub(in crate::server) fn new(idle: Duration) -> Self {
        Sessions {
            held: Mutex::default(),
            idle,
        }
    }

    /// Keeps a session for `peer`.
    pub(super) fn keep(&self, dialog: Dialog, peer: String) {
        let held = Held {
            peer,
            next_id: AtomicU64::new(1),
            calls: Mutex::new(Calls {
                in_progress: 0,
                last: Instant::now(),
            }),
            dialog,
        };
        let id = held.dialog.opened().session.clone();
        lock(&self.held).insert(id, Arc::new(held));
    }

    /// The session of this id, if it is `peer`'s.
    pub(super) fn of(&self, id: &str, peer: &str) -> Option<InUse> {
        let held = lock(&self.held);
        let found = held.get(id).filter(|held| held.peer == peer)?;
        lock(&found.calls).in_progress += 1;
        Some(InUse(Arc::clone(found)))
    }

    /// Forgets a session. It ends when no call uses it.
    pub(super) fn forget(&self, session: &InUse) {
        let opened = session.dialog.opened();
        lock(&self.held).remove(&opened.session);
    }

    /// Gives up those that nobody has asked for in a while. Their ids.
    pub(in crate::server) fn sweep(&self, now: Instant) -> Vec<String> {
        let mut given_up = Vec::new();
        let mut ended = Vec::new();
        lock(&self.held).retain(|id, held| {
            let calls = lock(&held.calls);
            let is_idle =
                calls.in_progress == 0 && self.idle <= now.saturating_duration_since(calls.last);
            drop(calls);
            if is_idle {
                given_up.push(id.clone());
                ended.push(Arc::clone(held));
            }
            !is_idle
        });
        // They end here, outside of the lock.
        drop(ended);
        given_up
    }
}

impl Held {
    /// The id of the next frame that brings none.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A frame brings this id: those that bring none are counted on from it, so that none takes it while it is in flight.
    pub(super) fn brought_id(&self, id: u64) {
        // Behind the greatest there is none: the count stays where it is.
        let next = id.wrapping_add(1);
        self.next_id.fetch_max(next, Ordering::Relaxed);
    }
}

impl Deref for InUse {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut calls = lock(&self.0.calls);
        calls.in_progress -= 1;
        calls.last = Instant::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can panic halfway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
