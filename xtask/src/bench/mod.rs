//! `cargo xtask bench`: what watching costs, as ratios within one run.
//!
//! A benchmark, not a test: nothing here passes or fails. Variants take turns in every round, because the
//! machine's own noise is larger than what is measured; each figure is a median with its range. Goals are in
//! the README, measured figures belong to the machine that printed them.

mod application;
mod empty;
mod itself;
mod loop_server;
mod own_time;
mod ratio;
mod syscalls;
mod table;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{bpf, live, wait::wait_for};

use table::Table;

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON, one object per figure
    #[arg(long)]
    json: bool,
    /// Fewer and shorter rounds: shows that it works, not what it costs
    #[arg(long)]
    quick: bool,
    /// Only these cases
    #[arg(long, value_parser = case_names())]
    case: Vec<String>,
    /// Serve the measured loop; the benchmark starts itself like this
    #[arg(long, hide = true, value_name = "FILE")]
    loop_server: Option<PathBuf>,
}

/// What a case needs to know.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The agent's program.
    binary: PathBuf,
    /// Fewer and shorter rounds.
    quick: bool,
}

/// A way to run the agent.
struct Mode {
    /// For a person.
    name: &'static str,
    /// Its options.
    arguments: &'static [&'static str],
}

const MODES: &[Mode] = &[
    Mode {
        name: "agent",
        arguments: &[],
    },
    Mode {
        name: "agent --operations",
        arguments: &["--operations"],
    },
];

/// Names of the programs on hot hooks, ours and the empty ones.
const HOOKS: &[&str] = &["sys_exit", "sched_switch", "sched_waking"];

/// The kernel frees programs within this time after their process has ended.
const FREED_WITHIN: Duration = Duration::from_secs(5);

/// One case.
struct Case {
    name: &'static str,
    run: fn(&Bench, &mut Table) -> Result<()>,
}

const CASES: &[Case] = &[
    Case {
        name: "syscall",
        run: syscalls::system_calls,
    },
    Case {
        name: "switch",
        run: syscalls::context_switches,
    },
    Case {
        name: "own-time",
        run: own_time::run,
    },
    Case {
        name: "django",
        run: ratio::django,
    },
    Case {
        name: "cache",
        run: ratio::cache,
    },
    Case {
        name: "agent",
        run: itself::run,
    },
];

fn case_names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}

/// Measures and prints.
///
/// # Errors
/// When the program is not built, for want of root, or when a case cannot be measured; the others are.
pub(crate) fn run(args: Args) -> Result<()> {
    if let Some(file) = args.loop_server {
        return loop_server::serve(&file);
    }
    let binary = live::binary();
    ensure!(
        live::is_root(),
        "eBPF programs need root\nhint: run it as root"
    );
    ensure!(
        binary.is_file(),
        "{} is missing\nhint: cargo xtask build",
        binary.display()
    );
    hooks_are_free()?;
    let bench = Bench {
        binary,
        quick: args.quick,
    };
    let mut table = Table::default();
    let mut failed = Vec::new();
    for case in CASES {
        if !args.case.is_empty() && !args.case.iter().any(|name| name == case.name) {
            continue;
        }
        eprintln!("measuring {} ...", case.name);
        if let Err(error) = (case.run)(&bench, &mut table) {
            eprintln!("{}: {error:#}", case.name);
            failed.push(case.name);
        }
    }
    if args.json {
        table.print_json()?;
    } else {
        table.print();
    }
    ensure!(
        failed.is_empty(),
        "not measured: {}\nhint: the reasons stand above",
        failed.join(", ")
    );
    Ok(())
}

/// Waits a moment until no program is on the hooks: the kernel frees those of an agent that has just ended
/// a little later.
fn hooks_are_free() -> Result<()> {
    let free = wait_for(FREED_WITHIN, "the hooks to be free", || {
        let strangers = bpf::loaded(|name| HOOKS.contains(&name))?;
        Ok(strangers.is_empty().then_some(()))
    });
    free.context(
        "programs are on the hooks already: the figures would hold them too\n\
         hint: end the other agent (pgrep -a whyslow)",
    )
}
