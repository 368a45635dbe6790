//! Finds and drives CUDA devices: what is there, which one is used, what is wrong with it.
