//! Says for which processor the programs are: `bpf_target_arch`, as aya-ebpf itself does it. Set
//! `CARGO_CFG_BPF_TARGET_ARCH` to build for another than the host's.
use std::env;

fn main() {
    println!("cargo:rerun-if-env-changed=CARGO_CFG_BPF_TARGET_ARCH");
    println!("cargo:rustc-check-cfg=cfg(bpf_target_arch, values(\"x86_64\",\"aarch64\"))");
    let architecture = env::var("CARGO_CFG_BPF_TARGET_ARCH").unwrap_or_else(|_| {
        let host = env::var("HOST").unwrap_or_default();
        host.split('-').next().unwrap_or_default().to_owned()
    });
    println!("cargo:rustc-cfg=bpf_target_arch=\"{architecture}\"");
}
