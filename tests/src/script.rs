//! A server of one Python file in `tests/apps/truth`, without gunicorn.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;

use crate::{
    servers::{Process, Scratch, StopSignal, app_dir, venv_python},
    wait_for,
};

/// Longest time until a Python helper has written where it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running one; ended when dropped.
#[derive(Debug)]
pub struct Script {
    /// Where it listens.
    pub address: SocketAddr,
    // Ended before its folder goes.
    process: Process,
    _scratch: Scratch,
}

impl Script {
    /// Starts `NAME.py FILE` and waits until it has written its port to the file; `prepare` may change
    /// the command.
    ///
    /// # Errors
    /// When it does not start; its log is in the message.
    pub fn start(name: &str, prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let file = scratch.path().join("port");
        let mut command = Command::new(venv_python()?);
        command
            .arg(app_dir("truth").join(format!("{name}.py")))
            .arg(&file);
        prepare(&mut command);
        let log = scratch.path().join("log");
        let process = Process::start(name, command, StopSignal::Kill, &log)?;
        let port = written(&process, &file)?.parse()?;
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process,
            _scratch: scratch,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Waits for a file that a starting process writes.
///
/// # Errors
/// When the process ends before, or the limit is over.
pub(crate) fn written(process: &Process, file: &Path) -> Result<String> {
    wait_for(START_LIMIT, &format!("{}", file.display()), || {
        if let Some(status) = process.ended() {
            anyhow::bail!(
                "{} ended with {status}: {}",
                process.name(),
                process.log_tail()
            );
        }
        Ok(fs::read_to_string(file).ok())
    })
}
