//! An nginx in front of an application.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::accepts;
use crate::{Process, StopSignal, free_port, wait_until_ready};

/// Where Debian has it, which is in no ordinary user's PATH.
const PROGRAM: &str = "/usr/sbin/nginx";

/// A running nginx; dropping it ends the master and its workers.
#[derive(Debug)]
pub struct Nginx {
    /// Its loopback port.
    pub port: u16,
    process: Process,
}

impl Nginx {
    /// Starts one that hands all requests to the HTTP server on the loopback port `upstream`. It keeps all
    /// its files in `dir/nginx`.
    ///
    /// # Errors
    /// When it is not installed, or does not accept connections within 10 s.
    pub fn start(dir: &Path, upstream: u16) -> Result<Self> {
        let port = free_port()?;
        let folder = dir.join("nginx");
        fs::create_dir(&folder).with_context(|| format!("make folder {}", folder.display()))?;
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration(&folder, port, upstream)).context("write nginx.conf")?;
        let program = if Path::new(PROGRAM).exists() {
            PROGRAM
        } else {
            "nginx"
        };
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(&folder)
            .args(["-e", "stderr"])
            .arg("-c")
            .arg(&file);
        let log = folder.join("log");
        let process = Process::start("nginx", command, StopSignal::Terminate, &log)?;
        wait_until_ready(&process, Duration::from_secs(10), || accepts(port))?;
        Ok(Self { port, process })
    }

    /// The pid of the master.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn configuration(folder: &Path, port: u16, upstream: u16) -> String {
    // Started by root, its workers are another user's, who must get at the folder of long bodies.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {}/{kind};\n", folder.display()))
        .concat();
    format!(
        "daemon off;\npid {folder}/pid;\nerror_log stderr;\nworker_processes 1;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n  access_log off;\n{temporary}\
         \x20 server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      \
         proxy_pass http://127.0.0.1:{upstream};\n      proxy_set_header Host $http_host;\n    }}\n  }}\n}}\n",
        folder = folder.display()
    )
}
