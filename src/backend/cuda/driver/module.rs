//! Kernels, compiled by the driver for its device.

use std::{
    ffi::{CString, c_void},
    ptr,
    sync::Arc,
};

use cudarc::driver::sys;

use super::{
    api::call,
    context::Context,
    error::{CudaError, report},
};

/// Bytes of the compiler's complaint that are kept.
const LOG: usize = 4096;

/// Kernels of one PTX text.
pub(in crate::backend::cuda) struct Module {
    module: sys::CUmodule,
    _context: Arc<Context>,
}

/// One kernel. Keeps its module.
#[derive(Clone)]
pub(in crate::backend::cuda) struct Function {
    function: sys::CUfunction,
    name: &'static str,
    _module: Arc<Module>,
}

// SAFETY: a CUmodule is a handle without state of ours; the driver locks.
unsafe impl Send for Module {}
// SAFETY: as above; no method changes it.
unsafe impl Sync for Module {}
// SAFETY: a CUfunction is a handle that any thread of the context may launch.
unsafe impl Send for Function {}
// SAFETY: as above; no method changes it.
unsafe impl Sync for Function {}

impl Module {
    /// Compiles `ptx`, or finds it in the driver's cache. The context is bound to the calling thread.
    pub(in crate::backend::cuda) fn new(
        context: &Arc<Context>,
        ptx: &str,
    ) -> Result<Arc<Module>, CudaError> {
        let text = CString::new(ptx).expect("PTX is text");
        let mut log = vec![0_u8; LOG];
        let mut options = [
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        // The driver reads a number where an option is one, though the array is of pointers.
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), ptr::without_provenance_mut(LOG)];
        let mut module = ptr::null_mut();
        // SAFETY: the text ends with a nul; the log has the length that is said; the driver writes one handle, which Drop
        // unloads, and keeps nothing of what it is given.
        let loaded = unsafe {
            call!(cuModuleLoadDataEx(
                &raw mut module,
                text.as_ptr().cast(),
                options.len() as u32,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            ))
        };
        loaded.map_err(|error| {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(LOG);
            let complaint = String::from_utf8_lossy(&log[..end]);
            error.with(format!(
                "the embedded kernels; the driver's compiler says {:?}",
                complaint.trim()
            ))
        })?;
        Ok(Arc::new(Module {
            module,
            _context: Arc::clone(context),
        }))
    }

    /// A kernel by its name.
    pub(in crate::backend::cuda) fn function(
        self: &Arc<Self>,
        name: &'static str,
    ) -> Result<Function, CudaError> {
        let text = CString::new(name).expect("a kernel's name is an identifier");
        let mut function = ptr::null_mut();
        // SAFETY: the module lives; the name ends with a nul; the driver writes one handle, which belongs to the module.
        let found = unsafe {
            call!(cuModuleGetFunction(
                &raw mut function,
                self.module,
                text.as_ptr()
            ))
        };
        found.map_err(|error| error.with(format!("kernel {name}")))?;
        Ok(Function {
            function,
            name,
            _module: Arc::clone(self),
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded in `new`, unloaded once; every function kept an Arc of `self` and is gone.
        report(unsafe { call!(cuModuleUnload(self.module)) });
    }
}

impl Function {
    pub(super) fn as_raw(&self) -> sys::CUfunction {
        self.function
    }

    /// As in the PTX.
    pub(in crate::backend::cuda) fn name(&self) -> &'static str {
        self.name
    }
}
