//! Bytes that TensorRT made.

use super::{TrtError, owned::Owned};

/// Of an `IHostMemory`.
pub(super) fn bytes(memory: &Owned) -> Result<&[u8], TrtError> {
    let tables = memory.tables();
    // SAFETY: It is alive.
    let data = unsafe { tables.host_memory_data(memory.object()) }?;
    // SAFETY: As above.
    let n_bytes = unsafe { tables.host_memory_size(memory.object()) }?;
    if data.is_null() || n_bytes == 0 {
        return Ok(&[]);
    }
    // SAFETY: TensorRT says that so many bytes lie there; they do until the object is deleted, which the borrow rules out.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), n_bytes) })
}
