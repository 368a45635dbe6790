//! TensorRT outside of a lane: to build engines and to look into them.

use std::{path::Path, sync::Arc};

use super::{
    GpuError,
    device::{self, Device, NoGpu},
    driver,
    trt::{self, BuildOptions, Built, Engine, Event, Flavour, Gpu, Library, TensorInfo},
};
use crate::{config::GpuSettings, model::EngineFile};

/// An open library, and the GPU on which it builds.
pub(crate) struct Workbench {
    library: Arc<Library>,
    device: Result<(Device, Arc<driver::Context>), NoGpu>,
}

impl Workbench {
    /// `wanted`: of several libraries the one that this engine was built with, "TensorRT 10.3.0".
    pub(crate) fn open(settings: &GpuSettings, wanted: Option<&str>) -> Result<Self, GpuError> {
        let library = Library::open_for(settings.tensorrt.as_deref(), wanted)?;
        let chosen = device::probe().and_then(|gpus| gpus.choose(&settings.device).cloned());
        let device = match chosen {
            Ok(device) => {
                let context = driver::Context::new(device.index as i32)?;
                Ok((device, context))
            }
            Err(why) => Err(why),
        };
        Ok(Workbench { library, device })
    }

    /// "TensorRT 10.3.0".
    pub(crate) fn library_name(&self) -> String {
        self.library.name()
    }

    /// Its file.
    pub(crate) fn library_path(&self) -> &Path {
        self.library.path()
    }

    /// Types come from the ONNX file alone: no flag makes an engine fp16.
    pub(crate) fn strongly_typed(&self) -> bool {
        self.library.strongly_typed()
    }

    /// What is built runs on every GPU that the library knows, and is compiled there.
    pub(crate) fn compiles_at_load(&self) -> bool {
        self.library.flavour() == Flavour::Rtx
    }

    /// Two contexts cannot share a profile of a dynamic engine.
    pub(crate) fn one_profile_a_lane(&self) -> bool {
        self.library.version().major < 10 && self.library.flavour() == Flavour::Full
    }

    /// The GPU that is used; None: there is none that can be used.
    pub(crate) fn device(&self) -> Option<&Device> {
        self.device.as_ref().ok().map(|(device, _)| device)
    }

    /// Whether it can build: TensorRT measures on the GPU what it builds for; RTX does not, and builds where there is none too.
    /// A GPU that was chosen wrongly, or that does not work, is said.
    pub(crate) fn ready(&self) -> Result<(), GpuError> {
        match &self.device {
            Ok((_, context)) => Ok(context.bind()?),
            Err(NoGpu::Absent(_)) if self.compiles_at_load() => Ok(()),
            Err(why) => Err(why.clone().into()),
        }
    }

    /// Takes minutes; `report` is called from any thread.
    pub(crate) fn build(
        &self,
        onnx: &[u8],
        options: &BuildOptions,
        report: &(dyn Fn(Event) + Sync),
    ) -> Result<Built, GpuError> {
        self.ready()?;
        Ok(trt::build(&self.library, onnx, options, report)?)
    }

    /// What goes into an engine and comes out.
    pub(crate) fn tensors(&self, file: &EngineFile) -> Result<Vec<TensorInfo>, GpuError> {
        let (device, context) = match &self.device {
            Ok(used) => used,
            Err(why) => return Err(why.clone().into()),
        };
        context.bind()?;
        let gpu = Gpu {
            name: device.name.clone(),
            compute_capability: device.compute_capability,
        };
        trt::before_load(file, &self.library, &gpu)?;
        let engine = Engine::deserialize_file(&self.library, file)?;
        Ok(engine.tensors().to_vec())
    }
}
