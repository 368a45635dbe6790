//! Who is next.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Health, Source, Work, beats::Running};

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
    /// The pool closes, or a lane has ended.
    closing: Condvar,
    running: Running,
    health: watch::Sender<Health>,
    n_members: watch::Sender<usize>,
}

struct State {
    members: Vec<Member>,
    next_key: u64,
    lanes_up: usize,
    /// Threads that are over.
    lanes_ended: usize,
    device_lost: Option<String>,
    /// What hangs.
    hung: Option<String>,
    closed: bool,
    /// Nobody waits for the lanes any more.
    abandoned: bool,
    /// Nothing is left to watch.
    over: bool,
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
            lanes_ended: 0,
            device_lost: None,
            hung: None,
            closed: false,
            abandoned: false,
            over: false,
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
            closing: Condvar::new(),
            running: Running::new(lanes),
            health: watch::Sender::new(Health::Serving),
            n_members: watch::Sender::new(0),
        }
    }

    pub(super) fn members(&self) -> watch::Receiver<usize> {
        self.n_members.subscribe()
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn running(&self) -> &Running {
        &self.running
    }

    pub(super) fn waiting(&self) -> usize {
        let state = self.lock();
        state
            .members
            .iter()
            .map(|member| member.source.waiting())
            .sum()
    }

    pub(super) fn lanes_up(&self) -> usize {
        self.lock().lanes_up
    }

    pub(super) fn hung(&self) -> Option<String> {
        self.lock().hung.clone()
    }

    pub(super) fn device_lost(&self) -> Option<String> {
        self.lock().device_lost.clone()
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
        self.n_members.send_replace(state.members.len());
        key
    }

    pub(super) fn leave(&self, key: u64) {
        let mut state = self.lock();
        let member = state.members.iter().position(|member| member.key == key);
        let left = member.map(|index| state.members.swap_remove(index));
        self.n_members.send_replace(state.members.len());
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

    /// Takes frames again, once lanes are up.
    pub(super) fn reopen(&self) {
        self.lock().closed = false;
    }

    /// Every lane was ended.
    pub(super) fn all_lanes_down(&self) {
        let mut state = self.lock();
        state.lanes_up = 0;
        self.tell(&state);
    }

    pub(super) fn lose_device(&self, why: &str) {
        self.lock()
            .device_lost
            .get_or_insert_with(|| why.to_owned());
        self.health.send_replace(Health::DeviceLost);
        self.changed.notify_all();
    }

    /// A lane gives no sign of life.
    pub(super) fn hang(&self, why: &str) {
        self.lock().hung.get_or_insert_with(|| why.to_owned());
        self.lose_device(why);
        self.closing.notify_all();
    }

    /// Nobody waits for the lanes any more.
    pub(super) fn abandon(&self) {
        self.lock().abandoned = true;
        self.closing.notify_all();
    }

    /// A lane's thread is over.
    pub(super) fn lane_ended(&self) {
        self.lock().lanes_ended += 1;
        self.closing.notify_all();
    }

    /// Waits until all of `lanes` threads are over: true; or until one hangs or nobody cares: false.
    pub(super) fn all_ended(&self, lanes: usize) -> bool {
        let state = self.lock();
        let ended = self.closing.wait_while(state, |state| {
            state.lanes_ended < lanes && state.hung.is_none() && !state.abandoned
        });
        let mut state = ended.unwrap_or_else(PoisonError::into_inner);
        let all = state.lanes_ended == lanes;
        if all {
            // Others may be started.
            state.lanes_ended = 0;
        }
        all
    }

    /// The last lane is over or given up.
    pub(super) fn nothing_to_watch(&self) {
        self.lock().over = true;
        self.closing.notify_all();
    }

    /// A lane broke (`false`) or is open again (`true`).
    pub(super) fn lane_is_up(&self, up: bool) {
        let mut state = self.lock();
        state.lanes_up = if up {
            state.lanes_up + 1
        } else {
            state.lanes_up - 1
        };
        self.tell(&state);
    }

    fn tell(&self, state: &State) {
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

    /// As [`Queue::rest`], until the last lane is over or given up.
    pub(super) fn rest_until_over(&self, time: Duration) -> bool {
        let state = self.lock();
        let rested = self
            .closing
            .wait_timeout_while(state, time, |state| !state.over);
        rested.unwrap_or_else(PoisonError::into_inner).0.over
    }

    /// The next frame, if one waits.
    pub(super) fn try_next(&self) -> Option<Next> {
        self.lock().take()
    }

    /// Waits for the next frame. Frames that wait are run before a closed queue ends.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.take() {
                return next;
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
    /// The frame whose turn it is.
    fn take(&mut self) -> Option<Next> {
        while let Some(index) = self.most_urgent() {
            let now = Instant::now();
            let member = &mut self.members[index];
            member.served = Some(now);
            // None: dropped, cancelled or taken by another lane since we looked.
            if let Some(work) = member.source.start(now) {
                return Some(match &self.device_lost {
                    Some(why) => Next::Fail(work, why.clone()),
                    None => Next::Run(work),
                });
            }
        }
        None
    }

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
