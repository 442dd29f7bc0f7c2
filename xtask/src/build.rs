//! `cargo xtask build` and `cargo xtask install`: the one program, with the eBPF objects in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{ebpf, place, run};

/// Options of `cargo xtask build`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask build                  target/release/whyslow\n  \
    cargo xtask build --profile dev    target/debug/whyslow, quicker to build"
)]
pub(crate) struct Args {
    /// Cargo profile of the agent; the eBPF programs are always optimised
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Options of `cargo xtask install`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask build && sudo cargo xtask install\n  \
    cargo xtask install --prefix ~/.local"
)]
pub(crate) struct InstallArgs {
    /// The program goes to PREFIX/bin
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
}

/// Builds and says where the program is.
///
/// # Errors
/// When a tool is missing or something does not compile.
pub(crate) fn run(args: &Args) -> Result<()> {
    println!("{}", build(&args.profile)?.display());
    Ok(())
}

/// Builds the eBPF objects and the program that embeds them, and gives its path.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    ebpf::build("release")?;
    let mut command = run::cargo();
    command.args([
        "build",
        "--package",
        "whyslow",
        "--bin",
        "whyslow",
        "--profile",
        profile,
    ]);
    run::run(&mut command)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let binary = place::target().join(folder).join("whyslow");
    ensure!(
        binary.exists(),
        "cargo left no program at {}",
        binary.display()
    );
    Ok(binary)
}

/// Puts the program in place.
///
/// # Errors
/// When it was not built yet, or the folder is not writable.
pub(crate) fn install(args: &InstallArgs) -> Result<()> {
    let binary = place::binary();
    ensure!(
        binary.exists(),
        "no program at {}\nhint: cargo xtask build",
        binary.display()
    );
    let folder = args.prefix.join("bin");
    println!("{}", put(&binary, &folder)?.display());
    Ok(())
}

/// Copies beside the goal and renames: a running program cannot be overwritten, and a half
/// written one must not be found.
fn put(binary: &Path, folder: &Path) -> Result<PathBuf> {
    let hint = || {
        format!(
            "install into {}\nhint: as root, or with --prefix",
            folder.display()
        )
    };
    fs::create_dir_all(folder).with_context(hint)?;
    let goal = folder.join("whyslow");
    let fresh = folder.join(".whyslow.new");
    fs::copy(binary, &fresh).with_context(hint)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).with_context(hint)?;
    fs::rename(&fresh, &goal).with_context(hint)?;
    Ok(goal)
}

#[cfg(test)]
mod tests {
    use whyslow_servers::Scratch;

    use super::*;

    #[test]
    fn an_installed_program_replaces_the_old_one() -> Result<()> {
        let scratch = Scratch::new("install")?;
        let binary = scratch.path().join("built");
        let folder = scratch.path().join("prefix/bin");
        fs::write(&binary, "one")?;
        put(&binary, &folder)?;
        fs::write(&binary, "two")?;
        let goal = put(&binary, &folder)?;
        assert_eq!(fs::read_to_string(&goal)?, "two");
        assert_eq!(fs::metadata(&goal)?.permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(&folder)?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_closed_folder_is_told_with_a_hint() {
        let error = put(Path::new("/bin/sh"), Path::new("/proc/nowhere")).expect_err("closed");
        assert!(format!("{error:#}").contains("hint:"), "{error:#}");
    }
}
