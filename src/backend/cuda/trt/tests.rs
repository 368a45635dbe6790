//! Objects that know when they were deleted, behind the tables of each major version.

use std::{cell::RefCell, ffi::c_void, sync::Arc};

use super::{
    Context, Engine, Flavour, Library, TrtError, Version,
    abi::{Abi, RawDims},
    library::Entries,
};

thread_local! {
    /// In the order of their deletion.
    static DELETED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    /// What `createInferRuntime_INTERNAL` makes.
    static LIBRARY: RefCell<Option<(Flavour, Version)>> = const { RefCell::new(None) };
}

/// As C++ lays it out, with a name behind.
#[repr(C)]
struct Object {
    table: *const [usize; 2],
    implementation: *mut Implementation,
    name: &'static str,
}

#[repr(C)]
struct Implementation {
    table: *const [usize; 64],
}

static DESTRUCTORS: [unsafe extern "C" fn(*mut Object); 2] = [delete; 2];

/// # Safety
/// `object` came from [`object`].
unsafe extern "C" fn delete(object: *mut Object) {
    // SAFETY: Made by `Box::into_raw`, and deleted once.
    let object = unsafe { Box::from_raw(object) };
    DELETED.with_borrow_mut(|deleted| deleted.push(object.name));
}

extern "C" fn unexpected() {
    std::process::abort();
}

fn object(name: &'static str, methods: &[(&str, usize)]) -> *mut c_void {
    let (flavour, version) = LIBRARY.with_borrow(|library| library.expect("a test chose one"));
    let listing = Abi::of(flavour, version).unwrap().slots.listing();
    let mut table = [unexpected as *const () as usize; 64];
    for (method, function) in methods {
        let place = listing.iter().find(|(name, _)| name == method).unwrap().1;
        if let Some(place) = place {
            table[usize::from(place)] = *function;
        }
    }
    let implementation = Implementation {
        table: Box::leak(Box::new(table)),
    };
    let object = Object {
        table: DESTRUCTORS.as_ptr().cast(),
        implementation: Box::leak(Box::new(implementation)),
        name,
    };
    Box::into_raw(Box::new(object)).cast()
}

extern "C" fn none(_: *mut c_void) -> i32 {
    0
}

extern "C" fn two(_: *mut c_void) -> i32 {
    2
}

extern "C" fn bytes(_: *mut c_void) -> usize {
    4096
}

extern "C" fn yes() -> bool {
    true
}

extern "C" fn no() -> bool {
    false
}

extern "C" fn null() -> *mut c_void {
    std::ptr::null_mut()
}

/// A name and a shape, of either width: checked against what the test set.
extern "C" fn set_shape(_: *mut c_void, name: *const i8, dims: *const RawDims) -> bool {
    let (flavour, version) = LIBRARY.with_borrow(|library| library.expect("a test chose one"));
    let narrow = Abi::of(flavour, version).unwrap().narrow_dims;
    // SAFETY: The binding hands over a C string and dimensions.
    let name = unsafe { std::ffi::CStr::from_ptr(name.cast()) };
    // SAFETY: As above.
    let dims = unsafe { &*dims };
    // SAFETY: Of this version's width.
    let dims = unsafe { dims.read(narrow) };
    name == c"images" && dims == Some(vec![1, 3, 640, 640])
}

extern "C" fn make_context() -> *mut c_void {
    object(
        "context",
        &[
            (
                "VExecutionContext::setOptimizationProfileAsync",
                yes as *const () as usize,
            ),
            (
                "VExecutionContext::setInputShape",
                set_shape as *const () as usize,
            ),
            (
                "VExecutionContext::setTensorAddress",
                yes as *const () as usize,
            ),
            ("VExecutionContext::enqueueV3", no as *const () as usize),
        ],
    )
}

extern "C" fn make_engine() -> *mut c_void {
    object(
        "engine",
        &[
            (
                "VCudaEngine::getNbOptimizationProfiles",
                two as *const () as usize,
            ),
            ("VCudaEngine::getNbIOTensors", none as *const () as usize),
            (
                "VCudaEngine::getDeviceMemorySize",
                bytes as *const () as usize,
            ),
            (
                "VCudaEngine::getDeviceMemorySizeV2",
                bytes as *const () as usize,
            ),
            (
                "VCudaEngine::createExecutionContext",
                make_context as *const () as usize,
            ),
        ],
    )
}

extern "C" fn valid() -> i32 {
    0
}

extern "C" fn make_runtime(_: *mut c_void, _: i32) -> *mut c_void {
    let methods = [
        (
            "VRuntime::deserializeCudaEngine",
            make_engine as *const () as usize,
        ),
        ("VRuntime::getEngineValidity", valid as *const () as usize),
    ];
    object("runtime", &methods)
}

