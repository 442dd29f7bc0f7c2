//! Where the project keeps what it builds.

use std::path::PathBuf;

use whyslow_servers as servers;

/// The root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    servers::workspace_root()
}

/// Cargo's build folder.
pub(crate) fn target() -> PathBuf {
    servers::target_dir()
}

/// The eBPF package, a workspace of its own.
pub(crate) fn ebpf_package() -> PathBuf {
    root().join("ebpf")
}

/// The folder of the linked eBPF objects, `whyslow-<name>.o`.
pub(crate) fn ebpf_objects() -> PathBuf {
    target().join("ebpf")
}

/// Cargo's build folder of the eBPF package: apart, so that the two builds do not wait for each
/// other's lock.
pub(crate) fn ebpf_build() -> PathBuf {
    target().join("ebpf-build")
}

/// The program that `cargo xtask build` leaves.
pub(crate) fn binary() -> PathBuf {
    target().join("release/whyslow")
}
