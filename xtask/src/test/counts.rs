//! What `cargo test` printed, counted.
//!
//! The figures are the test runner's own `test result:` lines. A test that could not run says so
//! in a line `SKIPPED <name>: <reason>` and then ends well, so that the runner counts it as
//! passed: here it counts as skipped, and as nothing else.

/// A test that did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// The test, a part of it, or a whole part of the check.
    pub(crate) name: String,
    /// Why it did not run.
    pub(crate) reason: String,
}

/// How the tests of a part ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ran, and what they expect was so.
    pub(crate) passed: usize,
    /// Ran, and it was not; or did not end.
    pub(crate) failed: usize,
    /// Did not run.
    pub(crate) skips: Vec<Skip>,
}

impl Counts {
    /// One check that passed.
    pub(crate) fn one_passed() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// One check that failed.
    pub(crate) fn one_failed() -> Self {
        Self {
            failed: 1,
            ..Self::default()
        }
    }

    /// A part that did not run.
    pub(crate) fn one_skipped(name: &str, reason: &str) -> Self {
        let skip = Skip {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        Self {
            skips: vec![skip],
            ..Self::default()
        }
    }

    /// Adds those of another part.
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skips.extend(other.skips.iter().cloned());
    }
}

/// Reads the lines that `cargo test` printed to both streams. `success` is its exit status: a
/// test program that was killed, or did not compile, leaves no result line, yet it failed.
pub(crate) fn of_cargo_test(lines: &[String], success: bool) -> Counts {
    let mut counts = Counts::default();
    let mut passed_names = Vec::new();
    for line in lines.iter().map(|line| line.trim()) {
        if let Some(result) = line.strip_prefix("test result: ") {
            counts.passed += figure(result, "passed");
            counts.failed += figure(result, "failed");
        } else if let Some((name, outcome)) = test_line(line) {
            match outcome.split_once(',').unwrap_or((outcome, "")) {
                ("ok", _) => passed_names.push(name),
                ("ignored", reason) => counts.skips.push(ignored(name, reason.trim())),
                _ => {}
            }
        }
    }
    for skip in lines.iter().filter_map(|line| skip_line(line.trim())) {
        // A skipped part of a test that ran otherwise is not the test itself.
        if passed_names
            .iter()
            .any(|passed| is_same_test(passed, &skip.name))
        {
            counts.passed = counts.passed.saturating_sub(1);
        }
        counts.skips.push(skip);
    }
    if !success && counts.failed == 0 {
        counts.failed = 1;
    }
    counts
}

/// Reads the lines that `cargo xtask vm-test` printed: one `vm <kernel>: …` per kernel with its
/// figures, and the same lines for skips.
pub(crate) fn of_vm_test(lines: &[String], success: bool) -> Counts {
    let mut counts = Counts::default();
    let mut skipped = 0;
    for line in lines.iter().map(|line| line.trim()) {
        if let Some((_, rest)) = line
            .strip_prefix("vm ")
            .and_then(|line| line.split_once(": "))
        {
            if is_figures(rest) {
                counts.passed += figure(rest, "passed");
                counts.failed += figure(rest, "failed");
                skipped += figure(rest, "skipped");
            } else if let Some((name, detail)) = rest.split_once(" ... skipped") {
                counts
                    .skips
                    .push(ignored(name, detail.trim().trim_matches(['(', ')'])));
            }
        } else if let Some(skip) = skip_line(line) {
            counts.skips.push(skip);
        }
    }
    while counts.skips.len() < skipped {
        counts.skips.push(ignored("vm", ""));
    }
    if !success && counts.failed == 0 {
        counts.failed = 1;
    }
    counts
}

/// Whether this is `<n> passed, <n> failed, <n> skipped` and nothing else.
fn is_figures(text: &str) -> bool {
    let words: Vec<&str> = text
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .collect();
    matches!(words[..], [passed, "passed", failed, "failed", skipped, "skipped"]
        if [passed, failed, skipped].iter().all(|word| word.parse::<usize>().is_ok()))
}

