//! What the kernel sends the daemon: end, or reload.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// From the start on: SIGHUP would end a process that has not asked for it, and systemd would take that for a clean end.
pub(super) struct Signals {
    pub(super) ends: Ends,
    /// SIGHUP: reload. Those that come while one is worked on, or during the start, count as one.
    pub(super) reloads: Signal,
}

/// SIGTERM and SIGINT: end.
pub(super) struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself. Needs a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Signals {
            ends: Ends {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            reloads: signal(SignalKind::hangup())?,
        })
    }
}

impl Ends {
    /// The name of the next one.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
