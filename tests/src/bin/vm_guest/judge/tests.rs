//! Each judgement passes on good evidence, and fails on evidence that is bad in its own way: a
//! check that cannot fail is worth nothing.

use serde_json::json;

use super::*;

fn asked(target: &str, pid: u32, waited_ns: Option<u64>) -> Asked {
    Asked {
        target: target.to_owned(),
        status: 200,
        pid: Some(pid),
        waited_ns,
    }
}

fn finished(target: &str, pid: u32, ledger: &[(&str, u64)]) -> Value {
    let wall: u64 = ledger.iter().map(|(_, ns)| ns).sum();
    let entries: Vec<Value> = ledger
        .iter()
        .map(|(account, ns)| json!({ "account": account, "ns": ns.to_string(), "count": "1" }))
        .collect();
    json!({ "requestFinished": {
        "target": target, "status": 200, "pid": pid, "binding": "thread",
        "wallNs": wall.to_string(), "ledger": entries,
    } })
}

/// Evidence of a run in which everything is as it must be.
fn good() -> Evidence {
    let sleeps = [("/sleep", 30_000_000_u64, 29_000_000_u64); TIMES];
    let mut events = vec![
        json!({ "agentStatus": {} }),
        finished("/keep/0", 11, &[("cpu", 400), ("run_queue", 100)]),
        json!({ "workerStarted": { "pid": 13, "reason": "forked" } }),
        finished("/after/0", 13, &[("cpu", 500)]),
        json!({ "requestFinished": {
            "target": "/hang", "pid": 12, "endReason": "process_ended", "binding": "thread",
            "wallNs": "70", "ledger": [{ "account": "sleep", "ns": "70" }], "requestId": "ab",
        } }),
        json!({ "workerEnded": {
            "pid": 12, "tid": 12, "processEnded": true, "signal": 9, "senderPid": 1, "requestId": "ab",
        } }),
    ];
    events.extend(sleeps.iter().map(|(target, measured, own)| {
        finished(
            target,
            11,
            &[("sleep", *own), ("cpu", measured - own + 5_000)],
        )
    }));
    let waits = sleeps
        .iter()
        .map(|(target, measured, _)| asked(target, 11, Some(*measured)));
    let replaced = asked("/after/0", 13, Some(0));
    let mut features: Vec<&str> = PROBES.iter().map(|probe| probe.feature).collect();
    features.sort_unstable();
    features.dedup();
    let kernel = json!({ "name": "kernel", "available": true, "reason": "6.12.30-amd64" });
    let features = features
        .iter()
        .map(|name| json!({ "name": name, "available": true }));
    let features: Vec<Value> = features.chain([kernel]).collect();
    Evidence {
        keep_alive: vec![asked("/keep/0", 11, Some(0))],
        closing: vec![replaced.clone()],
        waits: waits.collect(),
        killed: Some(12),
        replaced: Some(replaced),
        events: Some(events),
        doctor: Some(json!(features)),
        programs: PROBES
            .iter()
            .map(|probe| Program {
                name: probe.name.chars().take(NAME_LENGTH).collect(),
                runs: 3,
                misses: 0,
                verified: 9,
            })
            .collect(),
        left_by_stop: Some(Inventory::new()),
        left_by_kill: Some(Inventory::new()),
        complaints: Some(Vec::new()),
        ..Evidence::default()
    }
}

/// What a judgement says after the event with this target or kind was changed.
fn after(judgement: Judgement, pick: &str, change: impl Fn(&mut Value)) -> Result<String> {
    let mut evidence = good();
    let events = evidence.events.as_mut().unwrap();
    let mut changed = 0;
    for event in events {
        for body in ["requestFinished", "workerEnded", "workerStarted"] {
            if event[body]["target"] == pick || (body == pick && !event[body].is_null()) {
                change(&mut event[body]);
                changed += 1;
            }
        }
    }
    assert!(changed > 0, "nothing was changed");
    judgement(&evidence)
}

#[test]
fn good_evidence_passes() {
    let evidence = good();
    for judgement in [
        scene,
        features,
        only_what_was_asked,
        sums,
        bindings,
        killed_worker,
        successor,
        no_loss,
        clean_log,
    ] {
        judgement(&evidence).unwrap();
    }
    requests(&evidence, &evidence.keep_alive).unwrap();
    requests(&evidence, &evidence.waits).unwrap();
    account(&evidence, "/sleep", "sleep").unwrap();
    nothing_left(evidence.left_by_stop.as_ref()).unwrap();
    for probe in PROBES {
        hit(&evidence, probe).unwrap();
    }
}

