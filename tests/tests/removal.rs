//! When the agent is gone, nothing of it is left, however it went.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use whyslow_tests::{
    Agent, Watch,
    bpf::Held,
    http::get_once,
    live,
    load::{self, Plan},
    process,
    truth::Truth,
    wait_for,
};

/// Longest time that the kernel may take to drop what a dead process held: programs go after a grace
/// period of RCU.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

fn wait_released(held: &Held) -> Result<()> {
    let mut left = Vec::new();
    wait_for(RELEASE_LIMIT, "the kernel to be empty", || {
        left = held.still_loaded();
        Ok(left.is_empty().then_some(()))
    })
    .with_context(|| format!("still loaded: {}", left.join(", ")))
}

/// Entries below the BPF file system, where one is mounted.
fn pinned() -> usize {
    fs::read_dir("/sys/fs/bpf").map_or(0, Iterator::count)
}

/// `kill -9` under load: the web server does not fail a single request, and within 2 s no program, map or
/// link of the agent is in the kernel.
#[test]
fn kill_9_under_load() -> Result<()> {
    let Some(live) = live("removal::kill_9_under_load")? else {
        return Ok(());
    };
    let truth = Truth::of("gthread", 2, 4)
        .argument("--keep-alive=75")
        .start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    get_once(truth.address(), "/empty", "watched")?;
    watch.request("watched")?;
    let held = Held::of(agent.pid())?;
    assert!(!held.programs.is_empty() && !held.maps.is_empty() && !held.links.is_empty());

    let plan = Plan {
        address: truth.address(),
        connections: 8,
        rate_per_s: 500,
        requests: 2000,
        keep_alive: true,
        target: "/count".to_owned(),
    };
    let load = std::thread::spawn(move || load::run(&plan));
    wait_for(Duration::from_secs(20), "a quarter of the load", || {
        Ok((truth.counted()? >= 500).then_some(()))
    })?;
    agent.kill()?;
    assert!(truth.counted()? < 2000, "the load was over before the kill");
    wait_released(&held)?;
    let report = load
        .join()
        .map_err(|_| anyhow::anyhow!("the load panicked"))??;
    assert_eq!((report.answered, report.failed), (2000, 0));
    assert_eq!(truth.counted()?, 2000);
    Ok(())
}

/// Twenty starts and stops: each holds as much as the first, and leaves no program, map, link, pin or
/// socket.
#[test]
fn twenty_starts_and_stops() -> Result<()> {
    let Some(live) = live("removal::twenty_starts_and_stops")? else {
        return Ok(());
    };
    let pins = pinned();
    let mut first = None;
    for round in 0..20 {
        let agent = Agent::start(&live, &[])?;
        drop(Watch::start(&agent)?);
        let held = Held::of(agent.pid())?;
        assert!(!held.is_empty(), "round {round}: nothing loaded");
        let size = (held.programs.len(), held.maps.len(), held.links.len());
        assert_eq!(*first.get_or_insert(size), size, "round {round}");
        let socket = agent.socket();
        assert!(socket.exists());
        agent.stop()?;
        assert!(
            !Path::new(&socket).exists(),
            "round {round}: the socket is left"
        );
        wait_released(&held).with_context(|| format!("round {round}"))?;
    }
    assert_eq!(pinned(), pins, "something is pinned");
    Ok(())
}

/// Subscribers that come and go leave neither descriptors nor memory in the agent.
#[test]
fn subscribers_leave_nothing() -> Result<()> {
    let Some(live) = live("removal::subscribers_leave_nothing")? else {
        return Ok(());
    };
    let agent = Agent::start(&live, &[])?;
    for _ in 0..3 {
        drop(Watch::start(&agent)?);
    }
    let settled = wait_descriptors(&agent, None)?;
    let rss = process::rss_bytes(agent.pid())?;
    for _ in 0..30 {
        drop(Watch::start(&agent)?);
    }
    wait_descriptors(&agent, Some(settled))?;
    let grown = process::rss_bytes(agent.pid())?.saturating_sub(rss);
    assert!(grown < 4 << 20, "{grown} bytes more after 30 subscribers");
    agent.stop()
}

/// Waits until the count of descriptors is `wanted`; with `None` until two looks agree.
fn wait_descriptors(agent: &Agent, wanted: Option<usize>) -> Result<usize> {
    let mut last = wanted.unwrap_or(usize::MAX);
    wait_for(
        Duration::from_secs(5),
        "the agent's descriptors to settle",
        || {
            let now = process::descriptors(agent.pid())?;
            let settled = now == last;
            if wanted.is_none() {
                last = now;
            }
            Ok(settled.then_some(now))
        },
    )
}
