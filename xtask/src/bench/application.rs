//! Worker CPU per request and latency of a Django application, with and without the agent, in turns.

use anyhow::Result;
use whyslow_tests::{Agent, stats::quantile};

use super::{
    Bench,
    django::{Django, Round},
    table::{Table, ratios},
};

const CASE: &str = "django";

/// What each round gave, by variant.
#[derive(Default)]
struct Series {
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
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

    fn print(&self, table: &mut Table, variant: &str) {
        table.add(CASE, variant, "worker CPU per request", "us", &self.cpu);
        table.add(CASE, variant, "latency p50", "us", &self.p50);
        table.add(CASE, variant, "latency p99", "us", &self.p99);
    }
}

/// Runs the rounds.
pub(super) fn run(bench: &Bench, table: &mut Table) -> Result<()> {
    let (rounds, requests) = if bench.quick { (3, 100) } else { (16, 400) };
    let django = Django::start()?;
    django.round(requests)?;
    let mut without = Series::default();
    let mut with = Series::default();
    for number in 0..rounds {
        // Which comes first changes, so that a drift of the machine falls on both.
        for watched in [number % 2 == 0, number % 2 == 1] {
            let agent = watched
                .then(|| Agent::start_binary(&bench.binary, &[]))
                .transpose()?;
            django.round(requests / 10)?;
            let round = django.round(requests)?;
            if let Some(agent) = agent {
                agent.stop()?;
                with.add(&round);
            } else {
                without.add(&round);
            }
        }
    }
    without.print(table, "no agent");
    with.print(table, "agent");
    for (metric, with, without) in [
        ("worker CPU per request", &with.cpu, &without.cpu),
        ("latency p50", &with.p50, &without.p50),
        ("latency p99", &with.p99, &without.p99),
    ] {
        table.add(
            CASE,
            "agent / no agent",
            metric,
            "ratio",
            &ratios(with, without),
        );
    }
    Ok(())
}
