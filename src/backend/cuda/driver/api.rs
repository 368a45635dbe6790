//! The driver's library and its functions, found at run time.

use std::{
    ffi::{c_char, c_int, c_uint, c_ulonglong, c_void},
    fs,
    path::PathBuf,
    sync::OnceLock,
};

use cudarc::driver::sys;
use libloading::Library;

use super::error::CudaError;

/// CUDA 12.2, as `cuDriverGetVersion` counts: what the embedded PTX (ISA 8.2) needs.
const OLDEST: c_int = 12_020;

/// By name, then where drivers lie that no linker cache lists: WSL2, Jetson's containers, NixOS. Never the bare `libcuda.so`:
/// the CUDA toolkit has a stub of that name, which finds no device.
const NAMES: [&str; 4] = [
    "libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1",
    "/run/opengl-driver/lib/libcuda.so.1",
];

/// Why the driver's library cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unloadable {
    /// Install a driver, if there is a GPU.
    #[error("no NVIDIA driver found: {why}")]
    Absent {
        /// What the loader said of `libcuda.so.1`.
        why: String,
    },
    /// Install a newer driver.
    #[error(
        "the NVIDIA driver supports CUDA {}: cellsegd's kernels need 12.2, driver 535 or newer (Jetson: JetPack 6)",
        version(*found)
    )]
    Old {
        /// As `cuDriverGetVersion` counts.
        found: c_int,
    },
    /// Install the driver again.
    #[error("the NVIDIA driver's library lacks {symbol}: it is damaged, or not NVIDIA's")]
    Lacks {
        /// A function of the driver API.
        symbol: &'static str,
    },
}

/// Declares the table. Each signature is held against cudarc's when this compiles.
macro_rules! functions {
    ($($name:ident($($argument:ident: $kind:ty),* $(,)?);)*) => {
        #[expect(non_snake_case, reason = "named as the driver names them")]
        pub(super) struct Api {
            $(pub(super) $name: unsafe extern "C" fn($($kind),*) -> c_uint,)*
        }

        impl Api {
            fn load(library: &Library) -> Result<Api, Unloadable> {
                Ok(Api { $($name: symbol(library, stringify!($name))?,)* })
            }
        }

        $(const _: unsafe fn($($kind),*) -> sys::CUresult = sys::$name;)*
    };
}

functions! {
    cuInit(flags: c_uint);
    cuGetErrorName(error: sys::CUresult, name: *mut *const c_char);
    cuGetErrorString(error: sys::CUresult, text: *mut *const c_char);

    cuDeviceGetCount(count: *mut c_int);
    cuDeviceGet(device: *mut sys::CUdevice, index: c_int);
    cuDeviceGetName(name: *mut c_char, length: c_int, device: sys::CUdevice);
    cuDeviceGetUuid_v2(uuid: *mut sys::CUuuid, device: sys::CUdevice);
    cuDeviceGetAttribute(value: *mut c_int, attribute: sys::CUdevice_attribute, device: sys::CUdevice);
    cuDeviceTotalMem_v2(bytes: *mut usize, device: sys::CUdevice);

    cuDevicePrimaryCtxRetain(context: *mut sys::CUcontext, device: sys::CUdevice);
    cuDevicePrimaryCtxRelease_v2(device: sys::CUdevice);
    cuCtxSetCurrent(context: sys::CUcontext);
    cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int);
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize);

    cuStreamCreateWithPriority(stream: *mut sys::CUstream, flags: c_uint, priority: c_int);
    cuStreamDestroy_v2(stream: sys::CUstream);
    cuStreamSynchronize(stream: sys::CUstream);
    cuStreamBeginCapture_v2(stream: sys::CUstream, mode: sys::CUstreamCaptureMode);
    cuStreamEndCapture(stream: sys::CUstream, graph: *mut sys::CUgraph);

    cuEventCreate(event: *mut sys::CUevent, flags: c_uint);
    cuEventDestroy_v2(event: sys::CUevent);
    cuEventRecord(event: sys::CUevent, stream: sys::CUstream);
    cuEventRecordWithFlags(event: sys::CUevent, stream: sys::CUstream, flags: c_uint);
    cuEventSynchronize(event: sys::CUevent);
    cuEventQuery(event: sys::CUevent);
    cuEventElapsedTime(milliseconds: *mut f32, from: sys::CUevent, to: sys::CUevent);

    cuMemAlloc_v2(address: *mut sys::CUdeviceptr, bytes: usize);
    cuMemFree_v2(address: sys::CUdeviceptr);
    cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, flags: c_uint);
    cuMemFreeHost(address: *mut c_void);
    cuMemHostRegister_v2(address: *mut c_void, bytes: usize, flags: c_uint);
    cuMemHostUnregister(address: *mut c_void);
    cuMemHostGetDevicePointer_v2(device: *mut sys::CUdeviceptr, host: *mut c_void, flags: c_uint);
    cuMemcpyHtoDAsync_v2(to: sys::CUdeviceptr, from: *const c_void, bytes: usize, stream: sys::CUstream);
    cuMemsetD8Async(to: sys::CUdeviceptr, value: u8, bytes: usize, stream: sys::CUstream);

    cuModuleLoadDataEx(
        module: *mut sys::CUmodule,
        image: *const c_void,
        n_options: c_uint,
        options: *mut sys::CUjit_option,
        values: *mut *mut c_void,
    );
    cuModuleUnload(module: sys::CUmodule);
    cuModuleGetFunction(function: *mut sys::CUfunction, module: sys::CUmodule, name: *const c_char);
    cuLaunchKernel(
        function: sys::CUfunction,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared_bytes: c_uint,
        stream: sys::CUstream,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    );

    cuGraphInstantiateWithFlags(exec: *mut sys::CUgraphExec, graph: sys::CUgraph, flags: c_ulonglong);
    cuGraphUpload(exec: sys::CUgraphExec, stream: sys::CUstream);
    cuGraphLaunch(exec: sys::CUgraphExec, stream: sys::CUstream);
    cuGraphExecDestroy(exec: sys::CUgraphExec);
    cuGraphDestroy(graph: sys::CUgraph);
}

