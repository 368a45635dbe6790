//! What became of each session's frames: for `cellsegd status`, for the metrics and for the log.
//!
//! An [`Account`] is written where frames come in and where answers leave; nobody waits for it. All of it is bounded: the last
//! times, the series of a session, the reasons that the contract has.

mod failures;
mod history;
mod recent;
mod series;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tracing::{debug, info, warn};

use super::{
    convert,
    observe::{Watch, Watchers},
    wording,
};
use crate::{
    frame::SeriesKey,
    proto::{self as pb, frame_reply::Outcome},
    telemetry::{FrameTrace, Metrics, Parent, SessionTrace, Traces},
};
use failures::Failures;
pub(super) use history::Curve;
use history::History;
use recent::Recent;
use series::Silences;

/// The open sessions' accounts, in the order in which they opened.
pub(super) struct Accounts {
    open: Mutex<BTreeMap<u64, Arc<Account>>>,
    next: AtomicU64,
    failures: Failures,
    metrics: Arc<Metrics>,
    traces: Traces,
    totals: [AtomicU64; 3],
    watchers: Arc<Watchers>,
}

/// One session: who, and what became of its frames.
pub(super) struct Account {
    key: u64,
    who: Who,
    opened_at: SystemTime,
    accounts: Arc<Accounts>,
    trace: SessionTrace,
    watch: Arc<Watch>,
    state: Mutex<State>,
}

/// What does not change while a session is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    /// UUID.
    pub(super) session: String,
    /// The client's name for it.
    pub(super) name: String,
    pub(super) peer: String,
    /// As granted.
    pub(super) priority: pb::Priority,
    pub(super) delivery: pb::Delivery,
    /// Opened for one frame, by a call that ends with it.
    pub(super) is_brief: bool,
}

/// What the account stands at.
#[derive(Default)]
struct State {
    model: String,
    revision: u32,
    frames: u64,
    last_frame: Option<Instant>,
    /// Answers taken, by outcome and reason.
    answers: BTreeMap<(Kind, &'static str), u64>,
    totals: Recent,
    cells: u32,
    confluence: f64,
    series: Silences,
    history: History,
}

/// Tells the log. What is brief is told to those alone who ask for more: a line for every frame says less than none.
macro_rules! say {
    ($is_brief:expr, $($told:tt)*) => {
        match $is_brief {
            true => debug!($($told)*),
            false => info!($($told)*),
        }
    };
}

/// How a frame ended, as metrics say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Segmented,
    Dropped,
    Failed,
}

/// Frames answered, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) segmented: u64,
    pub(super) dropped: u64,
    pub(super) failed: u64,
}

impl Accounts {
    pub(super) fn new(metrics: Arc<Metrics>, traces: Traces) -> Arc<Self> {
        Arc::new(Accounts {
            open: Mutex::default(),
            next: AtomicU64::default(),
            failures: Failures::default(),
            watchers: Arc::new(Watchers::new(Arc::clone(&metrics))),
            metrics,
            traces,
            totals: Default::default(),
        })
    }

    /// A session opened.
    pub(super) fn open(
        self: &Arc<Self>,
        who: Who,
        parent: &Parent,
        model: &str,
        revision: u32,
    ) -> Arc<Account> {
        self.metrics.sessions_opened.inc();
        let Who {
            session,
            name,
            peer,
            is_brief,
            ..
        } = &who;
        say!(*is_brief, %session, %peer, ?name, %model, "session opened");
        let trace = self.traces.session(parent, session, name, model);
        let account = Arc::new(Account {
            trace,
            watch: Watch::new(&self.watchers),
            key: self.next.fetch_add(1, Ordering::Relaxed),
            who,
            opened_at: SystemTime::now(),
            accounts: Arc::clone(self),
            state: Mutex::new(State {
                model: model.to_owned(),
                revision,
                ..State::default()
            }),
        });
        self.lock().insert(account.key, Arc::clone(&account));
        account
    }

    /// Sends the last spans. Blocks, not for long.
    pub(super) fn end_traces(&self) {
        self.traces.end();
    }

