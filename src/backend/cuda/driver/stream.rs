//! Work in order, and points in it.

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cudarc::driver::sys;

use super::{
    api::call,
    context::Context,
    error::{CudaError, report},
    memory::{DeviceBuffer, HostBuffer},
    module::Function,
};
use crate::config::GpuPriority;

/// A lane's own queue of work on the device.
pub(in crate::backend::cuda) struct Stream {
    pub(super) stream: sys::CUstream,
    pub(super) context: Arc<Context>,
}

/// A point in a stream's work.
pub(in crate::backend::cuda) struct Event {
    event: sys::CUevent,
    _context: Arc<Context>,
}

impl Stream {
    /// Never waits for the NULL stream, which TensorRT does not run on well. The context is bound to the calling thread.
    pub(in crate::backend::cuda) fn new(
        context: &Arc<Context>,
        priority: GpuPriority,
    ) -> Result<Self, CudaError> {
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: writes two ints.
        unsafe {
            call!(cuCtxGetStreamPriorityRange(
                &raw mut least,
                &raw mut greatest
            ))
        }?;
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        let mut stream = ptr::null_mut();
        let priority = level(priority, least, greatest);
        // SAFETY: writes one handle, which Drop destroys; a context is current.
        unsafe { call!(cuStreamCreateWithPriority(&raw mut stream, flags, priority)) }?;
        Ok(Stream {
            stream,
            context: Arc::clone(context),
        })
    }

    /// For TensorRT: a `CUstream`, alive as long as `self`.
    pub(in crate::backend::cuda) fn as_raw(&self) -> *mut c_void {
        self.stream.cast()
    }

    /// Waits until everything asked for so far is done, and says what went wrong in it.
    pub(in crate::backend::cuda) fn synchronize(&self) -> Result<(), CudaError> {
        // SAFETY: the stream lives.
        unsafe { call!(cuStreamSynchronize(self.stream)) }
    }

    /// Copies the first `n_bytes` of `from`.
    ///
    /// # Safety
    /// Until the copy is done, `from` is not written and neither of the two is dropped.
    pub(in crate::backend::cuda) unsafe fn copy_up(
        &self,
        from: &HostBuffer,
        to: &DeviceBuffer,
        n_bytes: usize,
    ) -> Result<(), CudaError> {
        assert!(
            n_bytes <= from.len() && n_bytes <= to.len(),
            "a copy stays within its buffers"
        );
        // SAFETY: both have at least `n_bytes`, as asserted, and live until the copy is done, as the caller promises.
        unsafe {
            call!(cuMemcpyHtoDAsync_v2(
                to.address(),
                from.as_ptr().cast(),
                n_bytes,
                self.stream
            ))
        }
    }

    /// The same, of memory that is [`Registered`], to what begins at byte `at`.
    ///
    /// # Safety
    /// Until the copy is done, `from` stays registered, and neither of the two is dropped.
    pub(in crate::backend::cuda) unsafe fn copy_up_registered(
        &self,
        from: &Bytes,
        to: &DeviceBuffer,
        at: usize,
    ) -> Result<(), CudaError> {
        assert!(
            at <= to.len() && from.len() <= to.len() - at,
            "a copy stays within its buffers"
        );
        // SAFETY: both have as many bytes, as asserted, and live until the copy is done, as the caller promises.
        unsafe {
            call!(cuMemcpyHtoDAsync_v2(
                to.address() + at as u64,
                from.as_ptr().cast(),
                from.len(),
                self.stream
            ))
        }
    }

    /// Fills `buffer` with zeros, and waits until that is done.
    pub(super) fn zero(&self, buffer: &DeviceBuffer) -> Result<(), CudaError> {
        // SAFETY: exactly the buffer's bytes, and the buffer is borrowed until the wait below is over.
        unsafe {
            call!(cuMemsetD8Async(
                buffer.address(),
                0,
                buffer.len(),
                self.stream
            ))
        }?;
        self.synchronize()
    }

