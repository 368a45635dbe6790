//! The protocol of sd_notify(3): one datagram for each thing that happens.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sd_notify::NotifyState;
use tracing::warn;

/// Tells systemd how the daemon is. Silent where nobody listens.
#[derive(Debug)]
pub struct Notifier {
    watchdog: Option<Duration>,
    has_failed: AtomicBool,
}

impl Notifier {
    /// Of this process's environment.
    pub fn from_env() -> Self {
        Notifier {
            // Zero turns it off, as an unset variable does.
            watchdog: sd_notify::watchdog_enabled().filter(|every| !every.is_zero()),
            has_failed: AtomicBool::new(false),
        }
    }

    /// How often a beat is due: half of the time after which systemd takes the daemon for hung. None: it does not ask.
    pub fn beat_every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// Frames are taken, or taken with what was reloaded.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(&one_line(status))]);
    }

    /// Something that takes time is still going on: systemd waits until `more` from now, however short its own limit is.
    pub fn extend(&self, more: Duration, status: &str) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        self.send(&[
            NotifyState::ExtendTimeoutUsec(more),
            NotifyState::Status(&one_line(status)),
        ]);
    }

    /// A reload begins; [`Notifier::ready`] ends it, whatever came of it.
    pub fn reloading(&self) {
        // Both in one message: systemd 253 and later tell by the time which request is answered.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// A sign of life.
    pub fn beat(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    fn send(&self, state: &[NotifyState]) {
        if let Err(error) = sd_notify::notify(state)
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            warn!(%error, "systemd cannot be told how the daemon is (NOTIFY_SOCKET)");
        }
    }
}

/// A line feed would begin another assignment, and whoever names a model may put one in.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_status_stays_one_assignment() {
        assert_eq!(one_line("serving a\nSTOPPING=1"), "serving a STOPPING=1");
    }
}
