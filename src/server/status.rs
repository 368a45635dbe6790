//! How the daemon is: for operators, for systemd's status line, for metrics, for whoever asks whether it is ready.

use std::time::Instant;

use super::{Served, Shared, convert};
use crate::{
    pool::Health,
    proto::{self as pb, State},
    telemetry::{Levelled, ModelLevels},
};

/// How a model is, and where it is not well: why, and what the operator can do.
pub(super) struct Condition {
    pub(super) state: State,
    pub(super) why: String,
}

impl Condition {
    /// Whether frames are segmented, be it with fewer lanes or slower ones.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Serving | State::Degraded)
    }
}

impl Shared {
    /// Why a device is lost, where one is; under an older model that sessions keep, too.
    pub(super) fn device_lost(&self) -> Option<String> {
        let models = self.models.living();
        models.iter().find_map(|served| served.pool().device_lost())
    }

    /// How `served` is.
    pub(super) fn condition(&self, served: &Served) -> Condition {
        let of = |state, why: &str| Condition {
            state,
            why: why.to_owned(),
        };
        let pool = served.pool();
        let (lanes, up) = pool.lanes();
        if let Some(why) = pool.device_lost() {
            let text = format!("device lost: {why}; the daemon ends, to be started again");
            return of(State::Down, &text);
        }
        if self.draining.borrow().is_some() {
            return of(State::Draining, "the daemon is stopping");
        }
        if served.is_leaving() {
            return of(
                State::Warming,
                "a newer one is being loaded in its place, and frames wait",
            );
        }
        match (*pool.health().borrow(), served.degraded()) {
            (Health::Down | Health::DeviceLost, _) => of(
                State::Down,
                "no lane runs: they are being opened again, and frames wait; the log says why",
            ),
            (Health::Serving, _) if up < lanes => {
                let text = format!("{up} of {lanes} lanes run; the log says why");
                of(State::Degraded, &text)
            }
            (Health::Serving, Some(why)) => of(State::Degraded, why),
            (Health::Serving, None) => of(State::Serving, ""),
        }
    }

    /// Of the daemon: the worst of its models', unless it drains. Of the worst: which model, and why.
    pub(super) fn worst(&self) -> Condition {
        if self.draining.borrow().is_some() {
            return Condition {
                state: State::Draining,
                why: "the daemon is stopping".to_owned(),
            };
        }
        let all = self.models.all();
        let conditions = all.iter().map(|served| {
            let Condition { state, why } = self.condition(served);
            let why = match why.is_empty() {
                true => why,
                false => format!("model {}: {why}", served.name()),
            };
            Condition { state, why }
        });
        conditions
            .max_by_key(|condition| badness(condition.state))
            .unwrap_or(Condition {
                state: State::Down,
                why: "no model is served".to_owned(),
            })
    }

    /// All of it.
    pub(super) fn status(&self) -> pb::StatusReply {
        let now = Instant::now();
        let sessions: Vec<_> = self
            .accounts
            .all()
            .iter()
            .map(|account| account.status(now))
            .collect();
        let models = self.models.all();
        let models = models.iter().map(|served| {
            let Condition { state, why } = self.condition(served);
            let pool = served.pool();
            let (lanes, lanes_up) = pool.lanes();
            let description = pool.description();
            let with_it = |session: &&pb::SessionStatus| session.model == served.name();
            pb::ModelStatus {
                model: Some(convert::model(pool.model())),
                backend: description.backend.clone(),
                device: description.device.clone(),
                state: state.into(),
                why,
                lanes: lanes as u32,
                lanes_up: lanes_up as u32,
                sessions: sessions.iter().filter(with_it).count() as u32,
                generation: served.generation(),
            }
        });
        pb::StatusReply {
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(self.started_at.into()),
            state: self.worst().state.into(),
            models: models.collect(),
            sessions,
        }
    }

    /// One short line for a person.
    pub(super) fn status_line(&self) -> String {
        let Condition { state, why } = self.worst();
        let totals = self.accounts.totals();
        let sessions: Vec<_> = self.accounts.all();
        let now = Instant::now();
        let slowest = sessions
            .iter()
            .map(|account| account.status(now).p95_us)
            .max()
            .unwrap_or(0);
        let mut line = format!(
            "{} {}; {} session{}; {} frames segmented, {} dropped, {} failed",
            word(state),
            self.models.names(),
            sessions.len(),
            if sessions.len() == 1 { "" } else { "s" },
            totals.segmented,
            totals.dropped,
            totals.failed,
        );
        if 0 < slowest {
            line += &format!("; p95 {:.1} ms", f64::from(slowest) / 1e3);
        }
        if !why.is_empty() {
            line += &format!("; {why}");
        }
        line
    }

    /// What metrics do not count by themselves. GPUs and sensors are the caller's: asking them may take long.
    pub(super) fn levels(&self) -> Levelled {
        let limits = &self.limits;
        let free = self.budget.free();
        let all = self.models.all();
        let models = all.iter().map(|served| {
            let pool = served.pool();
            let (model, description) = (pool.model(), pool.description());
            let (lanes, lanes_up) = pool.lanes();
            ModelLevels {
                name: model.name.clone(),
                version: model.version.clone(),
                sha256: model.sha256.clone(),
                precision: model.precision.clone(),
                backend: description.backend.clone(),
                device: description.device.clone(),
                state: word(self.condition(served).state),
                generation: served.generation(),
                lanes,
                lanes_up,
                waiting: pool.waiting(),
                running: pool.running(),
            }
        });
        let (shared_memory_regions, shared_memory_bytes) = self.regions.used();
        Levelled {
            models: models.collect(),
            sessions: self.accounts.all().len(),
            sessions_limit: limits.sessions,
            in_flight_bytes: limits.frames_in_flight_bytes.saturating_sub(free),
            in_flight_limit_bytes: limits.frames_in_flight_bytes,
            shared_memory_regions,
            shared_memory_bytes,
            ..Levelled::default()
        }
    }
}

/// In the order of what somebody should look at first.
fn badness(state: State) -> u8 {
    match state {
        State::Unspecified | State::Serving => 0,
        State::Degraded => 1,
        State::Warming => 2,
        State::Draining => 3,
        State::Down => 4,
    }
}

/// As people and metrics say it: one of [`ModelLevels::STATES`].
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Warming => "warming",
        State::Unspecified | State::Serving => "serving",
        State::Degraded => "degraded",
        State::Down => "down",
        State::Draining => "draining",
    }
}
