//! Reading the models again while they are served.
//!
//! The next model is loaded beside the old one, warmed up and tested before a session sees it, and whatever goes wrong leaves
//! the old one serving. The server knows nothing of files: a [`Loader`] finds models and makes lanes of them.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::{Models, Served, Shared};
use crate::{
    config::{ReloadMode, Settings},
    pool::LanePool,
    telemetry::set_filter,
};

/// Finds the models that are to be served and loads them. Its methods block.
pub trait Loader: Send + Sync {
    /// Reads the settings again. `Err`: nothing changes, and why.
    fn settings(&self) -> Result<Settings, String>;

    /// Looks which models `settings` name. `Err`: no model changes, and why.
    fn look(&self, settings: &Settings) -> Result<Outlook, String>;
}

/// What a [`Loader`] sees.
pub struct Outlook {
    /// Settings that changed and are read at the start only, by their keys.
    pub needs_restart: Vec<String>,
    /// The default first. Names are unique.
    pub models: Vec<Found>,
}

/// A model that could be served.
pub struct Found {
    /// As clients ask for it.
    pub name: String,
    /// Of its files, as [`crate::backend::Description::identity`]; `Err`: why they cannot be used.
    pub identity: Result<String, String>,
    /// Loads it and opens its lanes, within the memory that is free. `Err` says why not, with the figures.
    pub load: Box<dyn FnOnce() -> Result<LanePool, String> + Send>,
}

/// What a reload did.
#[derive(Clone, Debug, Default)]
pub struct Reload {
    /// No model was changed: why, and what was changed all the same.
    pub failed: Option<String>,
    /// In the order in which they are served, then those that are gone.
    pub models: Vec<Reloaded>,
    /// Settings that changed and wait for a restart, by their keys.
    pub needs_restart: Vec<String>,
}

/// What a reload did to one model.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// As clients ask for it.
    pub name: String,
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// Why, with the figures; empty where there is nothing to say.
    pub message: String,
}

/// What became of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The same files.
    Unchanged,
    /// Served from now on.
    Loaded,
    /// No session can open it any more.
    Removed,
    /// It cannot be used; the old one, if there is one, keeps serving.
    Refused,
}

impl ReloadOutcome {
    /// As metrics and the log say it.
    fn name(self) -> &'static str {
        match self {
            ReloadOutcome::Unchanged => "unchanged",
            ReloadOutcome::Loaded => "loaded",
            ReloadOutcome::Removed => "removed",
            ReloadOutcome::Refused => "refused",
        }
    }
}

impl Reload {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Reload {
            failed: Some(why.into()),
            ..Reload::default()
        }
    }

    /// Whether everything that was asked for was done.
    pub fn is_good(&self) -> bool {
        let refused = |model: &Reloaded| model.outcome == ReloadOutcome::Refused;
        self.failed.is_none() && !self.models.iter().any(refused)
    }
}

impl fmt::Display for Reload {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.failed {
            return write!(f, "no model was reloaded: {why}");
        }
        let mut parts: Vec<String> = self.models.iter().map(Reloaded::to_string).collect();
        if !self.needs_restart.is_empty() {
            parts.push(format!(
                "needs a restart: {}",
                self.needs_restart.join(", ")
            ));
        }
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.outcome)?;
        match &*self.message {
            "" => Ok(()),
            message => write!(f, " ({message})"),
        }
    }
}

impl fmt::Display for ReloadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long a model may take to load: TensorRT-RTX compiles for minutes, and each lane has [`crate::pool::OPENS_WITHIN`].
const LOADING_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Reads settings and models again. One at a time: others wait for their turn.
pub(super) async fn reload(shared: &Arc<Shared>) -> Reload {
    let Some(loader) = shared.loader.get().cloned() else {
        return Reload::failed("this server was started without a way to load models");
    };
    // On a task of its own: whoever asked may go away, and what was begun is ended all the same.
    let shared = Arc::clone(shared);
    let task = tokio::spawn(async move {
        let _one_at_a_time = shared.reloading.lock().await;
        if shared.draining.borrow().is_some() {
            return Reload::failed("the daemon is draining");
        }
        let done = run(&shared, loader).await;
        match done.is_good() {
            true => info!(%done, "reloaded"),
            false => warn!(%done, "reload refused: what was served before keeps serving"),
        }
        done
    });
    task.await
        .unwrap_or_else(|panic| Reload::failed(format!("a defect of the daemon: {panic}")))
}

