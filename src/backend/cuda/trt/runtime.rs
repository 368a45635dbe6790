//! Engines: plans that TensorRT has read.

use std::{
    ffi::{CString, c_void},
    sync::Arc,
};

use super::{
    Context, Library, TrtError,
    abi::{Object, RawDims, Tables, element},
    owned::Owned,
};
use crate::model::{Element, EngineFile, TensorShape};

/// A deserialized plan; lanes share it.
pub(crate) struct Engine {
    shared: Arc<Deserialized>,
    tensors: Vec<TensorInfo>,
    profiles: usize,
    device_memory_bytes: u64,
    /// Names the kernels that TensorRT-RTX compiled for this plan.
    kernels_name: Option<String>,
}

/// What contexts keep.
pub(super) struct Deserialized {
    /// Always there until `drop`, as is the runtime.
    engine: Option<Owned>,
    runtime: Option<Owned>,
}

// SAFETY: TensorRT documents that runtimes and engines may be used by several threads at once; all calls through `&Engine` are
// of `const` methods, or make a context, which TensorRT allows from any thread.
unsafe impl Send for Deserialized {}
// SAFETY: As above.
unsafe impl Sync for Deserialized {}

/// An input or output of an engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorInfo {
    pub name: String,
    pub io: Io,
    pub element: Element,
    /// -1: dynamic.
    pub dims: Vec<i64>,
    /// It wants an address of the host: a shape tensor.
    pub on_host: bool,
    /// Its numbers lie in another order than its dimensions.
    pub vectorised: bool,
    /// Of an input: one a profile.
    pub profiles: Vec<Profile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    Input,
    Output,
}

/// Shapes that an optimisation profile allows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    pub min: Vec<i64>,
    pub opt: Vec<i64>,
    pub max: Vec<i64>,
}

/// `EngineValidity::kINVALID`.
const INVALID: i32 = 2;
/// `TensorIOMode::kINPUT`.
const INPUT: i32 = 1;
/// `TensorLocation::kHOST`.
const HOST: i32 = 1;
/// `TensorFormat::kLINEAR`.
const LINEAR: i32 = 0;

impl Engine {
    /// Reads the plan of a file, as its manifest asks. A CUDA context must be current on this thread.
    pub(crate) fn deserialize_file(
        library: &Arc<Library>,
        file: &EngineFile,
    ) -> Result<Engine, TrtError> {
        let version_compatible = file.built_for().is_some_and(|b| b.version_compatible);
        let name = format!("{}-{}", &file.sha256()[..16], library.version());
        Engine::read(library, file.plan(), version_compatible, Some(name)).map_err(|error| {
            let TrtError::Engine(why) = error else {
                return error;
            };
            let odd = match file.is_marked() {
                true => "",
                false => " (and it does not begin as TensorRT's plans do)",
            };
            TrtError::Engine(format!("engine {}: {why}{odd}", file.path().display()))
        })
    }

    pub(super) fn read(
        library: &Arc<Library>,
        plan: &[u8],
        version_compatible: bool,
        kernels_name: Option<String>,
    ) -> Result<Engine, TrtError> {
        let mark = library.logger().mark();
        let entries = library.entries();
        // SAFETY: The function of this library, its own version, and a logger that is never dropped.
        let runtime =
            unsafe { (entries.create_runtime)(library.logger().as_ptr(), entries.number) };
        let runtime = Owned::new(library, runtime, "creating a runtime", mark)?;
        let tables = runtime.tables();
        if version_compatible {
            // Such plans carry code for the host, the runtime of their version: whoever wrote the manifest wants it run.
            // SAFETY: The runtime is alive.
            unsafe { tables.runtime_allow_host_code(runtime.object(), true) }?;
        }
        valid(library, &runtime, plan)?;
        // SAFETY: The runtime is alive; the plan is that many bytes, which TensorRT copies or reads before it returns.
        let engine = unsafe {
            tables.runtime_deserialize(
                runtime.object(),
                plan.as_ptr().cast(),
                plan.len(),
                std::ptr::null(),
            )
        }?;
        let engine = Owned::new(library, engine, "deserializing", mark).map_err(|_| {
            let said = library.logger().since(mark);
            TrtError::Engine(format!(
                "{} cannot read the plan ({} bytes): {said}; {}",
                library.name(),
                plan.len(),
                what_helps(&said)
            ))
        })?;
        let about = Described::of(&tables, engine.object())?;
        Ok(Engine {
            shared: Arc::new(Deserialized {
                engine: Some(engine),
                runtime: Some(runtime),
            }),
            tensors: about.tensors,
            profiles: about.profiles,
            device_memory_bytes: about.device_memory_bytes,
            kernels_name,
        })
    }

