//! The time until the daemon serves: engines are read, compiled and warmed up, which may take minutes.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::systemd::Notifier;

/// How often systemd hears that something goes on that may take longer than it waits.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// How long past the last tick systemd waits: longer than a machine that compiles an engine forgets its other threads.
pub(super) const MORE: Duration = Duration::from_secs(60);

/// Compiling for a GPU takes minutes; what takes longer than this hangs, and systemd may end it.
const MOST: Duration = Duration::from_secs(30 * 60);

/// Tells systemd that the start goes on, until dropped.
pub(super) struct Starting {
    /// Never sent on: it is dropped to end the thread.
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Starting {
    /// `what` is going on: "loading cells".
    pub(super) fn new(notifier: &Arc<Notifier>, what: String) -> std::io::Result<Self> {
        let notifier = Arc::clone(notifier);
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("starting".to_owned())
            .spawn(move || tick(&notifier, &what, &ended))?;
        Ok(Starting {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It sends datagrams and nothing else; if it panicked all the same, the start goes on without it.
            let _ = thread.join();
        }
    }
}

fn tick(notifier: &Notifier, what: &str, ended: &mpsc::Receiver<()>) {
    let began = Instant::now();
    loop {
        let took = began.elapsed();
        let status = format!("{what} ({} s)", took.as_secs());
        match took < MOST {
            true => notifier.extend(MORE, &status),
            false => notifier.status(&status),
        }
        match ended.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
