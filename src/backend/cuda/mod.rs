//! TensorRT engines on an NVIDIA GPU: one CUDA stream a lane, our own kernels around the engine.
//!
//! Nothing of CUDA or TensorRT is linked: both are found at run time, and a machine without them is told so in words.

#![expect(
    unsafe_code,
    reason = "CUDA and TensorRT are C and C++ libraries, found at run time"
)]

pub mod device;
mod driver;
mod exit;
mod kernels;
mod lane;
mod loaded;
mod share;
pub(crate) mod trt;
pub(crate) mod workbench;

use std::{any::Any, path::PathBuf, sync::Arc};

use bytes::Bytes;

pub use exit::exit_now;
use tracing::{info, warn};

use self::{
    device::{Device, Gpus, NoGpu},
    driver::{CudaError, Registered},
    kernels::Sizes,
    lane::CudaLane,
    loaded::{Kernels, Loaded, Parts},
    share::{Claim, Wait},
    trt::{Library, TrtError},
};
use super::{Backend, Description, Lane, LaneError, OnGpu, memory};
use crate::{
    config::GpuSettings,
    decode::Bounds,
    model::{EngineFile, ModelError, ModelSpec},
};

/// An engine on a GPU.
pub struct CudaBackend {
    model: Arc<ModelSpec>,
    description: Description,
    loaded: Arc<Loaded>,
}

/// Why an engine does not run on a GPU.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// Mend the driver, choose another device, or use the CPU.
    #[error(transparent)]
    NoGpu(#[from] NoGpu),
    /// Install TensorRT, or build the engine again.
    #[error("{0}")]
    TensorRt(String),
    /// Build an engine of it, or name it as what it is.
    #[error(
        "{0}: it is an ONNX file under an engine's name; call it .onnx: the CPU runs that, and cellsegd engine build makes an \
         engine of it"
    )]
    Onnx(String),
    /// Its tensors are not a model's that we know.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Fewer lanes, or an engine with more profiles.
    #[error(
        "{library} lets no two lanes use one optimisation profile: {} has {profiles}, and lanes = {lanes}; use at most {profiles} \
         lane(s), or build it with a fixed batch, or use TensorRT 10", path.display()
    )]
    Profiles {
        /// "TensorRT 8.6.1".
        library: String,
        /// Of the engine.
        path: PathBuf,
        /// Of the engine.
        profiles: usize,
        /// Of the settings.
        lanes: usize,
    },
    /// A higher limit, fewer lanes, or smaller frames.
    #[error(
        "gpu.memory_limit_mib = {limit}: {lanes} lane(s) need {need} MiB (weights about {weights}; each lane {engine} for the \
         engine and {buffers} for frames of limits.max_frame_bytes and what becomes of them): raise it or lower those"
    )]
    Memory {
        /// Of the settings, MiB.
        limit: u64,
        /// Of the settings.
        lanes: u64,
        /// In all, MiB.
        need: u64,
        /// The plan's size, MiB.
        weights: u64,
        /// Of TensorRT, MiB.
        engine: u64,
        /// Ours, MiB.
        buffers: u64,
    },
    /// A higher limit, or fewer models.
    #[error(
        "gpu.total_memory_mib = {limit}: this model needs {need} MiB, and the other models of this daemon hold {held}: raise it, \
         or serve fewer models or lanes"
    )]
    Total {
        /// Of the settings, MiB.
        limit: u64,
        /// Of the model, MiB.
        need: u64,
        /// Of the others, those among them that a reload replaced and sessions still use, MiB.
        held: u64,
    },
    /// Free memory on the device, or ask for less.
    #[error(
        "{what} need {need} MiB, and {free} MiB of {device} are free: end what else uses it, or lower lanes or \
         limits.max_frame_bytes; where a reload is short, reload = \"replace\" needs less"
    )]
    NoRoom {
        /// Weights or lanes.
        what: String,
        /// MiB.
        need: u64,
        /// MiB.
        free: u64,
        /// Its name.
        device: String,
    },
    /// Mend what keeps the engine from running, or give the CPU its model.
    #[error(
        "engine {}: {why}; and gpu.fallback = \"cpu\" needs the ONNX file that it was built from beside it: NAME.onnx, or as its \
         manifest says", path.display()
    )]
    NoFallback {
        /// The engine's.
        path: PathBuf,
        /// Why it does not run on a GPU.
        why: String,
    },
    /// The driver refused something.
    #[error("{0}")]
    Cuda(String),
}

