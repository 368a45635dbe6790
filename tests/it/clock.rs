//! Time that passes when the test says so, for daemon and client alike.

use std::{sync::mpsc, time::Duration};

use tokio::time;

/// tokio's clock, stopped; goes on when dropped with its runtime.
pub(crate) struct Clock {
    /// Its other end holds a thread: while one works, tokio does not move a stopped clock by itself, which it else does whenever
    /// everybody waits, also for bytes that are on their way.
    _hold: mpsc::Sender<()>,
}

impl Clock {
    /// Less than any of the daemon's patience.
    pub(crate) const STEP: Duration = Duration::from_secs(5);

    /// Needs a runtime of one thread.
    pub(crate) fn stopped() -> Self {
        time::pause();
        let (hold, held) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        Clock { _hold: hold }
    }

    /// Lets time pass step by step; after each, bytes arrive, everybody who woke up has had their turn, and `each` is called.
    pub(crate) async fn pass(&self, time: Duration, mut each: impl FnMut()) {
        for _ in 0..time.as_secs() / Self::STEP.as_secs() {
            time::advance(Self::STEP).await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            each();
        }
    }
}
