//! Details of a route and of a shape, and the finished requests in them.

use std::time::Duration;

use super::{
    fixture::{
        children, finished_request, model, model_of, of_get, of_report, operation, press, screen,
        snapshot,
    },
    screens::{HOSTILE, assert_harmless, compare_screen, hostile},
};
use crate::{
    client::Update,
    finished::Finished,
    model::{Model, Overlay},
    rows::Key,
};

fn seen(model: &mut Model, finished: Finished) {
    let update = Update::Finished(Box::new(finished));
    model.apply(update, Duration::from_secs(2));
}

#[test]
fn routes_and_their_shapes_on_a_narrow_screen() {
    for (keys, name) in [("2\n", "route"), ("4jj\n", "shape_shared")] {
        let mut model = model();
        press(&mut model, keys);
        compare_screen(&format!("detail_{name}_40x40.txt"), &mut model, (40, 40));
    }
}

#[test]
fn finished_requests_of_a_route() {
    let mut model = model();
    press(&mut model, "2\n");
    seen(&mut model, of_report());
    compare_screen("finished_120x52.txt", &mut model, (120, 52));
    compare_screen("finished_40x52.txt", &mut model, (40, 52));
    press(&mut model, "G");
    compare_screen("finished_80x24.txt", &mut model, (80, 24));
    let mut cut_off = of_report();
    cut_off.missed = 1_200;
    cut_off.trouble = Some("the agent has stopped".to_owned());
    seen(&mut model, cut_off);
    let text = screen(&mut model, (80, 60));
    assert!(text.contains(" open: 5, and up to 1200 too fast to be seen\n"));
    assert!(text.contains(" no more come: the agent has stopped\n"));
}

#[test]
fn finished_requests_of_a_shape_are_ordered_by_the_first_column() {
    let mut model = model();
    press(&mut model, "4jj\n");
    seen(&mut model, of_get());
    compare_screen("finished_shape_80x40.txt", &mut model, (80, 40));
    compare_screen("finished_shape_40x52.txt", &mut model, (40, 52));
}

#[test]
fn a_program_and_the_routes_that_start_it() {
    let mut model = model();
    press(&mut model, "5j\n");
    compare_screen("detail_program_80x24.txt", &mut model, (80, 24));
    compare_screen("detail_program_40x40.txt", &mut model, (40, 40));
}

#[test]
fn children_of_a_request() {
    let mut snapshot = snapshot();
    snapshot.in_flight.requests[0].children = children();
    let mut model = model_of(snapshot);
    press(&mut model, "1\n");
    compare_screen("detail_children_100x40.txt", &mut model, (100, 40));
    compare_screen("detail_children_40x40.txt", &mut model, (40, 40));
    let mut of_report = of_report();
    let mut request = finished_request("/report", "/report", 2_000);
    request.children = children();
    request.children.push(request.children[0].clone());
    of_report.add(request);
    press(&mut model, "\u{1b}2\n");
    seen(&mut model, of_report);
    let text = screen(&mut model, (100, 60));
    assert!(
        text.contains("child python3 helper.py (pid 5002 of 5001) 850 ms status 3\n"),
        "{text}"
    );
    assert!(text.contains("… and 1 more children\n"), "{text}");
}

#[test]
fn a_pipeline_is_no_alarm() {
    let mut snapshot = snapshot();
    let request = &mut snapshot.in_flight.requests[0];
    request.operations[0].round_trips = 2;
    request.operations[0].answers_sampled = true;
    let mut model = model_of(snapshot);
    let list = screen(&mut model, (120, 40));
    assert!(list.contains(" 40+ net.upstream"), "{list}");
    press(&mut model, "1\n");
    let text = screen(&mut model, (100, 40));
    assert!(!text.contains("N+1"), "{text}");
    let row = "      37   128 ms 20.0 ms     0+ postgresql in 2 round trips: select";
    assert!(text.contains(row), "{text}");
}

#[test]
fn operations_that_are_open_count() {
    let mut snapshot = snapshot();
    let request = &mut snapshot.in_flight.requests[0];
    (request.operations, request.shapes_left_out) = (Vec::new(), 0);
    let open = request.open_operations[0].clone();
    let mut one = model_of(snapshot.clone());
    let list = screen(&mut one, (120, 40));
    assert!(list.contains(" 1 net.upstream"), "{list}");
    snapshot.in_flight.requests[0].open_operations = vec![open; 8];
    let list = screen(&mut model_of(snapshot), (120, 40));
    assert!(list.contains(" 8+ net.upstream"), "{list}");
}

#[test]
fn finished_requests_of_another_row_are_not_shown() {
    let mut model = model();
    press(&mut model, "2j\n");
    press(&mut model, "\x1bj\n");
    seen(&mut model, of_report());
    assert!(screen(&mut model, (80, 60)).contains(" open: none yet\n"));
}

#[test]
fn they_stand_still_as_all_else_does() {
    let mut model = model();
    press(&mut model, "2\np");
    seen(&mut model, of_report());
    assert!(screen(&mut model, (80, 60)).contains(" open: none yet\n"));
    press(&mut model, "p");
    let again = model.snapshot.clone().unwrap();
    model.apply(Update::Snapshot(again), Duration::from_secs(3));
    assert!(screen(&mut model, (80, 60)).contains(" open: 5\n"));
}

#[test]
fn they_are_wanted_only_while_the_details_are_open() {
    let mut model = model();
    let key = |model: &Model| model.wanted().map(|wanted| wanted.key);
    for closed in ["", "2", "4", "1\n", "3\n", "2\n?", "2\n\x1b", "2\n1"] {
        press(&mut model, &format!("\x1b{closed}"));
        assert_eq!(key(&model), None, "{closed:?}");
    }
    for open in ["2\n", "4\n"] {
        press(&mut model, &format!("\x1b\x1b{open}"));
        let Some(Overlay::Detail(of, _)) = &model.ui.overlay else {
            panic!("{open:?} opens details");
        };
        assert_eq!(key(&model).as_ref(), Some(of));
    }
}

#[test]
fn what_a_stranger_sent_does_no_harm() {
    let mut model = model_of(hostile());
    press(&mut model, "2\n");
    let key = Key::Route("GET".to_owned(), HOSTILE.to_owned());
    let mut finished = Finished::new(key);
    for n in 0..3 {
        let mut request = finished_request(HOSTILE, HOSTILE, n);
        HOSTILE.clone_into(&mut request.binding);
        HOSTILE.clone_into(&mut request.ledger[0].account);
        request.loss = vec![HOSTILE.to_owned()];
        request.operations = vec![operation(HOSTILE, HOSTILE, 40)];
        if n == 1 {
            request.ledger.clear();
        }
        finished.add(request);
    }
    seen(&mut model, finished);
    for size in [(200, 60), (80, 60), (40, 60)] {
        let text = screen(&mut model, size);
        assert!(text.contains("open: 3"), "{text}");
        assert_harmless(&text);
    }
}
