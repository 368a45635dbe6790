//! What devices there are.

use std::{
    ffi::{CStr, c_char, c_int},
    fmt::Write,
};

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use super::{api::call, error::CudaError};
use crate::backend::cuda::device::Device;

/// Every device that the driver shows. `cuInit` has succeeded.
pub(in crate::backend::cuda) fn devices() -> Result<Vec<Device>, CudaError> {
    let mut count = 0;
    // SAFETY: writes one int.
    unsafe { call!(cuDeviceGetCount(&raw mut count)) }?;
    (0..count).map(device).collect()
}

fn device(index: c_int) -> Result<Device, CudaError> {
    let mut handle = 0;
    // SAFETY: writes one int.
    unsafe { call!(cuDeviceGet(&raw mut handle, index)) }?;
    let mut memory_bytes = 0;
    // SAFETY: writes one size; the device is the driver's own.
    unsafe { call!(cuDeviceTotalMem_v2(&raw mut memory_bytes, handle)) }?;
    Ok(Device {
        index: index as u32,
        name: name(handle)?,
        uuid: uuid(handle)?,
        compute_capability: (
            attribute(
                handle,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            )?,
            attribute(
                handle,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )?,
        ),
        memory_bytes: memory_bytes as u64,
        multiprocessors: attribute(handle, Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        integrated: attribute(handle, Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)? != 0,
    })
}

fn name(device: sys::CUdevice) -> Result<String, CudaError> {
    let mut name = [0_u8; 256];
    let length = name.len() as c_int;
    // SAFETY: the buffer has the length that is said; the driver ends the name with a nul.
    unsafe {
        call!(cuDeviceGetName(
            name.as_mut_ptr().cast::<c_char>(),
            length,
            device
        ))
    }?;
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// As nvidia-smi writes it.
fn uuid(device: sys::CUdevice) -> Result<String, CudaError> {
    let mut uuid = sys::CUuuid { bytes: [0; 16] };
    // SAFETY: writes 16 bytes.
    unsafe { call!(cuDeviceGetUuid_v2(&raw mut uuid, device)) }?;
    let mut text = "GPU-".to_owned();
    for (i, byte) in uuid.bytes.into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&i) {
            text.push('-');
        }
        write!(text, "{:02x}", byte as u8).expect("a String takes what is written");
    }
    Ok(text)
}

fn attribute(device: sys::CUdevice, attribute: Attribute) -> Result<u32, CudaError> {
    let mut value = 0;
    // SAFETY: writes one int; the device is the driver's own.
    unsafe { call!(cuDeviceGetAttribute(&raw mut value, attribute, device)) }?;
    Ok(value.max(0) as u32)
}
