//! The part of CUDA's driver API that a lane needs: a thin `Result` layer and types that own what they made.
//!
//! Types and constants are cudarc's; the functions are called through our own table ([`api`]), because cudarc's wrappers panic
//! where a driver lacks one and read the result as a Rust enum, which an error code of a newer driver would make undefined
//! behaviour. Nothing waits but what is called so: [`Event::wait`], [`Stream::synchronize`] and the loading of a module.
//!
//! Every type keeps the [`Context`] that it belongs to, so that nothing outlives it. A lane drops what it owns on its own
//! thread, where the context is current.

mod api;
mod context;
mod devices;
mod error;
mod graph;
mod memory;
mod module;
mod registered;
mod stream;

pub(super) use self::{
    api::{Unloadable, init, library, load, version},
    context::Context,
    devices::devices,
    error::{CudaError, report},
    graph::Graph,
    memory::{DeviceBuffer, HostBuffer, allocations},
    module::{Function, Module},
    registered::Registered,
    stream::{Event, Stream},
};
