//! A PostgreSQL server with a fresh cluster.
//!
//! PostgreSQL refuses to run as root: for root the user `postgres`, else `nobody`, runs it.
//! It does not sync to disk: its data lives as long as the test.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wait::accepts;
use crate::{Certificate, Process, StopSignal, free_port, wait_until_ready};

/// The database user, and with `trust` its only need to log in.
const USER: &str = "whyslow";

/// Settings of every test server.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "shared_buffers=16MB",
];

/// A running PostgreSQL server; dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    /// Its loopback port.
    pub port: u16,
    process: Process,
}

impl Postgres {
    /// Makes a cluster in `dir/postgres` and starts a server on it.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, the cluster cannot be made, or the server does not
    /// accept connections within 20 s.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, &[])
    }

    /// As [`Postgres::start`], with settings (`name=value`) beside those of a test server.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(dir: &Path, settings: &[&str]) -> Result<Self> {
        Self::start_on(dir, settings, None)
    }

    /// As [`Postgres::start_with`]; takes encrypted connections too.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_encrypted(
        dir: &Path,
        settings: &[&str],
        certificate: &Certificate,
    ) -> Result<Self> {
        Self::start_on(dir, settings, Some(certificate))
    }

    fn start_on(dir: &Path, settings: &[&str], certificate: Option<&Certificate>) -> Result<Self> {
        let programs = programs()?;
        let account = Account::for_server()?;
        let data = dir.join("postgres");
        fs::create_dir(&data).with_context(|| format!("make folder {}", data.display()))?;
        if let Some(account) = &account {
            chown(&data, Some(account.uid), Some(account.gid))
                .with_context(|| format!("give {} to the server", data.display()))?;
        }
        make_cluster(&programs, account.as_ref(), &data)?;
        let port = free_port()?;
        let mut command = Command::new(programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        if let Some(certificate) = certificate {
            command.args(["-c", "ssl=on"]);
            for (setting, file) in [
                ("ssl_cert_file", &certificate.certificate),
                ("ssl_key_file", &certificate.key),
            ] {
                let own = copy_to(&data, file, account.as_ref())?;
                command
                    .arg("-c")
                    .arg(format!("{setting}={}", own.display()));
            }
        }
        run_as(&mut command, account.as_ref(), &data);
        let log = dir.join("postgres.log");
        // SIGINT is PostgreSQL's "fast shutdown".
        let process = Process::start("postgres", command, StopSignal::Interrupt, &log)?;
        wait_until_ready(&process, Duration::from_secs(20), || accepts(port))?;
        Ok(Self { port, process })
    }

    /// The address of the database `postgres` as libpq and psycopg take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// The pid of the server's first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The account that a server runs as.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None`: run as who we are, since we are not root.
    fn for_server() -> Result<Option<Self>> {
        // SAFETY: geteuid(2) takes nothing and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let account = ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::find(&passwd, name));
        ensure!(
            account.is_some(),
            "neither user postgres nor nobody exists to run PostgreSQL"
        );
        Ok(account)
    }

    fn find(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        })
    }
}

fn run_as(command: &mut Command, account: Option<&Account>, data: &Path) {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    // The folder that we run in may be closed to that user.
    command
        .current_dir(data)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("PGDATA");
}

/// A copy of a file that only the server can read, which it insists on.
fn copy_to(data: &Path, file: &Path, account: Option<&Account>) -> Result<PathBuf> {
    let own = data.join(file.file_name().unwrap_or_default());
    fs::copy(file, &own).with_context(|| format!("copy {}", file.display()))?;
    fs::set_permissions(&own, Permissions::from_mode(0o600))?;
    if let Some(account) = account {
        chown(&own, Some(account.uid), Some(account.gid))?;
    }
    Ok(own)
}

fn make_cluster(programs: &Path, account: Option<&Account>, data: &Path) -> Result<()> {
    let mut command = Command::new(programs.join("initdb"));
    command
        .arg("-D")
        .arg(data)
        .args(["--username", USER, "--auth=trust"]);
    command
        .args(["--encoding=UTF8", "--no-locale", "--no-sync"])
        .stdin(Stdio::null());
    run_as(&mut command, account, data);
    let output = command.output().context("start initdb")?;
    if !output.status.success() {
        bail!(
            "initdb failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The folder with `initdb` and `postgres`: Debian keeps it out of PATH, one per version.
fn programs() -> Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<(u32, PathBuf)> = debian
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return Ok(bin);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .context("PostgreSQL's server programs are missing\nhint: apt-get install postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_whole_name() {
        let passwd = "postgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:x:/var:/bin/sh\nbad:x:a:b";
        assert_eq!(
            Account::find(passwd, "postgres"),
            Some(Account { uid: 101, gid: 104 })
        );
        assert_eq!(Account::find(passwd, "nobody"), None);
        assert_eq!(Account::find(passwd, "bad"), None);
    }
}
