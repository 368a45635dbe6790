//! A frame on its way up.

use std::sync::Arc;

use bytes::Bytes;

use super::super::{
    driver::{CudaError, DeviceBuffer, HostBuffer, Registered, Stream},
    kernels::{self, Sizes},
};
use crate::{frame::Frame, model::ModelSpec, params::Params};

/// A frame's place in the engine's batch.
pub(super) struct Seat {
    pub(super) upload: HostBuffer,
    /// What the upload is copied to.
    pub(super) frame: DeviceBuffer,
    pub(super) answer: HostBuffer,
    /// Of the frame that sits there: its answer carries it.
    pub(super) sequence: u64,
    /// Of `upload` that go up.
    pub(super) n_bytes: usize,
    /// Pixels that go up from where they are, and what keeps them there; none but while they do.
    pub(super) direct: Option<(Bytes, Arc<Registered>)>,
}

impl Seat {
    /// Parameters and pixels into the memory that goes up; pixels in memory that the driver knows stay where they are. Errors: the
    /// frame does not fit.
    ///
    /// # Safety
    /// No copy of this seat is under way.
    pub(super) unsafe fn fill(
        &mut self,
        sequence: u64,
        frame: &Frame,
        params: &Params,
        sizes: &Sizes,
        model: &ModelSpec,
    ) -> Result<(), String> {
        self.sequence = sequence;
        // Of a frame that was given up before it went.
        self.direct = None;
        // SAFETY: nobody reads it, as the caller promises.
        let upload = unsafe { self.upload.bytes_mut() };
        let pixels = kernels::fill(upload, sizes, sequence, frame, params, model)?;
        // Rows with padding, a tile's among them, are copied here.
        let registered = match kernels::is_dense(pixels.len(), frame) {
            true => Registered::around(frame.data()),
            false => None,
        };
        match registered {
            Some(registered) => {
                self.n_bytes = pixels.start;
                self.direct = Some((frame.data().clone(), registered));
            }
            None => {
                self.n_bytes = pixels.end;
                kernels::fill_pixels(&mut upload[pixels], frame);
            }
        }
        Ok(())
    }

    /// Asks for the copies.
    ///
    /// # Safety
    /// Until they are done the seat is neither changed nor dropped.
    pub(super) unsafe fn copy_up(&self, stream: &Stream) -> Result<(), CudaError> {
        // SAFETY: as the caller promises.
        unsafe { stream.copy_up(&self.upload, &self.frame, self.n_bytes) }?;
        match &self.direct {
            None => Ok(()),
            // SAFETY: as the caller promises; the seat holds what keeps the memory registered.
            Some((pixels, _)) => unsafe {
                stream.copy_up_registered(pixels, &self.frame, self.n_bytes)
            },
        }
    }
}
