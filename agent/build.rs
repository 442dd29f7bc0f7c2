//! Embeds the eBPF objects that `cargo xtask build-ebpf` made. Without them the agent still
//! builds, for editors and for tests that need no kernel, and says so when it is started.
use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-env-changed=WHYSLOW_EBPF_DIR");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    let objects = env::var_os("WHYSLOW_EBPF_DIR").map_or_else(
        || {
            out.ancestors()
                .nth(4)
                .map(|target| target.join("ebpf"))
                .unwrap_or_default()
        },
        PathBuf::from,
    );
    for name in ["whyslow-core.o", "whyslow-calibrate.o"] {
        let from = objects.join(name);
        println!("cargo:rerun-if-changed={}", from.display());
        let bytes = match fs::read(&from) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        fs::write(out.join(name), bytes)?;
    }
    Ok(())
}
