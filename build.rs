//! Compiles `proto/` with protox, so that no protoc is needed, and keeps the descriptors for server reflection.

use std::{env, fs, path::PathBuf};

use prost::Message;

/// Each with the file that keeps its descriptor: two sets, for reflection tells of each as a whole.
const PROTOS: [(&str, &str); 2] = [
    ("proto/cellseg/v1/segmentation.proto", "contract.binpb"),
    ("proto/inference/inference.proto", "inference.binpb"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for (proto, kept) in PROTOS {
        let descriptors = protox::compile([proto], ["proto"])?;
        fs::write(out.join(kept), descriptors.encode_to_vec())?;
        tonic_prost_build::configure()
            // A frame's pixels stay in the transport's own buffer.
            .bytes(".")
            .btree_map(".")
            .compile_fds(descriptors)?;
    }
    Ok(())
}
