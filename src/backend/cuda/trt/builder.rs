//! Builds engines from ONNX files.

use std::{
    ffi::c_void,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use super::monitor::Event;
use super::{
    Library, TrtError,
    abi::{Object, RawDims, Tables},
    cache,
    context::c_name,
    host_memory,
    library::cause,
    monitor::Monitor,
    owned::Owned,
    places,
    runtime::c_string,
};

/// How an engine is built.
#[derive(Clone, Debug)]
pub(crate) struct BuildOptions {
    /// Of the input, in the network's order; what is dynamic in the file takes these.
    pub shapes: Shapes,
    /// One a lane that runs at the same time, before TensorRT 10.
    pub profiles: usize,
    /// Weakly typed networks only.
    pub fp16: bool,
    /// Weakly typed networks with QuantizeLinear only.
    pub int8: bool,
    /// MiB that a layer may use; None: what TensorRT thinks best.
    pub workspace_mib: Option<usize>,
    /// Other versions of TensorRT can run it.
    pub version_compatible: bool,
    /// Read and written; None: none is kept.
    pub timing_cache: Option<PathBuf>,
}

/// The smallest, the usual and the largest shape of the input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shapes {
    pub tensor: String,
    pub min: Vec<i64>,
    pub opt: Vec<i64>,
    pub max: Vec<i64>,
}

/// What was built.
pub(crate) struct Built {
    plan: Owned,
}

impl Built {
    /// What goes into a file.
    pub(crate) fn plan(&self) -> Result<&[u8], TrtError> {
        host_memory::bytes(&self.plan)
    }
}

/// Everything that a build needs, ended in the order that TensorRT asks for.
struct Workshop {
    library: Arc<Library>,
    /// All there until `drop`.
    builder: Option<Owned>,
    network: Option<Owned>,
    parser: Option<Owned>,
    config: Option<Owned>,
    timing_cache: Option<Owned>,
}

/// Builds an engine. A CUDA context must be current on this thread, but for TensorRT-RTX, which needs none.
pub(crate) fn build(
    library: &Arc<Library>,
    onnx: &[u8],
    options: &BuildOptions,
    report: &(dyn Fn(Event) + Sync),
) -> Result<Built, TrtError> {
    preload(library.path());
    let mut workshop = Workshop::new(library)?;
    workshop.parse(onnx)?;
    workshop.configure(options)?;
    for _ in 0..options.profiles.max(1) {
        workshop.add_profile(&options.shapes)?;
    }
    workshop.load_timing_cache(options.timing_cache.as_deref())?;
    let plan = workshop.build(report)?;
    workshop.save_timing_cache(options.timing_cache.as_deref());
    Ok(Built { plan })
}

impl Workshop {
    fn new(library: &Arc<Library>) -> Result<Workshop, TrtError> {
        let create = library.entries().create_builder.ok_or_else(|| {
            TrtError::Library(format!(
                "{} ({}): it has no symbol createInferBuilder_INTERNAL, so it cannot build engines",
                library.path().display(),
                library.name()
            ))
        })?;
        let mark = library.logger().mark();
        // SAFETY: The function of this library, its own version, and a logger that is never dropped.
        let builder = unsafe { create(library.logger().as_ptr(), library.entries().number) };
        let builder = Owned::new(library, builder, "creating a builder", mark)?;
        let tables = library.tables();
        // SAFETY: The builder is alive.
        let network =
            unsafe { tables.builder_create_network(builder.object(), tables.abi.flags.network) }?;
        let network = Owned::new(library, network, "creating a network", mark)?;
        // SAFETY: The builder is alive.
        let config = unsafe { tables.builder_create_config(builder.object()) }?;
        let config = Owned::new(library, config, "creating a builder configuration", mark)?;
        Ok(Workshop {
            library: library.clone(),
            builder: Some(builder),
            network: Some(network),
            parser: None,
            config: Some(config),
            timing_cache: None,
        })
    }

    fn tables(&self) -> Tables {
        self.library.tables()
    }

    fn builder(&self) -> Object {
        self.builder.as_ref().expect("there until dropped").object()
    }

    fn network(&self) -> Object {
        self.network.as_ref().expect("there until dropped").object()
    }

    fn config(&self) -> Object {
        self.config.as_ref().expect("there until dropped").object()
    }

    fn mark(&self) -> u64 {
        self.library.logger().mark()
    }

