//! Python environments: a list of pinned packages to a folder with them.
//!
//! A copy of the list in the environment says what it was made from; another content makes it anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::place::{app_dir, target_dir, venv_python};

/// An environment, made or yet to be made.
#[derive(Debug)]
pub struct Environment {
    folder: PathBuf,
    requirements: PathBuf,
}

impl Environment {
    /// The one in `folder`, with what the file `requirements` lists.
    #[must_use]
    pub fn new(folder: PathBuf, requirements: PathBuf) -> Self {
        Self {
            folder,
            requirements,
        }
    }

    /// The interpreter of the environment of one application, `tests/apps/<name>/requirements.txt`, which
    /// is made if need be. Some are too heavy for the environment that all tests share.
    ///
    /// # Errors
    /// As [`Environment::make`].
    pub fn of_app(name: &str) -> Result<PathBuf> {
        let folder = target_dir().join(format!("venv-{name}"));
        let environment = Self::new(folder, app_dir(name).join("requirements.txt"));
        if !environment.is_current() {
            environment.make(&venv_python()?)?;
        }
        Ok(environment.python())
    }

    /// Its interpreter.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Whether it is there, and made from the list as it is now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        match (fs::read(self.made_from()), fs::read(&self.requirements)) {
            (Ok(there), Ok(wanted)) => there == wanted && self.python().exists(),
            _ => false,
        }
    }

    /// Makes it anew with the interpreter `python`.
    ///
    /// # Errors
    /// When a package cannot be installed, or the list has a hole.
    pub fn make(&self, python: &Path) -> Result<()> {
        let folder = &self.folder;
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
        let pip = |arguments: &[&str]| {
            let mut command = Command::new(self.python());
            command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
            command.args(arguments);
            command
        };
        let install = &["install", "--no-deps", "--requirement"];
        run(pip(install).arg(&self.requirements))?;
        // A pinned list with a hole would show only when something is imported.
        run(&mut pip(&["check"]))?;
        fs::copy(&self.requirements, self.made_from()).context("note what the environment has")?;
        Ok(())
    }

    fn made_from(&self) -> PathBuf {
        self.folder.join("requirements.txt")
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed:\n{error}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    #[test]
    fn an_environment_is_current_only_for_its_own_list() -> Result<()> {
        let scratch = Scratch::new("venv")?;
        let (venv, list) = (scratch.path().join("venv"), scratch.path().join("list"));
        let environment = Environment::new(venv.clone(), list.clone());
        fs::create_dir_all(venv.join("bin"))?;
        fs::write(venv.join("bin/python"), "")?;
        fs::write(&list, "a==1\n")?;
        assert!(!environment.is_current());
        fs::write(environment.made_from(), "a==1\n")?;
        assert!(environment.is_current());
        fs::write(&list, "a==2\n")?;
        assert!(!environment.is_current());
        Ok(())
    }
}
