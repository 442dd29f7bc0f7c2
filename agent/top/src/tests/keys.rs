//! Keys: what each one does to the state.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::fixture::{model, press, press_code, request, screen, snapshot};
use crate::{
    client::Update,
    input::{Action, KEYS, action},
    model::{List, Model, Overlay},
    rows::Key,
};

fn selected(model: &Model) -> Option<&Key> {
    model.ui.tables[model.ui.focus.index()].selected.as_ref()
}

fn request_key(tid: u32) -> Key {
    Key::Request(format!("{tid:032x}"))
}

fn order(model: &Model, list: List) -> Vec<Key> {
    model.shown(list).into_iter().map(|row| row.key).collect()
}

#[test]
fn leaving() {
    for key in ["q", "?q", "\nq", "iq"] {
        let mut model = model();
        press(&mut model, key);
        assert!(model.ui.quit, "{key:?}");
    }
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(action(control_c, false), Some(Action::Quit));
    assert_eq!(action(control_c, true), Some(Action::Quit));
    let mut typing = model();
    press(&mut typing, "/q");
    assert!(!typing.ui.quit, "q is a letter of a filter");
    assert_eq!(typing.ui.filter, "q");
}

#[test]
fn a_released_key_does_nothing() {
    let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    key.kind = KeyEventKind::Release;
    assert_eq!(action(key, false), None);
}

#[test]
fn moving() {
    let mut model = model();
    assert_eq!(selected(&model), None);
    press(&mut model, "j");
    assert_eq!(selected(&model), Some(&request_key(4102)));
    press(&mut model, "jjk");
    assert_eq!(selected(&model), Some(&request_key(4103)));
    press(&mut model, "G");
    assert_eq!(selected(&model), Some(&request_key(4105)));
    press(&mut model, "jjj");
    assert_eq!(
        selected(&model),
        Some(&request_key(4105)),
        "the end is the end"
    );
    press(&mut model, "g");
    assert_eq!(selected(&model), Some(&request_key(4102)));
    press_code(&mut model, KeyCode::Up);
    press_code(&mut model, KeyCode::Down);
    assert_eq!(selected(&model), Some(&request_key(4103)));
    press_code(&mut model, KeyCode::PageDown);
    assert_eq!(selected(&model), Some(&request_key(4105)));
    press_code(&mut model, KeyCode::PageUp);
    assert_eq!(selected(&model), Some(&request_key(4102)));
}

#[test]
fn a_page_is_what_the_screen_shows() {
    let mut many = snapshot();
    many.in_flight.requests = (0..100)
        .map(|i| request(i, "/", 900 - u64::from(i), ("cpu", 1, None)))
        .collect();
    let mut model = super::fixture::model_of(many);
    press(&mut model, "1g");
    screen(&mut model, (80, 24));
    press_code(&mut model, KeyCode::PageDown);
    // 24 lines less the header (2), the title, the column titles and the footer.
    assert_eq!(selected(&model), Some(&request_key(19)));
}

#[test]
fn moving_in_an_empty_list() {
    let mut model = super::fixture::empty();
    press(&mut model, "jkgG\n2jG\n3\n");
    assert_eq!(selected(&model), None);
    assert_eq!(model.ui.overlay, None);
}

#[test]
fn the_cursor_stays_on_its_row() {
    let mut model = model();
    press(&mut model, "jj");
    let mut later = snapshot();
    later
        .in_flight
        .requests
        .insert(0, request(9, "/older", 99_000, ("cpu", 1, None)));
    model.apply(Update::Snapshot(Box::new(later)), Duration::from_secs(3));
    assert_eq!(selected(&model), Some(&request_key(4103)));
    assert_eq!(model.ui.tables[0].index, 2);
    // When it is gone, the cursor stays where it was.
    let mut later = snapshot();
    later
        .in_flight
        .requests
        .retain(|r| r.started.as_ref().unwrap().tid != 4103);
    model.apply(Update::Snapshot(Box::new(later)), Duration::from_secs(4));
    assert_eq!(selected(&model), Some(&request_key(4104)));
}

#[test]
fn sorting() {
    let mut model = model();
    assert_eq!(
        order(&model, List::InFlight)[0],
        request_key(4102),
        "oldest first"
    );
    press(&mut model, "I");
    assert_eq!(order(&model, List::InFlight)[0], request_key(4105));
    press(&mut model, ">>");
    let tids = [4101, 4102, 4103, 4104, 4105].map(request_key);
    assert_eq!(
        order(&model, List::InFlight),
        tids,
        "by thread, least first"
    );
    press(&mut model, "<<<");
    let last = model.ui.tables[0].sorting.column;
    assert_eq!(
        crate::columns::Column::of(List::InFlight)[last].name,
        "REQUEST"
    );
    assert_eq!(
        order(&model, List::InFlight)[0],
        request_key(4105),
        "GET / first"
    );
    assert_eq!(
        model.ui.tables[1].sorting.column, 5,
        "routes keep their own order"
    );
}

#[test]
fn shapes_are_sorted_as_any_list() {
    let mut model = model();
    press(&mut model, "5");
    assert_eq!((model.ui.focus, model.ui.zoomed), (List::Programs, true));
    press(&mut model, "4");
    let first = |model: &Model| match order(model, List::Shapes).swap_remove(0) {
        Key::Shape(_, shape) => shape,
        other => panic!("{other:?}"),
    };
    assert!(first(&model).starts_with("select name"), "most time first");
    press(&mut model, "I");
    assert_eq!(first(&model), "get ?");
    press(&mut model, ">>>>>>");
    assert_eq!(first(&model), "GET ?", "by its text");
    press(&mut model, "I");
    assert!(first(&model).starts_with("update"));
    press(&mut model, "/redis\n");
    assert_eq!(order(&model, List::Shapes).len(), 1);
}

