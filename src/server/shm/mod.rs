//! Shared memory: frames that controllers on the same machine leave where lanes read them, without a copy on the way.
//!
//! A region is registered once, then named by frame. It belongs to who registered it, and is read as its owner's: of a named file
//! only what its caller might read itself, of memory that was passed over a socket (`door`) what its sender had. Everything here
//! is bounded by `[shared_memory]`. What is done with the pixels is no business of this module.

mod door;
mod error;
mod fault;
mod file;
mod mapping;
mod owner;
mod pin;
mod room;
mod service;

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tracing::info;
use uuid::Uuid;

pub use door::MemorySocket;
pub(super) use door::serve;
pub(super) use error::RegionError;
pub(super) use mapping::Slot;
pub(super) use pin::register;
pub(super) use service::Controllers;

use super::{Origin, Peer};
use crate::config::SharedMemorySettings;
use error::{outside, unknown};
use file::Memory;
use mapping::Mapping;
use owner::Owner;
use pin::Pin;
use room::Rooms;

/// How long a region outlives the last connection of who registered it: a client that lost its connection comes back.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// Most bytes of a region's name.
const MAX_NAME: usize = 256;

/// All regions of a server.
pub(super) struct Regions {
    settings: SharedMemorySettings,
    /// Exchanged on reload.
    keys: RwLock<Vec<String>>,
    rooms: Arc<Rooms>,
    held: Mutex<Held>,
}

/// What somebody wants to register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration<'a> {
    /// The caller's own name for it.
    pub(super) name: &'a str,
    /// As shm_open takes it.
    pub(super) key: &'a str,
    /// Where it begins in the file, bytes.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) byte_size: u64,
}

/// A region, as its owner is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) name: String,
    /// Of memory that was passed, what its sender calls it.
    pub(super) key: String,
    pub(super) offset: u64,
    pub(super) byte_size: u64,
    pub(super) writable: bool,
}

#[derive(Default)]
struct Held {
    own: HashMap<Owner, Owned>,
    /// By their ids, which are known to whoever was told.
    passed: HashMap<String, Passed>,
}

#[derive(Default)]
struct Owned {
    regions: BTreeMap<String, Region>,
    /// Since when its owner has no connection.
    alone_since: Option<Instant>,
}

struct Passed {
    owner: Owner,
    region: Region,
}

struct Region {
    mapping: Arc<Mapping>,
    key: String,
    offset: u64,
    /// While it is registered with a device.
    pin: Option<Pin>,
}

impl Regions {
    pub(super) fn new(settings: &SharedMemorySettings) -> Regions {
        Regions {
            settings: settings.clone(),
            keys: RwLock::new(settings.keys.clone()),
            rooms: Rooms::new(settings),
            held: Mutex::default(),
        }
    }

