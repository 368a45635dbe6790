//! What every daemon is made of, and a daemon in this process for `demo` and `bench`.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{runtime::Builder, sync::oneshot};
use tracing::{info, warn};

use super::{UsageError, client::ServerUrl};
use crate::{
    backend::{
        Backend, OnGpu,
        cpu::CpuBackend,
        cuda::{CudaBackend, GpuError},
    },
    config::{GpuFallback, Settings},
    model::{self, EngineFile, FileKind, ModelFile},
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
    let backends = match settings.models.as_slice() {
        [] => vec![on_cpu(model::bundled()?, settings)?],
        paths => paths
            .iter()
            .map(|path| backend(path, settings))
            .collect::<Result<_>>()?,
    };
    let mut names = BTreeSet::new();
    for backend in &backends {
        let name = &backend.model().name;
        if !names.insert(name) {
            return Err(UsageError(format!(
                "two models are called {name:?}: names must differ, see their manifests"
            ))
            .into());
        }
        let description = backend.description();
        info!(
            model = name,
            backend = description.backend,
            device = description.device,
            "engine"
        );
    }
    Ok(backends)
}

/// An engine goes on the GPU, an ONNX file on the CPU.
fn backend(path: &Path, settings: &Settings) -> Result<Arc<dyn Backend>> {
    if model::file_kind(path)? == FileKind::Onnx {
        // Whoever names a file so would find out by the CPU's slowness.
        return match model::is_named_engine(path) {
            true => Err(GpuError::Onnx(path.display().to_string()).into()),
            false => on_cpu(model::load(path)?, settings),
        };
    }
    let file = model::load_engine(path)?;
    let bytes = settings.limits.max_frame_bytes;
    match CudaBackend::new(&file, &settings.gpu, settings.lanes, bytes) {
        Ok(backend) => Ok(Arc::new(backend)),
        Err(error) => match settings.gpu.fallback {
            GpuFallback::Never => {
                // Some name the file themselves.
                let named = error.to_string().contains(&*path.to_string_lossy());
                let error = anyhow::Error::from(error);
                Err(match named {
                    true => error,
                    false => error.context(format!("engine {}", path.display())),
                })
            }
            GpuFallback::Cpu => on_cpu_instead(&file, settings, &error.to_string()),
        },
    }
}

fn on_cpu(file: ModelFile, settings: &Settings) -> Result<Arc<dyn Backend>> {
    let name = file.spec.name.clone();
    let backend = CpuBackend::new(file, &settings.engine, settings.lanes)
        .with_context(|| format!("model {name}"))?;
    Ok(Arc::new(backend))
}

/// The ONNX file that `engine` was built from, under the engine's name: clients ask for that.
fn on_cpu_instead(engine: &EngineFile, settings: &Settings, why: &str) -> Result<Arc<dyn Backend>> {
    let path = engine.path();
    let file = engine
        .cpu_model()
        .with_context(|| format!("{why}; and the CPU cannot run its model instead"))?;
    let file = file.ok_or_else(|| GpuError::NoFallback {
        path: path.to_owned(),
        why: why.to_owned(),
    })?;
    warn!(
        engine = %path.display(),
        why,
        "the engine cannot be used: the CPU runs its model instead, far slower"
    );
    let what = format!(
        "CPU instead of {} on a GPU ({why})",
        path.file_name().unwrap_or_default().display()
    );
    let backend = CpuBackend::new(file, &settings.engine, settings.lanes)?;
    Ok(Arc::new(backend.instead_of_a_gpu(&what)))
}

/// Opens and warms every lane. `backends` are those of these settings.
pub(super) fn pools(settings: &Settings, backends: Vec<Arc<dyn Backend>>) -> Result<Vec<LanePool>> {
    let pools = backends.into_iter().enumerate().map(|(i, backend)| {
        let name = backend.model().name.clone();
        let on_gpu = backend.description().gpu == OnGpu::Yes;
        let started = LanePool::start(backend, settings.lanes);
        match started {
            Err(error) if on_gpu && settings.gpu.fallback == GpuFallback::Cpu => {
                let engine = model::load_engine(&settings.models[i])?;
                let backend = on_cpu_instead(&engine, settings, &error.to_string())?;
                LanePool::start(backend, settings.lanes)
            }
            started => started,
        }
        .with_context(|| format!("lanes of model {name}"))
    });
    pools.collect()
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

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::{
        config::{EngineKind, EngineSettings, GpuSettings},
        model::bundled,
    };

    /// A plan that no TensorRT reads, and beside it what it might have been built from.
    fn engine(folder: &Path, with_onnx: bool) -> PathBuf {
        let path = folder.join("cell.engine");
        fs::write(&path, [b"ftrt".as_slice(), &[0; 1 << 16]].concat()).unwrap();
        if with_onnx {
            fs::write(folder.join("cell.onnx"), bundled().unwrap().bytes).unwrap();
        }
        path
    }

    fn settings(model: PathBuf, fallback: GpuFallback) -> Settings {
        Settings {
            models: vec![model],
            gpu: GpuSettings {
                fallback,
                ..GpuSettings::default()
            },
            engine: EngineSettings {
                kind: EngineKind::Rten,
                threads: 1,
                onnxruntime: None,
            },
            ..Settings::default()
        }
    }

    fn refusal(settings: &Settings) -> anyhow::Error {
        match backends(settings) {
            Ok(_) => panic!("this cannot run"),
            Err(error) => error,
        }
    }

    #[test]
    fn an_engine_that_cannot_be_used_ends_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = engine(folder.path(), true);
        let error = refusal(&settings(path.clone(), GpuFallback::Never));
        assert!(error.is::<GpuError>(), "{error:#}");
        let text = format!("{error:#}");
        let named = path.display().to_string();
        assert_eq!(text.matches(&named).count(), 1, "{text}");
    }

    #[test]
    fn the_cpu_runs_its_model_where_the_settings_allow_it_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = engine(folder.path(), true);
        let settings = settings(path, GpuFallback::Cpu);
        let backends = backends(&settings).unwrap();
        let description = backends[0].description().clone();
        assert_eq!(description.gpu, OnGpu::No);
        let backend = &description.backend;
        assert!(
            backend.starts_with("CPU instead of cell.engine on a GPU (")
                && backend.contains("rten"),
            "{backend}"
        );
        // Clients ask for the name that they know.
        assert_eq!(backends[0].model().name, "cell");
        assert_eq!(pools(&settings, backends).unwrap().len(), 1);
    }

    #[test]
    fn without_its_onnx_file_there_is_nothing_that_the_cpu_could_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = engine(folder.path(), false);
        let error = refusal(&settings(path, GpuFallback::Cpu));
        assert!(
            matches!(error.downcast_ref(), Some(GpuError::NoFallback { .. })),
            "{error:#}"
        );
    }

    #[test]
    fn an_onnx_file_under_an_engines_name_is_not_run_on_the_cpu_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cell.engine");
        fs::write(&path, bundled().unwrap().bytes).unwrap();
        for fallback in [GpuFallback::Never, GpuFallback::Cpu] {
            let error = refusal(&settings(path.clone(), fallback));
            assert!(
                matches!(error.downcast_ref(), Some(GpuError::Onnx(_))),
                "{error:#}"
            );
        }
    }
}
