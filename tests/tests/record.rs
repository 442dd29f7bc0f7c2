//! What was recorded gives the same answers again, without root and elsewhere.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use whyslow_tests::{
    Live, Watch,
    event::{Event, Finished},
    http::Client,
    live,
    live::skipped,
    servers::Scratch,
    truth::Truth,
    wait_for,
};

/// Longest time for a replay of a few hundred requests.
const REPLAY_LIMIT: Duration = Duration::from_secs(30);
/// Longest time until a recorder has loaded its programs.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Requests recorded.
const REQUESTS: usize = 60;

/// Records a small load into `file` and gives the events that the recorder told while it ran: none unless
/// `--json` is among the options.
fn record(live: &Live, file: &Path, options: &[&str]) -> Result<Vec<Event>> {
    let truth = Truth::of("gthread", 1, 4)
        .argument("--keep-alive=75")
        .start()?;
    let mut command = Command::new(&live.binary);
    command.arg("record").arg(file).args(options);
    let recorder = Watch::spawn(command)?;
    wait_for(START_LIMIT, "the recorder to start", || {
        Ok(recorder.stderr().contains("recording to").then_some(()))
    })
    .with_context(|| recorder.stderr())?;
    let mut client = Client::open(truth.address())?;
    let targets = [
        "/sleep?ms=5",
        "/upstream?ms=5",
        "/cpu?ms=2",
        "/children-shell?ms=10",
        "/children-fork?ms=5",
        "/children-background?ms=30",
        "/empty?token=hunter2",
        "/nothing",
    ];
    for number in 0..REQUESTS {
        client.get(targets[number % targets.len()], &format!("key-{number}"))?;
    }
    if options.contains(&"--json") {
        recorder.request(&format!("key-{}", REQUESTS - 1))?;
    }
    recorder.interrupt(REPLAY_LIMIT)
}

/// Whether the recorder can tell its events while it records.
fn tells_events(live: &Live) -> Result<bool> {
    let help = Command::new(&live.binary)
        .args(["record", "--help"])
        .output()?;
    Ok(String::from_utf8_lossy(&help.stdout).contains("--json"))
}

fn replay(live: &Live, file: &Path) -> Result<Vec<Event>> {
    let mut command = Command::new(&live.binary);
    command.arg("replay").arg(file).arg("--json");
    Watch::spawn(command)?.finish(REPLAY_LIMIT)
}

fn by_id(events: &[Event]) -> BTreeMap<String, Finished> {
    events
        .iter()
        .filter_map(|event| event.request_finished.clone())
        .map(|finished| (finished.request_id.clone(), finished))
        .collect()
}

/// A replay gives each finished request as it was told while it was recorded: identity, wall time, ledger,
/// status, and all the rest.
#[test]
fn replay_is_the_same() -> Result<()> {
    let Some(live) = live("record::replay_is_the_same")? else {
        return Ok(());
    };
    let scratch = Scratch::new("record")?;
    let file = scratch.path().join("recording");
    if !tells_events(&live)? {
        skipped(
            "record::replay_is_the_same",
            "`whyslow record` has no --json: there is nothing of the same run to compare the replay with",
        );
        return Ok(());
    }
    let told = by_id(&record(&live, &file, &["--json"])?);
    let again = by_id(&replay(&live, &file)?);
    assert!(told.len() >= REQUESTS, "{} requests only", told.len());
    assert_eq!(
        told.keys().collect::<Vec<_>>(),
        again.keys().collect::<Vec<_>>(),
        "other requests"
    );
    for (id, finished) in &told {
        assert_eq!(finished, &again[id], "request {id}");
    }
    Ok(())
}

/// No secret of a query is in the file.
#[test]
fn recordings_are_redacted() -> Result<()> {
    let Some(live) = live("record::recordings_are_redacted")? else {
        return Ok(());
    };
    let scratch = Scratch::new("record")?;
    let file = scratch.path().join("recording");
    record(&live, &file, &[])?;
    let bytes = fs::read(&file)?;
    assert!(
        whyslow_tests::http::find(&bytes, b"/empty").is_some(),
        "targets are in the file"
    );
    assert!(
        whyslow_tests::http::find(&bytes, b"hunter2").is_none(),
        "a secret is in the file"
    );
    Ok(())
}

/// A recording cut anywhere gives what is whole in it, and an error in one line that says so; never a panic.
#[test]
fn a_truncated_recording() -> Result<()> {
    let Some(live) = live("record::a_truncated_recording")? else {
        return Ok(());
    };
    let scratch = Scratch::new("record")?;
    let file = scratch.path().join("recording");
    record(&live, &file, &[])?;
    let whole = by_id(&replay(&live, &file)?);
    assert!(whole.len() >= REQUESTS, "{} requests only", whole.len());
    let bytes = fs::read(&file)?;
    for percent in [1, 30, 60, 90, 99] {
        let cut = scratch.path().join("cut");
        fs::write(&cut, &bytes[..bytes.len() * percent / 100])?;
        let output = Command::new(&live.binary)
            .arg("replay")
            .arg(&cut)
            .arg("--json")
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let what = format!("{percent} %: {:?} {stderr}", output.status);
        assert!(!stderr.contains("panicked"), "{what}");
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert!(
            stderr
                .trim_end()
                .lines()
                .last()
                .is_some_and(|l| l.starts_with("hint: ")),
            "{what}"
        );
        for line in String::from_utf8(output.stdout)?.lines() {
            let event: Event = serde_json::from_str(line).with_context(|| line.to_owned())?;
            // What was still open at the cut is told too, as far as it is known.
            if let Some(finished) = event.request_finished.filter(|f| f.end_reason != "flushed") {
                assert_eq!(whole.get(&finished.request_id), Some(&finished), "{what}");
            }
        }
    }
    Ok(())
}
