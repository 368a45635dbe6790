//! Which virtual function lies in which slot, and what it takes and gives.
//!
//! The numbers count the two destructors of a class (Itanium C++ ABI). They were read from NVIDIA's public headers by asking
//! the compiler for the offset of each method: 8.5.2, 8.5.3, 8.6.1; 10.0, 10.3, 10.7, 10.9, 10.13, 10.16; 11.0, 11.1, 11.4;
//! TensorRT-RTX 1.3, 1.4, 1.5, 1.7. `[]`: not there; `[52 since 1]`: from 10.1 on, in the column of 10. The parser's of 8.6
//! and 10 were read from NvOnnxParser.h of those versions.

use std::{
    ffi::{c_char, c_void},
    mem,
};

use super::{Object, Tables, types::RawDims};
use crate::backend::cuda::trt::{TrtError, Version};

/// Where one method lies in one major version.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cuda::trt) struct Slot {
    method: &'static str,
    place: Option<u16>,
    /// The minor version that brought it.
    since: u32,
}

macro_rules! slot {
    ($method:literal) => {
        Slot {
            method: $method,
            place: None,
            since: 0,
        }
    };
    ($method:literal $place:literal) => {
        Slot {
            method: $method,
            place: Some($place),
            since: 0,
        }
    };
    ($method:literal $place:literal since $minor:literal) => {
        Slot {
            method: $method,
            place: Some($place),
            since: $minor,
        }
    };
}

macro_rules! interface {
    ($( $name:ident $method:literal
        [$($v8:tt)*] [$($v10:tt)*] [$($v11:tt)*] [$($rtx_1_3:tt)*] [$($rtx_1_5:tt)*]
        ($($argument:ident: $type:ty),*) $(-> $return:ty)?; )*) => {
        /// One column of the table below.
        #[derive(Debug)]
        pub(in crate::backend::cuda::trt) struct Slots { $( $name: Slot, )* }

        pub(super) const V8: Slots = Slots { $( $name: slot!($method $($v8)*), )* };
        pub(super) const V10: Slots = Slots { $( $name: slot!($method $($v10)*), )* };
        pub(super) const V11: Slots = Slots { $( $name: slot!($method $($v11)*), )* };
        pub(super) const RTX_1_3: Slots = Slots { $( $name: slot!($method $($rtx_1_3)*), )* };
        pub(super) const RTX_1_5: Slots = Slots { $( $name: slot!($method $($rtx_1_5)*), )* };

        #[cfg(test)]
        impl Slots {
            /// Every method and its place, for tests that ask the compiler.
            pub(in crate::backend::cuda::trt) fn listing(&self) -> Vec<(&'static str, Option<u16>)> {
                vec![ $( (self.$name.method, self.$name.place), )* ]
            }

            /// The same as a library of this minor version has them.
            pub(in crate::backend::cuda::trt) fn listing_of(&self, minor: u32) -> Vec<(&'static str, Option<u16>)> {
                vec![ $( (self.$name.method, self.$name.place.filter(|_| self.$name.since <= minor)), )* ]
            }
        }

        /// The methods themselves. An error means that this version has no such method.
        ///
        /// # Safety
        /// Of each: `this` is alive, of the method's class and from the library that these tables are of; what the arguments
        /// point to is as the method's documentation asks, for as long as it asks.
        impl Tables {
            $(
                pub(in crate::backend::cuda::trt) unsafe fn $name(
                    &self, this: Object, $($argument: $type),*
                ) -> Result<interface!(@return $($return)?), TrtError> {
                    let place = self.abi.slots.$name.in_version(self.version, self.abi.name)?;
                    // SAFETY: `this` is alive and its class has the slot (the caller's word and the table's).
                    let (receiver, function) = unsafe { this.method(place) };
                    type Function =
                        unsafe extern "C" fn(*mut c_void, $($type),*) -> interface!(@return $($return)?);
                    // SAFETY: The function in that slot has this signature in every version that has the slot, but for last
                    // arguments that older ones lack: they lie in registers, or on the stack, where those do not look.
                    let function = unsafe { mem::transmute::<*const c_void, Function>(function) };
                    // SAFETY: The caller's word.
                    Ok(unsafe { function(receiver, $($argument),*) })
                }
            )*
        }
    };
    (@return) => { () };
    (@return $return:ty) => { $return };
}

