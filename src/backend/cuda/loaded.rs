//! What the lanes of a model share: engine, kernels, sizes.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};

use super::{
    driver::{self, Context, CudaError, Function, Module},
    kernels::{self, Launch, Sizes},
    share::{self, Claim, Wait},
    trt,
};
use crate::{
    backend::LaneError,
    config::GpuPriority,
    model::{Head, ModelSpec, Storage},
};

/// An engine on its device.
pub(super) struct Loaded {
    pub model: Arc<ModelSpec>,
    /// There until this is dropped.
    engine: Option<trt::Engine>,
    pub storage: Storage,
    pub sizes: Sizes,
    pub kernels: Arc<Kernels>,
    pub priority: GpuPriority,
    wait: Wait,
    /// Given back when this is dropped.
    _claim: Claim,
    /// The operator was told that there is no graph.
    pub warned: AtomicBool,
    /// Profiles that no lane uses; none where lanes share the first.
    profiles: Option<Arc<Mutex<Vec<usize>>>>,
    /// Last: everything above lies in it.
    pub context: Arc<Context>,
}

/// What a [`Loaded`] is made of.
pub(super) struct Parts {
    pub model: Arc<ModelSpec>,
    pub engine: trt::Engine,
    pub storage: Storage,
    pub sizes: Sizes,
    pub kernels: Kernels,
    pub priority: GpuPriority,
    pub wait: Wait,
    pub claim: Claim,
    /// Each lane needs an optimisation profile of its own.
    pub profile_each: bool,
    pub context: Arc<Context>,
}

/// Kernels with their grids.
pub(super) struct Kernels {
    pub before: Vec<Kernel>,
    pub after: Vec<Kernel>,
    /// The last of those after the engine: it writes to the host.
    pub export: Vec<Kernel>,
}

/// One kernel, some times.
pub(super) struct Kernel {
    pub function: Function,
    pub blocks: u32,
    pub threads: u32,
    pub times: u32,
}

/// An optimisation profile that one lane uses; given back when dropped.
pub(super) struct Profile {
    index: usize,
    free: Arc<Mutex<Vec<usize>>>,
}

impl Loaded {
    pub(super) fn new(parts: Parts) -> Self {
        let profiles = parts.profile_each.then(|| {
            let all = (0..parts.engine.profiles()).rev().collect();
            Arc::new(Mutex::new(all))
        });
        Loaded {
            model: parts.model,
            engine: Some(parts.engine),
            storage: parts.storage,
            sizes: parts.sizes,
            kernels: Arc::new(parts.kernels),
            priority: parts.priority,
            wait: parts.wait,
            _claim: parts.claim,
            warned: AtomicBool::new(false),
            profiles,
            context: parts.context,
        }
    }

    pub(super) fn engine(&self) -> &trt::Engine {
        self.engine.as_ref().expect("there until this is dropped")
    }

    /// Lanes spin while they wait.
    pub(super) fn spins(&self) -> bool {
        self.wait.spins(share::lanes())
    }

    /// A profile for a lane; None where all lanes share the first.
    pub(super) fn profile(&self) -> Result<Option<Profile>, LaneError> {
        let Some(free) = &self.profiles else {
            return Ok(None);
        };
        let index = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let index = index.ok_or_else(|| {
            LaneError::Lane("every optimisation profile of the engine is in use".to_owned())
        })?;
        Ok(Some(Profile {
            index,
            free: Arc::clone(free),
        }))
    }
}

impl Drop for Loaded {
    /// The engine first, in its context, on whichever thread this happens.
    fn drop(&mut self) {
        driver::report(self.context.bind());
        drop(self.engine.take());
    }
}

impl Kernels {
    /// Compiles them for the device.
    pub(super) fn load(
        context: &Arc<Context>,
        head: &Head,
        sizes: &Sizes,
    ) -> Result<Self, CudaError> {
        let module = Module::new(context, kernels::PTX)?;
        let load = |launches: &[Launch]| {
            let each = launches.iter().map(|launch| {
                Ok(Kernel {
                    function: module.function(launch.name)?,
                    blocks: launch.grid(sizes),
                    threads: launch.threads,
                    times: launch.times,
                })
            });
            each.collect::<Result<Vec<_>, CudaError>>()
        };
        let after = kernels::after_engine(head);
        let (decode, export) = after.split_at(after.len() - 1);
        Ok(Kernels {
            before: load(kernels::before_engine(head))?,
            after: load(decode)?,
            export: load(export)?,
        })
    }
}

impl Profile {
    pub(super) fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(self.index);
    }
}