    fn parse(&mut self, onnx: &[u8]) -> Result<(), TrtError> {
        let tables = self.tables();
        let mark = self.mark();
        let create = parser_entry(&self.library)?;
        // SAFETY: The function of this library's parser and its own version; network and logger outlive the parser.
        let parser = unsafe {
            (create.create)(
                self.network().as_ptr(),
                self.library.logger().as_ptr(),
                create.number,
            )
        };
        let parser = Owned::parser(&self.library, parser, mark)?;
        let object = parser.object();
        // SAFETY: The parser is alive; the file is that many bytes and outlives the call; null: it has no external weights.
        let parsed = unsafe {
            tables.parser_parse(object, onnx.as_ptr().cast(), onnx.len(), std::ptr::null())
        }?;
        if !parsed {
            let why = parser_errors(&tables, object)?;
            let why = why.unwrap_or_else(|| self.library.logger().since(mark));
            return Err(TrtError::Engine(format!(
                "{} cannot parse the ONNX file: {why}",
                self.library.name()
            )));
        }
        // It owns weights that the network points to.
        self.parser = Some(parser);
        Ok(())
    }

    fn configure(&self, options: &BuildOptions) -> Result<(), TrtError> {
        let (tables, config) = (self.tables(), self.config());
        let flags = &tables.abi.flags;
        let wanted = [
            (options.fp16, flags.fp16, "fp16"),
            (options.int8, flags.int8, "int8"),
            (
                options.version_compatible,
                flags.version_compatible,
                "version compatibility",
            ),
        ];
        for (_, flag, name) in wanted.into_iter().filter(|(wanted, ..)| *wanted) {
            let flag = flag.ok_or_else(|| {
                TrtError::Engine(format!("{} has no flag for {name}", self.library.name()))
            })?;
            // SAFETY: The configuration is alive, and the flag one of this version's.
            unsafe { tables.config_set_flag(config, flag) }?;
        }
        if let Some(mib) = options.workspace_mib {
            const WORKSPACE: i32 = 0;
            let n_bytes = mib.checked_mul(1 << 20).ok_or_else(|| {
                TrtError::Engine(format!("a workspace of {mib} MiB: no machine has that"))
            })?;
            // SAFETY: The configuration is alive.
            unsafe { tables.config_set_memory(config, WORKSPACE, n_bytes) }?;
        }
        Ok(())
    }

    /// The builder owns the profile.
    fn add_profile(&self, shapes: &Shapes) -> Result<(), TrtError> {
        let tables = self.tables();
        let mark = self.mark();
        // SAFETY: The builder is alive.
        let profile = unsafe { tables.builder_create_profile(self.builder()) }?;
        let failed = |what: &str| self.library.failed(what, mark);
        let profile =
            Object::new(profile).ok_or_else(|| failed("creating an optimisation profile"))?;
        let name = c_name(&shapes.tensor)?;
        // `OptProfileSelector`.
        for (select, dims) in [(0, &shapes.min), (1, &shapes.opt), (2, &shapes.max)] {
            let what = || format!("setting the profile of {} to {dims:?}", shapes.tensor);
            let raw = RawDims::new(dims, tables.abi.narrow_dims)
                .ok_or_else(|| TrtError::Engine(format!("{}: not a shape", what())))?;
            // SAFETY: The profile is alive, as the builder is; name and dimensions outlive the call.
            let set = unsafe { tables.profile_set(profile, name.as_ptr(), select, &raw, raw) }?;
            if !set {
                return Err(failed(&what()));
            }
        }
        // SAFETY: Both are alive.
        let index = unsafe { tables.config_add_profile(self.config(), profile.as_ptr()) }?;
        match index < 0 {
            true => Err(failed("adding an optimisation profile")),
            false => Ok(()),
        }
    }

    /// A cache of another version or GPU is as good as none.
    fn load_timing_cache(&mut self, path: Option<&Path>) -> Result<(), TrtError> {
        let Some(path) = path else {
            return Ok(());
        };
        let tables = self.tables();
        let bytes = std::fs::read(path).unwrap_or_default();
        for bytes in [&bytes[..], &[]] {
            let mark = self.mark();
            // SAFETY: The configuration is alive, the blob that many bytes.
            let made = unsafe {
                tables.config_create_cache(self.config(), bytes.as_ptr().cast(), bytes.len())
            }?;
            let Ok(made) = Owned::new(&self.library, made, "creating a timing cache", mark) else {
                continue;
            };
            // SAFETY: Both are alive, and the cache is kept as long as the configuration.
            let set = unsafe { tables.config_set_cache(self.config(), made.as_ptr(), false) }?;
            if set {
                self.timing_cache = Some(made);
                return Ok(());
            }
        }
        tracing::warn!(path = %path.display(), "no timing cache: every build measures anew");
        Ok(())
    }