impl CudaBackend {
    /// Loads `file` onto the GPU that `settings` choose, for `lanes` lanes and frames of at most `max_frame_bytes`.
    pub fn new(
        file: &EngineFile,
        settings: &GpuSettings,
        lanes: usize,
        max_frame_bytes: u64,
    ) -> Result<Self, GpuError> {
        let gpus = device::probe()?;
        let device = gpus.choose(&settings.device)?;
        let built_with = file.built_for().map(|built_for| &*built_for.tensorrt);
        let library = Library::open_for(settings.tensorrt.as_deref(), built_with)?;
        let gpu = trt::Gpu {
            name: device.name.clone(),
            compute_capability: device.compute_capability,
        };
        trt::before_load(file, &library, &gpu)?;

        let context = driver::Context::new(device.index as i32)?;
        // The weights are the least that loading takes; the rest is known only then.
        fits(
            free_bytes(&context, device)?,
            file.plan().len() as u64,
            "its weights",
            device,
        )?;
        let engine = trt::Engine::deserialize_file(&library, file)?;
        let tensors = engine.tensor_shapes();
        let model = Arc::new(file.spec(&tensors)?);
        let storage = file.storage(&tensors)?;
        check_layouts(file, &engine)?;
        if storage.batch > 1 {
            info!(
                model = model.name,
                batch = storage.batch,
                "the engine computes a fixed batch: tiles of large frames fill it, a frame alone takes as long as all of it"
            );
        }
        // Later versions let any number of contexts share a profile.
        let profile_each = storage.dynamic_batch && library.version().major < 10;
        if profile_each && engine.profiles() < lanes {
            return Err(GpuError::Profiles {
                library: library.name(),
                path: file.path().to_owned(),
                profiles: engine.profiles(),
                lanes,
            });
        }
        // A lane is warmed up with a grey frame of the network's own size.
        let warm_up_bytes = u64::from(model.input_width) * u64::from(model.input_height);
        let sizes = Sizes::new(
            &model,
            &storage,
            &Bounds::default(),
            max_frame_bytes.max(warm_up_bytes) as usize,
            device.multiprocessors,
        );
        let memory = Memory {
            lanes: lanes as u64,
            weights: file.plan().len() as u64,
            engine: engine.device_memory_bytes(),
            buffers: buffers_bytes(&sizes, storage.batch, device.integrated),
        };
        memory.check(settings.memory_limit_mib)?;
        let claim = Claim::new(memory.need(), lanes, settings.total_memory_mib)?;
        let lanes_need = memory.need() - memory.weights;
        let what = format!("{lanes} lane(s)");
        fits(free_bytes(&context, device)?, lanes_need, &what, device)?;
        let kernels = Kernels::load(&context, &model.head, &sizes)?;
        let wait = Wait::new(settings.wait, device.integrated);
        info!(
            model = model.name,
            device = device.name,
            uuid = device.uuid,
            library = %library.path().display(),
            memory_mib = mib(memory.need()),
            wait = if wait.spins(share::lanes()) { "spin" } else { "block" },
            "engine loaded"
        );
        Ok(CudaBackend {
            description: describe(&gpus, device, &library, &model, file.identity()),
            model: Arc::clone(&model),
            loaded: Arc::new(Loaded::new(Parts {
                model,
                engine,
                storage,
                sizes,
                kernels,
                priority: settings.priority,
                wait,
                claim,
                profile_each,
                context,
            })),
        })
    }
}

impl Backend for CudaBackend {
    fn open_lane(&self) -> Result<Box<dyn Lane>, LaneError> {
        Ok(Box::new(CudaLane::open(&self.loaded)?))
    }

    fn model(&self) -> &Arc<ModelSpec> {
        &self.model
    }

