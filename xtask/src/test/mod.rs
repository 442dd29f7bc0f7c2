//! `cargo xtask test`: everything that shows that the project is sound, and an honest account of
//! what was not shown.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

mod counts;
mod parts;
mod tee;

pub(crate) use counts::{Counts, Skip};
use parts::{PARTS, Part};

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --only unit\n  \
    cargo xtask test --skip vm --why 'no emulator on this machine'\n\n\
    Ends with a table: passed, failed, skipped and time of each part, the reason of each skip, and \
    the sums in the\nlast line. The exit status is 0 only when nothing failed."
)]
pub(crate) struct Args {
    /// Run only this part (may be given again); the others count as skipped
    #[arg(long, value_name = "PART", value_parser = part_names())]
    only: Vec<String>,

    /// Leave out this part (may be given again), for the reason in --why
    #[arg(long, value_name = "PART", value_parser = part_names(), requires = "why")]
    skip: Vec<String>,

    /// Why the parts are left out; it is shown in the table
    #[arg(long, value_name = "REASON", requires = "skip")]
    why: Option<String>,
}

fn part_names() -> clap::builder::PossibleValuesParser {
    PARTS
        .iter()
        .map(|part| part.name)
        .collect::<Vec<_>>()
        .into()
}

/// A part that ended, or did not run.
struct Row {
    part: &'static Part,
    counts: Counts,
    time: Duration,
}

impl Row {
    fn failed(&self) -> bool {
        self.counts.failed > 0
    }
}

/// Runs the parts and prints the table.
///
/// # Errors
/// When anything failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for part in PARTS {
        let reason = left_out(args, part).or_else(|| unmet(part, &rows));
        let started = Instant::now();
        let counts = match reason {
            Some(reason) => Counts::one_skipped(part.name, &reason),
            None => run_part(part),
        };
        rows.push(Row {
            part,
            counts,
            time: started.elapsed(),
        });
    }
    let total = total(&rows);
    print!("{}", table(&rows, &total));
    if total.failed > 0 {
        let failed: Vec<&str> = rows
            .iter()
            .filter(|row| row.failed())
            .map(|row| row.part.name)
            .collect();
        bail!(
            "failed: {}\nhint: cargo xtask test --only {}",
            failed.join(", "),
            failed[0]
        );
    }
    ensure!(total.passed > 0, "nothing ran");
    Ok(())
}

fn run_part(part: &Part) -> Counts {
    println!("\n== {}: {}", part.name, part.what);
    (part.run)().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Counts::one_failed()
    })
}

/// Why the options leave a part out.
fn left_out(args: &Args, part: &Part) -> Option<String> {
    let named = |names: &[String]| names.iter().any(|name| name == part.name);
    if named(&args.skip) {
        return Some(format!(
            "--skip: {}",
            args.why.as_deref().unwrap_or_default()
        ));
    }
    (!args.only.is_empty() && !named(&args.only)).then(|| format!("--only {}", args.only.join(",")))
}

/// Why a part cannot run after what happened before it. A part that was left out on purpose does
/// not stop others: it may have been done before.
fn unmet(part: &Part, before: &[Row]) -> Option<String> {
    let failed = before
        .iter()
        .find(|row| row.failed() && part.needs.contains(&row.part.name));
    failed.map(|row| format!("{} failed", row.part.name))
}

fn total(rows: &[Row]) -> Counts {
    let mut total = Counts::default();
    for row in rows {
        total.add(&row.counts);
    }
    total
}

/// The table, the reasons of all skips, and the sums.
fn table(rows: &[Row], total: &Counts) -> String {
    let mut text = format!(
        "\n{:<10} {:>7} {:>7} {:>7} {:>9}\n",
        "part", "passed", "failed", "skipped", "time"
    );
    for row in rows {
        let (counts, time) = (&row.counts, row.time.as_secs_f64());
        let skipped = counts.skips.len();
        text += &format!(
            "{:<10} {:>7} {:>7} {skipped:>7} {time:>7.1} s\n",
            row.part.name, counts.passed, counts.failed,
        );
    }
    for Skip { name, reason } in &total.skips {
        text += &format!("skipped {name}: {reason}\n");
    }
    let skipped = total.skips.len();
    text + &format!(
        "{} passed, {} failed, {skipped} skipped\n",
        total.passed, total.failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(only: &[&str], skip: &[&str]) -> Args {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Args {
            only: owned(only),
            skip: owned(skip),
            why: Some("no kernel here".to_owned()),
        }
    }

    fn row(index: usize, counts: Counts) -> Row {
        Row {
            part: &PARTS[index],
            counts,
            time: Duration::from_millis(1500),
        }
    }

    #[test]
    fn options_leave_parts_out_with_a_reason() {
        let part = &PARTS[0];
        assert_eq!(left_out(&args(&[], &[]), part), None);
        assert_eq!(left_out(&args(&[part.name], &[]), part), None);
        assert_eq!(
            left_out(&args(&["live"], &[]), part).as_deref(),
            Some("--only live")
        );
        let reason = left_out(&args(&[], &[part.name]), part);
        assert_eq!(reason.as_deref(), Some("--skip: no kernel here"));
    }

    #[test]
    fn a_failure_stops_only_what_needs_it() {
        let before = [row(0, Counts::one_failed())];
        let needs_it = PARTS
            .iter()
            .find(|part| part.needs.contains(&PARTS[0].name))
            .expect("one");
        let free = PARTS
            .iter()
            .skip(1)
            .find(|part| part.needs.is_empty())
            .expect("one");
        assert_eq!(unmet(needs_it, &before).as_deref(), Some("setup failed"));
        assert_eq!(unmet(free, &before), None);
    }

    #[test]
    fn the_table_ends_with_the_sums_and_has_every_reason() {
        let rows = [
            row(
                0,
                Counts {
                    passed: 3,
                    failed: 0,
                    skips: vec![],
                },
            ),
            row(
                1,
                Counts {
                    passed: 2,
                    failed: 1,
                    ..Counts::one_skipped("x", "no root")
                },
            ),
        ];
        let text = table(&rows, &total(&rows));
        assert!(text.contains("skipped x: no root\n"), "{text}");
        assert!(text.ends_with("5 passed, 1 failed, 1 skipped\n"), "{text}");
    }
}
