//! cellsegd: live cell segmentation beside the microscope.
//!
//! Modules in reading order; a module uses its own row and the rows above it, never below (`tests/it/layers.rs`).

// Row 0: what things are.
pub mod config;
pub mod frame;
pub mod geometry;
pub mod mask;
pub mod model;
pub mod params;
pub mod segmentation;
pub mod systemd;
pub mod telemetry;

// Row 1: plain, exact functions from frame to input and from output to cells: what a GPU has to match.
pub mod decode;
pub mod eval;
pub mod export;
pub mod growth;
pub mod measure;
pub mod preprocess;
pub mod track;

// Row 2: what runs a frame end to end.
pub mod backend;

// Row 3: many clients, few lanes.
pub mod analysis;
pub mod pool;
pub mod session;

// Row 4: the doors.
pub mod server;

// Row 5: the program.
pub mod cli;

/// Generated from `proto/`: the contract's messages. Only the doors and the client name them.
#[allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated"
)]
pub mod proto {
    tonic::include_proto!("cellseg.v1");

    /// The contract's descriptors, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));
}

/// Generated from `proto/inference`: the Open Inference Protocol's messages. Only its door names them.
#[allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated"
)]
pub mod inference {
    tonic::include_proto!("inference");

    /// The protocol's descriptors, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inference.binpb"));
}
