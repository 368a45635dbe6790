//! Our own kernels: what runs on the GPU before and after the engine.
