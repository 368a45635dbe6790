//! The models that sessions may open with.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

use super::convert;
use crate::{pool::LanePool, proto as pb};

/// The models that are served now, by name; the first is the default. Exchanged as a whole: who took one keeps it.
pub struct Models {
    served: watch::Sender<Arc<[Arc<Served>]>>,
    /// Every model that was ever served and may still live.
    ever: Mutex<Vec<Weak<Served>>>,
    retired: Arc<Retired>,
}

/// A model with the lanes that run it. Its lanes end when the last session that uses it has ended.
pub struct Served {
    /// There until this is dropped.
    pool: Option<LanePool>,
    generation: u64,
    /// Its lanes are being ended to make room for a newer one: sessions step aside.
    leaving: AtomicBool,
    retired: Arc<Retired>,
}

/// Threads on which lanes of dropped models end: that takes as long as a frame, which no connection must wait for.
#[derive(Default)]
struct Retired(Mutex<Vec<JoinHandle<()>>>);

impl Models {
    /// Names are unique.
    pub fn new(pools: Vec<LanePool>) -> Self {
        let retired = Arc::<Retired>::default();
        let served = pools
            .into_iter()
            .map(|pool| Arc::new(Served::new(pool, 1, &retired)));
        let served: Arc<[Arc<Served>]> = served.collect();
        Models {
            ever: Mutex::new(served.iter().map(Arc::downgrade).collect()),
            served: watch::Sender::new(served),
            retired: Arc::clone(&retired),
        }
    }

    /// Those that are served now.
    pub fn all(&self) -> Arc<[Arc<Served>]> {
        Arc::clone(&self.served.borrow())
    }

    /// The same, and the older ones that sessions keep: a device may be lost under these too.
    pub(super) fn living(&self) -> Vec<Arc<Served>> {
        let mut ever = self.ever.lock().unwrap_or_else(PoisonError::into_inner);
        ever.retain(|served| served.strong_count() != 0);
        ever.iter().filter_map(Weak::upgrade).collect()
    }

    /// Those that are served, whenever a reload changes them.
    pub fn changes(&self) -> watch::Receiver<Arc<[Arc<Served>]>> {
        self.served.subscribe()
    }

    /// The model of this name; the empty name is the default's.
    pub fn get(&self, name: &str) -> Option<Arc<Served>> {
        let all = self.all();
        let found = match name.is_empty() {
            true => all.first(),
            false => all.iter().find(|served| served.name() == name),
        };
        found.map(Arc::clone)
    }

    /// Those that are served now, as the contract tells them.
    pub(super) fn listed(&self) -> pb::ListModelsReply {
        let all = self.all();
        let models = all
            .iter()
            .map(|served| convert::model(served.pool().model()));
        pb::ListModelsReply {
            models: models.collect(),
        }
    }

    /// What took the place of `served`.
    pub(super) fn newer(&self, served: &Arc<Served>) -> Option<Arc<Served>> {
        let of_name = self.get(served.name())?;
        (!Arc::ptr_eq(&of_name, served)).then_some(of_name)
    }

    /// For a client that asked for another: in order of the alphabet.
    pub fn names(&self) -> String {
        let all = self.all();
        let mut names: Vec<&str> = all.iter().map(|served| served.name()).collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// Serves `pool` from now on, in the place of the model of its name where there is one.
    pub(super) fn put(&self, pool: LanePool) {
        self.served.send_modify(|all| {
            let place = all
                .iter()
                .position(|served| served.name() == pool.model().name);
            let generation = place.map_or(0, |place| all[place].generation) + 1;
            let served = Arc::new(Served::new(pool, generation, &self.retired));
            let mut ever = self.ever.lock().unwrap_or_else(PoisonError::into_inner);
            ever.push(Arc::downgrade(&served));
            let mut changed = all.to_vec();
            match place {
                Some(place) => changed[place] = served,
                None => changed.push(served),
            }
            *all = changed.into();
        });
    }

    /// Serves those of `names` that there are, in this order, and no other.
    pub(super) fn keep(&self, names: &[String]) {
        self.served.send_modify(|all| {
            let place = |name: &String| all.iter().find(|served| served.name() == name);
            *all = names.iter().filter_map(place).map(Arc::clone).collect();
        });
    }

    /// Asks the sessions of `served` to step aside, or to come back.
    pub(super) fn set_leaving(&self, served: &Served, leaving: bool) {
        served.leaving.store(leaving, Ordering::SeqCst);
        self.served.send_modify(|_| ());
    }

    /// Waits until the lanes of models that nobody uses any more have ended. Blocks.
    pub(super) fn wait_for_retired(&self) {
        self.retired.wait();
    }
}

impl Served {
    fn new(pool: LanePool, generation: u64, retired: &Arc<Retired>) -> Self {
        Served {
            pool: Some(pool),
            generation,
            leaving: AtomicBool::new(false),
            retired: Arc::clone(retired),
        }
    }

    /// What clients ask for.
    pub fn name(&self) -> &str {
        &self.pool().model().name
    }

    /// The lanes that run it.
    pub fn pool(&self) -> &LanePool {
        self.pool.as_ref().expect("there until this is dropped")
    }

    /// 1, and one more with every reload that changed it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where it does not run as it was meant to: why.
    pub fn degraded(&self) -> Option<&str> {
        self.pool().description().degraded.as_deref()
    }

    /// Whether its sessions must step aside: no frame is run any more, but those that wait already.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let pool = self.pool.take();
        let thread = thread::Builder::new()
            .name("retired".to_owned())
            .spawn(move || drop(pool));
        // Without a thread the pool was dropped here, with what was to run on it.
        if let Ok(thread) = thread {
            self.retired.lock().push(thread);
        }
    }
}

impl Retired {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let threads = mem::take(&mut *self.lock());
        for thread in threads {
            // A lane's panic was logged where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Retired {
    /// A lane on a GPU must be closed before the process ends.
    fn drop(&mut self) {
        self.wait();
    }
}
