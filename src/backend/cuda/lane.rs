//! One frame after the other on one CUDA stream.