// Columns: 8.5 and 8.6, 10, 11, TensorRT-RTX 1.3 and 1.4, TensorRT-RTX from 1.5.
interface! {
    host_memory_data "VHostMemory::data" [2] [2] [2] [2] [2] () -> *const c_void;
    host_memory_size "VHostMemory::size" [3] [3] [3] [3] [3] () -> usize;

    // Until 8.6 a third argument, a plugin factory that is always null.
    runtime_deserialize "VRuntime::deserializeCudaEngine" [2] [3] [3] [3] [3]
        (plan: *const c_void, n_bytes: usize, factory: *const c_void) -> *mut c_void;
    runtime_allow_host_code "VRuntime::setEngineHostCodeAllowed" [20 since 6] [21] [20] [21] [20] (allowed: bool);
    runtime_validity "VRuntime::getEngineValidity" [] [] [] [25] [24]
        (plan: *const c_void, n_bytes: i64, diagnostics: *mut u64) -> i32;

    // From 10 on an argument: who allocates the memory, 0 being the context itself.
    engine_create_context "VCudaEngine::createExecutionContext" [11] [5] [5] [5] [5] (allocation: i32) -> *mut c_void;
    engine_memory "VCudaEngine::getDeviceMemorySize" [14] [7] [] [] [] () -> usize;
    engine_memory_v2 "VCudaEngine::getDeviceMemorySizeV2" [] [52 since 1] [44] [50] [44] () -> i64;
    engine_profiles "VCudaEngine::getNbOptimizationProfiles" [22] [10] [8] [8] [8] () -> i32;
    engine_tensors "VCudaEngine::getNbIOTensors" [45] [30] [26] [28] [26] () -> i32;
    engine_tensor_name "VCudaEngine::getIOTensorName" [46] [31] [27] [29] [27] (index: i32) -> *const c_char;
    engine_tensor_shape "VCudaEngine::getTensorShape" [34] [19] [15] [17] [15] (tensor: *const c_char) -> RawDims;
    engine_tensor_type "VCudaEngine::getTensorDataType" [35] [20] [16] [18] [16] (tensor: *const c_char) -> i32;
    engine_tensor_mode "VCudaEngine::getTensorIOMode" [38] [23] [19] [21] [19] (tensor: *const c_char) -> i32;
    engine_tensor_location "VCudaEngine::getTensorLocation" [36] [21] [17] [19] [17] (tensor: *const c_char) -> i32;
    engine_tensor_format "VCudaEngine::getTensorFormat" [41] [26] [22] [24] [22] (tensor: *const c_char) -> i32;
    engine_profile_shape "VCudaEngine::getProfileShape" [44] [29] [25] [27] [25]
        (tensor: *const c_char, profile: i32, select: i32) -> RawDims;
    engine_runtime_config "VCudaEngine::createRuntimeConfig" [] [] [48] [54] [48] () -> *mut c_void;
    engine_create_context_with "VCudaEngine::createExecutionContextWithRuntimeConfig" [] [] [47] [53] [47]
        (config: *mut c_void) -> *mut c_void;

    // Kernels that TensorRT-RTX compiled on this device.
    runtime_config_create_cache "VRuntimeConfig::createRuntimeCache" [] [] [] [5] [5] () -> *mut c_void;
    runtime_config_set_cache "VRuntimeConfig::setRuntimeCache" [] [] [] [6] [6] (cache: *mut c_void) -> bool;
    runtime_cache_serialize "VRuntimeCache::serialize" [] [] [] [2] [2] () -> *mut c_void;
    runtime_cache_deserialize "VRuntimeCache::deserialize" [] [] [] [3] [3] (blob: *const c_void, n_bytes: usize) -> bool;

