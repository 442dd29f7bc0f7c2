//! The tests: what must be seen in the evidence, one function each. A test that lacks its
//! evidence fails, since the scene is the same on every kernel.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use whyslow_abi::catalogue::{ObjectFile, PROBES, Probe};

use crate::{
    bpf::{Inventory, NAME_LENGTH, Program},
    client::Asked,
    scene::{Evidence, TIMES},
};

/// A test gives what it measured, or why it failed.
type Judgement = fn(&Evidence) -> Result<String>;

/// All tests except those of the single programs, in the order in which they are told.
const TESTS: &[(&str, Judgement)] = &[
    ("scene", scene),
    (
        "each feature that this kernel can have is available",
        features,
    ),
    ("requests on a connection opened before the agent", |e| {
        requests(e, &e.held)
    }),
    ("requests on a kept connection", |e| {
        requests(e, &e.keep_alive)
    }),
    ("requests on connections of their own", |e| {
        requests(e, &e.closing)
    }),
    ("requests of a server that forks for each connection", |e| {
        requests(e, &e.forking)
    }),
    ("requests that wait", |e| requests(e, &e.waits)),
    ("no request is told twice or made up", only_what_was_asked),
    ("each ledger adds up to its wall time", sums),
    ("each request is bound to its thread", bindings),
    ("time asleep", |e| account(e, "/sleep", "sleep")),
    ("time waiting for a child", |e| {
        account(e, "/child", "child")
    }),
    ("a child is told with its program and its time", children),
    ("time waiting for an upstream", |e| {
        account(e, "/upstream", "net.upstream")
    }),
    ("time waiting for a futex", |e| {
        account(e, "/futex", "lock.futex")
    }),
    ("time waiting for a file lock", |e| {
        account(e, "/flock", "lock.file")
    }),
    ("time on the CPU", |e| account(e, "/cpu", "cpu")),
    ("a worker killed in a request is told", killed_worker),
    ("its successor is watched from its first request", successor),
    ("no loss", no_loss),
    ("nothing stays loaded after the agent's end", |e| {
        nothing_left(e.left_by_stop.as_ref())
    }),
    ("nothing stays loaded after the agent is killed", |e| {
        nothing_left(e.left_by_kill.as_ref())
    }),
    ("the kernel log is clean", clean_log),
];

/// Names of all tests.
pub(crate) fn names() -> Vec<String> {
    let fixed = TESTS.iter().map(|(name, _)| (*name).to_owned());
    fixed.chain(PROBES.iter().map(probe_test)).collect()
}

/// Judges everything, in the order of `names`.
pub(crate) fn judge(evidence: &Evidence) -> Vec<(String, Result<String>)> {
    let fixed = TESTS
        .iter()
        .map(|(name, test)| ((*name).to_owned(), test(evidence)));
    let probes = PROBES
        .iter()
        .map(|probe| (probe_test(probe), hit(evidence, probe)));
    fixed.chain(probes).collect()
}

fn probe_test(probe: &Probe) -> String {
    format!("program {} is loaded and hit", probe.name)
}

fn scene(evidence: &Evidence) -> Result<String> {
    match &evidence.broken {
        None => Ok(String::new()),
        Some(reason) => bail!("{reason}"),
    }
}

fn features(evidence: &Evidence) -> Result<String> {
    let doctor = evidence.doctor.as_ref().context("doctor was not run")?;
    let features = doctor.as_array().context("doctor told no list")?;
    for feature in features {
        let (name, reason) = (text(&feature["name"]), text(&feature["reason"]));
        let wanted = is_at_least(features, since(name))?;
        ensure!(feature["available"] == wanted, "{name}: {reason}");
    }
    for probe in PROBES {
        if is_at_least(features, since(probe.feature))? {
            available(doctor, probe.feature)?;
        }
    }
    let names: Vec<&str> = features
        .iter()
        .map(|feature| text(&feature["name"]))
        .collect();
    Ok(names.join(" "))
}

/// The kernel release that a feature came with; of most, one before all that are tested.
fn since(feature: &str) -> (u32, u32) {
    match feature {
        "direct_reads" => (6, 2),
        // The tracepoint `sk_data_ready`.
        "first_data" => (6, 3),
        _ => (0, 0),
    }
}