    fn save_timing_cache(&self, path: Option<&Path>) {
        let (Some(path), Some(made)) = (path, &self.timing_cache) else {
            return;
        };
        let written = self.serialized(made).and_then(|bytes| {
            let bytes = host_memory::bytes(&bytes)?;
            let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            folder
                .and_then(|()| cache::write_whole(path, bytes))
                .map_err(|error| TrtError::Engine(error.to_string()))
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the timing cache cannot be kept");
        }
    }

    fn serialized(&self, made: &Owned) -> Result<Owned, TrtError> {
        let mark = self.mark();
        // SAFETY: The cache is alive.
        let bytes = unsafe { self.tables().cache_serialize(made.object()) }?;
        Owned::new(&self.library, bytes, "serializing the timing cache", mark)
    }

    fn build(&self, report: &(dyn Fn(Event) + Sync)) -> Result<Owned, TrtError> {
        let tables = self.tables();
        let mark = self.mark();
        let monitor = Monitor::new(report);
        // SAFETY: The configuration is alive; the monitor outlives the build, and is taken away after it.
        let watched = unsafe { tables.config_set_monitor(self.config(), monitor.as_ptr()) };
        // SAFETY: All three are alive, and nobody else uses them.
        let plan = unsafe {
            tables.builder_build(
                self.builder(),
                self.network().as_ptr(),
                self.config().as_ptr(),
            )
        };
        // TensorRT 8 has no monitors.
        if watched.is_ok() {
            // SAFETY: As above.
            unsafe { tables.config_set_monitor(self.config(), std::ptr::null()) }?;
        }
        Owned::new(&self.library, plan?, "building the engine", mark)
    }
}

impl Drop for Workshop {
    /// What points to something goes before it.
    fn drop(&mut self) {
        self.config = None;
        self.timing_cache = None;
        self.parser = None;
        self.network = None;
        self.builder = None;
    }
}

/// None: the parser has no words for it.
fn parser_errors(tables: &Tables, parser: Object) -> Result<Option<String>, TrtError> {
    // SAFETY: The parser is alive, as below.
    let n = unsafe { tables.parser_errors(parser) }?;
    let mut texts = Vec::new();
    for index in 0..n.min(4) {
        // SAFETY: As above; the index is below the number.
        let error = unsafe { tables.parser_error(parser, index) }?;
        let Some(error) = Object::of_parser(error) else {
            continue;
        };
        // SAFETY: The error is alive as long as the parser, as below.
        let text = unsafe { tables.parser_error_text(error) }?;
        // SAFETY: TensorRT's, alive as long as the error.
        let text = unsafe { c_string(text) }.unwrap_or_default();
        // SAFETY: As above.
        let node = unsafe { tables.parser_error_node(error) }?;
        texts.push(format!("node {node}: {}", text.to_string_lossy().trim()));
    }
    Ok((!texts.is_empty()).then(|| texts.join("; ")))
}

struct ParserEntry {
    create: unsafe extern "C" fn(*mut c_void, *mut c_void, i32) -> *mut c_void,
    number: i32,
}

/// Of the parser's library beside TensorRT's, else of the one that the loader finds.
fn parser_entry(library: &Library) -> Result<ParserEntry, TrtError> {
    let mut faults = Vec::new();
    for path in places::parsers(library.path(), library.flavour(), library.version()) {
        // SAFETY: As TensorRT's own library: its initialisers ask nothing of us.
        let parser = match unsafe { libloading::Library::new(&path) } {
            Ok(parser) => parser,
            Err(error) => {
                faults.push(cause(&error));
                continue;
            }
        };
        // Never unloaded, as TensorRT's own.
        let parser = std::mem::ManuallyDrop::new(parser);
        // SAFETY: Every version declares it as `void* (void* network, void* logger, int version)`.
        let create = unsafe { parser.get(b"createNvOnnxParser_INTERNAL\0") };
        // SAFETY: Every version declares it as `int ()`.
        let version =
            unsafe { parser.get::<unsafe extern "C" fn() -> i32>(b"getNvOnnxParserVersion\0") };
        match (create, version) {
            (Ok(create), Ok(version)) => {
                // SAFETY: As above.
                let number = unsafe { version() };
                return Ok(ParserEntry {
                    create: *create,
                    number,
                });
            }
            _ => faults.push(format!(
                "{}: it lacks createNvOnnxParser_INTERNAL or getNvOnnxParserVersion",
                path.display()
            )),
        }
    }
    Err(TrtError::Library(format!(
        "no ONNX parser for {} ({}): {}",
        library.name(),
        library.path().display(),
        faults.join("; ")
    )))
}

/// TensorRT opens its builder's resources, and the parser its plugins, by bare names: the loader finds by such a name what is
/// open already.
fn preload(library: &Path) {
    for path in places::beside(
        library,
        &["libnvinfer_builder_resource", "libnvinfer_plugin"],
    ) {
        // SAFETY: As TensorRT's own library.
        if let Ok(opened) = unsafe { libloading::Library::new(&path) } {
            std::mem::forget(opened);
        }
    }
}
