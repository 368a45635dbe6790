//! Work recorded once and launched as a whole.

use std::{ptr, sync::Arc};

use cudarc::driver::sys;

use super::{
    api::call,
    context::Context,
    error::{CudaError, report},
    stream::Stream,
};

/// What was asked of a stream during a capture, ready to be launched.
pub(in crate::backend::cuda) struct Graph {
    exec: sys::CUgraphExec,
    _context: Arc<Context>,
}

impl Graph {
    /// Records what `work` asks of `stream`; nothing of it runs. Thread-local: other lanes go on meanwhile.
    ///
    /// # Safety
    /// Everything that the work touches lives and stays where it is as long as the graph.
    pub(in crate::backend::cuda) unsafe fn capture<E: From<CudaError>>(
        stream: &Stream,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<Graph, E> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives and is not the NULL stream.
        unsafe { call!(cuStreamBeginCapture_v2(stream.stream, mode)) }?;
        let asked = work();
        let mut recorded = ptr::null_mut();
        // Also after an error: a stream that stays in capture can do nothing else.
        // SAFETY: begun above on this thread; writes one handle, or null if the capture was spoilt.
        let ended = unsafe { call!(cuStreamEndCapture(stream.stream, &raw mut recorded)) };
        let recorded = Recorded(recorded);
        asked?;
        ended?;
        let mut exec = ptr::null_mut();
        // SAFETY: the capture succeeded, so the graph is valid; writes one handle, which Drop destroys.
        unsafe { call!(cuGraphInstantiateWithFlags(&raw mut exec, recorded.0, 0)) }?;
        let graph = Graph {
            exec,
            _context: Arc::clone(&stream.context),
        };
        // SAFETY: instantiated above; the first launch then does not pay for it.
        unsafe { call!(cuGraphUpload(graph.exec, stream.stream)) }?;
        Ok(graph)
    }

    /// Asks `stream` for all of it.
    ///
    /// # Safety
    /// What the work touches is not touched by anybody else until it is done.
    pub(in crate::backend::cuda) unsafe fn launch(&self, stream: &Stream) -> Result<(), CudaError> {
        // SAFETY: both live, in one context; the lane that owns both is on one thread.
        unsafe { call!(cuGraphLaunch(self.exec, stream.stream)) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: instantiated once, destroyed once; a launch still under way is finished by the driver first.
        report(unsafe { call!(cuGraphExecDestroy(self.exec)) });
    }
}

/// What a capture recorded; needed only until it is instantiated. May be null.
struct Recorded(sys::CUgraph);

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the capture's own graph, destroyed once.
            report(unsafe { call!(cuGraphDestroy(self.0)) });
        }
    }
}