/// Whether this kernel is of that release or a later one.
fn is_at_least(features: &[Value], release: (u32, u32)) -> Result<bool> {
    let kernel = features.iter().find(|feature| feature["name"] == "kernel");
    let name = text(&kernel.context("doctor does not know kernel")?["reason"]);
    let mut numbers = name.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("{name:?} is no kernel release");
    };
    Ok((major, minor) >= release)
}

/// Fails unless doctor told the feature, as available.
fn available(doctor: &Value, name: &str) -> Result<()> {
    let features = doctor.as_array().map(Vec::as_slice).unwrap_or_default();
    let found = features.iter().find(|feature| feature["name"] == name);
    let found = found.with_context(|| format!("doctor does not know {name}"))?;
    ensure!(
        found["available"] == true,
        "{name}: {}",
        text(&found["reason"])
    );
    Ok(())
}

/// Whether a program is judged by its feature: the calibrating one is gone by the time we look, there is no
/// library here for those that wait for one, and nothing is short of memory; the verifier has taken them when their
/// feature is available.
fn by_feature(probe: &Probe) -> bool {
    probe.object == ObjectFile::Calibrate
        || probe.hook.library().is_some()
        || probe.feature.ends_with("reclaim")
}

/// A program counts as hit when the kernel has run it: attaching it proves nothing.
fn hit(evidence: &Evidence, probe: &Probe) -> Result<String> {
    if by_feature(probe) {
        let doctor = evidence.doctor.as_ref().context("doctor was not run")?;
        available(doctor, probe.feature)?;
        return Ok(format!("{} available", probe.feature));
    }
    let doctor = evidence.doctor.as_ref().context("doctor was not run")?;
    let features = doctor.as_array().context("doctor told no list")?;
    if !is_at_least(features, since(probe.feature))? {
        return Ok(format!("this kernel has no {}", probe.feature));
    }
    let name = &probe.name[..probe.name.len().min(NAME_LENGTH)];
    let ours = evidence
        .programs
        .iter()
        .filter(|program| program.name == name);
    // The agent's own; doctor's, which are never attached, are gone.
    let program = ours.max_by_key(|program| program.runs);
    let program =
        program.with_context(|| format!("not loaded; loaded are: {}", loaded(evidence)))?;
    ensure!(program.runs > 0, "loaded and never run");
    let Program {
        runs,
        misses,
        verified,
        ..
    } = program;
    Ok(format!(
        "{runs} runs, {misses} missed, {verified} instructions verified"
    ))
}

fn loaded(evidence: &Evidence) -> String {
    let names: Vec<&str> = evidence
        .programs
        .iter()
        .map(|program| program.name.as_str())
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    }
}

/// The events of one kind, by their field in the JSON form.
fn events<'a>(evidence: &'a Evidence, kind: &'a str) -> Result<impl Iterator<Item = &'a Value>> {
    let events = evidence.events.as_ref().context("there are no events")?;
    Ok(events
        .iter()
        .map(move |event| &event[kind])
        .filter(|body| !body.is_null()))
}

/// What a request is recognised by on both sides.
type Identity = (String, u64, Option<u64>);

/// Counts of requests by target, status, and process where `with_pid`.
fn counts(asked: impl Iterator<Item = Identity>) -> BTreeMap<Identity, usize> {
    let mut counts = BTreeMap::new();
    for identity in asked {
        *counts.entry(identity).or_default() += 1;
    }
    counts
}

/// Every request of the group finished, with the status that the client got, in the process that
/// answered it, as often as it was asked.
fn requests(evidence: &Evidence, group: &[Asked]) -> Result<String> {
    ensure!(!group.is_empty(), "none was asked");
    let told = group.iter().all(|asked| asked.pid.is_some());
    let wanted = counts(group.iter().map(|asked| {
        (
            asked.target.clone(),
            u64::from(asked.status),
            asked.pid.filter(|_| told).map(u64::from),
        )
    }));
    let seen = counts(events(evidence, "requestFinished")?.map(|request| {
        let pid = number(&request["pid"]);
        (
            text(&request["target"]).to_owned(),
            number(&request["status"]),
            told.then_some(pid),
        )
    }));
    let mut missing = Vec::new();
    for (identity, count) in &wanted {
        let found = seen.get(identity).copied().unwrap_or(0);
        if found != *count {
            missing.push(format!("{identity:?}: {found} of {count}"));
        }
    }
    let (number, some) = (
        missing.len(),
        missing.get(..3).unwrap_or(&missing).join("; "),
    );
    ensure!(missing.is_empty(), "{number} differ: {some}");
    Ok(format!("{0} of {0}", group.len()))
}

