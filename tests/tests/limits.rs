//! CPU quotas and limits of memory, against what the application measured and the kernel's own figures.

use std::fs;

use anyhow::{Context as _, Result};
use whyslow_tests::{
    Agent, Watch, cgroup::Cgroup, event::Finished, http::get_once, live, live::say, stats::median,
    truth::Truth,
};

/// Requests of a kind.
const TRIALS: u32 = 5;

/// One request to the only worker.
fn ask(truth: &Truth, watch: &Watch, target: &str, key: &str) -> Result<Finished> {
    get_once(truth.address(), target, key)?;
    let finished = watch.request(key)?;
    assert_eq!(finished.sum(|_| true), finished.wall_ns, "{finished:#?}");
    Ok(finished)
}

/// How much the kernel's figure grows with a request, and what `account` has more than that; ms, medians.
fn compare(
    (truth, watch): (&Truth, &Watch),
    (target, account): (&str, &str),
    figure: impl Fn() -> Result<u64>,
) -> Result<(f64, f64)> {
    let (mut off, mut took) = (Vec::new(), Vec::new());
    for trial in 0..TRIALS {
        let before = figure()?;
        let finished = ask(truth, watch, target, &format!("{account}-{trial}"))?;
        let kernels = figure()? - before;
        took.push(kernels as f64 / 1e6);
        off.push(finished.account(account) as f64 / 1e6 - kernels as f64 / 1e6);
    }
    let took = median(&took).context("no trials")?;
    let off = median(&off).context("no trials")?;
    say(&format!("{account}: {took:.1} ms, {off:+.2} ms off"));
    assert!(took > 5.0, "there was no such time: {took} ms");
    Ok((took, off))
}

/// A worker that may have a fifth of a CPU, and computes: the rest of its time it waits for more.
#[test]
fn a_used_up_quota_is_throttled() -> Result<()> {
    let Some(live) = live("limits::a_used_up_quota_is_throttled")? else {
        return Ok(());
    };
    let group = Cgroup::with_cpu("quota", 20)?;
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let free = ask(&truth, &watch, "/cpu?ms=100", "free")?;
    assert_eq!(free.account("throttled"), 0, "{free:#?}");
    for worker in truth.workers() {
        group.take(worker)?;
    }
    let figure = || group.throttled_ns();
    let (took, off) = compare((&truth, &watch), ("/cpu?ms=100", "throttled"), figure)?;
    assert!(off.abs() <= (took / 50.0).max(1.0), "{off} of {took} ms");
    Ok(())
}

/// A worker that may have less memory than the file that it reads has to free some for each part of it.
#[test]
fn freeing_memory_is_told_from_computing() -> Result<()> {
    let Some(live) = live("limits::freeing_memory_is_told_from_computing")? else {
        return Ok(());
    };
    let group = Cgroup::with_memory("memory", 16 << 20)?;
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let free = ask(&truth, &watch, "/reread", "free")?;
    assert!(free.account("memory") < free.wall_ns / 100, "{free:#?}");
    for worker in truth.workers() {
        group.take(worker)?;
    }
    let (took, off) = compare((&truth, &watch), ("/reread", "memory"), stalled_ns)?;
    // To the kernel a thread that has lost its CPU meanwhile is held up too, and so is one that asks for a page again.
    assert!(off <= 1.0 && -off <= took / 2.0, "{off} of {took} ms");
    Ok(())
}

/// How long some task of this host was held up for want of memory, ns.
fn stalled_ns() -> Result<u64> {
    let text = fs::read_to_string("/proc/pressure/memory")?;
    let some = text.lines().find(|line| line.starts_with("some "));
    let total = some.and_then(|line| line.rsplit_once("total="));
    let (_, us) = total.context("no total in /proc/pressure/memory")?;
    Ok(us.trim().parse::<u64>()? * 1_000)
}

/// What a request leaves behind in memory.
#[test]
fn resident_growth_of_a_request() -> Result<()> {
    let Some(live) = live("limits::resident_growth_of_a_request")? else {
        return Ok(());
    };
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let nothing = ask(&truth, &watch, "/sleep?ms=1", "nothing")?;
    let more = ask(&truth, &watch, "/allocate", "more")?;
    let slack = 2 << 20;
    assert!(nothing.rss_growth_bytes.abs() < slack, "{nothing:#?}");
    let growth = more.rss_growth_bytes - (64 << 20);
    assert!(growth.abs() < slack, "{more:#?}");
    assert!(more.minor_faults > 0, "{more:#?}");
    Ok(())
}
