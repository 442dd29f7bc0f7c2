//! Where things are: the workspace, its build folder, the Python environment, a free port.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The root folder of the workspace, as it was when this crate was compiled.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_path_buf()
}

/// Cargo's build folder: `CARGO_TARGET_DIR` when it is set, else `target` in the workspace.
#[must_use]
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => {
            let dir = PathBuf::from(dir);
            if dir.is_absolute() {
                dir
            } else {
                workspace_root().join(dir)
            }
        }
        _ => workspace_root().join("target"),
    }
}

/// The folder of the Python environment that `cargo xtask setup` makes.
#[must_use]
pub fn venv_dir() -> PathBuf {
    target_dir().join("venv")
}

/// The interpreter of the Python environment.
///
/// # Errors
/// When the environment was not made yet.
pub fn venv_python() -> Result<PathBuf> {
    let python = venv_dir().join("bin/python");
    ensure!(
        python.exists(),
        "no Python environment at {}\nhint: cargo xtask setup",
        venv_dir().display()
    );
    Ok(python)
}

/// The folder of a test application, `tests/apps/<name>`.
#[must_use]
pub fn app_dir(name: &str) -> PathBuf {
    workspace_root().join("tests/apps").join(name)
}

/// A TCP port that is free on loopback now. Another process may take it before it is used: a
/// server that cannot bind it says so in its error.
///
/// # Errors
/// When no socket can be bound.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a loopback port")?;
    Ok(listener.local_addr().context("read the bound port")?.port())
}