    pub(crate) fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// As the model's head is judged by them.
    pub(crate) fn tensor_shapes(&self) -> Vec<TensorShape> {
        self.tensors.iter().map(TensorInfo::shape).collect()
    }

    /// Optimisation profiles.
    pub(crate) fn profiles(&self) -> usize {
        self.profiles
    }

    /// A context of `profile`, for one lane. Before TensorRT 10 two contexts cannot share a profile of a dynamic engine.
    ///
    /// # Safety
    /// `stream` is a live CUstream of the current context: the one that will run the engine. Choosing a profile may leave work
    /// in it: it is alive until that is done.
    pub(crate) unsafe fn create_context(
        &self,
        profile: usize,
        stream: *mut c_void,
    ) -> Result<Context, TrtError> {
        let mut context = Context::new(
            &self.shared,
            self.profiles,
            profile,
            self.kernels_name.as_deref(),
        )?;
        if self.profiles > 1 {
            // SAFETY: The caller's word.
            unsafe { context.set_profile(profile, stream) }?;
        }
        Ok(context)
    }

    /// Of one context, for activations; the weights are the engine's and shared.
    pub(crate) fn device_memory_bytes(&self) -> u64 {
        self.device_memory_bytes
    }
}

impl TensorInfo {
    /// As the model's head is judged by it: what every profile fixes is not dynamic.
    pub(crate) fn shape(&self) -> TensorShape {
        TensorShape {
            name: self.name.clone(),
            input: self.io == Io::Input,
            element: self.element,
            dims: (0..self.dims.len()).map(|axis| self.fixed(axis)).collect(),
        }
    }
}

impl TensorInfo {
    /// The length along `axis`. None: several are allowed, one of them 1.
    fn fixed(&self, axis: usize) -> Option<usize> {
        if let Ok(length) = usize::try_from(self.dims[axis]) {
            return Some(length);
        }
        // A lane takes the shortest that is allowed.
        let least = self
            .profiles
            .iter()
            .map(|profile| profile.min.get(axis).copied())
            .max()??;
        let most = self
            .profiles
            .iter()
            .map(|profile| profile.max.get(axis).copied())
            .min()??;
        let least = usize::try_from(least).ok()?;
        (least > 1 || i64::try_from(least) == Ok(most)).then_some(least)
    }
}

impl Deserialized {
    pub(super) fn engine(&self) -> &Owned {
        self.engine.as_ref().expect("there until dropped")
    }
}

impl Drop for Deserialized {
    /// The engine before the runtime that made it; contexts are gone by then, for they keep this.
    fn drop(&mut self) {
        self.engine = None;
        self.runtime = None;
    }
}

/// By what TensorRT said of a plan that it cannot read.
fn what_helps(said: &str) -> &'static str {
    let said = said.to_lowercase().replace([' ', '_'], "");
    match said.contains("outofmemory") {
        true => "end what else uses the GPU's memory, or take a smaller model",
        false => {
            "if it was built by another version or for another GPU, build it again here: cellsegd engine build MODEL.onnx"
        }
    }
}

/// TensorRT-RTX says beforehand whether an engine can run here, and why not.
fn valid(library: &Arc<Library>, runtime: &Owned, plan: &[u8]) -> Result<(), TrtError> {
    if library.flavour() != super::Flavour::Rtx {
        return Ok(());
    }
    let mut diagnostics = 0;
    // SAFETY: The runtime is alive; the plan is that many bytes; `diagnostics` outlives the call.
    let validity = unsafe {
        runtime.tables().runtime_validity(
            runtime.object(),
            plan.as_ptr().cast(),
            plan.len() as i64,
            &mut diagnostics,
        )
    }?;
    if validity != INVALID {
        return Ok(());
    }
    // `EngineInvalidityDiagnostics`.
    const REASONS: [&str; 7] = [
        "it was built by another version",
        "the GPU's compute capability is not supported",
        "the NVIDIA driver is too old",
        "the CUDA runtime is too old",
        "the GPU has too little memory",
        "it is damaged",
        "CUDA failed",
    ];
    let reasons: Vec<&str> = REASONS
        .iter()
        .enumerate()
        .filter(|(bit, _)| diagnostics >> bit & 1 == 1)
        .map(|(_, reason)| *reason)
        .collect();
    Err(TrtError::Engine(format!(
        "{} says that this engine cannot run on this GPU: {}",
        library.name(),
        match &reasons[..] {
            [] => format!("diagnostics {diagnostics:#x}"),
            reasons => reasons.join(", "),
        }
    )))
}

