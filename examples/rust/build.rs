//! Makes Rust of the contract, without protoc. Copied elsewhere: put segmentation.proto into `proto/cellseg/v1` beside this file.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = match std::path::Path::new("proto").is_dir() {
        true => "proto",
        false => "../../proto",
    };
    println!("cargo::rerun-if-changed={folder}");
    let contract = protox::compile(["cellseg/v1/segmentation.proto"], [folder])?;
    tonic_prost_build::configure().compile_fds(contract)?;
    Ok(())
}