#[test]
fn no_evidence_passes_nothing() {
    let nothing = Evidence {
        broken: Some("it did not boot".to_owned()),
        ..Evidence::default()
    };
    let judged = judge(&nothing);
    assert_eq!(
        judged
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>(),
        names()
    );
    for (name, result) in judged {
        assert!(result.is_err(), "{name} passed: {result:?}");
    }
}

#[test]
fn names_are_unique_so_that_the_host_can_match_them() {
    let mut all = names();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), names().len());
}

#[test]
fn a_missed_a_doubled_and_a_changed_request_fail() {
    let keep: Judgement = |e| requests(e, &e.keep_alive);
    assert!(after(keep, "/keep/0", |r| *r = Value::Null).is_err());
    assert!(after(keep, "/keep/0", |r| r["status"] = json!(500)).is_err());
    assert!(after(keep, "/keep/0", |r| r["pid"] = json!(99)).is_err());
    assert!(
        after(keep, "/after/0", |r| {
            r["target"] = json!("/keep/0");
            r["pid"] = json!(11);
        })
        .is_err()
    );
    assert!(
        after(only_what_was_asked, "/keep/0", |r| r["target"] =
            json!("/made/up"))
        .is_err()
    );
    assert!(after(only_what_was_asked, "/keep/0", |r| *r = Value::Null).is_err());
}

#[test]
fn a_ledger_that_does_not_add_up_or_has_the_wrong_account_fails() {
    assert!(after(sums, "/keep/0", |r| r["wallNs"] = json!("600")).is_err());
    assert!(after(sums, "/keep/0", |r| r["ledger"] = json!([])).is_err());
    assert!(after(bindings, "/keep/0", |r| r["binding"] = json!("shared")).is_err());
    let sleep: Judgement = |e| account(e, "/sleep", "sleep");
    let renamed = |r: &mut Value| r["ledger"][0]["account"] = json!("unexplained");
    assert!(after(sleep, "/sleep", renamed).is_err());
    assert!(
        after(sleep, "/sleep", |r| r["ledger"][0]["ns"] =
            json!("31000000"))
        .is_err()
    );
    assert!(
        after(sleep, "/sleep", |r| r["ledger"][0]["ns"] =
            json!("20000000"))
        .is_err()
    );
}

#[test]
fn a_killed_worker_that_is_told_wrong_fails() {
    assert!(after(killed_worker, "workerEnded", |w| w["signal"] = json!(15)).is_err());
    assert!(after(killed_worker, "workerEnded", |w| w["senderPid"] = json!(0)).is_err());
    assert!(after(killed_worker, "workerEnded", |w| w["requestId"] = json!("")).is_err());
    assert!(after(killed_worker, "workerEnded", |w| *w = Value::Null).is_err());
    assert!(after(killed_worker, "/hang", |r| r["status"] = json!(200)).is_err());
    assert!(
        after(successor, "workerStarted", |w| w["reason"] =
            json!("discovered"))
        .is_err()
    );
    assert!(after(successor, "/after/0", |r| *r = Value::Null).is_err());
}

#[test]
fn a_program_that_never_ran_or_a_feature_that_is_off_fails() {
    let mut evidence = good();
    evidence
        .programs
        .iter_mut()
        .for_each(|program| program.runs = 0);
    for probe in PROBES.iter().filter(|probe| !by_feature(probe)) {
        assert!(hit(&evidence, probe).is_err(), "{}", probe.name);
    }
    for index in 0..evidence.doctor.as_ref().unwrap().as_array().unwrap().len() {
        let mut evidence = good();
        evidence.doctor.as_mut().unwrap()[index]["available"] = json!(false);
        assert!(features(&evidence).is_err(), "{index}");
    }
}

#[test]
fn loss_leftovers_and_kernel_complaints_fail() {
    let mut evidence = good();
    let loss = json!({ "loss": { "reason": "ring_full", "count": "2" } });
    evidence.events.as_mut().unwrap().push(loss);
    evidence.complaints = Some(vec!["WARNING: CPU: 0".to_owned()]);
    assert!(no_loss(&evidence).is_err());
    assert!(clean_log(&evidence).is_err());
    let left = Inventory::from([("program", 7)]);
    assert!(nothing_left(Some(&left)).is_err());
}
