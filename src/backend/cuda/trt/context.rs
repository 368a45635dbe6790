//! Contexts: an engine as one lane runs it.

use std::{
    ffi::{CString, c_void},
    marker::PhantomData,
    ptr,
    sync::Arc,
};

use super::{TrtError, abi::RawDims, cache, owned::Owned, runtime::Deserialized};

/// One lane's state of an engine. It keeps the engine.
pub(crate) struct Context {
    /// Always there until `drop`.
    context: Option<Owned>,
    kernels: Option<Kernels>,
    engine: Option<Arc<Deserialized>>,
    /// Used by one thread at a time, and only that of its lane.
    lane: PhantomData<*mut c_void>,
}

/// What TensorRT-RTX compiled on this device, kept so that the next start need not.
struct Kernels {
    cache: Option<Owned>,
    config: Option<Owned>,
    name: String,
    /// Of the file that was read.
    n_bytes: usize,
}

impl Context {
    pub(super) fn new(
        engine: &Arc<Deserialized>,
        n_profiles: usize,
        profile: usize,
        kernels_name: Option<&str>,
    ) -> Result<Context, TrtError> {
        let owned = engine.engine();
        let (library, tables) = (owned.library(), owned.tables());
        if n_profiles.max(1) <= profile {
            return Err(TrtError::Engine(format!(
                "it has {n_profiles} optimisation profiles, and profile {profile} was asked for: {} needs one a lane; build it \
                 with --profiles, or use fewer lanes",
                library.name()
            )));
        }
        let mark = library.logger().mark();
        let kernels = match (library.flavour(), kernels_name) {
            (super::Flavour::Rtx, Some(name)) => Kernels::new(owned, name),
            _ => None,
        };
        let context = match &kernels {
            Some(Kernels {
                config: Some(config),
                ..
            }) => {
                // SAFETY: Engine and configuration are alive; the latter is kept as long as the context.
                unsafe { tables.engine_create_context_with(owned.object(), config.as_ptr()) }?
            }
            _ => {
                // SAFETY: The engine is alive, and the context keeps it so.
                unsafe { tables.engine_create_context(owned.object(), 0) }?
            }
        };
        let context = Owned::new(library, context, "creating an execution context", mark)?;
        Ok(Context {
            context: Some(context),
            kernels,
            engine: Some(engine.clone()),
            lane: PhantomData,
        })
    }

    /// Copies on `stream`. NvInferRuntime.h wants the engine enqueued on the same one, or a wait between the two.
    ///
    /// # Safety
    /// `stream` is a live CUstream of the current context, until what is enqueued has finished.
    pub(super) unsafe fn set_profile(
        &mut self,
        profile: usize,
        stream: *mut c_void,
    ) -> Result<(), TrtError> {
        let context = self.context();
        let mark = context.library().logger().mark();
        // SAFETY: The context is alive; the stream is as the caller says.
        let set = unsafe {
            context
                .tables()
                .context_set_profile(context.object(), profile as i32, stream)
        }?;
        self.done(set, mark, || format!("choosing profile {profile}"))
    }

    /// Before the first enqueue, where the engine's shape is dynamic.
    pub(crate) fn set_input_shape(&mut self, tensor: &str, dims: &[i64]) -> Result<(), TrtError> {
        let what = || format!("setting the shape of {tensor} to {dims:?}");
        let (context, name) = (self.context(), c_name(tensor)?);
        let raw = RawDims::new(dims, context.tables().abi.narrow_dims)
            .ok_or_else(|| TrtError::Engine(format!("{}: not a shape", what())))?;
        let mark = context.library().logger().mark();
        // SAFETY: The context is alive; name and dimensions outlive the call.
        let set = unsafe {
            context
                .tables()
                .context_set_input_shape(context.object(), name.as_ptr(), &raw)
        }?;
        self.done(set, mark, what)
    }

    /// # Safety
    /// `address` is device memory of at least the tensor's bytes, alive until the last enqueue has finished.
    pub(crate) unsafe fn set_tensor_address(
        &mut self,
        tensor: &str,
        address: u64,
    ) -> Result<(), TrtError> {
        let (context, name) = (self.context(), c_name(tensor)?);
        let mark = context.library().logger().mark();
        let address = ptr::without_provenance_mut(address as usize);
        // SAFETY: The context is alive; the name outlives the call; the address is as the caller says.
        let set = unsafe {
            context
                .tables()
                .context_set_address(context.object(), name.as_ptr(), address)
        }?;
        self.done(set, mark, || format!("giving {tensor} its memory"))
    }

