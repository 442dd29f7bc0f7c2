//! The programs' own run time per request, as the kernel counts it (`BPF_ENABLE_STATS`), against the worker's
//! CPU per request. Counting adds some tens of ns to each run, so this is an upper bound.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use whyslow_tests::{
    Agent,
    bpf::{self, Held},
};

use super::{Bench, django::Django, table::Table};

const CASE: &str = "own-time";

/// Runs the application's rounds with the kernel counting.
#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts are far below 2^52"
)]
pub(super) fn run(bench: &Bench, table: &mut Table) -> Result<()> {
    let (rounds, requests) = if bench.quick { (3, 100) } else { (8, 400) };
    let django = Django::start()?;
    let _counting = bpf::enable_statistics().context("BPF_ENABLE_STATS")?;
    let agent = Agent::start_binary(&bench.binary, &[])?;
    django.round(requests)?;
    let held = Held::of(agent.pid())?;
    let mut sums = Vec::new();
    let mut shares = Vec::new();
    let mut cpu = Vec::new();
    let mut runs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut each: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        let before = held.uses()?;
        let round = django.round(requests)?;
        let mut sum = 0.0;
        for (after, before) in held.uses()?.into_iter().zip(before) {
            let time = (after.run_time_ns - before.run_time_ns) as f64;
            let count = (after.run_count - before.run_count) as f64;
            sum += time / requests as f64;
            if count > 0.0 {
                runs.entry(after.name.clone())
                    .or_default()
                    .push(count / requests as f64);
                each.entry(after.name).or_default().push(time / count);
            }
        }
        sums.push(sum / 1e3);
        cpu.push(round.cpu_ns / 1e3);
        shares.push(sum / round.cpu_ns * 100.0);
    }
    table.add(
        CASE,
        "all programs, host",
        "run time per request",
        "us",
        &sums,
    );
    table.add(CASE, "worker", "CPU per request", "us", &cpu);
    table.add(CASE, "programs / worker CPU", "share", "%", &shares);
    for (name, values) in &runs {
        table.add(CASE, name.as_str(), "runs per request", "", values);
    }
    for (name, values) in &each {
        table.add(CASE, name.as_str(), "time per run", "ns", values);
    }
    let missed: u64 = held
        .uses()?
        .iter()
        .map(|program| program.recursion_misses)
        .sum();
    table.add(
        CASE,
        "all programs",
        "recursion misses",
        "",
        &[missed as f64],
    );
    agent.stop()
}
