//! Sessions between calls: each belongs to who opened it, and is given up when nobody has asked for it in a while.
//!
//! For doors whose clients ask and go: unlike a stream nothing tells that one has gone for good.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::dialog::Dialog;

/// How long a session without a frame so far may go without a call, where `limits.session_idle_s` is longer: one that was opened
/// and forgotten costs others little.
pub(super) const BEFORE_A_FRAME: Duration = Duration::from_secs(60);

/// Sessions that calls name. Each holds a session's place, which bounds them. `N`: names; `T`: what a door keeps beside each.
pub(super) struct HeldSessions<N, T>(Mutex<HashMap<Key<N>, Held<T>>>);

/// Whose a session is, and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<N> {
    pub(super) peer: String,
    pub(super) name: N,
}

/// A session, and what its door keeps beside it. It is in use while somebody has its dialog.
#[derive(Clone)]
pub(super) struct Held<T> {
    pub(super) dialog: Arc<Dialog>,
    pub(super) beside: T,
    used: Instant,
}

impl<N: Eq + Hash, T: Clone> HeldSessions<N, T> {
    /// From now on `key` is this one. One that had this name is given up.
    pub(super) fn keep(&self, key: Key<N>, dialog: Arc<Dialog>, beside: T) {
        let held = Held {
            dialog,
            beside,
            used: Instant::now(),
        };
        let given_up = self.lock().insert(key, held);
        // It ends here, outside of the lock.
        drop(given_up);
    }

    /// The open one of this name.
    pub(super) fn get(&self, key: &Key<N>) -> Option<Held<T>> {
        let mut open = self.lock();
        let held = open.get_mut(key)?;
        held.used = Instant::now();
        Some(held.clone())
    }

    /// Nobody asks for it by its name any more, if it is still the one of this session. It ends when nobody uses it.
    pub(super) fn forget(&self, key: &Key<N>, dialog: &Arc<Dialog>) {
        let mut open = self.lock();
        let is_it = |held: &Held<T>| Arc::ptr_eq(&held.dialog, dialog);
        if open.get(key).is_some_and(is_it) {
            open.remove(key);
        }
    }

    /// Ends those that nobody has asked for in `idle`; what their sessions were. Called about once a second.
    pub(super) fn close_idle(&self, now: Instant, idle: Duration) -> Vec<String> {
        let mut ended = Vec::new();
        self.lock().retain(|_, held| {
            if held.is_in_use() {
                held.used = now;
            }
            let stays = !held.left(now, idle).is_zero();
            if !stays {
                ended.push(Arc::clone(&held.dialog));
            }
            stays
        });
        // They end with the last of their dialogs, outside of the lock.
        let session = |dialog: Arc<Dialog>| dialog.opened().session.clone();
        ended.into_iter().map(session).collect()
    }

    /// When the next one of `peer`, or of anybody, ends unless it is asked for. None: all of them are in use.
    pub(super) fn next_end(
        &self,
        peer: Option<&str>,
        now: Instant,
        idle: Duration,
    ) -> Option<Duration> {
        let open = self.lock();
        let its = open
            .iter()
            .filter(|(key, _)| peer.is_none_or(|peer| key.peer == peer))
            .map(|(_, held)| held);
        its.filter(|held| !held.is_in_use())
            .map(|held| held.left(now, idle))
            .min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key<N>, Held<T>>> {
        // A map that is changed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Held<T> {
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.dialog) > 1
    }

    /// How much longer it may go without a call.
    fn left(&self, now: Instant, idle: Duration) -> Duration {
        let idle = match self.dialog.has_had_a_frame() {
            true => idle,
            false => idle.min(BEFORE_A_FRAME),
        };
        idle.saturating_sub(now.saturating_duration_since(self.used))
    }
}

impl<N, T> Default for HeldSessions<N, T> {
    fn default() -> Self {
        HeldSessions(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::LimitSettings,
        server::{
            Shared,
            rig::{self, dialog, frame, one_cell},
        },
    };

    fn shared() -> Arc<Shared> {
        rig::shared(one_cell(), LimitSettings::default())
    }

    async fn open(shared: &Arc<Shared>) -> Arc<Dialog> {
        Arc::new(dialog(shared).await)
    }

    fn of(peer: &str, name: u32) -> Key<u32> {
        Key {
            peer: peer.to_owned(),
            name,
        }
    }

    #[tokio::test]
    async fn one_without_a_frame_ends_sooner_and_one_in_use_does_not() {
        let shared = shared();
        let held = HeldSessions::default();
        let with_a_frame = open(&shared).await;
        with_a_frame.frame(frame(1)).await.unwrap();
        held.keep(of("a", 1), with_a_frame, ());
        held.keep(of("a", 2), open(&shared).await, ());
        held.keep(of("b", 3), open(&shared).await, ());
        let in_use = held.get(&of("b", 3)).unwrap();
        let session = |name| held.get(&of("a", name)).unwrap().dialog.opened();
        let (first, second) = (session(1).session.clone(), session(2).session.clone());

        let now = Instant::now();
        let (idle, second_s) = (Duration::from_secs(1800), Duration::from_secs(1));
        let ends = |peer, now| held.next_end(peer, now, idle);
        assert!(ends(Some("a"), now).is_some_and(|left| left <= BEFORE_A_FRAME));
        assert_eq!(ends(Some("b"), now), None, "it is in use");
        assert_eq!(ends(Some("c"), now), None, "there is none");
        let nearly = now + BEFORE_A_FRAME - second_s;
        assert_eq!(held.close_idle(nearly, idle), [""; 0]);
        assert_eq!(held.close_idle(now + BEFORE_A_FRAME, idle), [second]);
        let left = ends(None, now + BEFORE_A_FRAME).unwrap();
        assert!(idle - 2 * BEFORE_A_FRAME < left && left <= idle - BEFORE_A_FRAME + second_s);
        assert_eq!(held.close_idle(now + idle, idle), [first]);

        // What was in use counts from its last sight; a shorter bound holds before a frame, too.
        drop(in_use);
        assert_eq!(held.close_idle(now + idle + second_s, second_s).len(), 1);
    }

    #[tokio::test]
    async fn a_name_that_is_taken_again_is_the_new_ones() {
        let shared = shared();
        let held = HeldSessions::default();
        let (old, new) = (open(&shared).await, open(&shared).await);
        held.keep(of("a", 1), Arc::clone(&old), ());
        held.keep(of("a", 1), Arc::clone(&new), ());
        held.forget(&of("a", 1), &old);
        let found = held.get(&of("a", 1)).unwrap();
        assert!(Arc::ptr_eq(&found.dialog, &new));
        assert!(held.get(&of("b", 1)).is_none(), "it is another's");
        held.forget(&of("a", 1), &new);
        assert!(held.get(&of("a", 1)).is_none());
    }
}
