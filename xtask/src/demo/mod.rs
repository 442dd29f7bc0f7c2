//! `cargo xtask demo`: a real application under load, and the live view on it.
//!
//! Everything runs on free loopback ports, with its files in one temporary folder. Whatever ends
//! the demo (the view is left, Ctrl-C, an error, even SIGKILL) ends all that it started.

use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use whyslow_servers::{Demo, Process, Scratch, StopSignal, wait_until, wait_until_ready};

use crate::{build, run, setup};

mod load;
mod signals;

use load::Load;

/// Options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The application is tests/apps/demo: Django under gunicorn (2 workers of 4 \
    threads) with PostgreSQL and Redis,\nall on free loopback ports with their data in a temporary \
    folder. Seven clients ask it at an easy pace.\nLeave the view with q, or press Ctrl-C: \
    everything that was started ends."
)]
pub(crate) struct Args {
    /// Print one snapshot of the view and leave; so it is without a terminal, too
    #[arg(long)]
    once: bool,

    /// Binary to show, instead of the one that is built for it
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// How many answered requests make a snapshot worth seeing.
const WARM_UP: u64 = 300;

/// Sets up, builds, starts everything and shows the view.
///
/// # Errors
/// When something is missing, does not build, does not start or ends too early.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        run::is_root(),
        "eBPF programs are loaded as root\nhint: sudo --preserve-env cargo xtask demo"
    );
    setup::ensure()?;
    let whyslow = match &args.binary {
        Some(binary) => binary.clone(),
        None => build::build("release")?,
    };
    signals::catch()?;

    let scratch = Scratch::new("demo")?;
    eprintln!("starting PostgreSQL, Redis and gunicorn (2 workers of 4 threads)");
    let demo = Demo::start(scratch.path(), |options| {
        options
            .worker_class("gthread")
            .workers(2)
            .threads(4)
            .arg("--keep-alive=75")
    })?;
    eprintln!("the shop is at http://127.0.0.1:{}/", demo.gunicorn.port);
    let socket = scratch.path().join("whyslow.sock");
    let agent = start_agent(&whyslow, &socket, scratch.path(), demo.gunicorn.port)?;
    let load = Load::start(demo.gunicorn.port);
    let once = args.once || !io::stdout().is_terminal() || !io::stdin().is_terminal();
    let shown = warm_up(&load, &agent).and_then(|()| show(&whyslow, &socket, once, &agent));
    let (answered, failed) = (load.answered(), load.failed());
    drop(load);
    drop((agent, demo, scratch));
    shown?;
    eprintln!("the demo asked {answered} requests, {failed} failed; all is ended");
    Ok(())
}

fn start_agent(whyslow: &Path, socket: &Path, dir: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(whyslow);
    command.arg("agent").arg("--socket").arg(socket);
    command.arg("--operations");
    // The shop alone: neither what else serves HTTP on this host, nor the partner that the shop asks,
    // which is served by this process.
    command.arg("--port").arg(port.to_string());
    let log = dir.join("agent.log");
    let agent = Process::start("the agent", command, StopSignal::Terminate, &log)?;
    wait_until_ready(&agent, Duration::from_secs(30), || {
        UnixStream::connect(socket).is_ok()
    })?;
    Ok(agent)
}

/// Waits until there is something to see.
fn warm_up(load: &Load, agent: &Process) -> Result<()> {
    let interrupted = || signals::asked_to_end() || agent.ended().is_some();
    wait_until(
        Duration::from_secs(60),
        "the first answers of the application",
        || interrupted() || load.answered() >= WARM_UP,
    )?;
    still_well(agent)
}

fn still_well(agent: &Process) -> Result<()> {
    if let Some(status) = agent.ended() {
        bail!(
            "the agent ended ({status}); it printed:\n{}",
            agent.log_tail()
        );
    }
    ensure!(!signals::asked_to_end(), "interrupted");
    Ok(())
}

/// Opens the view, or prints it once.
fn show(whyslow: &Path, socket: &Path, once: bool, agent: &Process) -> Result<()> {
    const LONG: Duration = Duration::from_secs(365 * 24 * 3600);
    let mut command = Command::new(whyslow);
    command.arg("top").arg("--socket").arg(socket);
    if once {
        command.arg("--once");
    }
    let top = Process::start_in_foreground("whyslow top", command, StopSignal::Terminate)?;
    // The view survives a lost agent, so only its own end, or a signal to us, ends the wait.
    wait_until(LONG, "the view to be left", || {
        top.ended().is_some() || signals::asked_to_end()
    })?;
    if signals::asked_to_end() && !once {
        // Ctrl-C is a way to leave the view.
        return Ok(());
    }
    still_well(agent)?;
    let status = top.ended().context("the view runs on")?;
    ensure!(status.success(), "whyslow top failed ({status})");
    Ok(())
}
