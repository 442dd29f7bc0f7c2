//! What a process does by io_uring is not seen, and that is said: the loss is named, with the process.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch, http::get_once, live, live::skipped, process, script::Script,
    watch::EVENT_LIMIT,
};

/// Longest time of `whyslow top --once`.
const ONCE_LIMIT: Duration = Duration::from_secs(20);

/// `GET /uring` of the server; `false`, after saying so: this kernel refuses io_uring.
fn use_ring(server: &Script, key: &str, test: &str) -> Result<bool> {
    let response = get_once(server.address, "/uring", key)?;
    if response.status == 501 {
        let text = String::from_utf8_lossy(&response.body).into_owned();
        let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        let setting = setting.as_deref().map_or("not there", str::trim);
        let reason =
            format!("the kernel refuses io_uring ({text}; kernel.io_uring_disabled is {setting})");
        skipped(test, &reason);
        return Ok(false);
    }
    ensure!(response.status == 200, "{response:?}");
    Ok(true)
}

/// Waits until the loss is told, with the process.
fn expect_loss(watch: &Watch, pid: u32) -> Result<()> {
    watch.expect(EVENT_LIMIT, "the loss io_uring", |event| {
        event
            .loss
            .as_ref()
            .filter(|loss| (loss.reason.as_str(), loss.pid) == ("io_uring", pid))
            .map(|_| ())
    })
}

/// Count of a loss since the agent's start, as the agent itself gives it (`Info`).
fn total(live: &Live, agent: &Agent, reason: &str) -> Result<u64> {
    let mut command = Command::new(&live.binary);
    command
        .args(["top", "--once", "--json", "--settle", "0s", "--socket"])
        .arg(agent.socket());
    let output = process::output(&mut command, ONCE_LIMIT)?;
    let snapshot: serde_json::Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let losses = snapshot["info"]["losses"].as_array();
    let loss = losses.and_then(|all| all.iter().find(|loss| loss["reason"] == reason));
    // 64-bit integers are strings.
    let count = loss.and_then(|loss| loss["count"].as_str());
    Ok(count.map_or(Ok(0), str::parse)?)
}

/// A watched process makes a ring within a request: the loss is told with its reason and process, once; it
/// is in the agent's totals; and it marks that request and those after it, not the one before.
#[test]
fn used_within_a_request() -> Result<()> {
    const NAME: &str = "io_uring::used_within_a_request";
    let Some(live) = live(NAME)? else {
        return Ok(());
    };
    let server = Script::start("uring", |_| ())?;
    let agent = Agent::start(&live, &["--pid", &server.pid().to_string()])?;
    let watch = Watch::start(&agent)?;
    get_once(server.address, "/", "before")?;
    assert!(watch.request("before")?.loss.is_empty());
    assert_eq!(total(&live, &agent, "io_uring")?, 0);

    if !use_ring(&server, "within", NAME)? {
        return agent.stop();
    }
    expect_loss(&watch, server.pid())?;
    assert_eq!(watch.request("within")?.loss, ["io_uring"]);
    get_once(server.address, "/", "after")?;
    assert_eq!(watch.request("after")?.loss, ["io_uring"]);
    assert_eq!(total(&live, &agent, "io_uring")?, 1);
    agent.stop()
}

/// A ring that was made before the agent came is told when it is used, in a process that discovery found.
#[test]
fn made_before_the_agent() -> Result<()> {
    const NAME: &str = "io_uring::made_before_the_agent";
    let Some(live) = live(NAME)? else {
        return Ok(());
    };
    let server = Script::start("uring", |_| ())?;
    if !use_ring(&server, "unseen", NAME)? {
        return Ok(());
    }
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    use_ring(&server, "within", NAME)?;
    expect_loss(&watch, server.pid())?;
    assert_eq!(watch.request("within")?.loss, ["io_uring"]);
    agent.stop()
}
