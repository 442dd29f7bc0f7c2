//! `cargo xtask setup`: installs what building, testing and the demo need, and nothing twice.
//!
//! Three kinds of things: programs of the distribution, `bpf-linker` by cargo, and a Python
//! environment in cargo's build folder. What is there already is recognised by files, so that a
//! second run is quick.

use anyhow::Result;

mod linker;
mod packages;
mod python;

/// Options of `cargo xtask setup`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Installs, where missing: Debian packages (as root; else it prints the \
    apt-get line), bpf-linker by cargo,\nand a Python environment at target/venv with the versions \
    of tests/apps/requirements.txt.\n`demo` and `test` do this by themselves. It is quick when \
    nothing is missing."
)]
pub(crate) struct Args {
    /// Only say what is missing, and fail if anything is
    #[arg(long)]
    check: bool,
}

/// Installs what is missing and says so; silent about what is there, but for the last line.
///
/// # Errors
/// When something cannot be installed: the message has the command that mends it.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        return check();
    }
    ensure()?;
    println!("all that the project needs is here");
    Ok(())
}

/// Installs what is missing.
///
/// # Errors
/// As [`run`].
pub(crate) fn ensure() -> Result<()> {
    packages::ensure(packages::NEEDS)?;
    linker::ensure()?;
    python::ensure()
}

fn check() -> Result<()> {
    let mut missing: Vec<String> = packages::missing(packages::NEEDS)
        .map(|need| format!("{} ({})", need.what, need.packages.join(", ")))
        .collect();
    missing.extend(linker::missing());
    missing.extend(python::missing());
    if missing.is_empty() {
        println!("all that the project needs is here");
        return Ok(());
    }
    anyhow::bail!("missing: {}\nhint: cargo xtask setup", missing.join("; "))
}
