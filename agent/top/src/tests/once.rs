//! The output for scripts, compared with files as the screens are.

use std::time::Duration;

use whyslow_proto::v1::WaitTarget;

use super::{
    fixture::{model, model_of, peer, snapshot, with_losses},
    screens::{assert_harmless, compare, hostile},
};
use crate::{
    Options, Pane,
    client::{Snapshot, Update},
    model::Model,
    script,
};

#[test]
fn once_as_text() {
    compare("once_100.txt", &script::text(&model(), Some(100)));
    compare(
        "once_60.txt",
        &script::text(&model_of(with_losses(snapshot())), Some(60)),
    );
    compare(
        "once_empty_100.txt",
        &script::text(&model_of(Snapshot::default()), Some(100)),
    );
    for line in script::text(&model(), Some(100)).lines() {
        assert!(crate::text::width(line) <= 100, "{line}");
    }
}

#[test]
fn nothing_is_cut_where_there_is_no_terminal() {
    let mut wide = snapshot();
    let long = format!("select {} from item", "a_long_column, ".repeat(12));
    wide.shapes.shapes[1].shape.clone_from(&long);
    wide.in_flight.requests[1].wait_target = Some(WaitTarget {
        target: Some(peer("db")),
    });
    let text = script::text(&model_of(wide), None);
    assert!(text.contains(&long) && text.contains("lock.file db "));
    assert!(!text.contains('…'), "{text}");
    compare("once_uncut.txt", &text);
    assert_harmless(&script::text(&model_of(hostile()), None));
}

#[test]
fn once_shows_the_pane_that_was_chosen() {
    let of = |pane| {
        let options = Options {
            pane,
            ..Options::default()
        };
        let mut model = Model::new("local", &options, Duration::ZERO);
        model.apply(Update::Snapshot(Box::new(snapshot())), Duration::ZERO);
        script::text(&model, Some(100))
    };
    let titles = [
        "In flight: ",
        "Routes: ",
        "Workers: ",
        "Shapes: ",
        "Programs: ",
        "Listeners: ",
    ];
    for (pane, wanted) in Pane::ALL.into_iter().zip([31, 1, 2, 4, 8, 16]) {
        let text = of(pane);
        let found = titles.map(|title| text.lines().any(|line| line.starts_with(title)));
        let found = (0..5).filter(|n| found[*n]).map(|n| 1 << n);
        assert_eq!(found.sum::<u32>(), wanted, "{pane}:\n{text}");
    }
}

#[test]
fn once_as_json() {
    let line = script::json_line(Some(&with_losses(snapshot())));
    assert_eq!(line.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "inFlight",
            "info",
            "listeners",
            "programs",
            "routes",
            "shapes",
            "workers"
        ]
    );
    assert_eq!(value["inFlight"]["requests"][0]["ageNs"], "12400000000");
    assert_eq!(
        value["routes"]["routes"][0]["ledger"][0]["account"],
        "net.upstream"
    );
    assert_eq!(value["workers"]["workers"][1]["waitText"], "127.0.0.1:5432");
    assert_eq!(value["shapes"]["shapes"][0]["count"], "34780");
    let operations = &value["inFlight"]["requests"][0]["operations"];
    assert_eq!(operations[0]["repeated"], true);
    assert_eq!(value["info"]["losses"][1]["count"], "12345");
}
