//! The tasks of the project: `cargo xtask <task>`.
//!
//! This file only names the tasks; each lives in its own module. A task prints what it does,
//! and its last line on failure says what to do next.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod demo;
mod ebpf;
mod place;
mod run;
mod setup;
mod test;
mod vm;

/// Builds, tests, demonstrates and measures whyslow.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what building, testing and the demo need
    Setup(setup::Args),
    /// Compile and link the eBPF programs
    BuildEbpf(ebpf::Args),
    /// Build the program with the eBPF objects in it, at target/release/whyslow
    Build(build::Args),
    /// Copy the built program to PREFIX/bin
    Install(build::InstallArgs),
    /// Start a real application under load and open the live view on it (as root)
    Demo(demo::Args),
    /// Set up and check everything: format, lints, unit, live and virtual machine tests
    Test(test::Args),
    /// Measure what watching costs
    Bench(bench::Args),
    /// Boot other kernels in QEMU and check there that every program loads and is hit
    VmTest(vm::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Setup(args) => setup::run(&args),
        Task::BuildEbpf(args) => ebpf::run(&args),
        Task::Build(args) => build::run(&args),
        Task::Install(args) => build::install(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(args),
        Task::VmTest(args) => vm::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
