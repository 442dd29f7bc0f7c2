//! Finds a compiler that can build for `bpfel-unknown-none`, and `bpf-linker`.
//!
//! Two ways work. A nightly compiler with the `rust-src` component builds `core` itself
//! (`-Z build-std`). A distribution's compiler that comes with a precompiled `core` for the
//! target needs no nightly. Only files are looked at here: nothing is built or installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{find_program, output};

/// The target that the programs are built for.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// A compiler that can build for the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// A nightly toolchain of rustup, by name, with the sources of `core`.
    Nightly(String),
    /// A compiler outside rustup, with `core` precompiled.
    System(PathBuf),
}

impl Compiler {
    /// The first way that works here.
    pub(crate) fn find() -> Option<Self> {
        let nightly = rustup_home().and_then(|home| nightly_with_sources(&home));
        nightly
            .map(Self::Nightly)
            .or_else(|| system_with_core().map(Self::System))
    }

    /// The compiler's program.
    pub(crate) fn rustc(&self) -> PathBuf {
        match self {
            Self::Nightly(name) => rustup_home()
                .unwrap_or_default()
                .join("toolchains")
                .join(name)
                .join("bin/rustc"),
            Self::System(rustc) => rustc.clone(),
        }
    }

    /// One line for the person who wants to know what built the programs.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Nightly(name) => format!("{name} with rust-src (build-std)"),
            Self::System(rustc) => {
                format!("{} with its precompiled core for {TARGET}", rustc.display())
            }
        }
    }
}

/// All that building the programs needs.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// `bpf-linker`.
    pub(crate) linker: PathBuf,
}

impl Toolchain {
    /// What is here.
    ///
    /// # Errors
    /// When something is missing: a line for each, and how to mend it.
    pub(crate) fn find() -> Result<Self> {
        match (Compiler::find(), find_program("bpf-linker")) {
            (Some(compiler), Some(linker)) => Ok(Self { compiler, linker }),
            (compiler, linker) => {
                let mut missing = Vec::new();
                if compiler.is_none() {
                    missing.push(MISSING_COMPILER.to_owned());
                }
                if linker.is_none() {
                    missing.push(MISSING_LINKER.to_owned());
                }
                bail!(
                    "{}\nhint: cargo xtask setup installs it",
                    missing.join("\n")
                )
            }
        }
    }
}

const MISSING_COMPILER: &str = "no compiler for bpfel-unknown-none: `rustup component add \
     rust-src --toolchain nightly`, or on Debian `apt-get install rustc-web \
     libstd-rust-web-dev-bpf`";
const MISSING_LINKER: &str = "no bpf-linker: `cargo install 'bpf-linker@^0.13'` (LLVM of the \
     compiler's version needed)";

/// The LLVM major version of a compiler, which its linker must have too.
pub(crate) fn llvm_of(rustc: &Path) -> Option<u32> {
    let mut ask = Command::new(rustc);
    ask.env_remove("LD_LIBRARY_PATH")
        .args(["--version", "--verbose"]);
    llvm_in(&output(&mut ask).ok()?)
}

fn llvm_in(version: &str) -> Option<u32> {
    let line = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

fn rustup_home() -> Option<PathBuf> {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")))
}

/// The newest nightly below rustup's folder that has the sources of `core`: a nightly alone
/// cannot build for a target that it has no `core` for.
fn nightly_with_sources(rustup_home: &Path) -> Option<String> {
    let toolchains = fs::read_dir(rustup_home.join("toolchains")).ok()?.flatten();
    let mut names: Vec<String> = toolchains
        .filter(|entry| {
            entry
                .path()
                .join("lib/rustlib/src/rust/library/core/src/lib.rs")
                .exists()
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("nightly"))
        .collect();
    // `nightly-x86_64-…` sorts after `nightly-2026-01-01-…`: the moving one first.
    names.sort();
    names.pop()
}

/// The distribution's compiler, when it has `core` for the target.
fn system_with_core() -> Option<PathBuf> {
    let rustc = PathBuf::from("/usr/bin/rustc");
    if !rustc.exists() {
        return None;
    }
    let mut ask = Command::new(&rustc);
    ask.env_remove("LD_LIBRARY_PATH")
        .args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = PathBuf::from(output(&mut ask).ok()?.trim());
    has_core(&libraries).then_some(rustc)
}

fn has_core(libraries: &Path) -> bool {
    fs::read_dir(libraries)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
        })
}

#[cfg(test)]
mod tests {
    use whyslow_servers::Scratch;

    use super::*;

    fn with_file(root: &Path, file: &str) -> Result<()> {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a folder"))?;
        Ok(fs::write(path, "")?)
    }

    const SOURCE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

    #[test]
    fn a_nightly_counts_only_with_sources() -> Result<()> {
        let home = Scratch::new("rustup")?;
        fs::create_dir_all(
            home.path()
                .join("toolchains/nightly-x86_64-unknown-linux-gnu"),
        )?;
        with_file(
            home.path(),
            &format!("toolchains/stable-x86_64-unknown-linux-gnu/{SOURCE}"),
        )?;
        assert_eq!(nightly_with_sources(home.path()), None);
        for name in ["nightly-2026-01-01-x86_64", "nightly-x86_64"] {
            with_file(home.path(), &format!("toolchains/{name}/{SOURCE}"))?;
        }
        assert_eq!(
            nightly_with_sources(home.path()).as_deref(),
            Some("nightly-x86_64")
        );
        Ok(())
    }

    #[test]
    fn core_is_told_from_other_libraries() -> Result<()> {
        let folder = Scratch::new("core")?;
        with_file(folder.path(), "liballoc-1.rlib")?;
        with_file(folder.path(), "libcore-1.rmeta")?;
        assert!(!has_core(folder.path()));
        with_file(folder.path(), "libcore-1.rlib")?;
        assert!(has_core(folder.path()));
        assert!(!has_core(&folder.path().join("missing")));
        Ok(())
    }

    #[test]
    fn the_compiler_tells_its_llvm() {
        let version = "rustc 1.96.0\nbinary: rustc\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_in(version), Some(22));
        assert_eq!(llvm_in("rustc 1.96.0\n"), None);
    }
}
