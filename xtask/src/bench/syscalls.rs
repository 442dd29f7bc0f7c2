//! Nanoseconds per system call and per context switch: without anything, with empty programs on the same
//! hooks, with the agent watching the process, and with the agent watching another one.

use std::{collections::BTreeMap, net::SocketAddr, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use whyslow_tests::{
    Agent, Watch, http,
    servers::{Process, Scratch, StopSignal},
    wait_for,
};

use super::{
    Bench,
    empty::{self, Empty},
    table::{Table, differences, ratios},
};

/// What is attached while the loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    None,
    Empty,
    Watched,
    Other,
}

impl Variant {
    const ALL: [Self; 4] = [Self::None, Self::Empty, Self::Watched, Self::Other];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "no agent",
            Self::Empty => "empty programs",
            Self::Watched => "agent, watched process",
            Self::Other => "agent, other process",
        }
    }
}

/// Held while the loop runs.
#[expect(dead_code, reason = "held for what its drop ends")]
enum Attached {
    Nothing,
    Empty(Empty),
    Agent(Agent),
}

/// One-byte reads of `/dev/zero`.
pub(super) fn system_calls(bench: &Bench, table: &mut Table) -> Result<()> {
    measure(
        bench,
        table,
        "syscall",
        "read",
        if bench.quick { 200_000 } else { 2_000_000 },
    )
}

/// Pipe ping-pong of two threads on one CPU.
pub(super) fn context_switches(bench: &Bench, table: &mut Table) -> Result<()> {
    measure(
        bench,
        table,
        "switch",
        "switch",
        if bench.quick { 20_000 } else { 200_000 },
    )
}

fn measure(
    bench: &Bench,
    table: &mut Table,
    case: &'static str,
    what: &str,
    count: u32,
) -> Result<()> {
    let server = LoopServer::start()?;
    let rounds = if bench.quick { 3 } else { 9 };
    let mut figures: BTreeMap<Variant, Vec<f64>> = BTreeMap::new();
    let with_empty = empty::object().is_file();
    if !with_empty {
        eprintln!(
            "{case}: left out: empty programs ({} is missing)",
            empty::object().display()
        );
    }
    for round in 0..rounds {
        for step in 0..Variant::ALL.len() {
            // Another order in each round: no variant always runs on the machine that another left.
            let variant = Variant::ALL[(round + step) % Variant::ALL.len()];
            if variant == Variant::Empty && !with_empty {
                continue;
            }
            let attached = attach(bench, variant, &server, round == 0)?;
            server.ask(what, count / 20)?;
            let best = best_of(3, || server.ask(what, count))?;
            drop(attached);
            figures.entry(variant).or_default().push(best);
        }
    }
    add_rows(table, case, &figures);
    Ok(())
}

/// Times, and what each variant adds.
fn add_rows(table: &mut Table, case: &'static str, figures: &BTreeMap<Variant, Vec<f64>>) {
    let unit = if case == "switch" {
        "ns per half round"
    } else {
        "ns"
    };
    let none = figures.get(&Variant::None).cloned().unwrap_or_default();
    for (variant, values) in figures {
        table.add(case, variant.name(), "time", unit, values);
        if *variant != Variant::None {
            table.add(
                case,
                variant.name(),
                "added",
                unit,
                &differences(values, &none),
            );
            table.add(case, variant.name(), "ratio", "", &ratios(values, &none));
        }
    }
    if let (Some(watched), Some(empty)) =
        (figures.get(&Variant::Watched), figures.get(&Variant::Empty))
    {
        table.add(
            case,
            "watched over empty",
            "added",
            unit,
            &differences(watched, empty),
        );
    }
}

/// Smallest of a few: what disturbs only ever adds.
fn best_of(times: usize, mut ask: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..times {
        best = best.min(ask()?);
    }
    Ok(best)
}

fn attach(bench: &Bench, variant: Variant, server: &LoopServer, check: bool) -> Result<Attached> {
    let pid = match variant {
        Variant::None => return Ok(Attached::Nothing),
        Variant::Empty => return Ok(Attached::Empty(Empty::attach()?)),
        Variant::Watched => server.process.pid(),
        Variant::Other => server.other.pid(),
    };
    let agent = Agent::start_binary(&bench.binary, &["--pid", &pid.to_string()])?;
    if check && variant == Variant::Watched {
        // Else the figure would be that of an unwatched process.
        let watch = Watch::start(&agent)?;
        server.ask("nothing", 1)?;
        let seen = watch.expect(Duration::from_secs(5), "the loop's request", |event| {
            event.request_finished.as_ref().map(|finished| finished.pid)
        })?;
        ensure!(seen == pid, "{seen} was seen instead of {pid}");
    }
    Ok(Attached::Agent(agent))
}

/// The measured process.
struct LoopServer {
    process: Process,
    /// A process that has nothing to do with it: `--pid` watches children too, so it cannot be ours.
    other: Process,
    address: SocketAddr,
    _scratch: Scratch,
}

impl LoopServer {
    fn start() -> Result<Self> {
        let scratch = Scratch::new("loop")?;
        let file = scratch.path().join("port");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--loop-server"]).arg(&file);
        let log = scratch.path().join("log");
        let process = Process::start("loop server", command, StopSignal::Kill, &log)?;
        let port = wait_for(Duration::from_secs(10), "the loop server", || {
            ensure!(
                process.ended().is_none(),
                "it ended: {}",
                process.log_tail()
            );
            Ok(std::fs::read_to_string(&file).ok())
        })?;
        let mut sleeper = Command::new("sleep");
        sleeper.arg("infinity");
        let log = scratch.path().join("other");
        Ok(Self {
            process,
            other: Process::start("sleep", sleeper, StopSignal::Kill, &log)?,
            address: SocketAddr::from(([127, 0, 0, 1], port.parse()?)),
            _scratch: scratch,
        })
    }

    /// Has the loop run and gives ns for each turn.
    fn ask(&self, what: &str, count: u32) -> Result<f64> {
        let response = http::get_once(self.address, &format!("/{what}/{count}"), "loop")?;
        let text = String::from_utf8(response.body)?;
        text.trim()
            .parse()
            .with_context(|| format!("not a figure: {text}"))
    }
}
