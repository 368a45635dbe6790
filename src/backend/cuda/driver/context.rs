//! A device's primary context: the one that TensorRT uses too.

use std::{ffi::c_int, ptr, sync::Arc};

use cudarc::driver::sys;

use super::{api::call, error::CudaError, error::report};

/// A reference to the primary context, shared by every lane on the device.
pub(in crate::backend::cuda) struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
}

// SAFETY: a CUcontext is a handle that any thread may bind and release; the driver locks.
unsafe impl Send for Context {}
// SAFETY: as above; no method changes `self`.
unsafe impl Sync for Context {}

impl Context {
    /// Of the device with this index, bound to the calling thread. `cuInit` has succeeded.
    pub(in crate::backend::cuda) fn new(index: c_int) -> Result<Arc<Context>, CudaError> {
        let mut device = 0;
        // SAFETY: writes one int; an index that does not exist is an error.
        unsafe { call!(cuDeviceGet(&raw mut device, index)) }?;
        let mut context = ptr::null_mut();
        // SAFETY: `device` is the driver's own; it writes one handle, which Drop releases.
        unsafe { call!(cuDevicePrimaryCtxRetain(&raw mut context, device)) }?;
        let context = Arc::new(Context { device, context });
        context.bind()?;
        Ok(context)
    }

    /// Makes it the calling thread's current context.
    pub(in crate::backend::cuda) fn bind(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained for as long as `self` lives.
        unsafe { call!(cuCtxSetCurrent(self.context)) }
    }

    /// Bytes of device memory: free and in all. Bound to the calling thread.
    pub(in crate::backend::cuda) fn memory(&self) -> Result<(u64, u64), CudaError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two sizes.
        unsafe { call!(cuMemGetInfo_v2(&raw mut free, &raw mut total)) }?;
        Ok((free as u64, total as u64))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, in `new`; what was made in it kept an Arc of `self` and is gone.
        report(unsafe { call!(cuDevicePrimaryCtxRelease_v2(self.device)) });
    }
}