    fn description(&self) -> &Description {
        &self.description
    }

    fn pin(&self, memory: &Bytes, is_writable: bool) -> Option<Box<dyn Any + Send + Sync>> {
        match Registered::new(&self.loaded.context, memory, is_writable) {
            Ok(registered) => Some(Box::new(registered)),
            Err(error) => {
                warn!(%error, "shared memory is not registered with CUDA: frames in it are copied once more");
                None
            }
        }
    }
}

impl From<TrtError> for GpuError {
    fn from(error: TrtError) -> Self {
        GpuError::TensorRt(error.to_string())
    }
}

impl From<CudaError> for GpuError {
    fn from(error: CudaError) -> Self {
        GpuError::Cuda(error.to_string())
    }
}

/// Bytes of the device that a model takes.
struct Memory {
    lanes: u64,
    weights: u64,
    /// Of each lane.
    engine: u64,
    /// Of each lane.
    buffers: u64,
}

impl Memory {
    fn need(&self) -> u64 {
        self.weights + self.lanes * (self.engine + self.buffers)
    }

    fn check(&self, limit_mib: u64) -> Result<(), GpuError> {
        match limit_mib == 0 || mib(self.need()) <= limit_mib {
            true => Ok(()),
            false => Err(GpuError::Memory {
                limit: limit_mib,
                lanes: self.lanes,
                need: mib(self.need()),
                weights: mib(self.weights),
                engine: mib(self.engine),
                buffers: mib(self.buffers),
            }),
        }
    }
}

/// Of one lane whose engine takes `batch` frames at a time. Where CPU and GPU share their memory, what is page-locked for the device is taken from it too.
fn buffers_bytes(sizes: &Sizes, batch: usize, integrated: bool) -> u64 {
    let pinned = match integrated {
        true => sizes.upload + sizes.answer,
        false => 0,
    };
    let of_each = sizes.upload + sizes.workspace + pinned;
    (batch * of_each + sizes.input + sizes.detections + sizes.prototypes) as u64
}

/// What nobody uses. A Jetson's GPU takes its memory from the CPU's, where the driver does not count what the kernel would give
/// back.
fn free_bytes(context: &driver::Context, device: &Device) -> Result<u64, GpuError> {
    let (free, _) = context.memory()?;
    Ok(match (device.integrated, memory::available_bytes()) {
        (true, Some(available)) => free.max(available),
        _ => free,
    })
}

fn fits(free: u64, need: u64, what: &str, device: &Device) -> Result<(), GpuError> {
    match need <= free {
        true => Ok(()),
        false => Err(GpuError::NoRoom {
            what: what.to_owned(),
            need: mib(need),
            free: mib(free),
            device: device.name.clone(),
        }),
    }
}

/// As the limit counts, and everybody who is told.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Our kernels write and read plain row-major memory of the device.
fn check_layouts(file: &EngineFile, engine: &trt::Engine) -> Result<(), GpuError> {
    let odd = engine
        .tensors()
        .iter()
        .find(|tensor| tensor.on_host || tensor.vectorised);
    match odd {
        None => Ok(()),
        Some(tensor) => Err(GpuError::TensorRt(format!(
            "{}: tensor {} {}: understood are tensors in device memory, row-major; build the engine with cellsegd engine build",
            file.path().display(),
            tensor.name,
            match tensor.on_host {
                true => "lies in host memory (a shape tensor)",
                false => "has its channels packed together",
            }
        ))),
    }
}

fn describe(
    gpus: &Gpus,
    device: &Device,
    library: &Library,
    model: &ModelSpec,
    identity: String,
) -> Description {
    let (major, minor) = device.compute_capability;
    let driver = match &gpus.driver.version {
        Some(version) => format!("driver {version}, "),
        None => String::new(),
    };
    Description {
        backend: format!("{} ({})", library.name(), model.precision),
        device: format!(
            "{} (compute {major}.{minor}, {driver}CUDA {})",
            device.name, gpus.driver.cuda
        ),
        gpu: OnGpu::Yes,
        degraded: None,
        identity,
    }
}

#[cfg(test)]
mod tests;
