//! What systemd is told, and what it hands over: readiness, watchdog, sockets.
//!
//! Started by anything else all of it is silent: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `LISTEN_FDS` are not set. Nothing here
//! decides anything; the program does (`cli::serve`).

mod notify;
mod sockets;

pub use notify::Notifier;
pub use sockets::{Handed, HandedError, Socket, take};
