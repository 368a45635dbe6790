//! Memory of the device, and memory of the host that the device can reach.

use std::{cell::Cell, ffi::c_void, ptr, slice, sync::Arc};

use cudarc::driver::sys;
use tracing::warn;

use super::{
    api::call,
    context::Context,
    error::{CudaError, report},
    stream::Stream,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Buffers made on this thread so far: a lane makes none after it has opened.
pub(in crate::backend::cuda) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Memory of the device; its bytes are the device's business.
pub(in crate::backend::cuda) struct DeviceBuffer {
    address: sys::CUdeviceptr,
    n_bytes: usize,
    _context: Arc<Context>,
}

/// Memory of the host that the device copies from or writes to.
pub(in crate::backend::cuda) struct HostBuffer {
    address: *mut u8,
    n_bytes: usize,
    kind: Kind,
    _context: Arc<Context>,
}

enum Kind {
    /// Page-locked by the driver: a copy runs beside everything else.
    Pinned,
    /// Where pinning fails, as it may on WSL2: right, and slower. A boxed slice.
    Pageable,
}

impl DeviceBuffer {
    /// At least one byte; aligned to 256. The context is bound to the calling thread.
    pub(in crate::backend::cuda) fn new(
        context: &Arc<Context>,
        n_bytes: usize,
    ) -> Result<Self, CudaError> {
        let n_bytes = n_bytes.max(1);
        let mut address = 0;
        // SAFETY: writes one address, which Drop frees; a context is current.
        unsafe { call!(cuMemAlloc_v2(&raw mut address, n_bytes)) }.map_err(|error| {
            let memory = match context.memory() {
                Ok((free, total)) => format!("; {} of {} MiB are free", free >> 20, total >> 20),
                Err(_) => String::new(),
            };
            error.with(format!("{n_bytes} bytes on the device{memory}"))
        })?;
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        Ok(DeviceBuffer {
            address,
            n_bytes,
            _context: Arc::clone(context),
        })
    }

    /// Full of zeros. Waits for `stream`.
    pub(in crate::backend::cuda) fn zeroed(
        context: &Arc<Context>,
        n_bytes: usize,
        stream: &Stream,
    ) -> Result<Self, CudaError> {
        let buffer = Self::new(context, n_bytes)?;
        stream.zero(&buffer)?;
        Ok(buffer)
    }

    /// On the device.
    pub(in crate::backend::cuda) fn address(&self) -> u64 {
        self.address
    }

    /// Bytes.
    pub(in crate::backend::cuda) fn len(&self) -> usize {
        self.n_bytes
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once; the driver waits for work that is under way.
        report(unsafe { call!(cuMemFree_v2(self.address)) });
    }
}

impl HostBuffer {
    /// For what goes up: write-combined, so that writing does not fill the CPU's caches. Reading it is very slow.
    pub(in crate::backend::cuda) fn to_send(
        context: &Arc<Context>,
        n_bytes: usize,
    ) -> Result<Self, CudaError> {
        match Self::pinned(context, n_bytes, sys::CU_MEMHOSTALLOC_WRITECOMBINED) {
            Err(error) if !error.is_sticky() => {
                warn!(%error, "frames go up from pageable memory, which is slower");
                Ok(Self::pageable(context, n_bytes))
            }
            made => made,
        }
    }

    /// For what the device writes straight to the host: plain memory, which the CPU reads fast.
    pub(in crate::backend::cuda) fn mapped(
        context: &Arc<Context>,
        n_bytes: usize,
    ) -> Result<Self, CudaError> {
        Self::pinned(context, n_bytes, sys::CU_MEMHOSTALLOC_DEVICEMAP)
    }

    fn pinned(context: &Arc<Context>, n_bytes: usize, flags: u32) -> Result<Self, CudaError> {
        let mut address: *mut c_void = ptr::null_mut();
        // SAFETY: writes one address, which Drop frees; a context is current.
        unsafe { call!(cuMemHostAlloc(&raw mut address, n_bytes.max(1), flags)) }
            .map_err(|error| error.with(format!("{n_bytes} bytes of page-locked host memory")))?;
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: just allocated with at least `n_bytes`, and nobody else knows it. From here on every byte is initialised.
        unsafe { address.cast::<u8>().write_bytes(0, n_bytes) };
        Ok(HostBuffer {
            address: address.cast(),
            n_bytes,
            kind: Kind::Pinned,
            _context: Arc::clone(context),
        })
    }

    fn pageable(context: &Arc<Context>, n_bytes: usize) -> Self {
        let bytes: Box<[u8]> = vec![0; n_bytes].into();
        HostBuffer {
            address: Box::into_raw(bytes).cast(),
            n_bytes,
            kind: Kind::Pageable,
            _context: Arc::clone(context),
        }
    }

    /// As the device sees it: only of [`HostBuffer::mapped`].
    pub(in crate::backend::cuda) fn device_address(&self) -> Result<u64, CudaError> {
        let mut address = 0;
        // SAFETY: writes one address; memory that is not mapped is an error.
        unsafe {
            call!(cuMemHostGetDevicePointer_v2(
                &raw mut address,
                self.address.cast(),
                0
            ))
        }?;
        Ok(address)
    }

    /// Bytes.
    pub(in crate::backend::cuda) fn len(&self) -> usize {
        self.n_bytes
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.address
    }

    /// To read what the device wrote.
    ///
    /// # Safety
    /// The device does not touch it while the slice is there.
    pub(in crate::backend::cuda) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: `n_bytes` initialised bytes that live as long as `self`, written by nobody, as the caller promises.
        unsafe { slice::from_raw_parts(self.address, self.n_bytes) }
    }

    /// To write what the device will read.
    ///
    /// # Safety
    /// The device does not touch it while the slice is there.
    pub(in crate::backend::cuda) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; `self` is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.address, self.n_bytes) }
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        match self.kind {
            Kind::Pinned => {
                // SAFETY: the driver's own allocation, freed once.
                report(unsafe { call!(cuMemFreeHost(self.address.cast())) });
            }
            Kind::Pageable => {
                let bytes = ptr::slice_from_raw_parts_mut(self.address, self.n_bytes);
                // SAFETY: the boxed slice of `pageable`, with its own length, freed once.
                drop(unsafe { Box::from_raw(bytes) });
            }
        }
    }
}