#[test]
fn an_unknown_figure_sorts_last() {
    let mut some = snapshot();
    some.in_flight.requests[0].since_ns = 0;
    let mut model = super::fixture::model_of(some);
    press(&mut model, "<<");
    assert_eq!(
        order(&model, List::InFlight).last(),
        Some(&request_key(4102))
    );
}

#[test]
fn filtering() {
    let mut model = model();
    press(&mut model, "/LOCK");
    assert_eq!(
        order(&model, List::InFlight),
        [request_key(4103), request_key(4105)]
    );
    assert_eq!(
        order(&model, List::Routes).len(),
        1,
        "an account of the bar"
    );
    press(&mut model, "\x08\x08\x08\x08\n");
    assert_eq!(order(&model, List::InFlight).len(), 5);
    press(&mut model, "/5432\n");
    assert!(!model.ui.typing);
    assert_eq!(order(&model, List::InFlight), [request_key(4102)]);
    press(&mut model, "\x1b");
    assert_eq!(
        (
            model.ui.filter.as_str(),
            order(&model, List::InFlight).len()
        ),
        ("", 5)
    );
    press(&mut model, "/cart\x1b");
    assert_eq!((model.ui.filter.as_str(), model.ui.typing), ("", false));
}

#[test]
fn a_filter_is_bounded() {
    let mut model = model();
    press(&mut model, &format!("/{}", "x".repeat(10_000)));
    assert_eq!(model.ui.filter.len(), 256);
}

#[test]
fn lists() {
    let mut model = model();
    press(&mut model, "\t");
    assert_eq!((model.ui.focus, model.ui.zoomed), (List::Routes, false));
    press(&mut model, "\t\t");
    assert_eq!(model.ui.focus, List::Shapes);
    press(&mut model, "\t");
    assert_eq!(model.ui.focus, List::Programs);
    press(&mut model, "\t\t");
    assert_eq!(model.ui.focus, List::InFlight);
    press_code(&mut model, KeyCode::BackTab);
    assert_eq!(model.ui.focus, List::Listeners);
    press_code(&mut model, KeyCode::BackTab);
    assert_eq!(model.ui.focus, List::Programs);
    press_code(&mut model, KeyCode::BackTab);
    assert_eq!(model.ui.focus, List::Shapes);
    press_code(&mut model, KeyCode::BackTab);
    assert_eq!(model.ui.focus, List::Workers);
    press(&mut model, "4");
    assert_eq!((model.ui.focus, model.ui.zoomed), (List::Shapes, true));
    press(&mut model, "7");
    assert_eq!((model.ui.focus, model.ui.zoomed), (List::Listeners, true));
    press(&mut model, "2");
    assert_eq!((model.ui.focus, model.ui.zoomed), (List::Routes, true));
    press(&mut model, "z");
    assert!(!model.ui.zoomed);
    press(&mut model, "z0");
    assert_eq!((model.ui.focus, model.ui.zoomed), (List::Routes, false));
}

#[test]
fn details() {
    let mut model = model();
    press(&mut model, "jj\n");
    assert!(
        matches!(&model.ui.overlay, Some(Overlay::Detail(key, _)) if *key == request_key(4103))
    );
    press(&mut model, "\x1b");
    assert_eq!(model.ui.overlay, None);
    press(&mut model, "\n\x08");
    assert_eq!(model.ui.overlay, None);
    press(&mut model, "\n2");
    assert_eq!(
        (model.ui.overlay.is_none(), model.ui.focus),
        (true, List::Routes)
    );
    press(&mut model, "/cart\n\n\x1b");
    assert_eq!(model.ui.filter, "cart", "Esc leaves the detail first");
}

#[test]
fn help_scrolls_no_further_than_its_end() {
    let mut model = model();
    press(&mut model, "?");
    assert_eq!(model.ui.overlay, Some(Overlay::Help));
    screen(&mut model, (40, 12));
    press(&mut model, "GGjjj");
    let end = screen(&mut model, (40, 12));
    press(&mut model, "k");
    assert_ne!(
        screen(&mut model, (40, 12)),
        end,
        "one step back is seen at once"
    );
    press(&mut model, "?");
    assert_eq!(model.ui.overlay, None);
}

#[test]
fn help_names_every_key() {
    let named: String = KEYS
        .iter()
        .map(|(keys, _)| *keys)
        .collect::<Vec<_>>()
        .join(" ");
    for key in "q?ipjkgG/z<>I+-0123457".chars() {
        assert!(named.contains(key), "{key}");
        assert!(action(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE), false).is_some());
    }
}

#[test]
fn pausing_and_intervals() {
    let mut model = model();
    press(&mut model, " ");
    assert!(model.ui.paused);
    press(&mut model, "p");
    assert!(!model.ui.paused);
    press(&mut model, "+");
    assert_eq!(model.ui.interval, Duration::from_secs(2));
    press(&mut model, "--");
    assert_eq!(model.ui.interval, Duration::from_millis(500));
    press(&mut model, "-------");
    assert_eq!(model.ui.interval, Duration::from_millis(100));
    press(&mut model, "++++++++++++++");
    assert_eq!(model.ui.interval, Duration::from_secs(60));
}

#[test]
fn the_rate_is_measured_over_the_answers() {
    let mut model = model();
    assert_eq!(model.rate_per_s, Some(182.0));
    let mut restarted = snapshot();
    restarted.info.status.as_mut().unwrap().requests_finished = 3;
    model.apply(
        Update::Snapshot(Box::new(restarted)),
        Duration::from_secs(3),
    );
    assert_eq!(model.rate_per_s, None, "another agent counts from zero");
}
