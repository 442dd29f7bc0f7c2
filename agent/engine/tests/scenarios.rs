//! Scenario files: what threads do, and the requests, losses and commands that must come out.
//!
//! Each file is run twice: on the records as they are, and on redacted ones, which must give the
//! same outputs. In each, every finished request was started before, and the accounts of a request
//! that one thread served add up to its wall time to the nanosecond.
#![expect(
    clippy::panic,
    reason = "test code outside of a #[test] function; one line per field that can be expected"
)]

mod scenario;
mod support;

use std::{collections::BTreeMap, path::Path};

use scenario::{
    bindings::check_stalls,
    check::{check_finished, check_invariants},
    model::Scenario,
    run::Run,
};

fn run(name: &str, text: &str) {
    let scenario: Scenario = toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut plain = Run::new(&scenario, false);
    let mut redacted = Run::new(&scenario, true);
    for run in [&mut plain, &mut redacted] {
        for step in &scenario.step {
            run.step(step);
        }
        check_invariants(name, run);
    }
    if !scenario.show_query {
        for (index, (a, b)) in plain.outputs.iter().zip(&redacted.outputs).enumerate() {
            assert_eq!(a, b, "{name}: output {index} differs when redacted");
        }
        assert_eq!(plain.outputs.len(), redacted.outputs.len(), "{name}");
    }
    let finished = plain.finished();
    assert_eq!(
        finished.len(),
        scenario.finished.len(),
        "{name}: finished: {finished:#?}"
    );
    for (index, (want, got)) in scenario.finished.iter().zip(&finished).enumerate() {
        check_finished(name, index, want, got);
    }
    check_stalls(name, &scenario.stalled, &plain);
    let ended = plain.ended();
    assert_eq!(ended.len(), scenario.ended.len(), "{name}: {ended:#?}");
    for (want, got) in scenario.ended.iter().zip(&ended) {
        assert_eq!(
            (
                want.pid,
                want.signal,
                want.sender,
                want.process,
                want.request
            ),
            (
                got.pid,
                got.signal,
                got.sender_pid,
                got.process_ended,
                got.request.is_some()
            ),
            "{name}"
        );
    }
    let losses: BTreeMap<String, u64> = plain
        .engine
        .losses()
        .into_iter()
        .map(|(reason, count)| (reason.to_owned(), count))
        .collect();
    assert_eq!(losses, scenario.losses, "{name}: losses");
    assert_eq!(plain.commands(), scenario.commands, "{name}: commands");
    let in_flight = plain.engine.stats().in_flight as usize;
    assert_eq!(in_flight, scenario.in_flight, "{name}: in flight");
}

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    #[expect(
        clippy::disallowed_methods,
        reason = "the test reads its files; the engine does not"
    )]
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "scenario files are missing");
    let failed: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let text = read(path);
            std::panic::catch_unwind(|| run(&name, &text))
                .err()
                .map(|_| name)
        })
        .collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}
