//! The GPU path without a GPU: the unmodified program over an emulated driver and stand-ins for TensorRT (tests/fake_gpu).

mod building;
mod conformance;
mod faults;
mod machine;
mod misuse;
mod models;
mod operating;
mod same_cells;
mod shared_memory;
mod wrong;
