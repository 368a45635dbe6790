//! What every daemon is made of, and a daemon in this process for `demo` and `bench`.

mod files;
mod load;

pub(super) use files::Files;
pub(super) use load::{Tried, backends, each, names, pools};

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{runtime::Builder, sync::oneshot};

use super::client::ServerUrl;
use crate::{
    config::Settings,
    server::{self, Ended, Server},
};

/// A daemon on its own thread, as `serve` would be.
pub(super) struct Daemon {
    url: ServerUrl,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Daemon {
    /// Returns when it listens. `settings.listen` should have port 0, so that it is in nobody's way.
    pub(super) fn start(settings: Settings) -> Result<Daemon> {
        let (stop, stopped) = oneshot::channel();
        let (address_out, address) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("daemon".to_owned())
            .spawn(move || {
                let pools = pools(&settings, backends(&settings)?)?;
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let listeners = server::bind(&settings.listen)?;
                    address_out.send(listeners.first().map(server::Listener::address))?;
                    let shutdown = async {
                        // A sender that is gone asks for the same.
                        stopped.await.ok();
                    };
                    match Server::new(&settings, pools)
                        .run(listeners, shutdown)
                        .await?
                    {
                        Ended::Drained => Ok(()),
                        Ended::GraceOver => bail!(
                            "frames in flight were not answered within {} s",
                            settings.grace_s
                        ),
                        Ended::DeviceLost => bail!("the device was lost"),
                    }
                })
            })?;
        match address.recv() {
            Ok(address) => Ok(Daemon {
                url: address
                    .context("the daemon listens nowhere")?
                    .parse()
                    .map_err(|error| anyhow!("the daemon's own address: {error}"))?,
                stop,
                thread,
            }),
            Err(_) => Err(join(thread)
                .err()
                .unwrap_or_else(|| anyhow!("the daemon ended at once"))),
        }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Drains it and waits for its end.
    pub(super) fn stop(self) -> Result<()> {
        // It may have ended by itself: then joining says why.
        self.stop.send(()).ok();
        join(self.thread)
    }
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread
        .join()
        .map_err(|_| anyhow!("the daemon's thread panicked"))?
}
