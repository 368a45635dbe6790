//! TensorRT by its binary interface: no headers, no C++ at build, one program for machines with and without it.
