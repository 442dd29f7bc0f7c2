//! Compiles `whyslow/v1/*.proto` with a compiler written in Rust: no `protoc` is needed.
use std::{env, fs, path::PathBuf};

use anyhow::Context as _;
use prost::Message as _;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=whyslow");
    let mut files = Vec::new();
    for entry in fs::read_dir("whyslow/v1").context("read whyslow/v1")? {
        files.push(entry?.path());
    }
    files.sort();
    let descriptors = protox::compile(&files, ["."]).context("compile the .proto files")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let bytes = descriptors.encode_to_vec();
    fs::write(out.join("whyslow.descriptors"), &bytes)?;
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&bytes)?
        .build(&[".whyslow"])?;
    Ok(())
}
