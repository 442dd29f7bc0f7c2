//! A temporary folder that is removed when its value is dropped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// All our folders begin with this; the pid of their owner follows.
const PREFIX: &str = "whyslow-";

/// Numbers the folders of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A temporary folder that others may enter (servers run as other users), removed on drop.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes `<temporary folder>/whyslow-<pid>-<n>-<name>`, and removes the folders that killed
    /// processes left.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let base = std::env::temp_dir();
        sweep(&base);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{PREFIX}{}-{number}-{name}", process::id()));
        fs::create_dir(&path).with_context(|| format!("make folder {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("set the mode of {}", path.display()))?;
        Ok(Self { path })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Removes folders of processes that are gone: a killed process cannot clean up itself.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(owner) else {
            continue;
        };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            // Best effort: another user's folder stays.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// The pid in the name of one of our folders.
fn owner(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (number, _) = rest.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_have_an_owner() {
        assert_eq!(owner("whyslow-12-0-demo"), Some(12));
        assert_eq!(owner("whyslow-12"), None);
        assert_eq!(owner("whyslow-agent-0-demo"), None);
        assert_eq!(owner("other-12-0-demo"), None);
    }

    #[test]
    fn a_folder_lives_as_long_as_its_value() -> Result<()> {
        let scratch = Scratch::new("test")?;
        let path = scratch.path().to_path_buf();
        assert!(path.is_dir());
        drop(scratch);
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn folders_of_gone_processes_are_swept() -> Result<()> {
        let base = Scratch::new("sweep")?;
        // Above the highest pid that Linux allows.
        let gone = base.path().join("whyslow-4194305-0-x");
        let ours = base.path().join(format!("whyslow-{}-0-x", process::id()));
        fs::create_dir(&gone)?;
        fs::create_dir(&ours)?;
        sweep(base.path());
        assert!(!gone.exists());
        assert!(ours.exists());
        Ok(())
    }
}
