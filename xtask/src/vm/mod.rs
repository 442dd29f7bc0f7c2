//! `cargo xtask vm-test`: other kernels.
//!
//! Boots each kernel of the table in QEMU, with the agent and a guest program in the initramfs.
//! The guest starts web servers and the agent, asks requests, and tells over a serial port what
//! it saw. A run counts as passed only when the machine left with the one status that says so,
//! every planned test was reported, and none failed. What cannot run on this machine is a skip
//! with its reason, and never counts as passed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{build, place, run as command};

mod apt;
mod cpio;
mod image;
mod kernel;
mod qemu;
mod report;

use kernel::Kernel;
use qemu::{End, Machine};
use report::{Outcome, Report};

/// Lines of the kernel log shown for a failed run.
const LOG_TAIL: usize = 40;

/// Memory of the machine, MiB. The initramfs takes its size twice while it is unpacked.
const MEMORY_MIB: u32 = 768;

/// Options of `cargo xtask vm-test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernels to boot, such as 6.1; all of the table by default
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    kernel: Vec<String>,

    /// Keep the initramfs and the logs, also of a run that passed
    #[arg(long)]
    keep: bool,

    /// Seconds after which a machine is stopped, and has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,

    /// Binary to test, instead of the one that is built for it
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// What they expect was seen.
    pub(crate) passed: usize,
    /// It was not, or the run as a whole is in doubt.
    pub(crate) failed: usize,
    /// Could not run. A kernel that could not be booted at all counts as one.
    pub(crate) skipped: usize,
}

/// Boots the kernels and checks every program there.
///
/// # Errors
/// A test failed, or the parts could not be built.
pub(crate) fn run(args: Args) -> Result<()> {
    let summary = run_kernels(&args)?;
    if summary.failed > 0 {
        bail!(
            "{} of the tests in virtual machines failed\nhint: `cargo xtask vm-test --keep` keeps \
             the logs",
            summary.failed
        );
    }
    Ok(())
}

/// The same, with the counts over all kernels instead of an error for failed tests.
///
/// # Errors
/// An unknown kernel, or the parts could not be built.
pub(crate) fn run_kernels(args: &Args) -> Result<Summary> {
    let kernels = kernel::select(&args.kernel)?;
    let mut total = Summary::default();
    for kernel in kernels {
        let summary = match prepare(&kernel, args)? {
            Ok(image) => boot(&kernel, &image, args)?,
            Err(reason) => skip(kernel.key, &reason),
        };
        println!(
            "vm {}: {} passed, {} failed, {} skipped",
            kernel.key, summary.passed, summary.failed, summary.skipped
        );
        total.passed += summary.passed;
        total.failed += summary.failed;
        total.skipped += summary.skipped;
    }
    Ok(total)
}

/// Tells why a kernel is not booted. Never a pass.
fn skip(key: &str, reason: &str) -> Summary {
    println!("SKIPPED vm {key}: {reason}");
    Summary {
        skipped: 1,
        ..Summary::default()
    }
}

/// Path of the kernel image, or the reason why there can be no run on this machine.
fn prepare(kernel: &Kernel, args: &Args) -> Result<Result<PathBuf, String>> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Err("guests are x86-64, this machine is not".to_owned()));
    }
    if let Some(binary) = &args.binary
        && !binary.is_file()
    {
        bail!(
            "no file {}\nhint: --binary takes a built whyslow",
            binary.display()
        );
    }
    if let Err(error) = tools() {
        return Ok(Err(one_line(&error)));
    }
    let cache = place::target().join("vm/kernels");
    Ok(kernel.fetch(&cache).map_err(|error| one_line(&error)))
}

/// The emulator and the parts of the initramfs that are not built here.
fn tools() -> Result<()> {
    if command::find_program(qemu::PROGRAM).is_none() {
        bail!("no {}; hint: cargo xtask setup", qemu::PROGRAM);
    }
    image::check_busybox()
}

