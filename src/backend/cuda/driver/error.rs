//! What went wrong in CUDA, and how far it reaches.

use std::{
    ffi::{CStr, c_char, c_uint},
    fmt, mem, ptr,
};

use cudarc::driver::sys::{self, cudaError_enum as Code};

use super::api::{Api, loaded};
use crate::backend::LaneError;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend::cuda) struct CudaError {
    /// The driver's function, or what was done.
    pub(in crate::backend::cuda) call: &'static str,
    /// `CUresult`. A number: a newer driver may give one that cudarc does not know.
    pub(in crate::backend::cuda) code: c_uint,
    /// What a compiler or a counter says of it; empty where it says nothing.
    pub(in crate::backend::cuda) detail: String,
}

/// Errors after which every call on the device fails until the process ends: the primary context, which all lanes share, is
/// gone, or the device is. By NVIDIA's own words in `cuda.h`, "the process must be terminated and relaunched", and those that
/// say of the context or the device that it cannot be used again.
const STICKY: [c_uint; 20] = [
    Code::CUDA_ERROR_DEINITIALIZED as c_uint,
    Code::CUDA_ERROR_DEVICE_UNAVAILABLE as c_uint,
    Code::CUDA_ERROR_ECC_UNCORRECTABLE as c_uint,
    Code::CUDA_ERROR_NVLINK_UNCORRECTABLE as c_uint,
    CONTAINED,
    Code::CUDA_ERROR_ILLEGAL_ADDRESS as c_uint,
    Code::CUDA_ERROR_LAUNCH_TIMEOUT as c_uint,
    Code::CUDA_ERROR_CONTEXT_IS_DESTROYED as c_uint,
    Code::CUDA_ERROR_ASSERT as c_uint,
    Code::CUDA_ERROR_HARDWARE_STACK_ERROR as c_uint,
    Code::CUDA_ERROR_ILLEGAL_INSTRUCTION as c_uint,
    Code::CUDA_ERROR_MISALIGNED_ADDRESS as c_uint,
    Code::CUDA_ERROR_INVALID_ADDRESS_SPACE as c_uint,
    Code::CUDA_ERROR_INVALID_PC as c_uint,
    Code::CUDA_ERROR_LAUNCH_FAILED as c_uint,
    TENSOR_MEMORY_LEAK,
    Code::CUDA_ERROR_MPS_RPC_FAILURE as c_uint,
    Code::CUDA_ERROR_EXTERNAL_DEVICE as c_uint,
    MPS_CLIENT_TERMINATED,
    // A GPU that fell off the bus shows itself so.
    Code::CUDA_ERROR_UNKNOWN as c_uint,
];

/// `CUDA_ERROR_CONTAINED`, of CUDA 12.8.
const CONTAINED: c_uint = 226;
/// `CUDA_ERROR_TENSOR_MEMORY_LEAK`, of CUDA 12.8.
const TENSOR_MEMORY_LEAK: c_uint = 721;
/// `CUDA_ERROR_MPS_CLIENT_TERMINATED`, of CUDA 12.3.
const MPS_CLIENT_TERMINATED: c_uint = 810;

/// `CUDA_SUCCESS` or the error of `call`.
pub(super) fn check(call: &'static str, code: c_uint) -> Result<(), CudaError> {
    match code {
        0 => Ok(()),
        code => Err(CudaError {
            call,
            code,
            detail: String::new(),
        }),
    }
}

/// For `Drop`, which can tell nobody else. After a sticky error everything that is dropped fails, and that was said once.
pub(in crate::backend::cuda) fn report(dropped: Result<(), CudaError>) {
    match dropped {
        Ok(()) => {}
        Err(error) if error.is_sticky() => tracing::debug!(%error, "dropped on a lost device"),
        Err(error) => tracing::warn!(%error, "dropped"),
    }
}

impl CudaError {
    /// The device is lost for this process.
    pub(in crate::backend::cuda) fn is_sticky(&self) -> bool {
        STICKY.contains(&self.code)
    }

    /// Work that was asked for is still under way.
    pub(super) fn is_not_ready(&self) -> bool {
        self.code == Code::CUDA_ERROR_NOT_READY as c_uint
    }

    /// Says more.
    pub(in crate::backend::cuda) fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// "CUDA_ERROR_OUT_OF_MEMORY".
    pub(in crate::backend::cuda) fn name(&self) -> String {
        text_of(|api| api.cuGetErrorName, self.code).unwrap_or_else(|| "CUDA error".to_owned())
    }
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CudaError { call, code, detail } = self;
        write!(f, "{call}: {} ({code})", self.name())?;
        if let Some(words) = text_of(|api| api.cuGetErrorString, *code) {
            write!(f, ", {words}")?;
        }
        match detail.is_empty() {
            true => Ok(()),
            false => write!(f, ": {detail}"),
        }
    }
}

impl std::error::Error for CudaError {}

impl From<CudaError> for LaneError {
    fn from(error: CudaError) -> Self {
        match error.is_sticky() {
            true => LaneError::Device(error.to_string()),
            false => LaneError::Lane(error.to_string()),
        }
    }
}

type GetText = unsafe extern "C" fn(sys::CUresult, *mut *const c_char) -> c_uint;
type GetTextOfNumber = unsafe extern "C" fn(c_uint, *mut *const c_char) -> c_uint;

/// None for a code that the driver does not know, and where there is no driver.
fn text_of(function: impl Fn(&Api) -> GetText, code: c_uint) -> Option<String> {
    let function = function(loaded()?);
    // SAFETY: both types are the same function to C: `CUresult` is a C enum without negative values, passed as an unsigned
    // int. So no number has to become a Rust enum that may not have it.
    let function = unsafe { mem::transmute::<GetText, GetTextOfNumber>(function) };
    let mut text = ptr::null();
    // SAFETY: the driver writes the address of a constant string, or null, and reads nothing but the code.
    let result = unsafe { function(code, &raw mut text) };
    if result != 0 || text.is_null() {
        return None;
    }
    // SAFETY: not null, and the driver's strings are constant and end with a nul.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: c_uint) -> CudaError {
        check("cuEventQuery", code).unwrap_err()
    }

    #[test]
    fn what_poisons_the_context_loses_the_device() {
        for code in [46, 214, 226, 700, 702, 709, 714, 715, 716, 718, 719, 999] {
            assert!(error(code).is_sticky(), "{code}");
        }
    }

    #[test]
    fn what_another_try_can_mend_loses_the_lane_only() {
        for code in [1, 2, 201, 218, 400, 500, 600, 701, 801, 900, 901, 12_345] {
            assert!(!error(code).is_sticky(), "{code}");
        }
    }

    #[test]
    fn success_is_no_error() {
        assert_eq!(check("cuInit", 0), Ok(()));
    }
}
