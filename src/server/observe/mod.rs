//! What a page is shown of a session: its newest frames, small, with their cells.
//!
//! While nobody looks that costs one relaxed load a frame. While somebody does, a frame is picked as a lane takes it, a few times
//! a second, and made small on the work pool once its answer was made. Nobody waits for that: where too much of it is under way,
//! or the frame's bytes would keep another one out, it is left.

mod drawn;
mod look;
mod pace;
mod preview;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::places::{Place, Places};
use crate::{frame::Frame, telemetry::Metrics};
pub(super) use look::{Look, Told};
use pace::Pace;

/// Pages that look at the same time.
const WATCHERS: usize = 32;

/// Frames that are being made small at the same time, of all sessions: what they hold is bounded, and the work pool stays free.
const MAKING: usize = 2;

/// Pictures of a session that can still be asked for: a page asks for that of the cells that it was just told.
const PICTURES: usize = 4;

/// Bytes of a frame's lines: one that has more is not shown.
const LINES_BYTES: usize = 8 << 20;

/// The most that those who look can make the daemon hold, each looking at a session of its own: pictures of three bytes a pixel, and
/// the newest frame's lines here, on their way, and half read.
pub(crate) const SHOWN_BYTES: u64 =
    WATCHERS as u64 * (PICTURES as u64 * 3 * preview::PIXELS + 3 * LINES_BYTES as u64);

/// Troubles that are remembered while somebody looks, and the characters of each.
const TROUBLES: usize = 16;
const TROUBLE_LENGTH: usize = 400;

/// A frame's share of the byte budget, by whoever still needs its pixels.
pub(super) type Share = Arc<OwnedSemaphorePermit>;

/// What the watches of all sessions share.
pub(super) struct Watchers {
    places: Arc<Places<()>>,
    making: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// One session's window for those who look.
pub(super) struct Watch {
    looking: AtomicUsize,
    pace: Mutex<Pace>,
    shown: watch::Sender<Shown>,
    all: Arc<Watchers>,
}

/// What there is to see.
#[derive(Default)]
struct Shown {
    newest: Option<Arc<Sight>>,
    /// The last few, JPEG, the newest last; `Sight::seq` says whose each is.
    pictures: VecDeque<(u64, Bytes)>,
    troubles: VecDeque<Trouble>,
    next_seq: u64,
    /// The session is over.
    is_over: bool,
}

/// One frame as pages show it.
pub(super) struct Sight {
    /// Rises with every one of the session.
    pub(super) seq: u64,
    /// JSON: the reply without its cells, then the cells as lines to draw.
    pub(super) told: String,
}

/// A frame that failed, or was dropped.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Trouble {
    pub(super) seq: u64,
    /// Milliseconds since 1970.
    pub(super) at_ms: u64,
    /// `Frame.id`.
    pub(super) frame: u64,
    /// `failed` or `dropped`, and the contract's word for why.
    pub(super) outcome: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Somebody who looks. Dropping it ends that.
pub(super) struct Watching {
    watch: Arc<Watch>,
    shown: watch::Receiver<Shown>,
    last: Option<u64>,
}

/// A place among those who look: with or without a session picked.
pub(super) type WatcherPlace = Place<()>;

impl Watchers {
    /// Nobody looks yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Watchers {
            places: Places::new(WATCHERS),
            making: Arc::new(Semaphore::new(MAKING)),
            metrics,
        }
    }

    /// A place for a page. `Err`: how many there are.
    pub(super) fn enter(&self) -> Result<WatcherPlace, usize> {
        self.places.take((), WATCHERS).map_err(|_| WATCHERS)
    }
}

impl Watch {
    /// Of a session before its first frame.
    pub(super) fn new(all: &Arc<Watchers>) -> Arc<Self> {
        Arc::new(Watch {
            looking: AtomicUsize::new(0),
            pace: Mutex::default(),
            shown: watch::Sender::new(Shown::default()),
            all: Arc::clone(all),
        })
    }

    /// Whether anybody looks.
    pub(super) fn is_watched(&self) -> bool {
        self.looking.load(Ordering::Relaxed) != 0
    }

    /// A lane takes `frame`. Some: it is to be shown once its cells are known.
    pub(super) fn pick(
        self: &Arc<Self>,
        frame: &Frame,
        share: &Share,
        now: Instant,
    ) -> Option<Look> {
        if !self.is_watched() {
            return None;
        }
        // Held a little longer than its lane needs it, it keeps no other frame out.
        if share.semaphore().available_permits() < share.num_permits() {
            return None;
        }
        let making = Arc::clone(&self.all.making).try_acquire_owned().ok()?;
        let mut pace = lock_pace(self);
        pace.take(now)
            .then(|| Look::new(Arc::clone(self), frame.clone(), Arc::clone(share), making))
    }

