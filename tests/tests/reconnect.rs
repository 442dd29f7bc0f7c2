//! `whyslow watch` when its agent goes away.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;
use whyslow_tests::{
    Agent, Live, Watch, http::get_once, live, servers::Scratch, truth::Truth, wait_for,
    watch::EVENT_LIMIT,
};

/// Longest time until a watcher has found its agent again.
const BACK_LIMIT: Duration = Duration::from_secs(20);

/// Waits until the watcher has been greeted by an agent `times` times: what happens from then on is seen.
fn wait_greeted(watch: &Watch, times: usize) -> Result<()> {
    wait_for(BACK_LIMIT, "an agent's greeting", || {
        Ok((watch.count(|event| event.agent_status.is_some()) >= times).then_some(()))
    })
}

/// A watcher on this socket that need not find an agent there.
fn watch_at(live: &Live, socket: &Path, options: &[&str]) -> Result<Watch> {
    let mut command = Command::new(&live.binary);
    command
        .args(["watch", "--json", "--socket"])
        .arg(socket)
        .args(options);
    Watch::spawn(command)
}

/// With `--reconnect` a watcher waits for an agent that is not there yet, goes on when it is stopped and when
/// it is killed, prints the requests made after that, and ends well at Ctrl-C.
#[test]
fn goes_on_with_the_next_agent() -> Result<()> {
    let Some(live) = live("reconnect::goes_on_with_the_next_agent")? else {
        return Ok(());
    };
    // The agents come and go; their socket's folder stays.
    let scratch = Scratch::new("reconnect")?;
    let socket = scratch.path().join("socket");
    let truth = Truth::of("sync", 1, 1).start()?;
    let watch = watch_at(&live, &socket, &["--reconnect"])?;
    wait_for(EVENT_LIMIT, "a word on the missing agent", || {
        Ok(watch.stderr().contains("trying again").then_some(()))
    })?;
    for (round, key) in ["at-first", "after-stop", "after-kill"]
        .into_iter()
        .enumerate()
    {
        let agent = Agent::start_at(&live.binary, &socket, &[])?;
        wait_greeted(&watch, round + 1)?;
        get_once(truth.address(), "/empty", key)?;
        assert_eq!(watch.request(key)?.status, 204);
        if key == "after-stop" {
            agent.kill()?;
        } else {
            agent.stop()?;
        }
    }
    watch.interrupt(EVENT_LIMIT)?;
    Ok(())
}

/// Without it, the end of the agent is the end of the watcher: an error, with a hint at `--reconnect`.
#[test]
fn ends_with_the_agent_unless_asked() -> Result<()> {
    let Some(live) = live("reconnect::ends_with_the_agent_unless_asked")? else {
        return Ok(());
    };
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    agent.stop()?;
    let error = watch.finish(EVENT_LIMIT).unwrap_err().to_string();
    assert!(error.contains("exit status: 1"), "{error}");
    assert!(
        error.contains("\nhint: ") && error.contains("--reconnect"),
        "{error}"
    );
    Ok(())
}
