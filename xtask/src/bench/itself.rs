//! What the agent itself takes: CPU time per request and resident memory, at two rates, on an application
//! that does next to nothing, so that the rate is all there is.

use std::time::{Duration, Instant};

use anyhow::Result;
use whyslow_tests::{
    Agent,
    load::{self, Plan},
    process, stats,
    truth::Truth,
};

use super::{Bench, table::Table};

const CASE: &str = "agent";
/// Time between two looks at the resident memory.
const SAMPLE: Duration = Duration::from_secs(1);

/// Runs the load at each rate and looks at the agent.
pub(super) fn run(bench: &Bench, table: &mut Table) -> Result<()> {
    let seconds = if bench.quick { 10 } else { 60 };
    for rate in [1000_u64, 2000] {
        let truth = Truth::of("gthread", 2, 8)
            .argument("--keep-alive=75")
            .start()?;
        let agent = Agent::start_binary(&bench.binary, &[])?;
        let plan = Plan {
            address: truth.address(),
            connections: 32,
            rate_per_s: rate,
            requests: rate * seconds,
            keep_alive: true,
            target: "/count".to_owned(),
        };
        let before = process::cpu_ns(agent.pid())?;
        let load = std::thread::spawn(move || load::run(&plan));
        let start = Instant::now();
        let mut memory = Vec::new();
        while !load.is_finished() {
            let rss = mebibytes(process::rss_bytes(agent.pid())?);
            memory.push((start.elapsed().as_secs_f64(), rss));
            std::thread::sleep(SAMPLE);
        }
        let used = process::cpu_ns(agent.pid())?.saturating_sub(before);
        let report = load
            .join()
            .map_err(|_| anyhow::anyhow!("the load panicked"))??;
        report_figures(table, rate, used, &memory, &report);
        agent.stop()?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report_figures(
    table: &mut Table,
    rate: u64,
    used: u64,
    memory: &[(f64, f64)],
    report: &load::Report,
) {
    let variant = format!("{rate} requests/s");
    let answered = report.answered as f64;
    table.add(
        CASE,
        &variant,
        "rate reached",
        "1/s",
        &[report.rate_per_s()],
    );
    // Core share at 1,000 requests/s: CPU seconds of 1,000 requests, in percent.
    let share = used as f64 / 1e9 / answered * 1000.0 * 100.0;
    table.add(CASE, &variant, "CPU at 1,000/s", "% of a core", &[share]);
    let rss: Vec<f64> = memory.iter().map(|(_, rss)| *rss).collect();
    table.add(CASE, &variant, "resident memory", "MiB", &rss);
    // The first third is warm-up.
    if let Some(slope) = stats::slope(&memory[memory.len() / 3..]) {
        let per_million = slope / report.rate_per_s() * 1e6;
        table.add(
            CASE,
            &variant,
            "growth",
            "MiB per 1e6 requests",
            &[per_million],
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
