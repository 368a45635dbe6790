//! The daemon while it runs: loaded, served, watched over, reloaded, ended.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use tokio::{
    signal::unix::Signal,
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use super::{
    super::EXIT_DEVICE_LOST,
    signals::Signals,
    start::{MORE, TICK},
};
use crate::{
    backend::cuda::exit_now,
    server::{Control, Ended, Listener, Server},
    systemd::Notifier,
};

/// How often systemd is told what is served.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// What `load` makes, unless it is asked to end before: then the process does, at once, for nobody has been served.
pub(super) async fn load<T: Send + 'static>(
    load: impl FnOnce() -> Result<T> + Send + 'static,
    signals: &mut Signals,
    notifier: &Notifier,
) -> Result<T> {
    tokio::select! {
        loaded = spawn_blocking(load) => loaded?,
        name = signals.ends.next() => {
            info!(signal = name, "ending before anything is served");
            notifier.stopping();
            // An engine that is being compiled does not stop for anybody.
            exit_now(0)
        }
    }
}

/// Serves until asked to end, or until a device is lost. `grace_s`: as in the settings, for what is said.
pub(super) async fn serve(
    server: Server,
    listeners: Vec<Listener>,
    signals: Signals,
    notifier: &Notifier,
    grace_s: u64,
) -> Result<ExitCode> {
    let Signals { mut ends, reloads } = signals;
    let control = server.control();
    let (stop, stopped) = oneshot::channel();
    let mut run = std::pin::pin!(server.run(listeners, async {
        stopped.await.ok();
    }));
    let mut beats = std::pin::pin!(beat(
        notifier.beat_every(),
        || control.hung(),
        || notifier.beat()
    ));
    notifier.ready(&control.status_line());
    let ended = tokio::select! {
        ended = &mut run => ended,
        never = &mut beats => never,
        never = tell(notifier, &control) => never,
        never = reload(notifier, &control, reloads) => never,
        name = ends.next() => {
            info!(signal = name, grace_s, "stopping");
            notifier.stopping();
            stop.send(()).ok();
            let draining = format!("draining, {grace_s} s at most");
            tokio::select! {
                ended = &mut run => ended,
                never = &mut beats => never,
                never = going_on(notifier, &draining) => never,
                name = ends.next() => {
                    warn!(signal = name, "second signal: ending at once, frames in flight are lost");
                    // Handlers at exit wait for the device, which may be what does not answer.
                    exit_now(1)
                }
            }
        }
    };
    match ended? {
        Ended::Drained => Ok(ExitCode::SUCCESS),
        // A frame may still be on a lane, and with it a kernel that never ends.
        Ended::GraceOver => exit_now(1),
        Ended::DeviceLost => exit_now(EXIT_DEVICE_LOST),
    }
}

/// **Invariant:** systemd hears a beat only while no lane hangs and the runtime runs what is given to it: its other threads too,
/// which a task of its own tells.
async fn beat<T>(every: Option<Duration>, hung: impl Fn() -> Option<String>, tell: impl Fn()) -> T {
    let Some(every) = every else {
        return std::future::pending().await;
    };
    let mut ticks = interval(every);
    // After a pause, of the machine perhaps, one beat is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_hung = false;
    loop {
        ticks.tick().await;
        let hung = hung();
        match &hung {
            None => {
                if tokio::spawn(async {}).await.is_ok() {
                    tell();
                }
            }
            Some(why) if !has_hung => error!(%why, "hung: systemd hears no more beats"),
            Some(_) => {}
        }
        has_hung = hung.is_some();
    }
}

/// `systemctl status` shows what is served.
async fn tell<T>(notifier: &Notifier, control: &Control) -> T {
    let mut ticks = interval(STATUS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notifier.status(&control.status_line());
    }
}

/// On every SIGHUP.
async fn reload<T>(notifier: &Notifier, control: &Control, mut reloads: Signal) -> T {
    while reloads.recv().await.is_some() {
        info!(signal = "SIGHUP", "reloading");
        notifier.reloading();
        let done = tokio::select! {
            done = control.reload() => done,
            never = going_on(notifier, "reloading") => never,
        };
        notifier.ready(&done.to_string());
    }
    std::future::pending().await
}

/// Something that may take longer than systemd waits for it.
async fn going_on<T>(notifier: &Notifier, what: &str) -> T {
    let began = Instant::now();
    let mut ticks = interval(TICK);
    loop {
        ticks.tick().await;
        notifier.extend(MORE, &format!("{what} ({} s)", began.elapsed().as_secs()));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_are_no_beats_while_something_hangs() {
        let (hangs, beats) = (Cell::new(false), Cell::new(0));
        let hung = || hangs.get().then(|| "on order".to_owned());
        let every = Duration::from_millis(100);
        let a_second = Duration::from_millis(1050);
        for (hanging, expected) in [(false, 11), (true, 0), (false, 11)] {
            hangs.set(hanging);
            beats.set(0);
            let beat = beat::<()>(Some(every), hung, || beats.set(beats.get() + 1));
            tokio::time::timeout(a_second, beat).await.unwrap_err();
            assert_eq!(beats.get(), expected, "hanging: {hanging}");
        }
    }
}
