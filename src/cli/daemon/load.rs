//! From settings to models with lanes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use tracing::{info, warn};

use crate::{
    backend::{
        Backend, LaneError, OnGpu,
        cpu::CpuBackend,
        cuda::{CudaBackend, GpuError},
    },
    cli::UsageError,
    config::{GpuFallback, Settings, SettingsError},
    model::{self, AnyModel, EngineFile, ModelFile, Trust},
    pool::LanePool,
};

/// A model that the settings name, before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Named {
    /// What clients ask for.
    pub name: String,
    /// None: the bundled model.
    pub path: Option<PathBuf>,
}

/// A model, and what runs it or why nothing does.
pub(in crate::cli) struct Tried {
    pub named: Named,
    pub loaded: Result<Arc<dyn Backend>>,
}

/// The models that `settings` name, the default first; their names differ.
pub(super) fn named(settings: &Settings) -> Result<Vec<Named>> {
    named_as(settings, &BTreeMap::new())
}

/// The same. A file whose manifest cannot be read keeps the name that it has in `known`: loading it says what is wrong.
pub(super) fn named_as(
    settings: &Settings,
    known: &BTreeMap<PathBuf, String>,
) -> Result<Vec<Named>> {
    let mut unread = None;
    let mut paths = settings.models.clone();
    if let Some(folder) = &settings.models_dir {
        paths.extend(model::in_folder(folder)?);
    }
    let mut named: Vec<Named> = match paths.is_empty() {
        true => vec![Named {
            name: model::bundled()?.spec.name,
            path: None,
        }],
        false => paths
            .into_iter()
            .map(|path| Named {
                name: model::name_of(&path).unwrap_or_else(|error| {
                    unread.get_or_insert(error);
                    let name = known.get(&path).cloned();
                    name.unwrap_or_else(|| model::named_by_file(&path))
                }),
                path: Some(path),
            })
            .collect(),
    };
    let mut seen = BTreeMap::new();
    for Named { name, path } in &named {
        if let Some(other) = seen.insert(name, path) {
            let files = [other, path].map(|path| path.clone().unwrap_or_default());
            return Err(UsageError(format!(
                "two models are called {name:?}: {} and {}; names must differ, see their manifests",
                files[0].display(),
                files[1].display()
            ))
            .into());
        }
    }
    let default = &settings.default_model;
    if !default.is_empty() {
        let names: Vec<&str> = named.iter().map(|named| &*named.name).collect();
        let place = names.iter().position(|name| name == default);
        let Some(place) = place else {
            // It may be the one whose name nobody knows.
            if let Some(error) = unread {
                return Err(error.into());
            }
            return Err(SettingsError::Value {
                key: "default_model",
                value: format!("{default:?}"),
                right: format!(
                    "must be the name of a model; there are: {}",
                    names.join(", ")
                ),
            }
            .into());
        };
        named[..=place].rotate_right(1);
    }
    Ok(named)
}

/// The names of the models that `settings` name, for a person who waits.
pub(in crate::cli) fn names(settings: &Settings) -> Result<String> {
    let names: Vec<String> = named(settings)?
        .into_iter()
        .map(|named| named.name)
        .collect();
    Ok(names.join(", "))
}

/// Loads the models that `settings` name, the default first, and settles what runs each of them.
pub(in crate::cli) fn backends(settings: &Settings) -> Result<Vec<Arc<dyn Backend>>> {
    let named = named(settings)?;
    named.iter().map(|named| backend(named, settings)).collect()
}

/// The same for each model by itself: what keeps one from being served says nothing of the others.
pub(in crate::cli) fn each(settings: &Settings) -> Result<Vec<Tried>> {
    let load = |named: Named| {
        let loaded = backend(&named, settings);
        Tried { named, loaded }
    };
    Ok(named(settings)?.into_iter().map(load).collect())
}

/// Opens and warms every lane. `backends` are those of these settings.
pub(in crate::cli) fn pools(
    settings: &Settings,
    backends: Vec<Arc<dyn Backend>>,
) -> Result<Vec<LanePool>> {
    let named = named(settings)?;
    let of_backend = |backend: &Arc<dyn Backend>| {
        let name = &backend.model().name;
        named.iter().find(|named| named.name == *name)
    };
    backends
        .into_iter()
        .map(|backend| {
            let path = of_backend(&backend).and_then(|named| named.path.as_deref());
            open(backend, path, settings)
        })
        .collect()
}

/// Loads a model and opens its lanes.
pub(super) fn pool(named: &Named, settings: &Settings) -> Result<LanePool> {
    open(backend(named, settings)?, named.path.as_deref(), settings)
}

/// Of a model's files as they are now: what its backend would have as its identity. Verifies them.
pub(super) fn identity(named: &Named, settings: &Settings) -> Result<String> {
    let trust = Trust::new(&settings.trust);
    let Some(path) = &named.path else {
        return Ok(model::bundled()?.identity());
    };
    Ok(match model::load_any(path, &trust)? {
        AnyModel::Onnx(file) => file.identity(),
        AnyModel::Engine(file) => file.identity(),
    })
}

/// Where the lanes of an engine do not open on the GPU, the CPU may run its model.
fn open(backend: Arc<dyn Backend>, path: Option<&Path>, settings: &Settings) -> Result<LanePool> {
    let name = backend.model().name.clone();
    let on_gpu = backend.description().gpu == OnGpu::Yes;
    let start = |backend| -> Result<LanePool, LaneError> {
        LanePool::start_with(backend, settings.lanes, settings.hung_after())
    };
    let started = match (start(backend), path) {
        (Err(error), Some(path)) if on_gpu && settings.gpu.fallback == GpuFallback::Cpu => {
            let engine = model::load_engine_trusted(path, &Trust::new(&settings.trust))?;
            start(on_cpu_instead(&engine, settings, &error.to_string())?)
        }
        (started, _) => started,
    };
    started.with_context(|| format!("lanes of model {name}"))
}

fn backend(named: &Named, settings: &Settings) -> Result<Arc<dyn Backend>> {
    let backend = match &named.path {
        None => on_cpu(model::bundled()?, settings)?,
        Some(path) => of_file(path, settings)?,
    };
    let description = backend.description();
    info!(
        model = backend.model().name,
        backend = description.backend,
        device = description.device,
        "engine"
    );
    Ok(backend)
}

/// An engine goes on the GPU, an ONNX file on the CPU.
fn of_file(path: &Path, settings: &Settings) -> Result<Arc<dyn Backend>> {
    let trust = Trust::new(&settings.trust);
    let file = match model::load_any(path, &trust)? {
        // Whoever names a file so would find out by the CPU's slowness.
        AnyModel::Onnx(_) if model::is_named_engine(path) => {
            return Err(GpuError::Onnx(path.display().to_string()).into());
        }
        AnyModel::Onnx(file) => return on_cpu(*file, settings),
        AnyModel::Engine(file) => file,
    };
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
    let backend = CpuBackend::new(file, &settings.engine, settings.lanes)?;
    Ok(Arc::new(backend.instead_of_a_gpu(engine, why)))
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
