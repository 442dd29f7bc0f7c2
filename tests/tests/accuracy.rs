//! The ledger against the application's own clocks: each account holds what the application measured,
//! within max(2 %, 1 ms) of the median of ten requests.
//!
//! A thread that waits uses a CPU before and after, and may wait for one: an account is compared with the
//! application's wall time less both. Run queue time of an interval is the kernel's own count (`schedstat`),
//! not the ledger's. `cpu` is compared with the thread's own clock, from the read of the head to the last write.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use whyslow_tests::{
    Agent, Watch,
    event::Finished,
    http::{Client, get_once},
    live,
    live::{say, skipped},
    stats::median,
    truth::{Measured, Truth},
};

/// Requests per case.
const REQUESTS: usize = 10;
/// Time that a slow client waits before it goes on.
const CLIENT_PAUSE: Duration = Duration::from_millis(150);

/// A case of the application, and who asks it.
struct Case {
    name: &'static str,
    target: &'static str,
    ask: fn(&Truth, &str, &str) -> Result<()>,
}

const CASES: &[Case] = &[
    case("sleep", "/sleep?ms=100"),
    case("cpu", "/cpu?ms=100"),
    case("flock", "/flock?ms=100"),
    case("fcntl", "/fcntl?ms=100"),
    case("futex", "/futex?ms=100"),
    case("child", "/child?ms=200"),
    case("upstream", "/upstream?ms=100"),
    case("upstream, polled", "/upstream-poll?ms=120"),
    case("upstream, unix socket", "/upstream-unix?ms=100"),
    case("pipe", "/pipe?ms=100"),
    case("fsync", "/fsync?ms=100"),
    case("cold read", "/coldread"),
    case("cold mapping", "/coldmap"),
    case("streamed sleeps", "/stream?ms=100"),
    case("mixed", "/mixed?ms=400"),
    Case {
        name: "slow upload",
        target: "/upload",
        ask: upload_slowly,
    },
    Case {
        name: "slow reader",
        target: "/big",
        ask: read_slowly,
    },
];

const fn case(name: &'static str, target: &'static str) -> Case {
    Case {
        name,
        target,
        ask: ask_once,
    }
}

fn ask_once(truth: &Truth, target: &str, key: &str) -> Result<()> {
    let response = get_once(truth.address(), target, key)?;
    anyhow::ensure!(response.status == 200, "{target}: {}", response.head);
    Ok(())
}

/// Half of the body at once, the rest after a pause.
fn upload_slowly(truth: &Truth, target: &str, key: &str) -> Result<()> {
    let half = [b'x'; 32768];
    let mut client = Client::open(truth.address())?;
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: truth\r\nX-Request-ID: {key}\r\nContent-Length: 65536\r\n\r\n"
    );
    client.send(head.as_bytes())?;
    client.send(&half)?;
    std::thread::sleep(CLIENT_PAUSE);
    client.send(&half)?;
    client.response(true)?;
    Ok(())
}

/// Reads nothing for a while: the response is larger than the buffers between.
fn read_slowly(truth: &Truth, target: &str, key: &str) -> Result<()> {
    let mut client = Client::open(truth.address())?;
    client.send(&whyslow_tests::http::get(target, key))?;
    client.head()?;
    std::thread::sleep(CLIENT_PAUSE);
    client.until_closed()?;
    Ok(())
}

/// What the application says about the accounts of one request, ns.
fn expected(measured: &Measured) -> BTreeMap<String, u64> {
    let mut accounts = BTreeMap::new();
    for part in &measured.parts {
        let ns = match part.account.as_str() {
            "cpu" => measured.thread_ns,
            _ => part.wall_ns.saturating_sub(part.cpu_ns + part.queued_ns),
        };
        *accounts.entry(part.account.clone()).or_insert(0) += ns;
    }
    accounts
}

/// What the ledger says, ns.
fn booked(finished: &Finished, account: &str) -> u64 {
    match account {
        "disk" => finished.sum(|name| name.starts_with("disk.")),
        _ => finished.account(account),
    }
}

/// Asks one case and compares. Gives what is wrong.
fn check(case: &Case, truth: &Truth, watch: &Watch, class: &str) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut pairs: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut unexplained = 0;
    let mut wall = 0;
    let mut last = String::new();
    for number in 0..REQUESTS {
        let key = format!("{class}-{}-{number}", case.name.replace([' ', ','], "-"));
        (case.ask)(truth, case.target, &key).with_context(|| format!("asking {key}"))?;
        let finished = watch.request(&key)?;
        let measured = truth.request(&key)?;
        let sum = finished.sum(|_| true);
        if finished.wall_ns.abs_diff(sum) > finished.wall_ns / 1000 || sum == 0 {
            wrong.push(format!(
                "{key}: accounts {sum} != wall {}",
                finished.wall_ns
            ));
        }
        if (finished.pid, finished.tid) != (measured.pid, measured.tid) {
            wrong.push(format!(
                "{key}: thread {} is not {}",
                finished.tid, measured.tid
            ));
        }
        if finished.binding != "thread" {
            wrong.push(format!(
                "{key}: binding {} ({})",
                finished.binding, finished.binding_reason
            ));
        }
        unexplained += finished.account("unexplained");
        wall += finished.wall_ns;
        for (account, ns) in expected(&measured) {
            let pair = (booked(&finished, &account), ns);
            pairs.entry(account).or_default().push(milliseconds(pair));
        }
        last = format!("{:?}", finished.ledger_ms());
    }
    if unexplained * 100 >= wall {
        wrong.push(format!(
            "{class} {}: unexplained {unexplained} of {wall} ns",
            case.name
        ));
    }
    for (account, pairs) in pairs {
        let what = format!("{class:8} {:22} {account:16}", case.name);
        wrong.extend(compare(&what, &pairs, &last)?);
    }
    Ok(wrong)
}