    /// Puts the engine's work into a stream.
    ///
    /// # Safety
    /// `stream` is a live CUstream of the current context.
    pub(crate) unsafe fn enqueue(&mut self, stream: *mut c_void) -> Result<(), TrtError> {
        let context = self.context();
        let mark = context.library().logger().mark();
        // SAFETY: The context is alive and used by this thread alone; the stream is as the caller says.
        let enqueued = unsafe { context.tables().context_enqueue(context.object(), stream) }?;
        self.done(enqueued, mark, || "running the engine".to_owned())
    }

    /// Keeps what TensorRT-RTX has compiled, after the first run; other libraries compile nothing. Whether it was written.
    pub(crate) fn save_kernels(&self) -> Result<bool, TrtError> {
        match &self.kernels {
            Some(kernels) => kernels.save(),
            None => Ok(false),
        }
    }

    fn context(&self) -> &Owned {
        self.context.as_ref().expect("there until dropped")
    }

    fn done(&self, done: bool, mark: u64, what: impl FnOnce() -> String) -> Result<(), TrtError> {
        match done {
            true => Ok(()),
            false => Err(self.context().library().failed(&what(), mark)),
        }
    }
}

impl Drop for Context {
    /// The context before what it was made with, the engine last.
    fn drop(&mut self) {
        self.context = None;
        if let Some(kernels) = &mut self.kernels {
            kernels.config = None;
            kernels.cache = None;
        }
        self.engine = None;
    }
}

impl Kernels {
    /// None, with a warning: without it everything works, and starts slowly.
    fn new(engine: &Owned, name: &str) -> Option<Kernels> {
        Kernels::try_new(engine, name)
            .inspect_err(|error| {
                tracing::warn!(%error, "what TensorRT-RTX compiles will not be kept");
            })
            .ok()
    }

    fn try_new(engine: &Owned, name: &str) -> Result<Kernels, TrtError> {
        let (library, tables) = (engine.library(), engine.tables());
        let mark = library.logger().mark();
        // SAFETY: The engine is alive.
        let config = unsafe { tables.engine_runtime_config(engine.object()) }?;
        let config = Owned::new(library, config, "creating a runtime configuration", mark)?;
        // SAFETY: The configuration is alive.
        let kept = unsafe { tables.runtime_config_create_cache(config.object()) }?;
        let kept = Owned::new(library, kept, "creating a runtime cache", mark)?;
        let file = cache::read(&file_name(name)).unwrap_or_default();
        if !file.is_empty() {
            // SAFETY: The cache is alive, the file that many bytes.
            let read = unsafe {
                tables.runtime_cache_deserialize(kept.object(), file.as_ptr().cast(), file.len())
            }?;
            if !read {
                tracing::info!(name, "kernels of another GPU or driver are compiled again");
            }
        }
        // SAFETY: Both are alive, and the cache is kept as long as the configuration.
        let set = unsafe { tables.runtime_config_set_cache(config.object(), kept.as_ptr()) }?;
        if !set {
            return Err(library.failed("setting the runtime cache", mark));
        }
        Ok(Kernels {
            cache: Some(kept),
            config: Some(config),
            name: name.to_owned(),
            n_bytes: file.len(),
        })
    }

    fn save(&self) -> Result<bool, TrtError> {
        let Some(kept) = &self.cache else {
            return Ok(false);
        };
        let (library, tables) = (kept.library(), kept.tables());
        let mark = library.logger().mark();
        // SAFETY: The cache is alive.
        let bytes = unsafe { tables.runtime_cache_serialize(kept.object()) }?;
        let bytes = Owned::new(library, bytes, "serializing the runtime cache", mark)?;
        let bytes = super::host_memory::bytes(&bytes)?;
        // It only grows.
        if bytes.len() <= self.n_bytes {
            return Ok(false);
        }
        match cache::write(&file_name(&self.name), bytes) {
            Ok(path) => {
                tracing::info!(path = %path.display(), n_bytes = bytes.len(), "kept what TensorRT-RTX compiled");
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(%error, "what TensorRT-RTX compiled cannot be kept: the next start is slow too");
                Ok(false)
            }
        }
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.rtx-kernels")
}

pub(super) fn c_name(tensor: &str) -> Result<CString, TrtError> {
    CString::new(tensor).map_err(|_| TrtError::Engine(format!("{tensor:?} cannot name a tensor")))
}