async fn run(shared: &Arc<Shared>, loader: Arc<dyn Loader>) -> Reload {
    let reader = Arc::clone(&loader);
    let settings = match blocking(move || reader.settings()).await {
        Ok(settings) => settings,
        Err(why) => return Reload::failed(why),
    };
    // First and whatever becomes of the rest: a token that was revoked must not outlive a fault elsewhere.
    let mut wrong = Vec::new();
    if let Err(why) = shared.secure(&settings) {
        wrong.push(format!(
            "certificates, tokens and roles stay as they were: {why}"
        ));
    }
    shared.regions.allow(&settings.shared_memory.keys);
    if let Err(why) = set_filter(&settings.log.filter) {
        wrong.push(format!("log.filter stays as it was: {why}"));
    }
    let mode = settings.reload;
    let outlook = match blocking(move || loader.look(&settings)).await {
        Ok(outlook) if wrong.is_empty() => outlook,
        Ok(_) => return Reload::failed(wrong.join("; ")),
        Err(why) => {
            wrong.push(why);
            wrong.push(
                "[tls], [auth] and log.filter were read again all the same, unless told".to_owned(),
            );
            return Reload::failed(wrong.join("; "));
        }
    };
    let names: Vec<String> = outlook.models.iter().map(|m| m.name.clone()).collect();
    let mut models = Vec::new();
    for found in outlook.models {
        models.push(reload_one(shared, found, mode).await);
    }
    models.extend(settle(&shared.models, names));
    for model in &models {
        shared.metrics.reload(model.outcome.name());
    }
    Reload {
        failed: None,
        models,
        needs_restart: outlook.needs_restart,
    }
}

async fn reload_one(shared: &Arc<Shared>, found: Found, mode: ReloadMode) -> Reloaded {
    let Found {
        name,
        identity,
        load,
    } = found;
    let identity = match identity {
        Ok(identity) => identity,
        Err(why) => return reloaded(name, ReloadOutcome::Refused, why),
    };
    let old = shared.models.get(&name);
    let is_same = |old: &Arc<Served>| old.pool().description().identity == identity;
    if old
        .as_ref()
        .is_some_and(|old| is_same(old) && old.degraded().is_none())
    {
        return reloaded(name, ReloadOutcome::Unchanged, String::new());
    }
    let wanted = name.clone();
    let load = move || {
        let pool = load()?;
        let found = &pool.model().name;
        if *found != wanted {
            return Err(format!(
                "it calls itself {found:?} now: its files changed while they were read; reload again"
            ));
        }
        pool.self_test()?;
        Ok(pool)
    };
    let loaded = match (&old, mode) {
        (Some(old), ReloadMode::Replace) => replace(shared, old, load).await,
        _ => in_time(load).await,
    };
    match loaded {
        // What was degraded was tried again.
        Ok(pool) if old.as_ref().is_some_and(|old| is_still(old, &pool)) => {
            let why = pool.description().degraded.clone().unwrap_or_default();
            reloaded(name, ReloadOutcome::Unchanged, why)
        }
        Ok(pool) => {
            let description = pool.description().clone();
            let message = match description.degraded {
                Some(why) => format!("degraded: {why}"),
                None => format!("{}, {}", description.backend, description.device),
            };
            shared.models.put(pool);
            drop(old);
            // The next model may need the memory, and so may whoever hears that this is done.
            let shared = Arc::clone(shared);
            // Nothing to say if it panicked: a lane's panic was logged where it happened.
            let _ = spawn_blocking(move || shared.models.wait_for_retired()).await;
            reloaded(name, ReloadOutcome::Loaded, message)
        }
        Err(why) => reloaded(name, ReloadOutcome::Refused, why),
    }
}