    /// A frame failed or was dropped, of a session that somebody watches ([`Watch::is_watched`]): what is kept for nobody is kept for
    /// ever.
    pub(super) fn trouble(
        &self,
        frame: u64,
        (outcome, reason): (&'static str, &'static str),
        message: &str,
    ) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.shown.send_modify(|shown| {
            if shown.troubles.len() == TROUBLES {
                shown.troubles.pop_front();
            }
            let trouble = Trouble {
                seq: shown.seq(),
                at_ms: now.map_or(0, |since| since.as_millis() as u64),
                frame,
                outcome,
                reason,
                message: message.chars().take(TROUBLE_LENGTH).collect(),
            };
            shown.troubles.push_back(trouble);
        });
    }

    /// The session is over.
    pub(super) fn close(&self) {
        self.shown.send_modify(|shown| shown.is_over = true);
    }

    /// The picture of the frame that was told as `seq`, or the newest; None: it is gone, or there was none yet.
    pub(super) fn picture(&self, seq: Option<u64>) -> Option<(u64, Bytes)> {
        let shown = self.shown.borrow();
        let mut pictures = shown.pictures.iter().rev();
        pictures
            .find(|picture| seq.is_none_or(|seq| picture.0 == seq))
            .cloned()
    }

    /// Somebody looks from now on.
    pub(super) fn look(self: &Arc<Self>) -> Watching {
        self.looking.fetch_add(1, Ordering::Relaxed);
        Watching {
            watch: Arc::clone(self),
            shown: self.shown.subscribe(),
            last: None,
        }
    }

    /// Puts a frame up, made small at its own cost in time: `make` gets its number.
    fn show(&self, picture: Bytes, tell: impl FnOnce(u64) -> String) {
        let mut seq = 0;
        self.shown.send_if_modified(|shown| {
            seq = shown.seq();
            false
        });
        let told = tell(seq);
        self.all.metrics.frames_shown.inc();
        lock_pace(self).spent(told.len() + picture.len());
        self.shown.send_if_modified(|shown| {
            // Who looked may have left meanwhile, and what is kept for nobody is kept for ever.
            let is_watched = self.is_watched();
            if is_watched {
                if shown.pictures.len() == PICTURES {
                    shown.pictures.pop_front();
                }
                shown.pictures.push_back((seq, picture));
                shown.newest = Some(Arc::new(Sight { seq, told }));
            }
            is_watched
        });
    }
}

fn lock_pace(watch: &Watch) -> std::sync::MutexGuard<'_, Pace> {
    // One time, written at once.
    watch.pace.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shown {
    fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }
}

impl Watching {
    /// The newest frame that this one was not told yet; None: the session is over. What came between is left out.
    pub(super) async fn next(&mut self) -> Option<Arc<Sight>> {
        loop {
            {
                let shown = self.shown.borrow_and_update();
                if shown.is_over {
                    return None;
                }
                if let Some(newest) = &shown.newest
                    && self.last.is_none_or(|last| last < newest.seq)
                {
                    self.last = Some(newest.seq);
                    return Some(Arc::clone(newest));
                }
            }
            self.shown.changed().await.ok()?;
        }
    }

    /// The last troubles since somebody looks.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.shown.borrow().troubles.iter().cloned().collect()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watch.shown.send_if_modified(|shown| {
            let others = self.watch.looking.fetch_sub(1, Ordering::Relaxed) - 1;
            if others == 0 {
                shown.newest = None;
                shown.pictures = VecDeque::new();
                shown.troubles = VecDeque::new();
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(watch: &Watch) {
        watch.show(Bytes::from_static(b"jpeg"), |seq| seq.to_string());
    }

    #[tokio::test]
    async fn who_is_slow_is_told_the_newest_and_nobody_is_told_nothing() {
        let watch = Watch::new(&Arc::new(Watchers::new(Arc::default())));
        sight(&watch);
        assert!(watch.picture(None).is_none(), "kept for nobody");
        let mut slow = watch.look();
        (0..10).for_each(|_| sight(&watch));
        let newest = slow.next().await.unwrap();
        assert_eq!(newest.told, newest.seq.to_string());
        assert!(watch.picture(Some(newest.seq)).is_some());
        assert!(watch.picture(Some(newest.seq - 3)).is_some());
        assert!(watch.picture(Some(newest.seq - 4)).is_none(), "gone");
        watch.close();
        assert!(slow.next().await.is_none());
        drop(slow);
        assert!(watch.picture(None).is_none(), "the last one cleans up");
    }

    #[test]
    fn so_many_may_look_and_troubles_are_bounded() {
        let all = Watchers::new(Arc::default());
        let held: Vec<_> = (0..WATCHERS).map_while(|_| all.enter().ok()).collect();
        assert_eq!(held.len(), WATCHERS);
        assert_eq!(all.enter().err(), Some(WATCHERS));
        let watch = Watch::new(&Arc::new(all));
        let looking = watch.look();
        (0..100).for_each(|id| watch.trouble(id, ("failed", "INTERNAL"), &"x".repeat(9999)));
        let troubles = looking.troubles();
        assert_eq!(troubles.len(), TROUBLES);
        assert_eq!(troubles[TROUBLES - 1].frame, 99);
        assert_eq!(troubles[0].message.len(), TROUBLE_LENGTH);
    }
}
