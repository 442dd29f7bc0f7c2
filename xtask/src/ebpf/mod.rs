//! `cargo xtask build-ebpf`: compiles and links the eBPF programs.
//!
//! Each binary of the package `ebpf/` becomes one object, `<target>/ebpf/whyslow-<name>.o`; which
//! binaries there are is told by cargo, not listed here. The agent's build embeds the objects.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{place, run};

pub(crate) mod toolchain;

use toolchain::{Compiler, TARGET, Toolchain};

/// Options of `cargo xtask build-ebpf`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Leaves target/ebpf/whyslow-<name>.o. Two compilers do, the first found is \
    used: a nightly of rustup with the\ncomponent rust-src, or /usr/bin/rustc with a precompiled \
    core for bpfel-unknown-none. bpf-linker links.\nWhat is missing is told with the command that \
    mends it; `cargo xtask setup` runs these commands."
)]
pub(crate) struct Args {
    /// Cargo profile; the kernel's verifier refuses much of what is not optimised
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds the objects and says where they are.
///
/// # Errors
/// When a tool is missing (the message names each, and how to mend it) or the build fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    for object in build(&args.profile)? {
        println!("{}", object.display());
    }
    Ok(())
}

/// Builds the objects and gives their paths.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(profile: &str) -> Result<Vec<PathBuf>> {
    let toolchain = Toolchain::find()?;
    eprintln!("eBPF programs: built by {}", toolchain.compiler.describe());
    let mut command = command(&toolchain, profile);
    command.stdout(Stdio::piped());
    let child = command
        .spawn()
        .with_context(|| format!("start {}", run::shown(&command)))?;
    let output = child.wait_with_output().context("wait for cargo")?;
    if !output.status.success() {
        bail!("the eBPF programs do not build ({})", output.status);
    }
    let binaries = binaries(&String::from_utf8_lossy(&output.stdout));
    ensure!(!binaries.is_empty(), "the eBPF package has no binaries");
    let folder = place::ebpf_objects();
    fs::create_dir_all(&folder).with_context(|| format!("make folder {}", folder.display()))?;
    let objects = binaries
        .iter()
        .map(|binary| put(binary, &folder))
        .collect::<Result<Vec<_>>>()?;
    remove_others(&folder, &objects)?;
    Ok(objects)
}

/// Removes the objects of binaries that there are no more: nobody should embed them.
fn remove_others(folder: &Path, objects: &[PathBuf]) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_object = path.extension().is_some_and(|extension| extension == "o");
        if is_object && !objects.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// `cargo build` of the eBPF package by this toolchain.
fn command(toolchain: &Toolchain, profile: &str) -> Command {
    let mut command = run::cargo();
    command.current_dir(place::ebpf_package());
    command.args(["build", "--target", TARGET, "--profile", profile]);
    command.arg("--message-format=json-render-diagnostics");
    match &toolchain.compiler {
        Compiler::Nightly(name) => {
            command
                .env("RUSTUP_TOOLCHAIN", name)
                .args(["-Z", "build-std=core"]);
        }
        Compiler::System(rustc) => {
            // A stable compiler takes the unstable features of aya-ebpf only so.
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
    }
    command.env("CARGO_TARGET_DIR", place::ebpf_build());
    command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker);
    // BTF describes the maps to the loader, and the verifier wants it for callbacks.
    command.env("RUSTFLAGS", "-C debuginfo=2 -C link-arg=--btf");
    command
}

/// A binary that cargo linked.
#[derive(Debug, PartialEq, Eq)]
struct Binary {
    name: String,
    file: PathBuf,
}

/// The binaries in cargo's messages, one JSON object per line.
fn binaries(messages: &str) -> Vec<Binary> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter_map(|message| {
            Some(Binary {
                name: message.target?.name,
                file: message.executable?,
            })
        })
        .collect()
}

/// Copies a binary to its place. An object that did not change keeps its time, so that cargo does
/// not build the agent again.
fn put(binary: &Binary, folder: &Path) -> Result<PathBuf> {
    let object = folder.join(format!("whyslow-{}.o", binary.name));
    let bytes =
        fs::read(&binary.file).with_context(|| format!("read {}", binary.file.display()))?;
    if fs::read(&object).is_ok_and(|there| there == bytes) {
        return Ok(object);
    }
    fs::write(&object, bytes).with_context(|| format!("write {}", object.display()))?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_read_from_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"aya_ebpf","kind":["lib"]},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"core","kind":["bin"]},"executable":"/t/core"}
{"reason":"build-finished","success":true}
"#;
        let core = Binary {
            name: "core".to_owned(),
            file: PathBuf::from("/t/core"),
        };
        assert_eq!(binaries(messages), vec![core]);
    }

    #[test]
    fn objects_of_gone_binaries_go() -> Result<()> {
        let scratch = whyslow_servers::Scratch::new("objects")?;
        let (old, new) = (
            scratch.path().join("whyslow-old.o"),
            scratch.path().join("whyslow-new.o"),
        );
        fs::write(&old, "")?;
        fs::write(&new, "")?;
        remove_others(scratch.path(), std::slice::from_ref(&new))?;
        assert!(new.exists() && !old.exists());
        Ok(())
    }

    #[test]
    fn the_system_compiler_is_used_without_build_std() {
        let toolchain = Toolchain {
            compiler: Compiler::System(PathBuf::from("/usr/bin/rustc")),
            linker: PathBuf::from("/bin/bpf-linker"),
        };
        let command = command(&toolchain, "release");
        let value = |name: &str| {
            let found = command.get_envs().find(|(key, _)| *key == name);
            found
                .and_then(|(_, value)| value)
                .map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(value("RUSTC").as_deref(), Some("/usr/bin/rustc"));
        assert_eq!(value("RUSTC_BOOTSTRAP").as_deref(), Some("1"));
        assert!(!run::shown(&command).contains("build-std"));
    }

    #[test]
    fn nightly_builds_core_itself() {
        let toolchain = Toolchain {
            compiler: Compiler::Nightly("nightly-x86_64".to_owned()),
            linker: PathBuf::from("/bin/bpf-linker"),
        };
        let command = command(&toolchain, "release");
        assert!(run::shown(&command).contains("-Z build-std=core"));
        assert!(
            !command
                .get_envs()
                .any(|(key, value)| key == "RUSTC" && value.is_some())
        );
    }
}
