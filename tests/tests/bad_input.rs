//! Bad input and bad circumstances: one clear line, one hint, exit code 1 or 2, no panic, and nothing left in
//! the kernel.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use whyslow_tests::{Agent, live, process, servers::Scratch};

/// Longest time until a command that cannot work has said so.
const LIMIT: Duration = Duration::from_secs(20);
/// User and group `nobody` of Debian.
const NOBODY: u32 = 65534;

/// A command of `binary` fails as it should, with `word` in its message.
fn assert_refused(command: &mut Command, word: &str) -> Result<()> {
    let output = process::output(command, LIMIT)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let what = format!("{command:?}: {:?}, stderr:\n{stderr}", output.status);
    ensure!(
        matches!(output.status.code(), Some(1 | 2)),
        "exit code of {what}"
    );
    ensure!(!stderr.contains("panicked"), "panic in {what}");
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let errors: Vec<&&str> = lines
        .iter()
        .filter(|l| l.starts_with("whyslow: "))
        .collect();
    ensure!(errors.len() == 1, "not one error line in {what}");
    ensure!(errors[0].contains(word), "no {word:?} in {what}");
    ensure!(
        lines
            .last()
            .is_some_and(|line| line.starts_with("hint: ") && line.len() > 10),
        "the last line is no hint in {what}"
    );
    Ok(())
}

fn agent(binary: &Path, socket: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("agent").arg("--socket").arg(socket);
    command
}

/// Without root the agent says that it needs it.
#[test]
fn not_root() -> Result<()> {
    let Some(live) = live("bad_input::not_root")? else {
        return Ok(());
    };
    let scratch = Scratch::new("nobody")?;
    // Where the build lies need not be open to others.
    let binary = scratch.path().join("whyslow");
    fs::copy(&live.binary, &binary)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777))?;
    let mut command = agent(&binary, &scratch.path().join("socket"));
    assert_refused(command.uid(NOBODY).gid(NOBODY).current_dir("/"), "root")
}

/// A second agent on the same socket is refused, and the first goes on.
#[test]
fn second_agent() -> Result<()> {
    let Some(live) = live("bad_input::second_agent")? else {
        return Ok(());
    };
    let first = Agent::start(&live, &[])?;
    let path = first.socket();
    assert_refused(&mut agent(&live.binary, &path), &path.display().to_string())?;
    assert!(first.is_running());
    drop(whyslow_tests::Watch::start(&first)?);
    first.stop()
}

/// The socket of an agent that was killed is no reason to refuse: nobody answers there.
#[test]
fn socket_of_a_dead_agent() -> Result<()> {
    let Some(live) = live("bad_input::socket_of_a_dead_agent")? else {
        return Ok(());
    };
    let first = Agent::start(&live, &[])?;
    first.kill()?;
    assert!(first.socket().exists(), "kill -9 leaves the socket file");
    Agent::start_at(&live.binary, &first.socket(), &[])?.stop()
}

/// A TCP port that somebody else has.
#[test]
fn port_in_use() -> Result<()> {
    let Some(live) = live("bad_input::port_in_use")? else {
        return Ok(());
    };
    let scratch = Scratch::new("port")?;
    let token = scratch.path().join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef\n")?;
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let mut command = agent(&live.binary, &scratch.path().join("socket"));
    command
        .arg("--listen")
        .arg(&address)
        .arg("--token-file")
        .arg(&token);
    assert_refused(&mut command, &address)
}

/// A configuration that is not there, one that may not be read (a folder), and one that is no TOML.
#[test]
fn configuration() -> Result<()> {
    let Some(live) = live("bad_input::configuration")? else {
        return Ok(());
    };
    let scratch = Scratch::new("config")?;
    let broken = scratch.path().join("broken.toml");
    fs::write(&broken, "routes = [\n")?;
    let unknown = scratch.path().join("unknown.toml");
    fs::write(&unknown, "no_such_key = 1\n")?;
    let missing = scratch.path().join("missing.toml");
    for path in [broken.as_path(), &unknown, &missing, scratch.path()] {
        let mut command = agent(&live.binary, &scratch.path().join("socket"));
        assert_refused(
            command.arg("--config").arg(path),
            &path.display().to_string(),
        )?;
    }
    Ok(())
}

/// A process that is gone.
#[test]
fn pid_that_is_gone() -> Result<()> {
    let Some(live) = live("bad_input::pid_that_is_gone")? else {
        return Ok(());
    };
    let scratch = Scratch::new("pid")?;
    let mut child = Command::new("true").spawn()?;
    let pid = child.id().to_string();
    child.wait()?;
    let mut command = agent(&live.binary, &scratch.path().join("socket"));
    assert_refused(command.arg("--pid").arg(&pid), &pid)
}

/// No agent answers on the socket: every viewer says so. Needs no root.
#[test]
fn no_agent() -> Result<()> {
    let binary = live::binary();
    if !binary.is_file() {
        live::skipped("bad_input::no_agent", "the program is not built");
        return Ok(());
    }
    let scratch = Scratch::new("none")?;
    let socket = scratch.path().join("socket");
    let mut command = Command::new(&binary);
    command.args(["watch", "--socket"]).arg(&socket);
    assert_refused(&mut command, &socket.display().to_string())
}

/// A recording that is empty, garbage, of zeros, or not there is refused. Needs no root.
#[test]
fn recordings() -> Result<()> {
    let binary = live::binary();
    if !binary.is_file() {
        live::skipped("bad_input::recordings", "the program is not built");
        return Ok(());
    }
    let scratch = Scratch::new("recordings")?;
    let garbage: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for (name, bytes) in [
        ("empty", &[][..]),
        ("garbage", &garbage),
        ("zeros", &[0; 4096]),
    ] {
        let path = scratch.path().join(name);
        fs::write(&path, bytes)?;
        assert_refused(&mut replay(&binary, path.as_os_str()), name)?;
    }
    let missing = scratch.path().join("missing");
    assert_refused(&mut replay(&binary, missing.as_os_str()), "missing")
}

fn replay(binary: &Path, file: &OsStr) -> Command {
    let mut command = Command::new(binary);
    command.arg("replay").arg(file).arg("--json");
    command
}