    /// Of every open session, in the order in which they opened.
    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// Of the open session of this id.
    pub(super) fn find(&self, session: &str) -> Option<Arc<Account>> {
        let open = self.lock();
        let found = open.values().find(|account| account.who.session == session);
        found.map(Arc::clone)
    }

    /// Who looks at the sessions.
    pub(super) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// Of all sessions since the start.
    pub(super) fn totals(&self) -> Totals {
        let [segmented, dropped, failed] =
            [0, 1, 2].map(|kind| self.totals[kind].load(Ordering::Relaxed));
        Totals {
            segmented,
            dropped,
            failed,
        }
    }

    /// Says what fell silent and what goes on failing. Called about once a second.
    pub(super) fn attend(&self, now: Instant) {
        for account in self.all() {
            account.attend(now);
        }
        self.failures.attend(now);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Account>>> {
        // Nothing panics under the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// A frame came; of no series: one that could not be understood.
    pub(super) fn arrived(&self, series: Option<SeriesKey>, now: Instant) {
        let mut state = self.lock();
        state.frames += 1;
        state.last_frame = Some(now);
        if let Some(series) = series {
            let back = state.series.came(series, now);
            drop(state);
            if let Some((series, silent)) = back {
                let silent_s = silent.as_secs();
                info!(session = %self.who.session, %series, silent_s, "series goes on");
            }
        }
    }

    /// Frames from now on are those of another revision, maybe of another model.
    pub(super) fn changed(&self, model: &str, revision: u32) {
        let mut state = self.lock();
        if state.model != model {
            model.clone_into(&mut state.model);
        }
        state.revision = revision;
    }

    /// The client took a frame's answer.
    pub(super) fn answered(&self, reply: &pb::FrameReply) {
        let Some(outcome) = &reply.outcome else {
            return;
        };
        let (kind, reason) = kind_of(outcome);
        let mut state = self.lock();
        *state.answers.entry((kind, reason)).or_default() += 1;
        let metrics = &self.accounts.metrics;
        metrics.frame(&state.model, kind.name(), reason);
        self.accounts.totals[kind as usize].fetch_add(1, Ordering::Relaxed);
        let timing = reply.timing.unwrap_or_default();
        let stages: Vec<_> = stages(&timing).collect();
        self.trace.frame(&FrameTrace {
            id: reply.id,
            outcome: kind.name(),
            reason,
            total: micros(timing.total),
            stages: &stages,
        });
        if kind != Kind::Segmented && self.watch.is_watched() {
            let message = match outcome {
                Outcome::Failed(failed) => failed.message.as_str(),
                _ => "",
            };
            self.watch.trouble(reply.id, (kind.name(), reason), message);
        }
        match outcome {
            Outcome::Segmentation(segmentation) => {
                if let Some(summary) = &segmentation.summary {
                    state.cells = summary.count;
                    state.confluence = summary.confluence;
                    if let Some(series) = convert::series(reply.metadata.as_ref()) {
                        let cells = (summary.count, summary.confluence);
                        state.history.segmented(series, cells, SystemTime::now());
                    }
                }
                state.totals.push(timing.total);
                for (stage, time) in stages {
                    metrics.stage(&state.model, stage, time);
                }
                metrics.stage(&state.model, "total", micros(timing.total));
            }
            Outcome::Failed(failed) => {
                let model = state.model.clone();
                drop(state);
                let failed = failures::Failed {
                    code: reason,
                    frame: reply.id,
                    message: &failed.message,
                    session: &self.who.session,
                    model: &model,
                };
                self.accounts.failures.failed(&failed, Instant::now());
            }
            Outcome::Dropped(_) | Outcome::Measured(_) => {}
        }
    }

    /// The session is over.
    pub(super) fn close(&self) {
        self.accounts.lock().remove(&self.key);
        self.watch.close();
        self.trace.end();
        let state = self.lock();
        let counts = state.counts();
        let answered = counts.segmented + counts.dropped + counts.failed;
        let unanswered = counts.frames.saturating_sub(answered);
        let reasons: Vec<String> = state
            .answers
            .iter()
            .filter(|((_, reason), _)| !reason.is_empty())
            .map(|((_, reason), n)| format!("{reason} {n}"))
            .collect();
        say!(
            self.who.is_brief,
            session = %self.who.session,
            peer = %self.who.peer,
            name = ?self.who.name,
            frames = counts.frames,
            segmented = counts.segmented,
            dropped = counts.dropped,
            failed = counts.failed,
            unanswered,
            reasons = %reasons.join(", "),
            "session closed"
        );
    }

    /// As `cellsegd status` tells it.
    pub(super) fn status(&self, now: Instant) -> pb::SessionStatus {
        let state = self.lock();
        let since = state
            .last_frame
            .map(|last| now.saturating_duration_since(last));
        pb::SessionStatus {
            session: self.who.session.clone(),
            name: self.who.name.clone(),
            peer: self.who.peer.clone(),
            model: state.model.clone(),
            opened_at: Some(self.opened_at.into()),
            // Fits: shorter than the process lives.
            since_last_frame: since.and_then(|since| since.try_into().ok()),
            counts: Some(state.counts()),
            p50_us: state.totals.percentile(50),
            p95_us: state.totals.percentile(95),
            cells: state.cells,
            confluence: state.confluence,
            revision: state.revision,
            priority: self.who.priority.into(),
            delivery: self.who.delivery.into(),
        }
    }

    /// What pages are shown of it.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Answers by outcome and reason.
    pub(super) fn answers(&self) -> Vec<(&'static str, &'static str, u64)> {
        let state = self.lock();
        let answers = state.answers.iter();
        answers
            .map(|(&(kind, reason), &frames)| (kind.name(), reason, frames))
            .collect()
    }

    /// How many cells each series had, as far as that is not known up to `after`; and up to where it is known then.
    pub(super) fn curves(&self, after: u64) -> (Vec<Curve>, u64) {
        self.lock().history.after(after)
    }

    fn attend(&self, now: Instant) {
        let mut state = self.lock();
        let counts = state.counts();
        // While answers are due the client may be held back by us.
        if counts.segmented + counts.dropped + counts.failed < counts.frames {
            return;
        }
        let silent = state.series.fallen_silent(now);
        drop(state);
        for (series, silent, interval) in silent {
            self.accounts.metrics.series_silent.inc();
            warn!(
                session = %self.who.session,
                peer = %self.who.peer,
                name = ?self.who.name,
                %series,
                silent_s = silent.as_secs(),
                interval_s = interval.as_secs_f64(),
                "series fell silent: has the acquisition stopped?"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn counts(&self) -> pb::SessionClosed {
        let of = |kind| {
            let counted = self.answers.iter().filter(|((k, _), _)| *k == kind);
            counted.map(|(_, n)| n).sum()
        };
        pb::SessionClosed {
            frames: self.frames,
            segmented: of(Kind::Segmented),
            dropped: of(Kind::Dropped),
            failed: of(Kind::Failed),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Segmented => "segmented",
            Kind::Dropped => "dropped",
            Kind::Failed => "failed",
        }
    }
}

/// How a frame ended, and the contract's word for why.
fn kind_of(outcome: &Outcome) -> (Kind, &'static str) {
    let word = |name: &'static str, prefix| name.strip_prefix(prefix).unwrap_or(name);
    match outcome {
        Outcome::Segmentation(_) | Outcome::Measured(_) => (Kind::Segmented, ""),
        Outcome::Dropped(dropped) => {
            let reason = dropped.reason().as_str_name();
            (Kind::Dropped, word(reason, "REASON_"))
        }
        Outcome::Failed(failed) => {
            let code = failed.code().as_str_name();
            (Kind::Failed, word(code, "CODE_"))
        }
    }
}

/// As the contract has times.
fn micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

/// Stages that ran, in their order.
fn stages(timing: &pb::Timing) -> impl Iterator<Item = (&'static str, Duration)> {
    // A frame that found a lane free has waited too: for no time.
    wording::stages(timing)
        .into_iter()
        .filter(|(stage, micros)| 0 < *micros || *stage == "queued")
        .map(|(stage, time)| (stage, micros(time)))
}

#[cfg(test)]
mod tests;