/// Ends the old one's lanes before the new one is loaded. Its engine stays, so that it can serve again if the new one cannot.
async fn replace(
    shared: &Arc<Shared>,
    old: &Arc<Served>,
    load: impl FnOnce() -> Result<LanePool, String> + Send + 'static,
) -> Result<LanePool, String> {
    let leaving = Leaving::new(&shared.models, old);
    let patience = shared.grace;
    let mut members = old.pool().members();
    let left = tokio::time::timeout(patience, members.wait_for(|&n| n == 0)).await;
    // Read from the guard before it is gone.
    let is_left = matches!(left, Ok(Ok(_)));
    drop(left);
    if !is_left {
        let n = *old.pool().members().borrow();
        return Err(format!(
            "{n} session(s) still had frames that wait after {} s (grace_s)",
            patience.as_secs()
        ));
    }
    let paused = Arc::clone(old);
    let ended = blocking(move || {
        paused.pool().pause();
        paused.pool().device_lost().map_or(Ok(()), Err)
    });
    let loaded = match ended.await {
        Ok(()) => in_time(load).await,
        Err(why) => Err(why),
    };
    if loaded.as_ref().is_ok_and(|pool| !is_still(old, pool)) {
        leaving.for_good();
        return loaded;
    }
    match (old.pool().resume(), loaded) {
        (Ok(()), loaded) => loaded,
        (Err(error), Ok(_)) => Err(error.to_string()),
        (Err(error), Err(why)) => Err(format!(
            "{why}; and the old one does not come back: {error}"
        )),
    }
}

/// The sessions of a model step aside, and come back when this is dropped.
struct Leaving<'a> {
    models: &'a Models,
    served: &'a Served,
    is_for_good: bool,
}

impl<'a> Leaving<'a> {
    fn new(models: &'a Models, served: &'a Served) -> Self {
        models.set_leaving(served, true);
        Leaving {
            models,
            served,
            is_for_good: false,
        }
    }

    /// They do not come back: another takes its place.
    fn for_good(mut self) {
        self.is_for_good = true;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.is_for_good {
            self.models.set_leaving(self.served, false);
        }
    }
}

/// Whether it was loaded for nothing: what made the old one degraded is still so.
fn is_still(old: &Served, new: &LanePool) -> bool {
    let new = new.description();
    new.degraded.is_some()
        && old.degraded().is_some()
        && old.pool().description().identity == new.identity
}

/// The order of those that are served, and the end of those that are gone.
fn settle(models: &Models, mut names: Vec<String>) -> Vec<Reloaded> {
    let served = models.all();
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let (kept, gone): (Vec<_>, Vec<_>) = served
        .iter()
        .partition(|served| wanted.contains(served.name()));
    // Somebody must be served.
    let outcome = match kept.is_empty() {
        true => ReloadOutcome::Refused,
        false => ReloadOutcome::Removed,
    };
    let message = match outcome {
        ReloadOutcome::Refused => "its file is gone, and no other model can be served: it stays",
        _ => "sessions that are open keep it",
    };
    let gone: Vec<String> = gone.iter().map(|served| served.name().to_owned()).collect();
    if kept.is_empty() {
        names.extend(gone.iter().cloned());
    }
    models.keep(&names);
    gone.into_iter()
        .map(|name| reloaded(name, outcome, message.to_owned()))
        .collect()
}

fn reloaded(name: String, outcome: ReloadOutcome, message: String) -> Reloaded {
    Reloaded {
        name,
        outcome,
        message,
    }
}

/// Where it may take minutes.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(format!("a defect of the daemon: {panic}")))
}

/// As [`blocking`], for loading a model: a library that hangs must not keep every later reload waiting.
async fn in_time(
    load: impl FnOnce() -> Result<LanePool, String> + Send + 'static,
) -> Result<LanePool, String> {
    match tokio::time::timeout(LOADING_PATIENCE, blocking(load)).await {
        Ok(loaded) => loaded,
        // What comes of it later is dropped.
        Err(_) => Err(format!(
            "it was not loaded within {} min; the thread that tries is left behind",
            LOADING_PATIENCE.as_secs() / 60
        )),
    }
}
