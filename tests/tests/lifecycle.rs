//! Servers and workers that come and go while the agent runs.

use anyhow::Result;
use whyslow_tests::{
    Agent, Watch,
    http::{Client, get, get_once},
    live, process,
    truth::Truth,
    wait_for,
    watch::EVENT_LIMIT,
};

/// A server and a keep-alive connection that were there before the agent: the next request on that
/// connection is seen like any other, and the worker is named as found in the stock.
#[test]
fn server_before_the_agent() -> Result<()> {
    let Some(live) = live("lifecycle::server_before_the_agent")? else {
        return Ok(());
    };
    let truth = Truth::of("gthread", 1, 2)
        .argument("--keep-alive=75")
        .start()?;
    let mut client = Client::open(truth.address())?;
    assert_eq!(client.get("/sleep?ms=10", "unseen")?.status, 200);
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    for number in 0..3 {
        let key = format!("seen-{number}");
        assert_eq!(client.get("/sleep?ms=50", &key)?.status, 200);
        let finished = watch.request(&key)?;
        assert_eq!(
            (finished.status, finished.binding.as_str()),
            (200, "thread"),
            "{finished:#?}"
        );
        assert!(finished.account("sleep") >= 49_000_000, "{finished:#?}");
    }
    agent.stop()
}

/// A server started after the agent is found by itself, from its very first request on.
#[test]
fn server_after_the_agent() -> Result<()> {
    let Some(live) = live("lifecycle::server_after_the_agent")? else {
        return Ok(());
    };
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let truth = Truth::of("sync", 2, 1).start()?;
    // The server's start asked for "/" until it was answered.
    let workers = truth.workers();
    let first = watch.expect(EVENT_LIMIT, "the first request", |event| {
        event
            .request_finished
            .as_ref()
            .filter(|finished| workers.contains(&finished.pid))
            .cloned()
    })?;
    assert_eq!((first.target.as_str(), first.status), ("/", 404));
    get_once(truth.address(), "/sleep?ms=50", "later")?;
    assert!(watch.request("later")?.account("sleep") >= 49_000_000);
    agent.stop()
}

/// A worker killed with SIGKILL within a request: its end is told with the signal and its sender, the
/// request ends without a status, and the respawned worker is watched from its first request on.
#[test]
fn worker_killed_in_a_request() -> Result<()> {
    let Some(live) = live("lifecycle::worker_killed_in_a_request")? else {
        return Ok(());
    };
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut client = Client::open(truth.address())?;
    client.send(&get("/die", "doomed"))?;
    let started = watch.expect(EVENT_LIMIT, "the request to begin", |event| {
        event
            .request_started
            .as_ref()
            .filter(|s| s.target == "/die")
            .cloned()
    })?;
    let victim = started.pid;
    assert_eq!(truth.workers(), [victim]);
    assert!(process::signal(victim, libc::SIGKILL));

    let ended = watch.expect(EVENT_LIMIT, "the worker's end", |event| {
        event
            .worker_ended
            .as_ref()
            .filter(|e| e.pid == victim && e.process_ended)
            .cloned()
    })?;
    assert_eq!(
        (ended.signal, ended.sender_pid),
        (9, std::process::id()),
        "{ended:#?}"
    );
    assert_eq!(ended.request_id, started.request_id, "{ended:#?}");
    assert!(!ended.sender_comm.is_empty());
    let finished = watch.request("doomed")?;
    assert_eq!(finished.request_id, started.request_id);
    assert_eq!(
        (finished.status, finished.end_reason.as_str()),
        (0, "process_ended")
    );
    let sum = finished.sum(|_| true);
    assert!(
        finished.wall_ns.abs_diff(sum) <= finished.wall_ns / 1000,
        "{finished:#?}"
    );

    get_once(truth.address(), "/sleep?ms=20", "respawned")?;
    let finished = watch.request("respawned")?;
    assert_ne!(finished.pid, victim);
    assert_eq!(finished.status, 200);
    agent.stop()
}

/// A worker that is forked later (SIGTTIN) is watched before it has served anything.
#[test]
fn forked_worker() -> Result<()> {
    let Some(live) = live("lifecycle::forked_worker")? else {
        return Ok(());
    };
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    get_once(truth.address(), "/empty", "known")?;
    watch.request("known")?;
    let before = truth.workers();
    truth.gunicorn().process().signal(libc::SIGTTIN)?;
    let new = wait_for(EVENT_LIMIT, "a second worker", || {
        Ok(truth
            .workers()
            .into_iter()
            .find(|pid| !before.contains(pid)))
    })?;
    let worker = watch.expect(EVENT_LIMIT, "the new worker's start", |event| {
        event
            .worker_started
            .as_ref()
            .filter(|w| w.pid == new)
            .cloned()
    })?;
    assert_eq!(worker.reason, "forked", "{worker:#?}");
    assert_eq!(
        watch.count(|e| e.request_finished.as_ref().is_some_and(|f| f.pid == new)),
        0
    );
    agent.stop()
}