/// Compares an account's (ledger, truth) of all requests, ms. Gives what is wrong.
fn compare(what: &str, pairs: &[(f64, f64)], last: &str) -> Result<Option<String>> {
    let truth = median(&pairs.iter().map(|p| p.1).collect::<Vec<_>>()).context("no pairs")?;
    let difference =
        median(&pairs.iter().map(|p| p.0 - p.1).collect::<Vec<_>>()).context("no pairs")?;
    let bound = (truth * 0.02).max(1.0);
    let line =
        format!("{what} truth {truth:8.2} ms  ledger {difference:+7.2} ms  bound {bound:.2}");
    say(&line);
    Ok((difference.abs() > bound).then(|| format!("{line}; last ledger {last}")))
}

/// Tries of a case that the hypervisor disturbs.
const TRIES: usize = 4;
/// Share of CPU time, in per cent, from which on the hypervisor disturbs: half of the bound. What it
/// takes while a thread is on a CPU is `cpu` for the ledger and nothing for the thread's own clock.
const DISTURBED: f64 = 1.0;

/// What came of a case.
enum Outcome {
    /// What is wrong.
    Judged(Vec<String>),
    /// The clocks could not be compared: the share that the hypervisor took, in per cent.
    Disturbed(f64),
}

/// Checks a case; again, if it looks wrong while the hypervisor took CPU time. Without that it is
/// wrong at once.
fn check_undisturbed(case: &Case, truth: &Truth, watch: &Watch, class: &str) -> Result<Outcome> {
    let mut share = 0.0;
    for attempt in 0..TRIES {
        let before = CpuTicks::now()?;
        let label = format!("{class}{attempt}");
        let found = check(case, truth, watch, &label)?;
        share = CpuTicks::now()?.stolen_since(&before);
        if found.is_empty() || share < DISTURBED {
            return Ok(Outcome::Judged(found));
        }
        say(&format!(
            "{label} {}: {share:.1} % of the CPU time was stolen",
            case.name
        ));
    }
    Ok(Outcome::Disturbed(share))
}

/// The host's CPU time by `/proc/stat`, in clock ticks.
struct CpuTicks {
    /// Asked for: given and stolen, not idle.
    asked: f64,
    stolen: f64,
}

impl CpuTicks {
    fn now() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        let line = text.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<f64> = line
            .split_ascii_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq steal; guest times are part of user's.
        let stolen = *ticks.get(7).context("/proc/stat tells no stolen time")?;
        let idle = ticks[3] + ticks[4];
        Ok(Self {
            asked: ticks[..8].iter().sum::<f64>() - idle,
            stolen,
        })
    }

    /// Per cent of the CPU time that was asked for.
    fn stolen_since(&self, before: &Self) -> f64 {
        100.0 * (self.stolen - before.stolen) / (self.asked - before.asked).max(1.0)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of requests are far below 2^52 ns"
)]
fn milliseconds(pair: (u64, u64)) -> (f64, f64) {
    (pair.0 as f64 / 1e6, pair.1 as f64 / 1e6)
}

fn all_cases(name: &str, class: &'static str, threads: u32) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let truth = Truth::of(class, 1, threads).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut wrong = Vec::new();
    for case in CASES {
        match check_undisturbed(case, &truth, &watch, class) {
            Ok(Outcome::Judged(found)) => wrong.extend(found),
            Ok(Outcome::Disturbed(share)) => skipped(
                &format!("{name} ({})", case.name),
                &format!(
                    "the hypervisor took {share:.1} % of the CPU time in each of {TRIES} tries"
                ),
            ),
            Err(error) => wrong.push(format!("{class} {}: {error:#}", case.name)),
        }
    }
    assert!(
        wrong.is_empty(),
        "\n{}\nagent's log:\n{}",
        wrong.join("\n"),
        agent.log()
    );
    Ok(())
}

/// Under gunicorn's `sync` workers every account is what the application measured, the accounts add up
/// to the wall time, and less than 1 % is unexplained.
#[test]
fn sync_worker() -> Result<()> {
    all_cases("accuracy::sync_worker", "sync", 1)
}

/// The same under `gthread`, where the interpreter lock and a second thread are in play.
#[test]
fn gthread_worker() -> Result<()> {
    all_cases("accuracy::gthread_worker", "gthread", 2)
}
