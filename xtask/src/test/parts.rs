//! The parts of the whole check, in their order.
//!
//! A part is one row of [`PARTS`] and one function. It either gives its counts, or an error: then
//! it counts as one failure.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};

use super::counts::{Counts, of_cargo_test, of_vm_test};
use super::tee::tee;
use crate::run::{cargo, is_root, run};
use crate::{build, ebpf, place, setup};

/// One part of the check.
pub(crate) struct Part {
    /// Its name, as `--only` and `--skip` take it.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) what: &'static str,
    /// The parts that must have passed for this one to mean anything.
    pub(crate) needs: &'static [&'static str],
    /// Does it.
    pub(crate) run: fn() -> Result<Counts>,
}

/// All parts. Those that need little come first, so that a slip shows early.
pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "setup",
        what: "what the rest needs is here",
        needs: &[],
        run: || done(setup::ensure()),
    },
    Part {
        name: "format",
        what: "rustfmt, both workspaces",
        needs: &[],
        run: format,
    },
    Part {
        name: "ebpf",
        what: "the eBPF programs compile and link",
        needs: &["setup"],
        run: || done(ebpf::build("release").map(drop)),
    },
    Part {
        name: "lints",
        what: "clippy, no warnings",
        needs: &["ebpf"],
        run: lints,
    },
    Part {
        name: "unit",
        what: "unit tests, scenarios, screens, recordings",
        needs: &["setup", "ebpf"],
        run: unit,
    },
    Part {
        name: "build",
        what: "the release program",
        needs: &["ebpf"],
        run: || done(build::build("release").map(drop)),
    },
    Part {
        name: "live",
        what: "the agent in this kernel, on real servers",
        needs: &["setup", "build"],
        run: live,
    },
    Part {
        name: "vm",
        what: "the programs in Debian's 6.1",
        needs: &["setup", "build"],
        run: vm,
    },
];

/// Passed, when it ended without an error.
fn done(outcome: Result<()>) -> Result<Counts> {
    outcome.map(|()| Counts::one_passed())
}

/// Runs a command that is one check.
fn check(command: &mut Command) -> Counts {
    match run(command) {
        Ok(()) => Counts::one_passed(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Counts::one_failed()
        }
    }
}

fn format() -> Result<Counts> {
    let mut counts = check(cargo().args(["fmt", "--all", "--check"]));
    counts.add(&check(
        cargo()
            .current_dir(place::ebpf_package())
            .args(["fmt", "--check"]),
    ));
    Ok(counts)
}

fn lints() -> Result<Counts> {
    let mut command = cargo();
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    Ok(check(&mut command))
}

fn unit() -> Result<Counts> {
    let mut command = cargo();
    command.args([
        "test",
        "--workspace",
        "--exclude",
        "whyslow-tests",
        "--no-fail-fast",
    ]);
    let seen = tee(&mut command)?;
    Ok(of_cargo_test(&seen.lines, seen.success))
}

fn live() -> Result<Counts> {
    if !is_root() {
        return Ok(Counts::one_skipped(
            "live",
            "eBPF programs are loaded as root",
        ));
    }
    let mut command = cargo();
    command.args([
        "test",
        "--release",
        "--package",
        "whyslow-tests",
        "--no-fail-fast",
    ]);
    command
        .args(["--", "--test-threads=1"])
        .env("WHYSLOW_BIN", place::binary());
    let seen = tee(&mut command)?;
    Ok(of_cargo_test(&seen.lines, seen.success))
}

fn vm() -> Result<Counts> {
    // Through the command, since its lines have the reasons of its skips.
    let itself = env::current_exe().context("find xtask's own program")?;
    let mut command = Command::new(itself);
    command
        .args(["vm-test", "--kernel", "6.1"])
        .current_dir(place::root());
    let seen = tee(&mut command)?;
    Ok(of_vm_test(&seen.lines, seen.success))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_part_needs_comes_before_it() {
        for (index, part) in PARTS.iter().enumerate() {
            for need in part.needs {
                let place = PARTS.iter().position(|other| other.name == *need);
                assert!(
                    place.is_some_and(|place| place < index),
                    "{} needs {need}",
                    part.name
                );
            }
        }
    }
}
