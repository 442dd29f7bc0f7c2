//! `bpf-linker`, built by cargo against the LLVM of the compiler that it works with.
//!
//! It reads the compiler's bitcode, so its LLVM must be at least as new. Debian has the
//! libraries of several versions beside each other.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::packages;
use crate::ebpf::toolchain::{Compiler, llvm_of};
use crate::run::{cargo, cargo_bin, find_program, run};

/// The versions whose command line and output are known to work.
const VERSION: &str = "^0.13";

/// The linker, when it is missing.
pub(crate) fn missing() -> Option<String> {
    find_program("bpf-linker")
        .is_none()
        .then(|| format!("bpf-linker {VERSION} (cargo install)"))
}

/// Installs the linker, and LLVM's libraries for it.
///
/// # Errors
/// When no compiler is there to ask for its LLVM, or something cannot be installed.
pub(crate) fn ensure() -> Result<()> {
    if missing().is_none() {
        return Ok(());
    }
    let compiler = Compiler::find().context("no compiler for eBPF")?;
    let llvm = llvm_of(&compiler.rustc()).context("the compiler does not tell its LLVM version")?;
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    if !prefix.join("include/llvm-c").exists() {
        let names = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
        packages::install(&names.each_ref().map(String::as_str))?;
    }
    build(llvm, &prefix)?;
    ensure!(
        find_program("bpf-linker").is_some(),
        "cargo install left no bpf-linker"
    );
    Ok(())
}

fn build(llvm: u32, prefix: &Path) -> Result<()> {
    eprintln!("bpf-linker: building it against LLVM {llvm}, about a minute");
    let mut command = cargo();
    command.args(["install", "--quiet", &format!("bpf-linker@{VERSION}")]);
    command.args([
        "--no-default-features",
        "--features",
        &format!("llvm-{llvm}"),
    ]);
    // llvm-sys names its variable by LLVM's version with the minor one, which is 1 for releases.
    command.env(format!("LLVM_SYS_{llvm}1_PREFIX"), prefix);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [prefix.join("bin")].into_iter().chain(cargo_bin());
    let path = env::join_paths(folders.chain(env::split_paths(&path)))?;
    run(command.env("PATH", path)).with_context(|| {
        format!(
            "hint: LLVM_SYS_{llvm}1_PREFIX={} cargo install bpf-linker",
            prefix.display()
        )
    })
}