    /// Runs a kernel on `blocks` blocks of `threads` threads; the driver copies `parameter`.
    ///
    /// # Safety
    /// The kernel has exactly one parameter, of the layout of `T`, by value; what it points to suits the kernel and lives until
    /// the kernel, or the last launch of a graph that captured this, is done.
    pub(in crate::backend::cuda) unsafe fn launch<T: Copy>(
        &self,
        function: &Function,
        blocks: u32,
        threads: u32,
        parameter: &T,
    ) -> Result<(), CudaError> {
        let mut parameters: [*mut c_void; 1] = [ptr::from_ref(parameter).cast_mut().cast()];
        // SAFETY: the function's module lives, the one parameter is as the kernel declares it, and the driver only reads it,
        // before it returns.
        let launched = unsafe {
            call!(cuLaunchKernel(
                function.as_raw(),
                blocks,
                1,
                1,
                threads,
                1,
                1,
                0,
                self.stream,
                parameters.as_mut_ptr(),
                ptr::null_mut(),
            ))
        };
        launched.map_err(|error| error.with(format!("kernel {}", function.name())))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once; work still queued in it is finished by the driver first.
        report(unsafe { call!(cuStreamDestroy_v2(self.stream)) });
    }
}

impl Event {
    /// Its time can be asked for.
    pub(in crate::backend::cuda) fn timed(context: &Arc<Context>) -> Result<Self, CudaError> {
        Self::new(context, sys::CUevent_flags::CU_EVENT_DEFAULT as u32)
    }

    /// To wait for: a waiting thread sleeps.
    pub(in crate::backend::cuda) fn to_wait_for(context: &Arc<Context>) -> Result<Self, CudaError> {
        let flags = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32
            | sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        Self::new(context, flags)
    }

    fn new(context: &Arc<Context>, flags: u32) -> Result<Self, CudaError> {
        let mut event = ptr::null_mut();
        // SAFETY: writes one handle, which Drop destroys; a context is current.
        unsafe { call!(cuEventCreate(&raw mut event, flags)) }?;
        Ok(Event {
            event,
            _context: Arc::clone(context),
        })
    }

    /// Marks the end of what was asked of `stream` so far. Not in a capture.
    pub(in crate::backend::cuda) fn record(&self, stream: &Stream) -> Result<(), CudaError> {
        // SAFETY: both live, in one context.
        unsafe { call!(cuEventRecord(self.event, stream.stream)) }
    }

    /// In a capture: every launch of the graph marks the event there. A plain record would only say what depends on what.
    ///
    /// # Safety
    /// The event lives as long as the graph.
    pub(in crate::backend::cuda) unsafe fn record_in_graph(
        &self,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        let flags = sys::CUevent_record_flags::CU_EVENT_RECORD_EXTERNAL as u32;
        // SAFETY: both live, in one context, and the event for as long as the graph, as the caller promises.
        unsafe { call!(cuEventRecordWithFlags(self.event, stream.stream, flags)) }
    }

    /// Whether everything before it is done; what went wrong, if something did.
    pub(in crate::backend::cuda) fn is_done(&self) -> Result<bool, CudaError> {
        // SAFETY: the event lives.
        match unsafe { call!(cuEventQuery(self.event)) } {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_ready() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sleeps until everything before it is done.
    pub(in crate::backend::cuda) fn wait(&self) -> Result<(), CudaError> {
        // SAFETY: the event lives.
        unsafe { call!(cuEventSynchronize(self.event)) }
    }

    /// From `earlier` to `self`, on the device's clock. Both are timed and done.
    pub(in crate::backend::cuda) fn since(&self, earlier: &Event) -> Result<Duration, CudaError> {
        let mut milliseconds = 0.0;
        // SAFETY: writes one float; both events live.
        unsafe {
            call!(cuEventElapsedTime(
                &raw mut milliseconds,
                earlier.event,
                self.event
            ))
        }?;
        Ok(Duration::try_from_secs_f32(milliseconds / 1e3).unwrap_or_default())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once.
        report(unsafe { call!(cuEventDestroy_v2(self.event)) });
    }
}

/// A lower number goes first; `greatest` is the lowest. CUDA's own default is 0, the last in line on every driver so far.
fn level(priority: GpuPriority, least: c_int, greatest: c_int) -> c_int {
    match priority {
        GpuPriority::Low => least,
        GpuPriority::Normal => 0.clamp(greatest.min(least), least.max(greatest)),
        GpuPriority::High => greatest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_level_that_the_driver_has() {
        for (priority, least, greatest, wanted) in [
            (GpuPriority::Low, 0, -5, 0),
            (GpuPriority::Normal, 0, -5, 0),
            (GpuPriority::High, 0, -5, -5),
            (GpuPriority::Normal, 2, 1, 1),
            (GpuPriority::High, 0, 0, 0),
        ] {
            assert_eq!(level(priority, least, greatest), wanted, "{priority:?}");
        }
    }
}
