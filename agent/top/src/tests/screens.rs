//! Whole screens, compared with the files in `tests/screens`.
//!
//! `WHYSLOW_UPDATE_SCREENS=1 cargo test -p whyslow-top` writes the files anew; read the difference
//! before it is committed.

use std::{fs, path::Path, time::Duration};

use super::fixture::{
    at_keys, empty, file, model, model_of, operation, peer, press, process, request, route, screen,
    shape, snapshot, terminal, with_listeners, with_losses, without_operations, worker,
};
use whyslow_proto::v1::ShapeRoute;

use crate::{
    Options, Pane,
    client::{Snapshot, Update},
    model::Model,
    script, view,
};

const USUAL: (u16, u16) = (80, 24);
/// Bytes of a stranger: colours, a title, a bell, C1 controls, bidi, line ends.
pub(super) const HOSTILE: &str = "/\x1b[31mred\x1b]0;owned\x07\u{9b}2J\u{202e}gpj\r\n\t\u{200b}";

pub(super) fn compare(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/screens")
        .join(name);
    if std::env::var_os("WHYSLOW_UPDATE_SCREENS").is_some() {
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        expected, actual,
        "{name} differs:\n--- expected\n{expected}--- actual\n{actual}"
    );
}

pub(super) fn compare_screen(name: &str, model: &mut Model, size: (u16, u16)) {
    let text = screen(model, size);
    assert_eq!(text.lines().count(), usize::from(size.1));
    compare(name, &text);
}

#[test]
fn overview() {
    compare_screen("overview_80x24.txt", &mut model(), USUAL);
    compare_screen("overview_120x40.txt", &mut model(), (120, 40));
    compare_screen("overview_40x12.txt", &mut model(), (40, 12));
}

#[test]
fn each_list_alone() {
    for (key, name) in [
        ("1", "in_flight"),
        ("2", "routes"),
        ("3", "workers"),
        ("4", "shapes"),
        ("5", "programs"),
    ] {
        let mut model = model();
        press(&mut model, key);
        compare_screen(&format!("{name}_80x24.txt"), &mut model, USUAL);
        compare_screen(&format!("{name}_120x40.txt"), &mut model, (120, 40));
        compare_screen(&format!("{name}_40x12.txt"), &mut model, (40, 12));
    }
}

#[test]
fn listeners() {
    let mut model = model_of(with_listeners());
    press(&mut model, "7");
    compare_screen("listeners_80x24.txt", &mut model, USUAL);
    compare_screen("listeners_120x40.txt", &mut model, (120, 40));
    compare_screen("listeners_40x12.txt", &mut model, (40, 12));
    press(&mut model, "j\n");
    compare_screen("detail_listener_80x24.txt", &mut model, USUAL);
}

/// A route whose clients are slow, and wait to be accepted.
#[test]
fn a_route_of_slow_clients() {
    let mut slow = snapshot();
    let route = &mut slow.routes.routes[0];
    route.head_read_ns = route.total_ns / 10;
    route.body_read_ns = route.total_ns / 5;
    route.send_ns = route.total_ns / 3;
    route.client_wait_ns = route.total_ns / 2;
    route.accept_queue_known = 321;
    route.accept_queue_p95_ns = 41_000_000;
    route.accept_queue_max_ns = 120_000_000;
    let mut model = model_of(slow);
    press(&mut model, "2");
    compare_screen("routes_slow_clients_140x24.txt", &mut model, (140, 24));
    press(&mut model, "j\n");
    compare_screen("detail_route_slow_clients_80x24.txt", &mut model, USUAL);
}

#[test]
fn the_pane_option_is_the_first_list() {
    let options = Options {
        pane: Pane::Workers,
        ..Options::default()
    };
    let mut chosen = Model::new("local", &options, Duration::ZERO);
    chosen.apply(Update::Snapshot(Box::new(snapshot())), Duration::ZERO);
    let mut pressed = model();
    press(&mut pressed, "3");
    let below_header = |text: String| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        below_header(screen(&mut chosen, USUAL)),
        below_header(screen(&mut pressed, USUAL))
    );
}