fn only_what_was_asked(evidence: &Evidence) -> Result<String> {
    let asked: Vec<&str> = evidence.all().map(|asked| asked.target.as_str()).collect();
    ensure!(!asked.is_empty(), "none was asked");
    let mut odd = Vec::new();
    let mut seen = 0;
    for request in events(evidence, "requestFinished")? {
        let target = text(&request["target"]);
        seen += 1;
        if target != "/hang" && !asked.contains(&target) {
            odd.push(target);
        }
    }
    ensure!(odd.is_empty(), "never asked: {odd:?}");
    // The one that nobody answered comes on top.
    let wanted = asked.len() + 1;
    ensure!(seen == wanted, "{seen} finished, {wanted} were asked");
    Ok(format!("{seen} in all"))
}

/// Nanoseconds of an account of a finished request.
fn ledger_ns(request: &Value, account: Option<&str>) -> u64 {
    let entries = request["ledger"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let ours = entries
        .iter()
        .filter(|entry| account.is_none_or(|name| entry["account"] == name));
    ours.map(|entry| number(&entry["ns"])).sum()
}

fn sums(evidence: &Evidence) -> Result<String> {
    let mut checked = 0;
    let mut worst = 0;
    for request in events(evidence, "requestFinished")? {
        let (wall, sum) = (number(&request["wallNs"]), ledger_ns(request, None));
        let off = wall.abs_diff(sum);
        // 0.1 % of the wall time.
        ensure!(
            off * 1000 <= wall,
            "{}: wall {wall} ns, ledger {sum} ns: {}",
            text(&request["target"]),
            request["ledger"]
        );
        checked += 1;
        worst = worst.max(off);
    }
    ensure!(checked > 0, "no request was seen");
    Ok(format!("{checked} requests, off by at most {worst} ns"))
}

fn bindings(evidence: &Evidence) -> Result<String> {
    let mut checked = 0;
    for request in events(evidence, "requestFinished")? {
        let (target, binding) = (text(&request["target"]), text(&request["binding"]));
        let reason = text(&request["bindingReason"]);
        ensure!(
            binding == "thread",
            "{target} is bound as {binding}: {reason}"
        );
        checked += 1;
    }
    ensure!(checked > 0, "no request was seen");
    Ok(format!("{checked} requests"))
}

/// The account agrees with the server's own clock. Time in the account lies within what the server
/// measured; and what it measured lies within the account, the CPU and the run queue. Both hold
/// on a machine of any speed.
fn children(evidence: &Evidence) -> Result<String> {
    let mut times = Vec::new();
    for request in events(evidence, "requestFinished")?.filter(|r| r["target"] == "/child") {
        let children = request["children"].as_array().context("no children")?;
        ensure!(children.len() == 1, "{request}");
        let child = &children[0];
        ensure!(child["command"] == "busybox", "{child}");
        ensure!(
            child["running"].is_null() && child["exitCode"].is_null(),
            "{child}"
        );
        ensure!(child["ledger"][0]["account"] == "sleep", "{child}");
        let ns = |name: &str| number(&child[name]);
        let in_account = ledger_ns(request, Some("child"));
        ensure!(ns("wallNs") >= ledger_ns(child, Some("sleep")), "{child}");
        ensure!(
            ns("waitedNs") > in_account / 2 && ns("waitedNs") <= in_account,
            "{request}"
        );
        times.push(format!("{:.1}", millis(ns("wallNs"))));
    }
    ensure!(times.len() == TIMES, "seen {} times", times.len());
    Ok(format!("ms: {}", times.join(" ")))
}

fn account(evidence: &Evidence, target: &str, account: &str) -> Result<String> {
    let asked = evidence.waits.iter().filter(|asked| asked.target == target);
    let mut measured: Vec<u64> = asked.filter_map(|asked| asked.waited_ns).collect();
    ensure!(measured.len() == TIMES, "asked {} times", measured.len());
    let (mut own, mut most) = (Vec::new(), Vec::new());
    for request in events(evidence, "requestFinished")?.filter(|r| r["target"] == target) {
        let others = ["cpu", "run_queue"]
            .into_iter()
            .filter(|name| *name != account);
        own.push(ledger_ns(request, Some(account)));
        most.push(
            ledger_ns(request, Some(account))
                + others
                    .map(|name| ledger_ns(request, Some(name)))
                    .sum::<u64>(),
        );
    }
    ensure!(own.len() == TIMES, "seen {} times", own.len());
    // What holds for each request holds for the sorted lists too, which need no pairing.
    for list in [&mut measured, &mut own, &mut most] {
        list.sort_unstable();
    }
    let list: Vec<String> = own
        .iter()
        .zip(&measured)
        .map(|(own, measured)| format!("{:.1}/{:.1}", millis(*own), millis(*measured)))
        .collect();
    let list = format!("{account}/measured ms: {}", list.join(" "));
    for ((measured, own), most) in measured.iter().zip(&own).zip(&most) {
        ensure!(*own > 0, "nothing in the account; {list}");
        // The whole request may use more CPU than the part that the server measured.
        ensure!(
            account == "cpu" || own <= measured,
            "more than the server measured; {list}"
        );
        let part = millis(*most);
        ensure!(
            most >= measured,
            "with cpu and run_queue {part:.1} ms, too little; {list}"
        );
    }
    Ok(list)
}

fn killed_worker(evidence: &Evidence) -> Result<String> {
    let pid = u64::from(evidence.killed.context("no worker was killed")?);
    let request = events(evidence, "requestFinished")?.find(|r| r["target"] == "/hang");
    let request = request.context("its request did not end")?;
    ensure!(
        number(&request["status"]) == 0,
        "its request has a status: {request}"
    );
    ensure!(
        request["endReason"] == "process_ended",
        "its request ended as {}",
        request["endReason"]
    );
    // The worker has one thread of its own and, in between, helpers that end before it.
    let ended = events(evidence, "workerEnded")?
        .find(|worker| number(&worker["pid"]) == pid && number(&worker["tid"]) == pid);
    let ended = ended.context("its end was not told")?;
    ensure!(
        ended["processEnded"] == true,
        "processEnded is not set: {ended}"
    );
    ensure!(
        number(&ended["signal"]) == 9,
        "the signal is wrong: {ended}"
    );
    ensure!(
        number(&ended["senderPid"]) == 1,
        "the sender is wrong: {ended}"
    );
    ensure!(
        ended["requestId"] == request["requestId"],
        "the request is wrong: {ended}"
    );
    Ok(String::new())
}

fn successor(evidence: &Evidence) -> Result<String> {
    let asked = evidence
        .replaced
        .as_ref()
        .context("no new worker answered")?;
    let pid = u64::from(asked.pid.context("the server told no process id")?);
    let started = events(evidence, "workerStarted")?.find(|worker| number(&worker["pid"]) == pid);
    let started = started.context("its start was not told")?;
    ensure!(
        started["reason"] == "forked",
        "it was not followed as a fork: {started}"
    );
    requests(evidence, std::slice::from_ref(asked))
}

fn no_loss(evidence: &Evidence) -> Result<String> {
    let losses: Vec<String> = events(evidence, "loss")?
        .map(|loss| format!("{} x {}", number(&loss["count"]), text(&loss["reason"])))
        .collect();
    ensure!(losses.is_empty(), "{}", losses.join(", "));
    Ok(String::new())
}

fn nothing_left(left: Option<&Inventory>) -> Result<String> {
    let left = left.context("it was not got to")?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(String::new())
}

fn clean_log(evidence: &Evidence) -> Result<String> {
    let lines = evidence
        .complaints
        .as_ref()
        .context("the log could not be read")?;
    ensure!(
        lines.is_empty(),
        "{} bad lines: {}",
        lines.len(),
        lines.join(" | ")
    );
    Ok(String::new())
}

/// An integer of the proto3 JSON form: 64-bit ones are strings, zero may be left out.
fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap_or(u64::MAX),
        other => other.as_u64().unwrap_or(0),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests;
