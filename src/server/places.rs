//! So many places, so many of them for each: connections of an address, sessions of a peer.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts who holds how many places.
pub(super) struct Places<K> {
    held: Mutex<Held<K>>,
    most: usize,
}

struct Held<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// One place; given back when dropped.
pub(super) struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    whose: K,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// For anybody.
    All,
    /// For this one.
    Own,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// At most `most` in all.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let held = Held {
            all: 0,
            by: HashMap::new(),
        };
        Arc::new(Places {
            held: Mutex::new(held),
            most,
        })
    }

    /// As many as there are.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A place for `whose`, who may hold `most_own`.
    pub(super) fn take(self: &Arc<Self>, whose: K, most_own: usize) -> Result<Place<K>, Full> {
        let mut held = self.lock();
        if held.by.get(&whose).is_some_and(|&own| own >= most_own) {
            return Err(Full::Own);
        }
        if held.all >= self.most {
            return Err(Full::All);
        }
        held.all += 1;
        *held.by.entry(whose.clone()).or_default() += 1;
        drop(held);
        Ok(Place {
            places: Arc::clone(self),
            whose,
        })
    }
}

impl<K: Eq + Hash> Places<K> {
    /// Whether somebody holds a place.
    pub(super) fn has(&self, whose: &K) -> bool {
        self.lock().by.contains_key(whose)
    }
}

impl<K> Places<K> {
    fn lock(&self) -> MutexGuard<'_, Held<K>> {
        // Two counts, changed together.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        held.all -= 1;
        if let Some(own) = held.by.get_mut(&self.whose) {
            *own -= 1;
            if *own == 0 {
                held.by.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_given_back_is_free_for_the_next() {
        let places = Places::new(3);
        let first = places.take("a", 2).ok();
        let _second = places.take("a", 2).ok();
        assert_eq!(places.take("a", 2).err(), Some(Full::Own));
        let _third = places.take("b", 2).ok();
        assert_eq!(places.take("c", 2).err(), Some(Full::All));
        assert_eq!(places.lock().all, 3);
        drop(first);
        assert!(places.take("a", 2).is_ok());
        assert_eq!(places.lock().all, 2);
        assert_eq!(places.lock().by.len(), 2, "nobody is remembered for ever");
    }
}
