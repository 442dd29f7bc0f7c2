//! What the guest tells over its second serial port: one JSON object per line.
//!
//! The contract with `tests/src/bin/vm_guest`: first a `plan` with the names of all tests, then
//! one `test` each, last `end`. A run counts only when the plan, a result for every planned test
//! and the end are there: a guest that died early has failed, whatever it said until then.

use serde::Deserialize;

/// One line of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Record {
    /// All tests that will be reported, in this order.
    Plan {
        /// Their names.
        tests: Vec<String>,
    },
    /// A test has ended.
    Test {
        /// Its name, as planned.
        name: String,
        /// How.
        outcome: Outcome,
        /// Why it failed or was skipped; else what was measured. May be empty.
        #[serde(default)]
        detail: String,
    },
    /// A line of a log, kept for the case of a failure.
    Log {
        /// Whose.
        source: String,
        /// The line.
        line: String,
    },
    /// All tests were run.
    End {
        /// How many were reported.
        tests: usize,
    },
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// What it expects was seen.
    Passed,
    /// It was not.
    Failed,
    /// It could not run.
    Skipped,
}

/// One test of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// Name.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why, or what was measured.
    pub(crate) detail: String,
}

/// A whole run of the guest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Tests, as planned; those that were not planned come last, as failures.
    pub(crate) tests: Vec<Test>,
    /// What is wrong with the run as a whole; empty: nothing.
    pub(crate) faults: Vec<String>,
    /// Log lines, with their source.
    pub(crate) logs: Vec<String>,
}

/// Reads all that the guest wrote, which may end anywhere.
pub(crate) fn parse(text: &str) -> Report {
    let mut report = Report::default();
    let mut planned: Option<Vec<String>> = None;
    let mut seen: Vec<Test> = Vec::new();
    let mut end = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match serde_json::from_str(line) {
            Ok(Record::Plan { tests }) if planned.is_none() => planned = Some(tests),
            Ok(Record::Plan { .. }) => report.faults.push("a second plan".to_owned()),
            Ok(Record::Test {
                name,
                outcome,
                detail,
            }) => seen.push(Test {
                name,
                outcome,
                detail,
            }),
            Ok(Record::Log { source, line }) => report.logs.push(format!("{source}: {line}")),
            Ok(Record::End { tests }) => end = Some(tests),
            Err(error) => report
                .faults
                .push(format!("unreadable record ({error}): {line}")),
        }
    }
    match end {
        None => report
            .faults
            .push("the guest did not get to its end".to_owned()),
        Some(count) if count != seen.len() => {
            report.faults.push(format!(
                "the guest told {count} results, {} came",
                seen.len()
            ));
        }
        Some(_) => {}
    }
    match planned {
        None => report
            .faults
            .push("no plan: the guest did not start".to_owned()),
        Some(names) if names.is_empty() => report.faults.push("an empty plan".to_owned()),
        Some(names) => {
            report.tests = names
                .into_iter()
                .map(|name| take(&mut seen, name))
                .collect()
        }
    }
    report.tests.extend(seen.into_iter().map(|test| Test {
        detail: format!(
            "not planned, or told twice; said {:?} {}",
            test.outcome, test.detail
        ),
        outcome: Outcome::Failed,
        name: test.name,
    }));
    report
}

/// The result of the planned test `name`; a missing one is a failure.
fn take(seen: &mut Vec<Test>, name: String) -> Test {
    match seen.iter().position(|test| test.name == name) {
        Some(at) => seen.remove(at),
        None => Test {
            name,
            outcome: Outcome::Failed,
            detail: "no result".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"kind":"plan","tests":["a","b"]}"#;
    const A: &str = r#"{"kind":"test","name":"a","outcome":"passed","detail":"3 of 3"}"#;
    const B: &str = r#"{"kind":"test","name":"b","outcome":"skipped","detail":"no such hook"}"#;
    const END: &str = r#"{"kind":"end","tests":2}"#;

    fn report(lines: &[&str]) -> Report {
        parse(&lines.join("\n"))
    }

    fn outcomes(report: &Report) -> Vec<(&str, Outcome)> {
        report
            .tests
            .iter()
            .map(|test| (test.name.as_str(), test.outcome))
            .collect()
    }

    #[test]
    fn a_whole_run_has_no_faults() {
        let log = r#"{"kind":"log","source":"agent","line":"attached"}"#;
        let report = report(&[PLAN, A, log, B, END]);
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(
            outcomes(&report),
            [("a", Outcome::Passed), ("b", Outcome::Skipped)]
        );
        assert_eq!(report.tests[0].detail, "3 of 3");
        assert_eq!(report.logs, ["agent: attached"]);
    }

    #[test]
    fn a_guest_that_dies_fails_what_is_missing() {
        let report = report(&[PLAN, A]);
        assert_eq!(
            outcomes(&report),
            [("a", Outcome::Passed), ("b", Outcome::Failed)]
        );
        assert_eq!(report.faults, ["the guest did not get to its end"]);
    }

    #[test]
    fn silence_is_a_fault() {
        assert_eq!(
            parse("").faults,
            [
                "the guest did not get to its end",
                "no plan: the guest did not start"
            ]
        );
        let nothing = r#"{"kind":"plan","tests":[]}"#;
        let end = r#"{"kind":"end","tests":0}"#;
        assert_eq!(report(&[nothing, end]).faults, ["an empty plan"]);
    }

    #[test]
    fn a_cut_line_is_a_fault() {
        let report = report(&[PLAN, A, r#"{"kind":"test","name":"b","outc"#]);
        assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
        assert!(
            report.faults[0].starts_with("unreadable record"),
            "{:?}",
            report.faults
        );
    }

    #[test]
    fn a_result_that_was_not_planned_or_came_twice_fails() {
        let end = r#"{"kind":"end","tests":3}"#;
        let report = report(&[PLAN, A, A, B, end]);
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(
            outcomes(&report),
            [
                ("a", Outcome::Passed),
                ("b", Outcome::Skipped),
                ("a", Outcome::Failed)
            ]
        );
    }

    #[test]
    fn an_end_that_does_not_add_up_is_a_fault() {
        let report = report(&[PLAN, A, END]);
        assert_eq!(report.faults, ["the guest told 2 results, 1 came"]);
    }

    #[test]
    fn an_unknown_outcome_is_not_a_pass() {
        let odd = r#"{"kind":"test","name":"a","outcome":"fine"}"#;
        let report = report(&[PLAN, odd, B, END]);
        assert_eq!(report.tests[0].outcome, Outcome::Failed);
        assert!(!report.faults.is_empty());
    }
}
