//! The init of the test machines of `cargo xtask vm-test`.
//!
//! As process 1 it mounts what a system has, starts web servers and the agent, asks requests,
//! judges what the agent told, reports it over the second serial port, and ends the machine.
//! `vm_guest serve` is one of the servers. It is linked statically and brings nothing else along.

mod agent;
mod bpf;
mod client;
mod judge;
mod machine;
mod record;
mod scene;
mod server;

use std::process::ExitCode;

use anyhow::{Context, Result};
use record::Records;

/// Lines of the agent's log that are passed on when a test has failed.
const LOG_TAIL: usize = 60;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("serve") => server::serve(),
        _ => run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm_guest: {error:#}\nhint: run it by `cargo xtask vm-test`");
            ExitCode::FAILURE
        }
    }
}

/// When it returns at all, the kernel panics for the loss of its init, and the host sees a failure.
fn run() -> Result<()> {
    machine::claim()?;
    machine::set_up()?;
    let port = machine::record_port().context("no second serial port")?;
    let mut records = Records::begin(port, &judge::names())?;
    let evidence = scene::play();
    for (name, result) in judge::judge(&evidence) {
        records.test(&name, &result)?;
    }
    if !records.passed() {
        for line in agent::log_tail(LOG_TAIL) {
            records.log("agent", &line)?;
        }
    }
    let passed = records.passed();
    machine::leave(records.end()?, passed);
    Ok(())
}