/// Calls a function of the table by name. Its caller argues for safety.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {
        crate::backend::cuda::driver::error::check(
            stringify!($name),
            (crate::backend::cuda::driver::api::api().$name)($($argument),*),
        )
    };
}
pub(super) use call;

struct Loaded {
    api: Api,
    /// As `cuDriverGetVersion` counts.
    version: c_int,
    /// Never unloaded: drivers leave threads behind.
    _library: Library,
}

/// A process has one driver; what was found out once stays true.
static LOADED: OnceLock<Result<Loaded, Unloadable>> = OnceLock::new();

/// Finds the driver's library; its CUDA version, as `cuDriverGetVersion` counts. Never panics.
pub(in crate::backend::cuda) fn load() -> Result<c_int, Unloadable> {
    match LOADED.get_or_init(find) {
        Ok(loaded) => Ok(loaded.version),
        Err(why) => Err(why.clone()),
    }
}

/// `cuInit`: asks the kernel module. [`load`] has succeeded.
pub(in crate::backend::cuda) fn init() -> Result<(), CudaError> {
    // SAFETY: takes flags alone, which must be 0; may be called again and from any thread.
    unsafe { call!(cuInit(0)) }
}

/// **Invariant:** only called after [`load`] has succeeded: devices and contexts come from there.
pub(super) fn api() -> &'static Api {
    loaded().expect("nothing is asked of CUDA before its library is loaded")
}

/// The table, if there is one.
pub(super) fn loaded() -> Option<&'static Api> {
    let loaded = LOADED.get()?.as_ref().ok()?;
    Some(&loaded.api)
}

fn find() -> Result<Loaded, Unloadable> {
    let mut first_complaint = None;
    for name in NAMES {
        // SAFETY: loading runs the library's initialisers. It is NVIDIA's driver, by its own name, from where the system keeps
        // it; whoever can replace it there can replace us.
        match unsafe { Library::new(name) } {
            Ok(library) => return understand(library),
            Err(error) => {
                first_complaint.get_or_insert_with(|| cause(&error));
            }
        }
    }
    Err(Unloadable::Absent {
        why: first_complaint.unwrap_or_default(),
    })
}

/// The version goes first: an old driver is called old, not damaged.
fn understand(library: Library) -> Result<Loaded, Unloadable> {
    type GetVersion = unsafe extern "C" fn(*mut c_int) -> c_uint;
    let get_version: GetVersion = symbol(&library, "cuDriverGetVersion")?;
    let mut version = 0;
    // SAFETY: the driver's own signature; it writes an int, and needs no `cuInit`.
    let result = unsafe { get_version(&raw mut version) };
    if result != 0 {
        return Err(Unloadable::Absent {
            why: format!("cuDriverGetVersion gives error {result}"),
        });
    }
    if version < OLDEST {
        return Err(Unloadable::Old { found: version });
    }
    Ok(Loaded {
        api: Api::load(&library)?,
        version,
        _library: library,
    })
}

fn symbol<F: Copy>(library: &Library, name: &'static str) -> Result<F, Unloadable> {
    // SAFETY: `F` is the function's signature: `functions!` holds it against cudarc's declarations, which are generated from
    // NVIDIA's header.
    let found = unsafe { library.get::<F>(name) };
    found
        .map(|function| *function)
        .map_err(|_| Unloadable::Lacks { symbol: name })
}

/// What the loader said.
fn cause(error: &libloading::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// 12040 as "12.4".
pub(in crate::backend::cuda) fn version(counted: c_int) -> String {
    format!("{}.{}", counted / 1000, counted % 1000 / 10)
}

/// The file that the driver was loaded from, links resolved: its name ends with the driver's version.
pub(in crate::backend::cuda) fn library() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| {
            path.rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with("libcuda.so"))
        })?;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_as_nvidia_writes_them() {
        for (counted, written) in [(11_040, "11.4"), (12_020, "12.2"), (13_000, "13.0")] {
            assert_eq!(version(counted), written);
        }
    }

    #[test]
    fn a_library_that_is_not_the_drivers_is_refused_by_what_it_lacks() {
        // SAFETY: the C library is loaded already.
        let library = unsafe { Library::new("libc.so.6") }.unwrap();
        let Err(why) = understand(library) else {
            panic!("the C library is no driver")
        };
        assert!(why.to_string().contains("cuDriverGetVersion"), "{why}");
    }

    #[test]
    fn an_old_driver_is_told_what_would_do() {
        let text = Unloadable::Old { found: 11_040 }.to_string();
        for word in ["11.4", "12.2", "535", "JetPack 6"] {
            assert!(text.contains(word), "{text}");
        }
    }
}