    context_set_input_shape "VExecutionContext::setInputShape" [29] [21] [20] [21] [20]
        (tensor: *const c_char, dims: *const RawDims) -> bool;
    context_set_address "VExecutionContext::setTensorAddress" [32] [24] [23] [24] [23]
        (tensor: *const c_char, address: *mut c_void) -> bool;
    context_enqueue "VExecutionContext::enqueueV3" [44] [37] [36] [37] [36] (stream: *mut c_void) -> bool;
    context_set_profile "VExecutionContext::setOptimizationProfileAsync" [25] [17] [16] [17] [16]
        (profile: i32, stream: *mut c_void) -> bool;

    builder_create_config "VBuilder::createBuilderConfig" [9] [7] [5] [7] [5] () -> *mut c_void;
    builder_create_network "VBuilder::createNetworkV2" [11] [8] [6] [8] [6] (flags: u32) -> *mut c_void;
    builder_create_profile "VBuilder::createOptimizationProfile" [12] [9] [7] [9] [7] () -> *mut c_void;
    builder_build "VBuilder::buildSerializedNetwork" [17] [14] [11] [14] [11]
        (network: *mut c_void, config: *mut c_void) -> *mut c_void;

    config_set_flag "VBuilderConfig::setFlag" [15] [11] [9] [9] [9] (flag: i32);
    config_set_memory "VBuilderConfig::setMemoryPoolLimit" [47] [43] [32] [32] [32] (pool: i32, n_bytes: usize);
    config_add_profile "VBuilderConfig::addOptimizationProfile" [29] [25] [23] [23] [23] (profile: *mut c_void) -> i32;
    config_create_cache "VBuilderConfig::createTimingCache" [44] [40] [29] [29] [29]
        (blob: *const c_void, n_bytes: usize) -> *mut c_void;
    config_set_cache "VBuilderConfig::setTimingCache" [45] [41] [30] [30] [30]
        (cache: *mut c_void, ignore_mismatch: bool) -> bool;
    config_set_monitor "VBuilderConfig::setProgressMonitor" [] [56] [45] [45] [45] (monitor: *const c_void);

    // Until 8.6 the dimensions are handed over by value: on x86-64 that is on the stack, where nothing else lies; on aarch64
    // it is by a pointer to a copy, as by reference. Handing them over both ways serves all.
    profile_set "VOptimizationProfile::setDimensions" [2] [2] [2] [2] [2]
        (tensor: *const c_char, select: i32, by_reference: *const RawDims, by_value: RawDims) -> bool;

    cache_serialize "VTimingCache::serialize" [2] [2] [2] [2] [2] () -> *mut c_void;

    // The third argument, where external weights lie, came with 8.4.
    parser_parse "IParser::parse" [0] [0] [0] [0] [0]
        (onnx: *const c_void, n_bytes: usize, folder: *const c_char) -> bool;
    parser_errors "IParser::getNbErrors" [6] [5] [3] [5] [3] () -> i32;
    parser_error "IParser::getError" [7] [6] [4] [6] [4] (index: i32) -> *mut c_void;
    // Until 8.6 a method of its own, from 10 on the deleting destructor.
    parser_delete "IParser::destroy" [5] [9] [7] [9] [7] ();
    parser_error_text "IParserError::desc" [1] [1] [1] [1] [1] () -> *const c_char;
    parser_error_node "IParserError::node" [5] [5] [5] [5] [5] () -> i32;
}

impl Slot {
    fn in_version(self, version: Version, name: &str) -> Result<u16, TrtError> {
        self.place
            .filter(|_| self.since <= version.minor)
            .ok_or_else(|| {
                let method = self.method;
                TrtError::Library(format!(
                    "{name} has no {method} (this is version {version})"
                ))
            })
    }
}
