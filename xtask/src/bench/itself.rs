//! What the agent itself takes: CPU time per request and resident memory, at two rates and with many workers,
//! on an application that does next to nothing, so that the rate is all there is.

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

/// A server and the load on it.
struct Scene {
    name: &'static str,
    class: &'static str,
    workers: u32,
    threads: u32,
    rate: u64,
}

const SCENES: &[Scene] = &[
    Scene {
        name: "1000 requests/s",
        class: "gthread",
        workers: 2,
        threads: 8,
        rate: 1000,
    },
    Scene {
        name: "2000 requests/s",
        class: "gthread",
        workers: 2,
        threads: 8,
        rate: 2000,
    },
    Scene {
        name: "1000/s, 200 workers",
        class: "sync",
        workers: 200,
        threads: 1,
        rate: 1000,
    },
];

/// Runs each load and looks at the agent.
pub(super) fn run(bench: &Bench, table: &mut Table) -> Result<()> {
    let seconds = if bench.quick { 10 } else { 60 };
    for scene in SCENES {
        let truth = Truth::of(scene.class, scene.workers, scene.threads)
            .argument("--keep-alive=75")
            .start()?;
        let agent = Agent::start_binary(&bench.binary, &[])?;
        let plan = Plan {
            address: truth.address(),
            connections: 32,
            rate_per_s: scene.rate,
            requests: scene.rate * seconds,
            keep_alive: scene.class == "gthread",
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
        report_figures(table, scene.name, used, &memory, &report);
        agent.stop()?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report_figures(
    table: &mut Table,
    variant: &str,
    used: u64,
    memory: &[(f64, f64)],
    report: &load::Report,
) {
    let answered = report.answered as f64;
    table.add(CASE, variant, "rate reached", "1/s", &[report.rate_per_s()]);
    // Core share at 1,000 requests/s: CPU seconds of 1,000 requests, in percent.
    let share = used as f64 / 1e9 / answered * 1000.0 * 100.0;
    table.add(CASE, variant, "CPU at 1,000/s", "% of a core", &[share]);
    let rss: Vec<f64> = memory.iter().map(|(_, rss)| *rss).collect();
    table.add(CASE, variant, "resident memory", "MiB", &rss);
    // The first third is warm-up.
    if let Some(slope) = stats::slope(&memory[memory.len() / 3..]) {
        let per_million = slope / report.rate_per_s() * 1e6;
        table.add(
            CASE,
            variant,
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
