//! Memory that somebody else made and the driver knows: copies start from it, without a copy into a lane's own buffer first.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use cudarc::driver::sys;

use super::{api::call, context::Context, error::CudaError, error::report};

/// All of the process, for lanes to find: the driver knows a range once, whichever model's context it was told by.
static ALL: Mutex<Vec<Weak<Registered>>> = Mutex::new(Vec::new());

/// A range of host memory whose pages stay where they are as long as this lives.
pub(in crate::backend::cuda) struct Registered {
    memory: Bytes,
    context: Arc<Context>,
}

impl Registered {
    /// Tells the driver of `memory`, which is mapped for reading alone unless it `is_writable`. Blocks while pages are locked. Binds
    /// the context to the calling thread. Errors: the driver's, where it cannot, or knows it already.
    pub(in crate::backend::cuda) fn new(
        context: &Arc<Context>,
        memory: &Bytes,
        is_writable: bool,
    ) -> Result<Arc<Registered>, CudaError> {
        context.bind()?;
        let read_only = match is_writable {
            true => 0,
            false => sys::CU_MEMHOSTREGISTER_READ_ONLY,
        };
        let flags = sys::CU_MEMHOSTREGISTER_PORTABLE | read_only;
        let address = memory.as_ptr().cast_mut().cast();
        // SAFETY: `memory` is mapped, and stays so until Drop has unregistered it: `Registered` holds it.
        unsafe { call!(cuMemHostRegister_v2(address, memory.len(), flags)) }
            .map_err(|error| error.with(format!("{} bytes of shared memory", memory.len())))?;
        let registered = Arc::new(Registered {
            memory: memory.clone(),
            context: Arc::clone(context),
        });
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&registered));
        Ok(registered)
    }

    /// What these bytes are in, if all of them are in one.
    pub(in crate::backend::cuda) fn around(bytes: &Bytes) -> Option<Arc<Registered>> {
        let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |registered: &Arc<Registered>| {
            let (outer, inner) = (registered.memory.as_ptr_range(), bytes.as_ptr_range());
            outer.start <= inner.start && inner.end <= outer.end
        };
        all.iter().filter_map(Weak::upgrade).find(holds)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Whichever thread this happens on.
        report(self.context.bind());
        let address = self.memory.as_ptr().cast_mut().cast();
        // SAFETY: registered in `new`, unregistered once; lanes that copied from it held it until they had waited.
        report(unsafe { call!(cuMemHostUnregister(address)) });
    }
}
