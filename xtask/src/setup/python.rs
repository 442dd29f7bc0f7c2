//! The Python environment of the live tests, the benchmark and the demo.
//!
//! It holds exactly what `tests/apps/requirements.txt` pins.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use whyslow_servers::{Environment, venv_dir};

use crate::place;
use crate::run::{find_program, output};

/// The environment, when it is missing or made from another list.
pub(crate) fn missing() -> Option<String> {
    (!environment().is_current()).then(|| "the Python environment (pip install)".to_owned())
}

/// Makes the environment if need be.
///
/// # Errors
/// When no Python is new enough, or a package cannot be installed.
pub(crate) fn ensure() -> Result<()> {
    let environment = environment();
    if environment.is_current() {
        return Ok(());
    }
    let python = find().context("no Python 3.11 or newer with venv\nhint: cargo xtask setup")?;
    eprintln!(
        "Python environment: making it with {}, about a minute",
        python.display()
    );
    environment.make(&python)
}

/// Whether this machine can make the environment, or has it already.
pub(crate) fn can_make() -> bool {
    environment().is_current() || find().is_some()
}

/// The first Python that is new enough and can make environments with pip in them. The tests'
/// packages need 3.10; 3.11 is what Debian 12 has, and is tested.
fn find() -> Option<PathBuf> {
    const ASK: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    let candidates = [
        find_program("python3"),
        Some(PathBuf::from("/usr/bin/python3")),
    ];
    let mut candidates = candidates.into_iter().flatten();
    candidates.find(|python| output(Command::new(python).args(["-c", ASK])).is_ok())
}

fn requirements() -> PathBuf {
    place::root().join("tests/apps/requirements.txt")
}

fn environment() -> Environment {
    Environment::new(venv_dir(), requirements())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_requirement_is_pinned() -> Result<()> {
        let list = fs::read_to_string(requirements())?;
        let packages = list
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in packages {
            assert!(line.contains("=="), "{line} is not pinned");
        }
        Ok(())
    }
}
