//! Worker CPU per request and latency of an application, without an agent and with one in each of its modes, in
//! turns; and what the agent itself used meanwhile.

use anyhow::Result;
use whyslow_tests::{Agent, process, stats::quantile};

use super::{
    Bench, MODES,
    application::{Application, Round},
    table::{Table, ratios},
};

/// What each round gave, by variant.
#[derive(Default)]
struct Series {
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    agent: Vec<f64>,
}

impl Series {
    fn add(&mut self, round: &Round) {
        let latencies = &round.report.latencies_ns;
        self.cpu.push(round.cpu_ns / 1e3);
        self.p50
            .push(quantile(latencies, 0.5).unwrap_or(f64::NAN) / 1e3);
        self.p99
            .push(quantile(latencies, 0.99).unwrap_or(f64::NAN) / 1e3);
    }

    fn figures(&self) -> [(&'static str, &[f64]); 3] {
        [
            ("worker CPU per request", &self.cpu),
            ("latency p50", &self.p50),
            ("latency p99", &self.p99),
        ]
    }

    fn print(&self, table: &mut Table, case: &'static str, variant: &str) {
        for (metric, values) in self.figures() {
            table.add(case, variant, metric, "us", values);
        }
        table.add(case, variant, "agent CPU per request", "us", &self.agent);
    }
}

/// The Django application.
pub(super) fn django(bench: &Bench, table: &mut Table) -> Result<()> {
    let requests = if bench.quick { 100 } else { 400 };
    run(bench, table, "django", &Application::django()?, requests)
}

/// 200 cache commands per request.
pub(super) fn cache(bench: &Bench, table: &mut Table) -> Result<()> {
    let requests = if bench.quick { 50 } else { 150 };
    run(bench, table, "cache", &Application::cache()?, requests)
}

fn run(
    bench: &Bench,
    table: &mut Table,
    case: &'static str,
    application: &Application,
    requests: u64,
) -> Result<()> {
    let rounds = if bench.quick { 3 } else { 16 };
    application.round(requests)?;
    let mut without = Series::default();
    let mut with: Vec<Series> = MODES.iter().map(|_| Series::default()).collect();
    for number in 0..rounds {
        // Which comes first changes, so that a drift of the machine falls on all.
        for turn in 0..=MODES.len() {
            match (turn + number) % (MODES.len() + 1) {
                0 => {
                    application.round(requests / 10)?;
                    without.add(&application.round(requests)?);
                }
                mode => watched(bench, application, requests, mode - 1, &mut with[mode - 1])?,
            }
        }
    }
    without.print(table, case, "no agent");
    for (series, mode) in with.iter().zip(MODES) {
        series.print(table, case, mode.name);
        for ((metric, with), (_, without)) in series.figures().iter().zip(without.figures()) {
            let variant = format!("{} / none", mode.name);
            table.add(case, variant, metric, "ratio", &ratios(with, without));
        }
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts are far below 2^52"
)]
fn watched(
    bench: &Bench,
    application: &Application,
    requests: u64,
    mode: usize,
    series: &mut Series,
) -> Result<()> {
    let agent = Agent::start_binary(&bench.binary, MODES[mode].arguments)?;
    application.round(requests / 10)?;
    let before = process::scheduled_ns(agent.pid())?;
    let round = application.round(requests)?;
    let used = process::scheduled_ns(agent.pid())?.saturating_sub(before);
    agent.stop()?;
    series.add(&round);
    series.agent.push(used as f64 / requests as f64 / 1e3);
    Ok(())
}
