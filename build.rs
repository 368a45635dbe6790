//! Compiles `proto/` with protox, so that no protoc is needed, and keeps the descriptor for server reflection.

use std::{env, fs, path::PathBuf};

use prost::Message;

const CONTRACT: &str = "proto/cellseg/v1/segmentation.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let descriptors = protox::compile([CONTRACT], ["proto"])?;
    fs::write(out.join("contract.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // A frame's pixels stay in the transport's own buffer.
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
