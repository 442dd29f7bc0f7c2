//! No request is missed, and what is missed is told.

use std::{collections::HashSet, time::Duration};

use anyhow::Result;
use whyslow_tests::{
    Agent, Watch,
    event::Finished,
    http::get_once,
    live,
    live::say,
    load::{self, Plan},
    process,
    truth::Truth,
    wait_for,
};

/// Connections of the client.
const CONNECTIONS: usize = 32;
/// Requests per second.
const RATE_PER_S: u64 = 2000;
/// Longest time from the last answer to the last event.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long the load lasts.
const SECONDS: u64 = 30;

fn counted_requests(watch: &Watch) -> Vec<Finished> {
    watch.select(|event| {
        event
            .request_finished
            .as_ref()
            .filter(|finished| finished.target == "/count")
            .cloned()
    })
}

fn everything_is_seen(
    name: &str,
    class: &'static str,
    threads: u32,
    keep_alive: bool,
) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let truth = Truth::of(class, 2, threads)
        .argument("--keep-alive=75")
        .argument("--backlog=1024")
        .start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let report = load::run(&Plan {
        address: truth.address(),
        connections: CONNECTIONS,
        rate_per_s: RATE_PER_S,
        requests: RATE_PER_S * SECONDS,
        keep_alive,
        target: "/count".to_owned(),
    })?;
    say(&format!(
        "{name}: {} requests, {:.0} of {RATE_PER_S} per second",
        report.answered,
        report.rate_per_s()
    ));
    let drained = wait_for(DRAIN_LIMIT, "all requests in the stream", || {
        let seen = watch.count(|event| {
            event
                .request_finished
                .as_ref()
                .is_some_and(|f| f.target == "/count")
        });
        Ok((seen as u64 >= report.answered).then_some(()))
    });
    let seen = counted_requests(&watch);
    let losses = watch.losses();
    let log = agent.log();
    assert_eq!(
        report.failed, 0,
        "the client had failures: {losses:?}\n{log}"
    );
    assert_eq!(
        truth.counted()?,
        report.answered,
        "client and server disagree"
    );
    assert_eq!(
        seen.len() as u64,
        report.answered,
        "losses: {losses:?}\n{log}"
    );
    assert!(losses.is_empty(), "losses: {losses:?}");
    drained?;
    assert_all_right(&seen);
    agent.stop()
}

/// Each is a request of its own, answered, and its accounts add up.
fn assert_all_right(seen: &[Finished]) {
    let ids: HashSet<&str> = seen.iter().map(|f| f.request_id.as_str()).collect();
    assert_eq!(ids.len(), seen.len(), "a request id was given twice");
    let wrong: Vec<&Finished> = seen
        .iter()
        .filter(|f| {
            f.status != 200
                || f.binding != "thread"
                || f.wall_ns.abs_diff(f.sum(|_| true)) > f.wall_ns / 1000
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} are wrong, the first with its neighbours: {:#?}",
        wrong.len(),
        neighbours(seen, wrong[0])
    );
}

/// The requests of the same connection from the one before it to the one after it.
fn neighbours<'a>(seen: &'a [Finished], of: &Finished) -> Vec<&'a Finished> {
    let mut all: Vec<&Finished> = seen.iter().filter(|f| f.client == of.client).collect();
    all.sort_by_key(|f| f.start_monotonic_ns);
    let place = all.iter().position(|f| f.request_id == of.request_id);
    let place = place.unwrap_or(0);
    let end = all.len().min(place + 2);
    all.drain(place.saturating_sub(1)..end).collect()
}

/// 2,000 requests per second on 32 keep-alive connections to `gthread` workers: the client's answers, the
/// server's own count and the finished requests in the stream are the same number, and nothing is lost.
#[test]
fn keep_alive_connections() -> Result<()> {
    everything_is_seen("complete::keep_alive_connections", "gthread", 8, true)
}

/// The same with a connection for each request, to `sync` workers.
#[test]
fn a_connection_for_each() -> Result<()> {
    everything_is_seen("complete::a_connection_for_each", "sync", 1, false)
}

/// A ring that is far too small, and an agent that does not read for a while: the loss is told with its
/// reason, the server answers everything, and later requests are seen again.
#[test]
fn a_full_ring_is_told() -> Result<()> {
    let Some(live) = live("complete::a_full_ring_is_told")? else {
        return Ok(());
    };
    let truth = Truth::of("gthread", 1, 4).start()?;
    let agent = Agent::start(&live, &["--ring-bytes", "8192"])?;
    let watch = Watch::start(&agent)?;
    get_once(truth.address(), "/empty", "before")?;
    watch.request("before")?;

    assert!(process::signal(agent.pid(), libc::SIGSTOP));
    let report = load::run(&Plan {
        address: truth.address(),
        connections: 4,
        rate_per_s: 0,
        requests: 1000,
        keep_alive: true,
        target: "/count".to_owned(),
    });
    assert!(process::signal(agent.pid(), libc::SIGCONT));
    let report = report?;
    assert_eq!((report.answered, report.failed), (1000, 0));

    let lost = watch.expect(DRAIN_LIMIT, "a loss of reason ring_full", |event| {
        event
            .loss
            .as_ref()
            .filter(|loss| loss.reason == "ring_full")
            .cloned()
    })?;
    assert!(lost.count > 0);
    // A ring of this size may overflow again; what it cost is marked, and what it did not cost is whole.
    let mut asked = 0;
    let whole = wait_for(DRAIN_LIMIT, "ten whole requests after the loss", || {
        get_once(truth.address(), "/empty", &format!("after-{asked}"))?;
        asked += 1;
        let after = watch.finished();
        let whole = after
            .iter()
            .filter(|f| f.x_request_id.starts_with("after-") && f.status == 204);
        Ok((whole.count() >= 10).then_some(()))
    });
    for finished in watch.finished().iter().filter(|f| f.status == 0) {
        assert!(!finished.loss.is_empty(), "not marked: {finished:#?}");
    }
    whole?;
    agent.stop()
}
