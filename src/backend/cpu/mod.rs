//! ONNX on the CPU: rten, embedded, or ONNX Runtime where its library is found.
//!
//! Both engines take the same file and give the same outputs; everything around them is [`crate::preprocess`] and
//! [`crate::decode`].

mod engine;
mod lane;
mod library;
mod onnxruntime;
mod rten;

use std::{sync::Arc, thread};

use self::{
    engine::Engine,
    lane::CpuLane,
    library::{LibraryError, Loaded},
};
use super::{Backend, Description, Lane, LaneError, OnGpu, memory};
use crate::{
    config::{EngineKind, EngineSettings},
    model::{EngineFile, ModelFile, ModelSpec},
};

/// A model on the CPU.
pub struct CpuBackend {
    model: Arc<ModelSpec>,
    description: Description,
    engine: Engine,
}

/// Why a model does not run on the CPU.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Fetch the library, or let the settings choose rten.
    #[error("ONNX Runtime: {0}")]
    Library(String),
    /// Choose another engine, or export the model another way.
    #[error("model {model} on {engine}: {why}")]
    Model {
        /// Its name.
        model: String,
        /// The engine that refused it.
        engine: &'static str,
        /// What it said.
        why: String,
    },
    /// Free memory, or ask for less.
    #[error(
        "model {model}: loading it for {lanes} lane(s) needs about {need} MiB of memory, and {free} MiB are free: end what else uses \
         it, or lower lanes; where a reload is short, reload = \"replace\" needs less"
    )]
    NoRoom {
        /// Its name.
        model: String,
        /// Of the settings.
        lanes: usize,
        /// MiB.
        need: u64,
        /// MiB.
        free: u64,
    },
}

impl CpuBackend {
    /// Loads `model` into the engine that `settings` choose, for `lanes` lanes.
    pub fn new(
        model: ModelFile,
        settings: &EngineSettings,
        lanes: usize,
    ) -> Result<Self, BackendError> {
        let threads = match settings.threads {
            0 => default_threads(lanes),
            threads => threads,
        };
        let spec = Arc::new(model.spec.clone());
        let identity = model.identity();
        check_memory(&model, lanes)?;
        let (engine, backend) = match settings.kind {
            EngineKind::Rten => (
                Engine::rten(&spec, model, threads)?,
                rten_because("chosen in the settings"),
            ),
            EngineKind::OnnxRuntime => {
                let library = library::load(settings)
                    .map_err(|error| BackendError::Library(error.to_string()))?;
                let backend = describe(&library);
                (
                    Engine::onnxruntime(&spec, &model, &library, threads)?,
                    backend,
                )
            }
            EngineKind::Auto => match library::load(settings) {
                Ok(library) => match Engine::onnxruntime(&spec, &model, &library, threads) {
                    Ok(engine) => (engine, describe(&library)),
                    Err(refusal) => (
                        Engine::rten(&spec, model, threads)?,
                        rten_because(&refusal.to_string()),
                    ),
                },
                // A library that somebody named must not be passed over in silence.
                Err(why) if settings.onnxruntime.is_some() => {
                    return Err(BackendError::Library(why.to_string()));
                }
                // Where it was looked for is doctor's to say: every session's opening carries this line.
                Err(LibraryError::NotFound { .. }) => (
                    Engine::rten(&spec, model, threads)?,
                    rten_because("no ONNX Runtime found"),
                ),
                Err(LibraryError::Unusable(why)) => {
                    (Engine::rten(&spec, model, threads)?, rten_because(&why))
                }
            },
        };
        let s = if threads == 1 { "" } else { "s" };
        Ok(CpuBackend {
            model: spec,
            description: Description {
                backend,
                device: format!("cpu ({threads} thread{s})"),
                gpu: OnGpu::NotMeant,
                degraded: None,
                identity,
            },
            engine,
        })
    }

    /// The same, for `engine`, which was meant for a GPU; `why` not.
    pub fn instead_of_a_gpu(mut self, engine: &EngineFile, why: &str) -> Self {
        let name = engine.path().file_name().unwrap_or_default().display();
        let Description { backend, .. } = &self.description;
        self.description.backend = format!("CPU instead of {name} on a GPU ({why}): {backend}");
        self.description.gpu = OnGpu::No;
        self.description.degraded =
            Some(format!("the CPU runs it instead of {name} on a GPU: {why}"));
        self.description.identity = format!("{} {}", engine.identity(), self.description.identity);
        self
    }
}

impl Backend for CpuBackend {
    fn open_lane(&self) -> Result<Box<dyn Lane>, LaneError> {
        let network = self.engine.open().map_err(LaneError::Lane)?;
        Ok(Box::new(CpuLane::new(self.model.clone(), network)))
    }

    fn model(&self) -> &Arc<ModelSpec> {
        &self.model
    }

    fn description(&self) -> &Description {
        &self.description
    }
}

/// ONNX Runtime as these settings find it: version, file, and who named it; or where it was looked for.
pub fn onnxruntime(settings: &EngineSettings) -> Result<String, String> {
    match library::load(settings) {
        Ok(library) => Ok(format!("{}: {}", library.version, library.origin)),
        Err(error) => Err(error.to_string()),
    }
}

/// One core is left to the acquisition, which must not wait for us.
fn default_threads(lanes: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    ((cores - 1) / lanes.max(1)).max(1)
}

/// About what an engine takes: the file while it is read and its weights, and of each lane its activations. With the bundled
/// model a lane takes 91 bytes a pixel of the input in rten and 154 in ONNX Runtime (x86-64); others differ, so this errs on the
/// small side.
fn check_memory(model: &ModelFile, lanes: usize) -> Result<(), BackendError> {
    /// Bytes of activations for each pixel of the input.
    const PER_PIXEL: u64 = 90;
    let pixels = u64::from(model.spec.input_width) * u64::from(model.spec.input_height);
    let need = 2 * model.bytes.len() as u64 + lanes as u64 * pixels * PER_PIXEL;
    match memory::available_bytes() {
        Some(free) if free < need => Err(BackendError::NoRoom {
            model: model.spec.name.clone(),
            lanes,
            need: need.div_ceil(1 << 20),
            free: free >> 20,
        }),
        _ => Ok(()),
    }
}

fn rten_because(why: &str) -> String {
    format!("rten {} (embedded): {why}", rten::VERSION)
}

fn describe(library: &Loaded) -> String {
    format!("onnxruntime {}: {}", library.version, library.origin)
}

/// The network alone, for tests of what other backends do around it: detections and prototypes of `input`.
#[cfg(test)]
pub(crate) fn raw_outputs(backend: &CpuBackend, input: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut network = backend.engine.open().unwrap();
    network.input().copy_from_slice(input);
    network.run().unwrap();
    let outputs = network.outputs();
    (outputs.detections.to_vec(), outputs.prototypes.to_vec())
}

#[cfg(test)]
mod tests;