#[test]
fn a_long_path_makes_room_for_the_figures() {
    let label = "/run/user/1000/a-long-folder-of-somebody/whyslow/agent.sock";
    let mut long = Model::new(label, &Options::default(), Duration::ZERO);
    long.apply(Update::Snapshot(Box::new(snapshot())), Duration::ZERO);
    for (columns, height) in [(80, 24), (90, 24)] {
        let text = screen(&mut long, (columns, height));
        let first = text.lines().next().unwrap();
        assert!(first.ends_with("2 processes, 6 threads"), "{first}");
        assert!(first.contains("/agent.sock · "), "{first}");
    }
}

/// The lists stay where they are when requests in flight get fewer.
#[test]
fn lines_that_in_flight_does_not_need_are_the_routes() {
    let mut quiet = snapshot();
    quiet.in_flight.requests.truncate(1);
    let place = |model: &mut Model| {
        let text = screen(model, (120, 40));
        let line = text.lines().position(|line| line.contains("2 Routes"));
        line.unwrap()
    };
    let mut model = model_of(quiet.clone());
    let before = place(&mut model);
    model.apply(
        Update::Snapshot(Box::new(snapshot())),
        Duration::from_secs(3),
    );
    let busy = place(&mut model);
    assert!(before < busy, "{before} {busy}");
    model.apply(Update::Snapshot(Box::new(quiet)), Duration::from_secs(4));
    assert_eq!(place(&mut model), busy);
}

#[test]
fn nothing_yet() {
    compare_screen("connecting_80x24.txt", &mut empty(), USUAL);
    let mut refused = empty();
    refused.apply(
        Update::Lost("connection refused\nhint: start it".to_owned()),
        Duration::ZERO,
    );
    compare_screen("refused_80x24.txt", &mut refused, USUAL);
    compare_screen("empty_80x24.txt", &mut model_of(Snapshot::default()), USUAL);
}

#[test]
fn lost_agent_keeps_the_last_data() {
    let mut lost = model();
    lost.apply(
        Update::Lost("connection reset".to_owned()),
        Duration::from_secs(3),
    );
    lost.apply(
        Update::Lost("connection refused".to_owned()),
        Duration::from_secs(4),
    );
    let terminal = terminal(&mut lost, USUAL, at_keys(), Duration::from_secs(10));
    compare(
        "lost_80x24.txt",
        &view::to_text(terminal.backend().buffer()),
    );
}

#[test]
fn paused_data_stands_still() {
    let mut model = model();
    press(&mut model, "p");
    let before = screen(&mut model, USUAL);
    model.apply(Update::Snapshot(Box::default()), Duration::from_secs(3));
    assert_eq!(screen(&mut model, USUAL), before);
    compare("paused_80x24.txt", &before);
    press(&mut model, " ");
    model.apply(Update::Snapshot(Box::default()), Duration::from_secs(4));
    assert!(screen(&mut model, USUAL).contains("no request in flight"));
}

#[test]
fn losses_are_named() {
    let mut model = model_of(with_losses(snapshot()));
    compare_screen("losses_80x24.txt", &mut model, USUAL);
    press(&mut model, "i");
    compare_screen("info_80x24.txt", &mut model, USUAL);
}

#[test]
fn filters() {
    let mut model = model();
    press(&mut model, "/cart");
    compare_screen("filter_typing_80x24.txt", &mut model, USUAL);
    press(&mut model, "\n");
    compare_screen("filter_80x24.txt", &mut model, USUAL);
    press(&mut model, "/zzz\n");
    compare_screen("filter_nothing_80x24.txt", &mut model, USUAL);
}

#[test]
fn helps() {
    let mut model = model();
    press(&mut model, "?");
    compare_screen("help_80x24.txt", &mut model, USUAL);
    compare_screen("help_40x12.txt", &mut model, (40, 12));
    press(&mut model, "G");
    compare_screen("help_end_40x12.txt", &mut model, (40, 12));
}

#[test]
fn details() {
    for (keys, name) in [
        ("1\n", "request"),
        ("2\n", "route"),
        ("3j\n", "worker"),
        ("3jj\n", "worker_busy"),
        ("4\n", "shape"),
        ("4jj\n", "shape_shared"),
    ] {
        let mut model = model();
        press(&mut model, keys);
        compare_screen(&format!("detail_{name}_80x24.txt"), &mut model, USUAL);
    }
}

#[test]
fn the_overview_with_shapes() {
    let mut model = model();
    press(&mut model, "\t\t\t");
    compare_screen("overview_shapes_80x24.txt", &mut model, USUAL);
    compare_screen("overview_shapes_120x40.txt", &mut model, (120, 40));
}

