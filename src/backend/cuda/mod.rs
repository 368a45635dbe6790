//! TensorRT engines on an NVIDIA GPU: one CUDA stream a lane, our own kernels around the engine.

#![expect(
    unsafe_code,
    reason = "CUDA and TensorRT are C and C++ libraries, found at run time"
)]

pub mod device;
mod driver;
mod kernels;
mod lane;
mod trt;
