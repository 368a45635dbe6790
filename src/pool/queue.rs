//! Who is next.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Health, Source, Work};

/// Whose frame starts first when lanes are scarce. A head start in time, so that waiting raises a frame's priority and none
/// starves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Re-analysis: lets pass whatever has waited no more than ten seconds less.
    Background,
    /// An experiment.
    #[default]
    Normal,
    /// A closed loop: passes whatever has waited up to two seconds longer.
    Urgent,
}

pub(super) struct Queue {
    state: Mutex<State>,
    /// A frame waits, or there is nothing more to wait for. Only lanes that take frames sleep here.
    changed: Condvar,
    /// Of lanes that wait before they are opened again.
    closing: Condvar,
    health: watch::Sender<Health>,
}

struct State {
    members: Vec<Member>,
    next_key: u64,
    lanes_up: usize,
    device_lost: Option<String>,
    closed: bool,
}

struct Member {
    key: u64,
    source: Arc<dyn Source>,
    priority: Priority,
    /// When a lane last took a frame of it.
    served: Option<Instant>,
}

/// What a lane does next.
pub(super) enum Next {
    Run(Work),
    /// The device is lost: the frame fails.
    Fail(Work, String),
    End,
}

impl Queue {
    pub(super) fn new(lanes: usize) -> Self {
        let state = State {
            members: Vec::new(),
            next_key: 0,
            lanes_up: lanes,
            device_lost: None,
            closed: false,
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
            closing: Condvar::new(),
            health: watch::Sender::new(Health::Serving),
        }
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn join(&self, source: Arc<dyn Source>, priority: Priority) -> u64 {
        let mut state = self.lock();
        let key = state.next_key;
        state.next_key += 1;
        state.members.push(Member {
            key,
            source,
            priority,
            served: None,
        });
        key
    }

    pub(super) fn leave(&self, key: u64) {
        let mut state = self.lock();
        let member = state.members.iter().position(|member| member.key == key);
        let left = member.map(|index| state.members.swap_remove(index));
        // The source may be freed here, and with it things that lock: not under our lock.
        drop(state);
        drop(left);
    }

    /// Called without any source's lock: lanes take ours first, then a source's.
    pub(super) fn wake(&self) {
        drop(self.lock());
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        self.closing.notify_all();
    }

    pub(super) fn lose_device(&self, why: &str) {
        self.lock()
            .device_lost
            .get_or_insert_with(|| why.to_owned());
        self.health.send_replace(Health::DeviceLost);
        self.changed.notify_all();
    }

    /// A lane broke (`false`) or is open again (`true`).
    pub(super) fn lane_is_up(&self, up: bool) {
        let mut state = self.lock();
        state.lanes_up = if up {
            state.lanes_up + 1
        } else {
            state.lanes_up - 1
        };
        let health = match (&state.device_lost, state.lanes_up) {
            (Some(_), _) => Health::DeviceLost,
            (None, 0) => Health::Down,
            (None, _) => Health::Serving,
        };
        self.health
            .send_if_modified(|current| std::mem::replace(current, health) != health);
    }

    /// Sleeps until the time is over or the pool ends; says whether it ended.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let state = self.lock();
        let rested = self
            .closing
            .wait_timeout_while(state, time, |state| !state.closed);
        rested.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Waits for the next frame. Frames that wait are run before a closed queue ends.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            while let Some(index) = state.most_urgent() {
                let now = Instant::now();
                let member = &mut state.members[index];
                member.served = Some(now);
                // None: dropped, cancelled or taken by another lane since we looked.
                if let Some(work) = member.source.start(now) {
                    return match &state.device_lost {
                        Some(why) => Next::Fail(work, why.clone()),
                        None => Next::Run(work),
                    };
                }
            }
            if state.closed {
                return Next::End;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of ours panics under the lock, and a source's panic leaves our state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The member whose frame starts next: least recently served or longest waiting, by priority.
    fn most_urgent(&self) -> Option<usize> {
        let turn = |member: &Member| {
            let since = member.source.waiting_since()?;
            Some(
                member.served.map_or(since, |served| served.max(since))
                    + member.priority.handicap(),
            )
        };
        let turns = self
            .members
            .iter()
            .enumerate()
            .filter_map(|(index, member)| Some((turn(member)?, index)));
        turns.min().map(|(_, index)| index)
    }
}

impl Priority {
    fn handicap(self) -> Duration {
        match self {
            Priority::Urgent => Duration::ZERO,
            Priority::Normal => Duration::from_secs(2),
            Priority::Background => Duration::from_secs(12),
        }
    }
}
