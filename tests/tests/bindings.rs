//! Whose time a request's was, where one thread reads it and another works, and event loops that stall: against what
//! the applications measured themselves.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    Agent, Watch,
    event::{Finished, LoopStalled},
    live,
    live::say,
    served::{Kind, Load, Measured, Served},
    stats::median,
    wait_for,
    watch::EVENT_LIMIT,
};

/// So many of a hundred requests are to be bound.
const BOUND: f64 = 0.80;
/// So many of those that are, rightly.
const RIGHT: f64 = 0.99;
/// The agent learns from the first requests that a process hands over; these are not judged.
const LEARNING: Load = Load {
    name: "first",
    target: "/work?ms=20",
    clients: 8,
    times: 5,
    think: Duration::from_millis(5),
    fresh: false,
};
const SATURATED: Load = Load {
    name: "saturated",
    target: "/work?ms=10&cpu=3",
    clients: 8,
    times: 40,
    think: Duration::ZERO,
    fresh: false,
};
const IDLE: Load = Load {
    name: "idle",
    target: "/work?ms=10&cpu=3",
    clients: 4,
    times: 40,
    think: Duration::from_millis(100),
    fresh: false,
};
/// A client that connects and sends its head a moment later: Puma's reactor reads it.
const LATE: Load = Load {
    name: "late",
    fresh: true,
    ..IDLE
};

/// What each of these asks for in `ms`; it cannot be less.
const SLEEP_NS: u64 = 10_000_000;

/// What came of one load.
#[derive(Debug, Default)]
struct Tally {
    requests: u32,
    handed: u32,
    bound: u32,
    right: u32,
    /// What was told less what was measured, ms: the sleep; the time until the worker began.
    sleep: Vec<f64>,
    queue: Vec<f64>,
    wrong: Vec<(Finished, Measured)>,
}

fn ms(told: u64, measured: u64) -> f64 {
    told as f64 / 1e6 - measured as f64 / 1e6
}

impl Tally {
    fn judge(&mut self, told: &Finished, measured: &Measured, kind: Kind) -> Result<()> {
        self.requests += 1;
        let worker = match told.binding.as_str() {
            "thread" => told.tid,
            "handoff" => told.worker_tid,
            _ => {
                ensure!(
                    told.ledger.is_empty() && !told.binding_reason.is_empty(),
                    "{told:#?}"
                );
                return Ok(());
            }
        };
        self.bound += 1;
        if worker != measured.tid {
            self.wrong.push((told.clone(), measured.clone()));
            return Ok(());
        }
        self.right += 1;
        ensure!(told.sum(|_| true) == told.wall_ns, "{told:#?}");
        // Ruby sleeps on a futex.
        if kind != Kind::Puma {
            self.sleep.push(ms(told.account("sleep"), SLEEP_NS));
        }
        if told.binding == "handoff" {
            self.handed += 1;
            let mut queued = measured.begin_ns.saturating_sub(told.start_monotonic_ns);
            if kind == Kind::Uvicorn {
                queued += (told.start_monotonic_ns + told.wall_ns).saturating_sub(measured.end_ns);
            }
            // Else it is told that the time is not certain.
            if told.binding_reason.is_empty() {
                self.queue.push(ms(told.account("queue.app"), queued));
            }
        }
        Ok(())
    }

    fn say(&self, what: &str) {
        let sleep =
            median(&self.sleep).map_or_else(String::new, |off| format!(", sleep {off:+.2} ms off"));
        let queue = median(&self.queue)
            .map_or_else(String::new, |off| format!(", queue.app {off:+.2} ms off"));
        say(&format!(
            "{what}: of {} requests {} bound ({} handed over), {} of them rightly{sleep}{queue}",
            self.requests, self.bound, self.handed, self.right
        ));
    }
}

/// Serves the loads; each is told, bound and right as often as it must be.
fn bound(name: &str, kind: Kind, loads: &[Load]) -> Result<Vec<Tally>> {
    let Some(live) = live(name)? else {
        return Ok(Vec::new());
    };
    let served = Served::start(kind)?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    served.ask(&LEARNING)?;
    let mut tallies = Vec::new();
    for load in loads {
        served.ask(load)?;
        let measured = served.measured()?;
        let mut tally = Tally::default();
        let of_load = |key: &str| key.split('-').next() == Some(load.name);
        let wanted = (load.clients * load.times) as usize;
        let told = wait_for(EVENT_LIMIT, "all requests to be told", || {
            let mut told = watch.finished();
            told.retain(|it| of_load(&it.x_request_id));
            Ok((told.len() >= wanted).then_some(told))
        })?;
        for told in &told {
            let measured = measured.get(&told.x_request_id);
            let measured = measured.with_context(|| format!("never served: {told:#?}"))?;
            tally.judge(told, measured, kind)?;
        }
        tally.say(&format!("{kind:?}, {}", load.name));
        tallies.push(tally);
    }
    let lost = watch.losses();
    ensure!(
        lost.iter().all(|(reason, _)| reason == "io_uring"),
        "{lost:?}"
    );
    agent.stop()?;
    Ok(tallies)
}

fn check(tallies: &[Tally]) {
    for tally in tallies {
        let requests = f64::from(tally.requests);
        assert!(f64::from(tally.bound) >= BOUND * requests, "{tally:#?}");
        assert!(
            f64::from(tally.right) >= RIGHT * f64::from(tally.bound),
            "{:#?}",
            tally.wrong
        );
        for off in [&tally.sleep, &tally.queue] {
            assert!(median(off).is_none_or(|off| off.abs() <= 1.0), "{tally:#?}");
        }
    }
}