/// The number before a word in `ok. 10 passed; 0 failed; …` or `10 passed, 0 failed, …`.
fn figure(result: &str, word: &str) -> usize {
    let words: Vec<&str> = result
        .split([' ', ',', ';', '.'])
        .filter(|part| !part.is_empty())
        .collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

/// Name and outcome of `test <name> ... <outcome>`.
fn test_line(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.rsplit_once(" ... ")
}

fn skip_line(line: &str) -> Option<Skip> {
    let (name, reason) = line.strip_prefix("SKIPPED ")?.split_once(": ")?;
    Some(Skip {
        name: name.to_owned(),
        reason: reason.to_owned(),
    })
}

fn ignored(name: &str, reason: &str) -> Skip {
    let reason = if reason.is_empty() {
        "ignored, no reason given"
    } else {
        reason
    };
    Skip {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The runner names a test by its whole path, a skip line often by its last part.
fn is_same_test(path: &str, name: &str) -> bool {
    path == name
        || path
            .strip_suffix(name)
            .is_some_and(|rest| rest.ends_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn results_of_several_programs_are_added() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... ok\n\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
            test m::c ... FAILED\n\
            test result: FAILED. 10 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out";
        let counts = of_cargo_test(&lines(output), false);
        assert_eq!(
            counts,
            Counts {
                passed: 12,
                failed: 1,
                skips: vec![]
            }
        );
    }

    #[test]
    fn a_skipped_test_is_not_a_passed_one() {
        let output = "test live::sleep ... ok\ntest live::deep_sleep ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored\nSKIPPED sleep: needs root: really";
        let counts = of_cargo_test(&lines(output), true);
        assert_eq!((counts.passed, counts.failed), (1, 0));
        let expected = Skip {
            name: "sleep".to_owned(),
            reason: "needs root: really".to_owned(),
        };
        assert_eq!(counts.skips, [expected]);
    }

    #[test]
    fn a_skipped_part_of_a_test_leaves_the_test_passed() {
        let output = "test accounts ... ok\ntest result: ok. 1 passed; 0 failed\n\
            SKIPPED accounts/cold_file: the page cache cannot be dropped";
        let counts = of_cargo_test(&lines(output), true);
        assert_eq!((counts.passed, counts.skips.len()), (1, 1));
    }

    #[test]
    fn ignored_tests_are_skips_with_their_reason() {
        let output = "test a ... ignored, takes an hour\ntest b ... ignored\n\
            test result: ok. 0 passed; 0 failed; 2 ignored";
        let counts = of_cargo_test(&lines(output), true);
        let reasons: Vec<&str> = counts
            .skips
            .iter()
            .map(|skip| skip.reason.as_str())
            .collect();
        assert_eq!(reasons, ["takes an hour", "ignored, no reason given"]);
    }

    #[test]
    fn virtual_machines_are_added_and_their_skips_have_reasons() {
        let output = "vm 6.1: slow ... FAILED (9 failed, 9 passed)\n\
            vm 6.1: raw ... skipped (no such tracepoint)\n\
            vm 6.1: 7 passed, 1 failed, 1 skipped\nvm 5.10: 0 passed, 0 failed, 1 skipped\n\
            SKIPPED vm 5.10: no emulator";
        let counts = of_vm_test(&lines(output), false);
        assert_eq!(
            (counts.passed, counts.failed, counts.skips.len()),
            (7, 1, 2)
        );
        let reasons: Vec<&str> = counts
            .skips
            .iter()
            .map(|skip| skip.reason.as_str())
            .collect();
        assert_eq!(reasons, ["no such tracepoint", "no emulator"]);
        assert_eq!(of_vm_test(&[], false).failed, 1);
    }

    #[test]
    fn a_program_that_died_or_did_not_compile_failed() {
        let output = "test result: ok. 3 passed; 0 failed; 0 ignored\nerror: test failed";
        assert_eq!(of_cargo_test(&lines(output), false).failed, 1);
        assert_eq!(of_cargo_test(&[], false).failed, 1);
    }
}