#[test]
fn operations_that_are_off_are_said_to_be() {
    let mut model = model_of(without_operations());
    press(&mut model, "4");
    compare_screen("shapes_off_80x24.txt", &mut model, USUAL);
    compare_screen("shapes_off_40x12.txt", &mut model, (40, 12));
    press(&mut model, "1\n");
    assert!(
        screen(&mut model, USUAL).contains("asked for    operations are off: the agent has to be")
    );
    press(&mut model, "2\n");
    assert!(
        screen(&mut model, USUAL).contains("asked for    operations are off: the agent has to be")
    );
    press(&mut model, "2");
    let wide = screen(&mut model, (120, 40));
    assert!(wide.contains("55 %      ?    5"), "not 0:\n{wide}");
    let text = script::text(&model_of(without_operations()), Some(100));
    assert!(
        text.contains("\n operations are off: the agent has to be started with --operations\n")
    );
}

#[test]
fn operations_that_are_on_and_none() {
    let mut quiet = without_operations();
    quiet.info.status.as_mut().unwrap().operations = true;
    "shared".clone_into(&mut quiet.in_flight.requests[1].binding);
    let mut model = model_of(quiet);
    press(&mut model, "4");
    assert!(
        screen(&mut model, USUAL)
            .contains("no finished request asked for anything within the window")
    );
    press(&mut model, "1\n");
    assert!(screen(&mut model, USUAL).contains("asked for    nothing so far"));
    press(&mut model, "\x1bj\n");
    assert!(screen(&mut model, USUAL).contains("asked for    nothing so far"));
    press(&mut model, "\x1bj\n");
    assert!(
        screen(&mut model, USUAL).contains("asked for    not known: it is not bound to one thread")
    );
}

#[test]
fn a_request_that_repeats_is_seen_while_it_does() {
    let mut model = model();
    press(&mut model, "1\n");
    let request = screen(&mut model, (100, 40));
    compare("detail_operations_100x40.txt", &request);
    let narrow = screen(&mut model, (40, 40));
    compare("detail_operations_40x40.txt", &narrow);
}

#[test]
fn a_finished_request_stays_as_last_seen() {
    let mut model = model();
    press(&mut model, "1\n");
    let mut later = snapshot();
    later.in_flight.requests.remove(0);
    model.apply(Update::Snapshot(Box::new(later)), Duration::from_secs(3));
    compare_screen("detail_request_gone_80x24.txt", &mut model, USUAL);
}

#[test]
fn more_rows_than_room() {
    let mut many = snapshot();
    many.in_flight.requests = (0..30)
        .map(|i| {
            request(
                5000 + i,
                &format!("/item/{i}"),
                900 - u64::from(i),
                ("sleep", 4, None),
            )
        })
        .collect();
    let mut model = model_of(many);
    compare_screen("many_80x24.txt", &mut model, USUAL);
    press(&mut model, "G");
    compare_screen("many_end_80x24.txt", &mut model, USUAL);
}

#[test]
fn too_small() {
    compare_screen("too_small_30x5.txt", &mut model(), (30, 5));
    for size in [(0, 0), (1, 1), (39, 10), (40, 9), (3, 50)] {
        screen(&mut model(), size);
    }
}

#[test]
fn every_size_is_drawn() {
    let mut views = Vec::new();
    for keys in [
        "", "1", "2", "3", "4", "?", "i", "\n", "2\n", "3\n", "4\n", "/x",
    ] {
        let mut model = model_of(with_losses(snapshot()));
        press(&mut model, keys);
        views.push(model);
    }
    for width in (40..140).step_by(7) {
        for height in [10, 11, 12, 15, 16, 17, 24, 36, 50] {
            for model in &mut views {
                screen(model, (width, height));
            }
        }
    }
}