/// Its main thread reads, four threads work and write.
#[test]
fn waitress() -> Result<()> {
    let tallies = bound("bindings::waitress", Kind::Waitress, &[SATURATED, IDLE])?;
    check(&tallies);
    assert!(
        tallies.iter().all(|it| it.handed == it.bound),
        "{tallies:#?}"
    );
    Ok(())
}

/// One thread reads, those of an executor work and write.
#[test]
fn executor() -> Result<()> {
    let tallies = bound("bindings::executor", Kind::Pool, &[SATURATED, IDLE])?;
    check(&tallies);
    assert!(
        tallies.iter().all(|it| it.handed == it.bound),
        "{tallies:#?}"
    );
    Ok(())
}

/// The loop reads and writes, threads of a pool work.
#[test]
fn uvicorn() -> Result<()> {
    let mut tallies = bound("bindings::uvicorn", Kind::Uvicorn, &[SATURATED, IDLE])?;
    if let Some(saturated) = tallies.first_mut() {
        // Much of what the application calls waiting is for the interpreter lock, before and behind its own clocks.
        saturated.queue.clear();
    }
    check(&tallies);
    Ok(())
}

/// A worker reads, or the reactor does.
#[test]
fn puma() -> Result<()> {
    let tallies = bound("bindings::puma", Kind::Puma, &[SATURATED, IDLE, LATE])?;
    check(&tallies);
    Ok(())
}

/// How often a block of the loop is planted.
const BLOCKS: u32 = 25;
const PLANTED: Load = Load {
    name: "block",
    target: "/block?ms=40",
    clients: 1,
    times: BLOCKS,
    think: Duration::from_millis(50),
    fresh: false,
};

/// Requests that do not block the loop.
const fn waits(name: &'static str, times: u32) -> Load {
    Load {
        name,
        target: "/wait?ms=30",
        clients: 3,
        times,
        think: Duration::from_millis(5),
        fresh: false,
    }
}

/// Each block of the loop is one event that names who blocked and who waited; without a block there is none.
fn stalls(name: &str, kind: Kind) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let served = Served::start(kind)?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    // What is not in memory yet is read from disk, and that stalls a loop.
    served.ask(&waits("warm", 10))?;
    served.ask(&Load {
        target: "/block?ms=1",
        ..waits("warm-block", 3)
    })?;
    served.ask(&waits("calm", 30))?;
    watch.request("calm-0-29")?;
    let measured = served.measured()?;
    let warm = measured.get("calm-0-0").context("no first request")?;
    let stalled = || {
        watch.select(|event| {
            let stalled = event.loop_stalled.clone();
            stalled.filter(|it| it.start_ns > warm.begin_ns)
        })
    };
    let calm = stalled();
    assert!(calm.is_empty(), "{calm:#?}");
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| served.ask(&waits("beside", 40)));
        served.ask(&PLANTED)?;
        beside.join().ok().context("a client failed")?
    })?;
    let told = wait_for(EVENT_LIMIT, "an event for each block", || {
        let told = stalled();
        Ok((told.len() >= BLOCKS as usize).then_some(told))
    })?;
    assert_eq!(told.len(), BLOCKS as usize, "{told:#?}");
    judge_stalls(kind, &served, &watch, &told)?;
    agent.stop()
}

/// Each of the planted blocks lies in one of the stalls.
fn judge_stalls(kind: Kind, served: &Served, watch: &Watch, told: &[LoopStalled]) -> Result<()> {
    let measured = served.measured()?;
    let mut began_with = 0;
    for number in 0..BLOCKS {
        let key = format!("block-0-{number}");
        let measured = measured.get(&key).context("a block was not measured")?;
        let finished = watch.request(&key)?;
        let of: Vec<&LoopStalled> = told.iter().filter(|it| holds(it, measured)).collect();
        let [stall] = of[..] else {
            anyhow::bail!("{measured:?}: {told:#?}");
        };
        ensure!(
            stall.request_ids.contains(&finished.request_id),
            "{stall:#?}"
        );
        ensure!(
            (stall.pid, stall.tid) == (measured.pid, measured.tid),
            "{stall:#?}"
        );
        let sum: u64 = stall.ledger.iter().map(|entry| entry.ns).sum();
        ensure!(sum == stall.ns, "{stall:#?}");
        began_with += u32::from(stall.began_with == "GET /block");
    }
    let events = told.len();
    say(&format!(
        "{kind:?}: {BLOCKS} blocks, {events} events, {began_with} with the route that blocked"
    ));
    Ok(())
}

/// Whether all of what was measured lies in it.
fn holds(stall: &LoopStalled, measured: &Measured) -> bool {
    stall.start_ns <= measured.begin_ns && measured.end_ns <= stall.start_ns + stall.ns
}

/// asyncio's own loop.
#[test]
fn stalls_of_asyncio() -> Result<()> {
    stalls("bindings::stalls_of_asyncio", Kind::Uvicorn)
}

/// uvloop.
#[test]
fn stalls_of_uvloop() -> Result<()> {
    stalls("bindings::stalls_of_uvloop", Kind::Uvloop)
}

/// Node.
#[test]
fn stalls_of_node() -> Result<()> {
    stalls("bindings::stalls_of_node", Kind::Node)
}
