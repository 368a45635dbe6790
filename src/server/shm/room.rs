//! How many regions and bytes there may be, of all and of each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Owner, RegionError};
use crate::config::SharedMemorySettings;

/// Counts what is mapped: also what is forgotten and still read.
pub(super) struct Rooms {
    used: Mutex<Used>,
    most: Amount,
    most_own: Amount,
}

#[derive(Default)]
struct Used {
    all: Amount,
    by: HashMap<Owner, Amount>,
}

#[derive(Clone, Copy, Default)]
struct Amount {
    regions: usize,
    bytes: u64,
}

/// Why there is no room.
#[derive(Debug)]
pub(super) struct Short {
    /// Whose regions are too many or too large; None: those of all together.
    pub(super) of: Option<Owner>,
    pub(super) error: RegionError,
}

/// Room for one region; given back when dropped.
pub(super) struct Room {
    rooms: Arc<Rooms>,
    owner: Owner,
    bytes: u64,
}

impl Rooms {
    pub(super) fn new(settings: &SharedMemorySettings) -> Arc<Rooms> {
        Arc::new(Rooms {
            used: Mutex::default(),
            most: Amount {
                regions: settings.regions,
                bytes: settings.bytes,
            },
            most_own: Amount {
                regions: settings.regions_per_peer,
                bytes: settings.bytes_per_peer,
            },
        })
    }

    /// Room for a region of `bytes`, in place of one of the same owner's that goes. Errors: with [`RegionError::Full`].
    pub(super) fn take(
        self: &Arc<Self>,
        owner: &Owner,
        bytes: u64,
        goes: Option<&Room>,
    ) -> Result<Room, Short> {
        let mut used = self.lock();
        let own = used.by.get(owner).copied().unwrap_or_default();
        let [mut all, mut own] = [used.all, own];
        let full = |of: Option<&Owner>, why| {
            let error = RegionError::Full(why);
            let of = of.cloned();
            Short { of, error }
        };
        if let Some(goes) = goes {
            all.take(goes.bytes);
            own.take(goes.bytes);
        }
        for (held, most, of, whose) in [
            (own, self.most_own, Some(owner), "of this caller"),
            (all, self.most, None, "of all callers"),
        ] {
            if held.regions >= most.regions {
                let why = format!(
                    "{} regions {whose} are registered or in use, and no more are served: unregister one",
                    held.regions
                );
                return Err(full(of, why));
            }
            if most.bytes < held.bytes.saturating_add(bytes) {
                let why = format!(
                    "{bytes} bytes beside the {} {whose} that are registered or in use: at most {} bytes are served",
                    held.bytes, most.bytes
                );
                return Err(full(of, why));
            }
        }
        used.all.add(bytes);
        used.by.entry(owner.clone()).or_default().add(bytes);
        drop(used);
        Ok(Room {
            rooms: Arc::clone(self),
            owner: owner.clone(),
            bytes,
        })
    }

    /// Regions that are mapped, and their bytes.
    pub(super) fn used(&self) -> (usize, u64) {
        let all = self.lock().all;
        (all.regions, all.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        // Counts, changed together.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.regions += 1;
        self.bytes += bytes;
    }

    fn take(&mut self, bytes: u64) {
        self.regions -= 1;
        self.bytes -= bytes;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut used = self.rooms.lock();
        used.all.take(self.bytes);
        if let Some(own) = used.by.get_mut(&self.owner) {
            own.take(self.bytes);
            if own.regions == 0 {
                used.by.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_given_back_is_there_for_the_next() {
        let settings = SharedMemorySettings {
            regions: 3,
            regions_per_peer: 2,
            bytes: 100,
            bytes_per_peer: 60,
            ..SharedMemorySettings::default()
        };
        let rooms = Rooms::new(&settings);
        let [a, b] = ["a", "b"].map(Owner::named);
        let refused = |owner, bytes| {
            rooms
                .take(owner, bytes, None)
                .err()
                .map(|short| short.error.to_string())
        };
        let first = rooms.take(&a, 50, None).unwrap();
        assert!(refused(&a, 11).is_some_and(|why| why.contains("at most 60 bytes")));
        assert!(refused(&a, u64::MAX).is_some());
        let second = rooms.take(&a, 10, None).unwrap();
        assert!(refused(&a, 0).is_some_and(|why| why.starts_with("2 regions of this caller")));
        assert!(
            refused(&b, 41)
                .is_some_and(|why| why.contains("at most 60") || why.contains("at most 100"))
        );
        let third = rooms.take(&b, 40, None).unwrap();
        assert!(rooms.take(&a, 51, Some(&first)).is_err());
        assert!(rooms.take(&a, 50, Some(&first)).is_ok());
        drop(first);
        assert!(rooms.take(&a, 50, None).is_ok());
        drop((second, third));
        assert!(rooms.lock().by.is_empty(), "nobody is remembered for ever");
    }
}
