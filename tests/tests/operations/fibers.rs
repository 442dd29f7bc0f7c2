//! A thread that changes stacks within a probed call, or leaves it for good, lives on, and its calls are told.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use whyslow_tests::{
    Agent, Watch,
    event::Finished,
    http::get_once,
    live,
    servers::{Process, Scratch, StopSignal},
    wait_for,
};

use crate::setting::{assert_sound, counts};

/// Executions on the thread's own stack, of each request.
const INNER: u64 = 10;

/// Calls that are left for another stack are missed, and it is said that there are more.
#[test]
fn a_thread_that_changes_stacks_lives_on() -> Result<()> {
    let Some(live) = live("operations::fibers::a_thread_that_changes_stacks_lives_on")? else {
        return Ok(());
    };
    let scratch = Scratch::new("fibers")?;
    let file = scratch.path().join("port");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fibers"));
    command.arg(&file);
    let log = scratch.path().join("server.log");
    let server = Process::start("fibers", command, StopSignal::Kill, &log)?;
    let limit = Duration::from_secs(20);
    let port = wait_for(limit, "the server's port", || {
        Ok(std::fs::read_to_string(&file).ok())
    })?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
    let pid = server.pid().to_string();
    let agent = Agent::start(&live, &["--library-probes", "--pid", &pid])?;
    let watch = Watch::start(&agent)?;
    wait_for(limit, "the library to be probed", || {
        Ok(agent.log().contains("sqlite are probed").then_some(()))
    })?;
    for round in 0..5 {
        for way in ["plain", "back", "left"] {
            let key = format!("{way}-{round}");
            let answer = get_once(address, &format!("/{way}"), &key);
            let ended = server.ended();
            ensure!(ended.is_none(), "{key}: the server ended with {ended:?}");
            answer?;
            check(way, &watch.request(&key)?);
        }
    }
    Ok(())
}

fn check(way: &str, finished: &Finished) {
    let counts = counts(finished, "sqlite");
    assert_eq!(
        counts.get("select ? as inner"),
        Some(&INNER),
        "{finished:#?}"
    );
    if way == "plain" {
        assert_eq!(counts.len(), 1, "{finished:#?}");
        assert_sound(finished);
    } else {
        let inner = finished
            .operations
            .iter()
            .find(|o| o.shape.contains("inner"));
        assert!(inner.is_some_and(|inner| inner.sampled), "{finished:#?}");
    }
}