/// What an engine says of itself.
struct Described {
    tensors: Vec<TensorInfo>,
    profiles: usize,
    device_memory_bytes: u64,
}

impl Described {
    fn of(tables: &Tables, engine: Object) -> Result<Described, TrtError> {
        // SAFETY: The engine is alive, as in every call below.
        let profiles = unsafe { tables.engine_profiles(engine) }?;
        let profiles = usize::try_from(profiles).unwrap_or(0);
        // SAFETY: As above.
        let n_tensors = unsafe { tables.engine_tensors(engine) }?;
        let tensors = (0..n_tensors)
            .map(|index| tensor(tables, engine, index, profiles))
            .collect::<Result<_, _>>()?;
        // SAFETY: As above.
        let bytes = match unsafe { tables.engine_memory(engine) } {
            Ok(bytes) => bytes as u64,
            Err(_) => {
                // SAFETY: As above.
                let bytes = unsafe { tables.engine_memory_v2(engine) }?;
                u64::try_from(bytes).unwrap_or(0)
            }
        };
        Ok(Described {
            tensors,
            profiles,
            device_memory_bytes: bytes,
        })
    }
}

fn tensor(
    tables: &Tables,
    engine: Object,
    index: i32,
    profiles: usize,
) -> Result<TensorInfo, TrtError> {
    let odd = |what: &str| TrtError::Engine(format!("tensor {index}: {what}"));
    // SAFETY: The engine is alive, as in every call below.
    let name = unsafe { tables.engine_tensor_name(engine, index) }?;
    // SAFETY: TensorRT's, alive as long as the engine.
    let name: CString = unsafe { c_string(name) }.ok_or_else(|| odd("it has no name"))?;
    // SAFETY: As above; the name is a C string that outlives the call, as below.
    let mode = unsafe { tables.engine_tensor_mode(engine, name.as_ptr()) }?;
    // SAFETY: As above.
    let data_type = unsafe { tables.engine_tensor_type(engine, name.as_ptr()) }?;
    // SAFETY: As above.
    let location = unsafe { tables.engine_tensor_location(engine, name.as_ptr()) }?;
    // SAFETY: As above.
    let format = unsafe { tables.engine_tensor_format(engine, name.as_ptr()) }?;
    // SAFETY: As above.
    let dims = unsafe { tables.engine_tensor_shape(engine, name.as_ptr()) }?;
    let narrow = tables.abi.narrow_dims;
    // SAFETY: TensorRT has just returned them, of this version's width.
    let read = |dims: RawDims| unsafe { dims.read(narrow) };
    let dims = read(dims).ok_or_else(|| odd("it has no shape"))?;
    let io = match mode == INPUT {
        true => Io::Input,
        false => Io::Output,
    };
    let shapes = |profile: usize| {
        let shape = |select: i32| {
            // SAFETY: As above.
            let dims = unsafe {
                tables.engine_profile_shape(engine, name.as_ptr(), profile as i32, select)
            }?;
            Ok(read(dims).unwrap_or_default())
        };
        // `OptProfileSelector`.
        Ok(Profile {
            min: shape(0)?,
            opt: shape(1)?,
            max: shape(2)?,
        })
    };
    let n_profiles = if io == Io::Input { profiles } else { 0 };
    let profiles = (0..n_profiles)
        .map(shapes)
        .collect::<Result<_, TrtError>>()?;
    Ok(TensorInfo {
        name: name.to_string_lossy().into_owned(),
        io,
        element: element(data_type),
        dims,
        on_host: location == HOST,
        vectorised: format != LINEAR,
        profiles,
    })
}

/// None: null.
///
/// # Safety
/// Null, or a C string that is alive.
pub(super) unsafe fn c_string(text: *const std::ffi::c_char) -> Option<CString> {
    if text.is_null() {
        return None;
    }
    // SAFETY: The caller's word.
    Some(unsafe { std::ffi::CStr::from_ptr(text) }.to_owned())
}