pub(super) fn hostile() -> Snapshot {
    let mut hostile = snapshot();
    let long = format!("/日本語/{}", "very-long-part/".repeat(40));
    hostile.in_flight.requests = vec![
        request(1, HOSTILE, 900, ("net.upstream", 5, Some(peer(HOSTILE)))),
        request(
            2,
            &long,
            800,
            ("disk.read", 5, Some(file(&format!("/srv{long}end.db")))),
        ),
        request(3, "/ok", 700, (HOSTILE, 5, Some(process(9, HOSTILE)))),
    ];
    for request in &mut hostile.in_flight.requests {
        let started = request.started.as_mut().unwrap();
        for field in [&mut started.host, &mut started.client, &mut started.comm] {
            HOSTILE.clone_into(field);
        }
        started.method = format!("GE\x1bT{}", started.tid);
        HOSTILE.clone_into(&mut request.phase);
        HOSTILE.clone_into(&mut request.binding);
        HOSTILE.clone_into(&mut request.ledger[0].account);
    }
    hostile.routes.routes = vec![
        route("GET", HOSTILE, 11_000, &[(HOSTILE, 100), ("cpu", 50)]),
        route("GET", &long, 5000, &[("cpu", 50)]),
        route(HOSTILE, "/🦀/{id}", 3000, &[]),
    ];
    hostile.shapes.shapes = vec![
        shape("postgresql", HOSTILE, 900, 40),
        shape(HOSTILE, &long, 20, 1),
    ];
    HOSTILE.clone_into(&mut hostile.shapes.shapes[0].peer);
    hostile.shapes.shapes[0].routes = vec![ShapeRoute {
        method: "GET".to_owned(),
        route: HOSTILE.to_owned(),
        ..ShapeRoute::default()
    }];
    hostile.in_flight.requests[0].operations = vec![
        operation("postgresql", HOSTILE, 40),
        operation(HOSTILE, &long, 2),
    ];
    hostile.workers.workers = vec![worker(1, (HOSTILE, 3, HOSTILE), 0.5, HOSTILE)];
    HOSTILE.clone_into(&mut hostile.workers.workers[0].comm);
    HOSTILE.clone_into(&mut hostile.workers.workers[0].state);
    hostile = with_losses(hostile);
    HOSTILE.clone_into(&mut hostile.info.losses[0].reason);
    HOSTILE.clone_into(&mut hostile.info.features[1].reason);
    let status = hostile.info.status.as_mut().unwrap();
    HOSTILE.clone_into(&mut status.kernel);
    HOSTILE.clone_into(&mut status.version);
    hostile
}

pub(super) fn assert_harmless(text: &str) {
    let bad = |c: &char| (c.is_control() && *c != '\n') || "\u{202e}\u{200b}".contains(*c);
    assert_eq!(text.chars().find(bad), None, "{text}");
}

#[test]
fn no_escape_of_a_stranger_gets_through() {
    let mut shown = String::new();
    for keys in [
        "", "1", "2", "3", "4", "i", "\n", "2\n", "2jj\n", "3\n", "4\n", "4jj\n", "/\x07\n",
        "1j\n", "1jj\n",
    ] {
        let mut model = model_of(hostile());
        press(&mut model, keys);
        // Cells are looked at, not the text that ratatui would send: it filters by itself.
        for size in [(200, 50), USUAL] {
            let text = screen(&mut model, size);
            assert_harmless(&text);
            shown += &text;
        }
    }
    assert!(
        shown.contains("\\x1b[31mred"),
        "the escape is shown as text"
    );
    let mut lost = model_of(hostile());
    lost.apply(Update::Lost(HOSTILE.to_owned()), Duration::from_secs(3));
    assert_harmless(&screen(&mut lost, USUAL));
    assert_harmless(&script::text(&model_of(hostile()), Some(100)));
    let mut model = model_of(hostile());
    compare_screen("hostile_120x40.txt", &mut model, (120, 40));
    press(&mut model, "4");
    compare_screen("hostile_shapes_80x24.txt", &mut model, USUAL);
    compare_screen("hostile_shapes_40x12.txt", &mut model, (40, 12));
    press(&mut model, "1\n");
    compare_screen("hostile_detail_80x24.txt", &mut model, USUAL);
    press(&mut model, "G");
    compare_screen("hostile_operations_80x24.txt", &mut model, USUAL);
    press(&mut model, "\x1bjj\n");
    compare_screen("long_detail_80x24.txt", &mut model, USUAL);
}

#[test]
fn folded_routes_are_told_with_where_their_count_ends() {
    let mut many = snapshot();
    many.routes.folded = 8_192;
    let mut model = model_of(many.clone());
    press(&mut model, "2");
    assert!(screen(&mut model, (120, 40)).contains(" · 8192 folded into (other)"));
    many.routes.folded_more = true;
    let mut model = model_of(many);
    press(&mut model, "2");
    assert!(screen(&mut model, (120, 40)).contains(" · >= 8192 folded into (other)"));
}
