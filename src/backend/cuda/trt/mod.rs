//! TensorRT by its binary interface: no headers, no C++ at build, one program for machines with and without it.
//!
//! The library is found and opened at run time. Its objects are C++ objects whose virtual functions are called by their
//! place in the table (`abi`), which differs from one major version to the next. Above that lie types that own what they
//! made and end it in the right order. Versions whose tables are not known are refused by name.

mod abi;
mod builder;
mod cache;
mod context;
mod error;
mod host_memory;
mod library;
mod logger;
mod monitor;
mod owned;
mod places;
mod preflight;
mod runtime;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    builder::{BuildOptions, Built, Event, Shapes, build},
    cache::timing_cache,
    context::Context,
    error::TrtError,
    library::{Flavour, Found, Library, Version, survey},
    preflight::{Gpu, before_load},
    runtime::{Engine, Io, TensorInfo},
};
