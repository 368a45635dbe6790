//! When to look into a watched folder again: when the kernel says that something happened, and from time to time, since network
//! shares give no events.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

/// From one glance at the kernel's events to the next.
const GLANCE: Duration = Duration::from_millis(100);

/// Why the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Wake {
    /// It is time to look.
    Look,
    /// SIGINT or SIGTERM: end.
    Stop,
}

/// From now on neither signal ends the process by itself.
pub(in crate::cli) struct Wakes {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    /// None: the kernel watches no more folders for us, or not this one.
    events: Option<OwnedFd>,
}

impl Wakes {
    pub(in crate::cli) fn new(folder: &Path) -> io::Result<Wakes> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        // What is missed without events is found a moment later by looking.
        let events = events(folder).ok();
        drop(entered);
        Ok(Wakes {
            runtime,
            interrupt,
            terminate,
            events,
        })
    }

    /// Until something happens in the folder, at most for `patience`.
    pub(in crate::cli) fn wait(&mut self, patience: Duration) -> Wake {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let stop = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = self.interrupt.recv() => true,
                    _ = self.terminate.recv() => true,
                    () = sleep(left.min(GLANCE)) => false,
                }
            });
            if stop {
                return Wake::Stop;
            }
            if left.is_zero() || self.events.as_ref().is_some_and(heard) {
                return Wake::Look;
            }
        }
    }
}

fn events(folder: &Path) -> io::Result<OwnedFd> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
    inotify::add_watch(&events, folder, what)?;
    Ok(events)
}

/// Whether there are events; forgets them: what they say is found by looking.
fn heard(events: &OwnedFd) -> bool {
    let mut room = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut room);
    let mut heard = false;
    while reader.next().is_ok() {
        heard = true;
    }
    heard
}