/// Boots one kernel, prints what came of it, and counts.
fn boot(kernel: &Kernel, image: &Path, args: &Args) -> Result<Summary> {
    let target = place::target();
    let guest = image::build_guest(&target)?;
    let whyslow = match &args.binary {
        Some(path) => path.clone(),
        None => build::build("release")?,
    };
    let folder = target.join("vm").join(format!("run-{}", kernel.key));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let machine = Machine {
        kernel: image,
        folder: &folder,
        memory_mib: MEMORY_MIB,
        timeout: Duration::from_secs(args.timeout),
    };
    let size = image::write(&guest, &whyslow, &folder, &machine.initramfs())?;
    let started = Instant::now();
    let end = machine.run()?;
    let records = fs::read(machine.records())?;
    let report = report::parse(&String::from_utf8_lossy(&records));
    println!(
        "vm {}: ran {:.1} s, initramfs {} MiB",
        kernel.key,
        started.elapsed().as_secs_f64(),
        size >> 20
    );
    let summary = conclude(kernel.key, &report, end);
    if summary.failed > 0 {
        print_logs(kernel.key, &report, &machine.console());
        for place in machine.stopped_at() {
            println!("vm {}: | processor: {place}", kernel.key);
        }
    }
    if args.keep || summary.failed > 0 {
        println!("vm {}: logs are kept in {}", kernel.key, folder.display());
    } else {
        fs::remove_dir_all(&folder)?;
    }
    Ok(summary)
}

/// Prints each test, and whatever else is wrong as one more failure each.
fn conclude(key: &str, report: &Report, end: End) -> Summary {
    let mut summary = Summary::default();
    for test in &report.tests {
        let word = match test.outcome {
            Outcome::Passed => {
                summary.passed += 1;
                "ok"
            }
            Outcome::Failed => {
                summary.failed += 1;
                "FAILED"
            }
            Outcome::Skipped => {
                summary.skipped += 1;
                "skipped"
            }
        };
        let detail = if test.detail.is_empty() {
            ""
        } else {
            &format!(" ({})", test.detail)
        };
        println!("vm {key}: {} ... {word}{detail}", test.name);
    }
    let mut faults = report.faults.clone();
    match end {
        End::Passed if summary.failed == 0 => {}
        End::Passed => faults.push("the machine says passed, its tests do not".to_owned()),
        // The guest's own way to say that a test failed; told above.
        End::Status(Some(35)) if summary.failed > 0 => {}
        End::Status(Some(status)) => faults.push(format!("the machine left with status {status}")),
        End::Status(None) => faults.push("the emulator was killed".to_owned()),
        End::Timeout => faults.push("stopped: it did not end in time".to_owned()),
    }
    for fault in &faults {
        println!("vm {key}: run ... FAILED ({fault})");
    }
    summary.failed += faults.len();
    summary
}

/// What helps to see why.
fn print_logs(key: &str, report: &Report, console: &Path) {
    for line in &report.logs {
        println!("vm {key}: | {line}");
    }
    let log = fs::read(console).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_TAIL)..] {
        println!("vm {key}: | kernel: {}", line.trim_end());
    }
}

/// An error and its causes on one line.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        report::parse(text)
    }

    const GOOD: &str = "{\"kind\":\"plan\",\"tests\":[\"a\"]}\n\
        {\"kind\":\"test\",\"name\":\"a\",\"outcome\":\"passed\"}\n{\"kind\":\"end\",\"tests\":1}";
    const BAD: &str = "{\"kind\":\"plan\",\"tests\":[\"a\"]}\n\
        {\"kind\":\"test\",\"name\":\"a\",\"outcome\":\"failed\"}\n{\"kind\":\"end\",\"tests\":1}";

    #[test]
    fn only_status_33_with_a_whole_report_passes() {
        let passed = Summary {
            passed: 1,
            failed: 0,
            skipped: 0,
        };
        assert_eq!(conclude("x", &report(GOOD), End::Passed), passed);
        for end in [
            End::Status(Some(0)),
            End::Status(Some(35)),
            End::Status(None),
            End::Timeout,
        ] {
            assert_eq!(conclude("x", &report(GOOD), end).failed, 1, "{end:?}");
        }
        assert!(conclude("x", &report(""), End::Passed).failed > 0);
    }

    #[test]
    fn a_failed_test_fails_whatever_the_status_says() {
        assert_eq!(conclude("x", &report(BAD), End::Status(Some(35))).failed, 1);
        assert_eq!(conclude("x", &report(BAD), End::Passed).failed, 2);
        assert_eq!(conclude("x", &report(BAD), End::Status(Some(0))).failed, 2);
    }

    #[test]
    fn an_unknown_kernel_is_refused() {
        let args = Args {
            kernel: vec!["0.99".to_owned()],
            keep: false,
            timeout: 1,
            binary: None,
        };
        assert!(run_kernels(&args).is_err());
    }

    #[test]
    fn what_cannot_run_is_one_skip_and_no_pass() {
        let skipped = Summary {
            skipped: 1,
            ..Summary::default()
        };
        assert_eq!(skip("x", "no emulator"), skipped);
    }
}
