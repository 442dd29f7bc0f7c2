//! The Python environment of the live tests, the benchmark and the demo.
//!
//! It holds exactly what `tests/apps/requirements.txt` pins. A copy of that file in the
//! environment says what it was made from; another content makes it anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use whyslow_servers::venv_dir;

use crate::place;
use crate::run::{find_program, output, run};

/// The environment, when it is missing or made from another list.
pub(crate) fn missing() -> Option<String> {
    let current = is_current(&venv_dir(), &requirements());
    (!current).then(|| "the Python environment (pip install)".to_owned())
}

/// Makes the environment if need be.
///
/// # Errors
/// When no Python is new enough, or a package cannot be installed.
pub(crate) fn ensure() -> Result<()> {
    let (venv, requirements) = (venv_dir(), requirements());
    if is_current(&venv, &requirements) {
        return Ok(());
    }
    let python = find().context("no Python 3.11 or newer with venv\nhint: cargo xtask setup")?;
    eprintln!(
        "Python environment: making it with {}, about a minute",
        python.display()
    );
    if venv.exists() {
        fs::remove_dir_all(&venv).with_context(|| format!("remove {}", venv.display()))?;
    }
    run(Command::new(&python).args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    run(pip.arg("--requirement").arg(&requirements))?;
    // A pinned list with a hole would show only when something is imported.
    run(Command::new(venv.join("bin/python")).args(["-m", "pip", "check", "--quiet"]))?;
    fs::copy(&requirements, made_from(&venv)).context("note what the environment has")?;
    Ok(())
}

/// Whether this machine can make the environment, or has it already.
pub(crate) fn can_make() -> bool {
    is_current(&venv_dir(), &requirements()) || find().is_some()
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

fn made_from(venv: &Path) -> PathBuf {
    venv.join("requirements.txt")
}

fn is_current(venv: &Path, requirements: &Path) -> bool {
    match (fs::read(made_from(venv)), fs::read(requirements)) {
        (Ok(there), Ok(wanted)) => there == wanted && venv.join("bin/python").exists(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use whyslow_servers::Scratch;

    use super::*;

    #[test]
    fn an_environment_is_current_only_for_its_own_list() -> Result<()> {
        let scratch = Scratch::new("venv")?;
        let (venv, list) = (scratch.path().join("venv"), scratch.path().join("list"));
        fs::create_dir_all(venv.join("bin"))?;
        fs::write(venv.join("bin/python"), "")?;
        fs::write(&list, "a==1\n")?;
        assert!(!is_current(&venv, &list));
        fs::write(made_from(&venv), "a==1\n")?;
        assert!(is_current(&venv, &list));
        fs::write(&list, "a==2\n")?;
        assert!(!is_current(&venv, &list));
        Ok(())
    }

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