extern "C" fn make_refusing_runtime(_: *mut c_void, _: i32) -> *mut c_void {
    object(
        "runtime",
        &[(
            "VRuntime::deserializeCudaEngine",
            null as *const () as usize,
        )],
    )
}

/// What the lean library answers without a GPU.
extern "C" fn make_nonsense(_: *mut c_void, _: i32) -> *mut c_void {
    std::ptr::without_provenance_mut(0x228)
}

fn library(
    flavour: Flavour,
    major: u32,
    minor: u32,
    create: super::library::Create,
) -> Arc<Library> {
    let version = Version {
        major,
        minor,
        patch: 0,
        build: 0,
    };
    LIBRARY.set(Some((flavour, version)));
    DELETED.take();
    let entries = Entries {
        number: 0,
        create_runtime: create,
        create_builder: None,
    };
    Library::of_test(flavour, version, entries)
}

const MAJORS: [(Flavour, u32, u32); 6] = [
    (Flavour::Full, 8, 5),
    (Flavour::Full, 8, 6),
    (Flavour::Full, 10, 3),
    (Flavour::Full, 11, 4),
    (Flavour::Rtx, 1, 3),
    (Flavour::Rtx, 1, 7),
];

fn create_context(engine: &Engine, profile: usize) -> Result<Context, TrtError> {
    // SAFETY: These functions touch no stream.
    unsafe { engine.create_context(profile, std::ptr::null_mut()) }
}

#[test]
fn objects_end_in_the_order_that_tensorrt_asks_for() {
    for (flavour, major, minor) in MAJORS {
        let library = library(flavour, major, minor, make_runtime);
        let engine = Engine::read(&library, b"plan", false, None).unwrap();
        let contexts = [
            create_context(&engine, 0).unwrap(),
            create_context(&engine, 1).unwrap(),
        ];
        // The engine is let go first and must outlive its contexts.
        drop(engine);
        assert!(DELETED.with_borrow(Vec::is_empty), "{flavour} {major}");
        drop(contexts);
        assert_eq!(
            DELETED.take(),
            ["context", "context", "engine", "runtime"],
            "{flavour} {major}"
        );
        // Nothing but the test holds the library any more.
        assert_eq!(Arc::strong_count(&library), 1);
    }
}

#[test]
fn a_contexts_calls_arrive_in_every_version() {
    for (flavour, major, minor) in MAJORS {
        let library = library(flavour, major, minor, make_runtime);
        let engine = Engine::read(&library, b"plan", false, None).unwrap();
        assert_eq!((engine.profiles(), engine.device_memory_bytes()), (2, 4096));
        let mut context: Context = create_context(&engine, 0).unwrap();
        context
            .set_input_shape("images", &[1, 3, 640, 640])
            .unwrap();
        let error = context
            .set_input_shape("images", &[1, 3, 640, 641])
            .unwrap_err()
            .to_string();
        let name = library.name();
        assert_eq!(
            error,
            format!(
                "{name}: setting the shape of images to [1, 3, 640, 641] failed: TensorRT did not say why"
            )
        );
        // SAFETY: These functions touch no memory.
        unsafe { context.set_tensor_address("images", 0) }.unwrap();
        // SAFETY: As above.
        let error = unsafe { context.enqueue(std::ptr::null_mut()) }
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("{name}: running the engine failed: TensorRT did not say why")
        );
    }
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let library = library(Flavour::Full, 8, 5, make_runtime);
    let engine = Engine::read(&library, b"plan", false, None).unwrap();
    let error = create_context(&engine, 2).err().unwrap().to_string();
    assert!(
        error.contains("2 optimisation profiles, and profile 2"),
        "{error}"
    );
}

#[test]
fn a_plan_that_is_refused_leaves_nothing_behind() {
    let library = library(Flavour::Full, 10, 3, make_refusing_runtime);
    let error = Engine::read(&library, b"plan", false, None).err().unwrap();
    assert!(matches!(error, TrtError::Engine(_)), "{error:?}");
    let error = error.to_string();
    assert!(
        error.contains("TensorRT 10.3.0 cannot read the plan (4 bytes)"),
        "{error}"
    );
    assert!(error.contains("cellsegd engine build"), "{error}");
    assert_eq!(DELETED.take(), ["runtime"]);
}

#[test]
fn an_address_that_is_none_is_refused() {
    let library = library(Flavour::Full, 11, 4, make_nonsense);
    let error = Engine::read(&library, b"plan", false, None)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("TensorRT 11.4.0: creating a runtime failed"),
        "{error}"
    );
}
