//! A MariaDB server with a fresh data folder.
//!
//! MariaDB refuses to run as root unless told whom to become: for root the user `mysql`, else `nobody`, runs
//! it. It does not sync to disk: its data lives as long as the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wait::accepts;
use crate::{Process, StopSignal, free_port, wait_until_ready};

/// The database user.
const USER: &str = "whyslow";
/// Its password: a secret to look for where none may be told.
const PASSWORD: &str = "hunter2-of-mariadb";
/// The database.
const DATABASE: &str = "whyslow";

/// Settings of every test server.
const SETTINGS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=16M",
    "--performance-schema=ON",
    "--local-infile=ON",
];

/// A running MariaDB server; dropping it ends it.
#[derive(Debug)]
pub struct MariaDb {
    /// Its loopback port.
    pub port: u16,
    socket: PathBuf,
    process: Process,
}

impl MariaDb {
    /// Makes a data folder in `dir/mariadb` and starts a server on it, with an empty database and the
    /// performance schema switched on.
    ///
    /// # Errors
    /// When MariaDB is not installed, the folder cannot be made, or the server does not accept connections
    /// within 30 s.
    pub fn start(dir: &Path) -> Result<Self> {
        let data = dir.join("mariadb");
        let user = account()?;
        make_data(&data, user)?;
        let port = free_port()?;
        let first = dir.join("mariadb.sql");
        let statements = format!(
            "create database if not exists {DATABASE};\n\
             create user if not exists '{USER}'@'%' identified by '{PASSWORD}';\n\
             grant all on *.* to '{USER}'@'%';\n"
        );
        fs::write(&first, statements).with_context(|| format!("write {}", first.display()))?;
        let socket = data.join("socket");
        let mut command = Command::new(program("mariadbd")?);
        command.arg("--no-defaults").args(SETTINGS);
        command.args([
            format!("--datadir={}", data.display()),
            format!("--socket={}", socket.display()),
            format!("--pid-file={}", data.join("pid").display()),
            format!("--init-file={}", first.display()),
            format!("--port={port}"),
        ]);
        command.args(user.map(|user| format!("--user={user}")));
        let log = dir.join("mariadb.log");
        let process = Process::start("mariadbd", command, StopSignal::Terminate, &log)?;
        wait_until_ready(&process, Duration::from_secs(30), || accepts(port))?;
        Ok(Self {
            port,
            socket,
            process,
        })
    }

    /// The address of the empty database.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{DATABASE}",
            self.port
        )
    }

    /// Asks the server as its administrator, not as the user of [`MariaDb::url`]; rows are lines, columns are
    /// parted by tabs.
    ///
    /// # Errors
    /// When the client is not installed or the server refuses the statement.
    pub fn ask(&self, statement: &str) -> Result<String> {
        let output = Command::new(program("mariadb")?)
            .args(["--no-defaults", "--batch", "--skip-column-names"])
            .args([
                "--user=root",
                &format!("--socket={}", self.socket.display()),
            ])
            .args([DATABASE, "-e", statement])
            .output()
            .context("run mariadb")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mariadb: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The pid of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Who runs the server; `None`: we do, since we are not root.
fn account() -> Result<Option<&'static str>> {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let account = ["mysql", "nobody"].into_iter().find(|name| {
        passwd
            .lines()
            .any(|line| line.split(':').next() == Some(name))
    });
    ensure!(
        account.is_some(),
        "neither user mysql nor nobody exists to run MariaDB"
    );
    Ok(account)
}

fn make_data(data: &Path, user: Option<&str>) -> Result<()> {
    fs::create_dir(data).with_context(|| format!("make folder {}", data.display()))?;
    let mut command = Command::new(program("mariadb-install-db")?);
    command
        .args(["--no-defaults", "--skip-test-db"])
        .args(["--auth-root-authentication-method=normal"])
        .arg(format!("--datadir={}", data.display()))
        .args(user.map(|user| format!("--user={user}")))
        .stdin(Stdio::null());
    let output = command.output().context("start mariadb-install-db")?;
    if !output.status.success() {
        bail!(
            "mariadb-install-db failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Debian keeps the server's program out of a user's PATH.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .with_context(|| format!("{name} is missing\nhint: apt-get install mariadb-server"))
}
