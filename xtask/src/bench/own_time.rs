//! The programs' own run time per request, as the kernel counts it (`BPF_ENABLE_STATS`), against the worker's
//! CPU per request. Counting adds some tens of ns to each run, so this is an upper bound.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use whyslow_tests::{
    Agent,
    bpf::{self, Held},
};

use super::{Bench, MODES, Mode, application::Application, table::Table};

const CASE: &str = "own-time";

/// Runs each application's rounds in each mode with the kernel counting.
pub(super) fn run(bench: &Bench, table: &mut Table) -> Result<()> {
    let django = if bench.quick { 100 } else { 400 };
    let cache = if bench.quick { 50 } else { 150 };
    for (application, requests) in [
        (Application::django()?, django),
        (Application::cache()?, cache),
    ] {
        for mode in MODES {
            rounds(bench, table, &application, requests, mode)?;
        }
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts are far below 2^52"
)]
fn rounds(
    bench: &Bench,
    table: &mut Table,
    application: &Application,
    requests: u64,
    mode: &Mode,
) -> Result<()> {
    let rounds = if bench.quick { 3 } else { 8 };
    let _counting = bpf::enable_statistics().context("BPF_ENABLE_STATS")?;
    let agent = Agent::start_binary(&bench.binary, mode.arguments)?;
    application.round(requests)?;
    let held = Held::of(agent.pid())?;
    let mut sums = Vec::new();
    let mut shares = Vec::new();
    let mut cpu = Vec::new();
    let mut runs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut each: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        let before = held.uses()?;
        let round = application.round(requests)?;
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
    let scene = format!("{}, {}", application.name, mode.name);
    let mut add = |what: &str, metric, unit, values: &[f64]| {
        table.add(CASE, format!("{scene}: {what}"), metric, unit, values);
    };
    add("programs, host", "run time per request", "us", &sums);
    add("worker", "CPU per request", "us", &cpu);
    add("programs / worker CPU", "share", "%", &shares);
    for (name, values) in &runs {
        add(name, "runs per request", "", values);
    }
    for (name, values) in &each {
        add(name, "time per run", "ns", values);
    }
    let held = held.uses()?;
    let missed: u64 = held.iter().map(|program| program.recursion_misses).sum();
    add("programs", "recursion misses", "", &[missed as f64]);
    agent.stop()
}