    /// From now on these keys may be registered. What is registered stays.
    pub(super) fn allow(&self, keys: &[String]) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.to_vec();
    }

    /// Patterns of keys that may be registered.
    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.keys.read();
        keys.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Registers a region for `peer`; one of this name that it has already is replaced. Errors: what it cannot be, a key or a
    /// caller that is not allowed, no such file, no room.
    pub(super) fn register(
        &self,
        peer: &Peer,
        wanted: &Registration<'_>,
    ) -> Result<About, RegionError> {
        let owner = Owner::of(peer)?;
        let name = wanted.name;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(RegionError::Invalid(format!(
                "a region's name has 1 to {MAX_NAME} bytes, this one {}",
                name.len()
            )));
        }
        let key = file::checked_key(wanted.key)?;
        let keys = self.keys();
        if !file::is_allowed(&keys, &key) {
            let allowed = match &*keys {
                [] => "this server's settings allow none".to_owned(),
                keys => format!("this server's settings allow {}", keys.join(", ")),
            };
            return Err(RegionError::Denied(format!(
                "key {key:?}: {allowed} ([shared_memory] keys)"
            )));
        }
        let memory = file::open_key(&key, owner.asker(peer.gid()))?;
        let mut held = self.lock();
        let own = held.own.get_mut(&owner);
        // It makes room, and stays if there is not enough.
        let replaced = own.and_then(|own| own.regions.remove(name));
        let place = Registration {
            key: &key,
            ..*wanted
        };
        let mapped = self.map(&mut held, memory, &owner, &place, replaced.as_ref());
        let own = held.own.entry(owner).or_default();
        let region = match mapped {
            Ok(region) => region,
            Err(error) => {
                if let Some(replaced) = replaced {
                    own.regions.insert(name.to_owned(), replaced);
                }
                return Err(error);
            }
        };
        let about = region.about(name);
        own.regions.insert(name.to_owned(), region);
        drop(held);
        info!(%peer, key, bytes = about.byte_size, "shared memory registered");
        Ok(about)
    }

    /// Registers memory that was passed by `peer`, who calls it `called`: all of it. The id that it answers to is told to nobody
    /// else; it ends with [`Regions::forget_passed`]. Errors: it is not memory, no room.
    fn register_passed(
        &self,
        peer: &Peer,
        called: &str,
        file: OwnedFd,
    ) -> Result<About, RegionError> {
        let owner = Owner::of(peer)?;
        let memory = file::passed(file)?;
        let size = memory.size;
        let id = Uuid::new_v4().to_string();
        let place = Registration {
            name: &id,
            key: called,
            offset: 0,
            byte_size: size,
        };
        let mut held = self.lock();
        let region = self.map(&mut held, memory, &owner, &place, None)?;
        let about = region.about(&id);
        held.passed.insert(id, Passed { owner, region });
        drop(held);
        info!(%peer, bytes = about.byte_size, "shared memory passed");
        Ok(about)
    }

    fn forget_passed(&self, id: &str) {
        self.lock().passed.remove(id);
    }

    fn map(
        &self,
        held: &mut Held,
        memory: Memory,
        owner: &Owner,
        place: &Registration<'_>,
        replaced: Option<&Region>,
    ) -> Result<Region, RegionError> {
        let &Registration {
            name,
            key,
            offset,
            byte_size,
        } = place;
        let end = offset.checked_add(byte_size);
        if byte_size == 0 || end.is_none_or(|end| memory.size < end) {
            return Err(RegionError::Invalid(format!(
                "{byte_size} bytes from {offset}: the memory has {} bytes; ask for at least 1 and for no more than it has",
                memory.size
            )));
        }
        let goes = replaced.filter(|region| region.is_idle());
        let goes = goes.map(|region| region.mapping.room());
        let mut room = self.rooms.take(owner, byte_size, goes);
        // Where the caller's own room is short, and then that of all.
        for _ in 0..2 {
            if let Err(short) = &room {
                held.forget_unlinked(short.of.as_ref());
                room = self.rooms.take(owner, byte_size, goes);
            }
        }
        let room = room.map_err(|short| short.error)?;
        let len = usize::try_from(byte_size).map_err(|_| {
            RegionError::Invalid(format!("{byte_size} bytes: more than this machine maps"))
        })?;
        let mapping = Mapping::new(name, memory, offset, len, room);
        let mapping = mapping.map_err(|error| {
            RegionError::Invalid(format!("the memory cannot be mapped: {error}"))
        })?;
        Ok(Region {
            mapping: Arc::new(mapping),
            key: key.to_owned(),
            offset,
            pin: None,
        })
    }

    /// Forgets one of `peer`'s regions; frames in it go on. Errors: there is none of that name.
    pub(super) fn unregister(&self, peer: &Peer, name: &str) -> Result<(), RegionError> {
        let owner = Owner::of(peer)?;
        let mut held = self.lock();
        let own = held.own.get_mut(&owner);
        match own.and_then(|own| own.regions.remove(name)) {
            Some(_) => Ok(()),
            None => Err(unknown(name)),
        }
    }

    /// Forgets all that `peer` has registered; how many that were. Errors: the caller is of another machine.
    pub(super) fn unregister_all(&self, peer: &Peer) -> Result<usize, RegionError> {
        let owner = Owner::of(peer)?;
        let own = self.lock().own.remove(&owner);
        Ok(own.map_or(0, |own| own.regions.len()))
    }

    /// What `peer` has registered and passed, by name. Errors: the caller is of another machine.
    pub(super) fn list(&self, peer: &Peer) -> Result<Vec<About>, RegionError> {
        let owner = Owner::of(peer)?;
        let held = self.lock();
        let own = held.own.get(&owner);
        let own = own.into_iter().flat_map(|own| &own.regions);
        let mut regions: Vec<About> = own.map(|(name, region)| region.about(name)).collect();
        let passed = held
            .passed
            .iter()
            .filter(|(_, passed)| passed.owner == owner);
        regions.extend(passed.map(|(id, passed)| passed.region.about(id)));
        regions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(regions)
    }

    /// So many bytes of a region of `peer`'s, or of one that was passed, whoever did: without a copy. Errors: there is none, they
    /// are not all in it, or it was truncated.
    pub(super) fn slot(
        &self,
        peer: &Peer,
        name: &str,
        offset: u64,
        len: usize,
    ) -> Result<Slot, RegionError> {
        let mapping = self.mapping(peer, name)?;
        Slot::new(&mapping, offset, len).ok_or_else(|| outside(name, &mapping, offset, len))
    }

    /// Writes into a region, for an answer. Errors: as [`Regions::slot`], and a region that its owner may not write.
    pub(super) fn write(
        &self,
        peer: &Peer,
        name: &str,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), RegionError> {
        let mapping = self.mapping(peer, name)?;
        if !mapping.holds(offset, bytes.len()) {
            return Err(outside(name, &mapping, offset, bytes.len()));
        }
        if !mapping.is_writable() {
            return Err(RegionError::Denied(format!(
                "region {name:?} can only be read: its file must be one that the caller and the daemon may write (rights 0666, \
                 or passed over the memory socket for reading and writing)"
            )));
        }
        mapping.write(offset, bytes).map_err(|error| {
            RegionError::Broken(format!("region {name:?} cannot be written: {error}"))
        })?;
        mapping.check()
    }

    fn mapping(&self, peer: &Peer, name: &str) -> Result<Arc<Mapping>, RegionError> {
        let owner = Owner::of(peer)?;
        let held = self.lock();
        let own = held.own.get(&owner).and_then(|own| own.regions.get(name));
        let passed = || held.passed.get(name).map(|passed| &passed.region);
        let region = own.or_else(passed).ok_or_else(|| unknown(name))?;
        let mapping = Arc::clone(&region.mapping);
        drop(held);
        mapping.check()?;
        Ok(mapping)
    }

    /// Forgets what belongs to those who have been without a connection for a while; to be called from time to time.
    pub(super) fn attend(&self, now: Instant, is_connected: impl Fn(Origin) -> bool) {
        self.lock().own.retain(|owner, own| {
            if owner.origin.is_none_or(&is_connected) {
                own.alone_since = None;
            } else {
                let since = own.alone_since.get_or_insert(now);
                if GONE_AFTER <= now.saturating_duration_since(*since) {
                    info!(
                        peer = owner.peer,
                        regions = own.regions.len(),
                        "shared memory forgotten: its owner is gone"
                    );
                    return false;
                }
            }
            !own.regions.is_empty()
        });
    }

    /// Regions that are registered or still read, and their bytes.
    pub(super) fn used(&self) -> (usize, u64) {
        self.rooms.used()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Maps, changed by single calls.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Forgets regions, of one owner or else of all who have no connection, whose files nobody can open any more and in which no
    /// frame is: their owner, who unlinked them, most likely ended without a word. Who is there may be between two frames, and loses
    /// none to others. Room that a pinned one held is there a moment later.
    fn forget_unlinked(&mut self, of: Option<&Owner>) {
        for (owner, own) in &mut self.own {
            let is_asked = match of {
                Some(of) => of == owner,
                None => own.alone_since.is_some(),
            };
            if !is_asked {
                continue;
            }
            own.regions.retain(|_, region| {
                let is_over = region.is_idle() && region.mapping.is_unlinked();
                if is_over {
                    let (peer, key) = (&owner.peer, &region.key);
                    info!(peer, key, "shared memory forgotten: its file is gone");
                }
                !is_over
            });
        }
    }
}

impl Drop for Region {
    /// Pages are unlocked one by one: not where others wait.
    fn drop(&mut self) {
        if let Some(pin) = self.pin.take() {
            rayon::spawn(move || drop(pin));
        }
    }
}

impl Region {
    /// Whether no frame is in it.
    fn is_idle(&self) -> bool {
        let pins = usize::from(self.pin.is_some());
        Arc::strong_count(&self.mapping) == 1 + pins
    }

    fn about(&self, name: &str) -> About {
        About {
            name: name.to_owned(),
            key: self.key.clone(),
            offset: self.offset,
            byte_size: self.mapping.len() as u64,
            writable: self.mapping.is_writable(),
        }
    }
}

#[cfg(test)]
mod tests;
