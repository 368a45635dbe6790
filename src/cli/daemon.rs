//! What every daemon is made of, and a daemon in this process for `demo` and `bench`.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{runtime::Builder, sync::oneshot};
use tracing::info;

use super::{UsageError, client::ServerUrl};
use crate::{
    backend::{Backend, cpu::CpuBackend},
    config::Settings,
    model,
    pool::LanePool,
    server::{self, Ended, Server},
};

/// A daemon on its own thread, as `serve` would be.
pub(super) struct Daemon {
    url: ServerUrl,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

/// Loads the models that `settings` name, the default first, and settles what runs each of them.
pub(super) fn backends(settings: &Settings) -> Result<Vec<Arc<dyn Backend>>> {
    let files = match settings.models.as_slice() {
        [] => vec![model::bundled()?],
        paths => paths
            .iter()
            .map(|path| model::load(path).map_err(Into::into))
            .collect::<Result<_>>()?,
    };
    let mut names = BTreeSet::new();
    let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
    for file in files {
        let name = file.spec.name.clone();
        if !names.insert(name.clone()) {
            return Err(UsageError(format!(
                "two models are called {name:?}: names must differ, see their manifests"
            ))
            .into());
        }
        let backend = CpuBackend::new(file, &settings.engine, settings.lanes)
            .with_context(|| format!("model {name}"))?;
        let description = backend.description();
        info!(
            model = name,
            backend = description.backend,
            device = description.device,
            "engine"
        );
        backends.push(Arc::new(backend));
    }
    Ok(backends)
}

/// Opens and warms every lane.
pub(super) fn pools(backends: Vec<Arc<dyn Backend>>, lanes: usize) -> Result<Vec<LanePool>> {
    backends
        .into_iter()
        .map(|backend| {
            let name = backend.model().name.clone();
            LanePool::start(backend, lanes).with_context(|| format!("lanes of model {name}"))
        })
        .collect()
}

impl Daemon {
    /// Returns when it listens. `settings.listen` should have port 0, so that it is in nobody's way.
    pub(super) fn start(settings: Settings) -> Result<Daemon> {
        let (stop, stopped) = oneshot::channel();
        let (address_out, address) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("daemon".to_owned())
            .spawn(move || {
                let pools = pools(backends(&settings)?, settings.lanes)?;
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
