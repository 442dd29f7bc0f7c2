//! The route table: bounds, figures, places given away.

use std::sync::Arc;

use super::*;
use crate::output::{Binding, EndReason, RequestStarted};

const S: u64 = 1_000_000_000;

fn finished(status: u16, wall_ns: u64) -> RequestFinished {
    RequestFinished {
        started: Arc::new(RequestStarted::default()),
        status,
        end_reason: EndReason::Complete,
        wall_ns,
        binding: Binding::Thread,
        binding_reason: "",
        worker_tid: 0,
        ledger: Vec::new(),
        waits: Vec::new(),
        operations: Vec::new(),
        round_trips: 0,
        bytes_in: 0,
        bytes_out: 0,
        bytes: Vec::new(),
        syscalls: Vec::new(),
        context_switches: 0,
        minor_faults: 0,
        major_faults: 0,
        rss_growth_bytes: 0,
        head_read_ns: 0,
        first_byte_ns: 0,
        send_ns: 0,
        socket_queue_ns: 0,
        accept_queue_ns: None,
        accept_to_read_ns: None,
        queue_unknown: "",
        body_read_ns: None,
        proxy_queue_ns: None,
        children: Vec::new(),
        loss: Vec::new(),
        traceparent: String::new(),
        x_request_id: String::new(),
    }
}

#[test]
fn figures_of_a_route() {
    let mut routes = Routes::new(&[], 10, 0);
    for n in 0..100_u64 {
        let (index, name) = routes.begin("GET", &format!("/users/{n}"));
        assert_eq!(name, "/users/{id}");
        let status = [200, 404, 500, 0][(n % 4) as usize];
        routes.end(index, n * S / 10, &finished(status, 2_000_000));
    }
    let (_, _) = routes.begin("POST", "/users/1");
    let view = routes.view(10 * S, 60);
    assert!((view.window_s - 10.0).abs() < 1e-9);
    assert_eq!(view.routes.len(), 2);
    let route = &view.routes[0];
    assert_eq!((route.requests, route.in_flight), (100, 0));
    assert_eq!(
        (route.server_errors, route.client_errors, route.unanswered),
        (25, 25, 25)
    );
    assert!((route.rate_per_s - 10.0).abs() < 0.01);
    assert!(route.p99_ns <= route.max_ns && route.p99_ns >= 1_940_000);
    assert!((route.worker_share - 1.0).abs() < 1e-9);
    assert_eq!(view.routes[1].in_flight, 1);
}

#[test]
fn more_routes_than_fit_go_to_other() {
    let mut routes = Routes::new(&[], 3, 0);
    for name in ["a", "b", "c", "d", "e", "d"] {
        let (index, _) = routes.begin("GET", &format!("/{name}"));
        routes.end(index, S, &finished(200, 1));
    }
    let view = routes.view(2 * S, 0);
    assert_eq!((view.folded, view.folded_more), (2, false));
    let other = view.routes.iter().find(|r| r.route == OTHER_NAME).unwrap();
    assert_eq!(other.requests, 3);
    assert_eq!(routes.len(), 4);
}

#[test]
fn the_count_of_folded_routes_says_where_it_ends() {
    let mut routes = Routes::new(&[], 1, 0);
    for n in 0..FOLDED_LIMIT * 2 {
        let name: String = n
            .to_string()
            .chars()
            .map(|c| (c as u8 + 49) as char)
            .collect();
        let (index, _) = routes.begin("GET", &format!("/{name}"));
        routes.cancel(index);
        let view = (n % 1_000 == 0 || n.abs_diff(FOLDED_LIMIT) < 3).then(|| routes.view(S, 0));
        if let Some(view) = view {
            let expected = (n.min(FOLDED_LIMIT) as u64, n >= FOLDED_LIMIT);
            assert_eq!((view.folded, view.folded_more), expected);
        }
    }
}

#[test]
fn an_idle_route_gives_its_place_away() {
    let mut routes = Routes::new(&[], 2, 0);
    for name in ["a", "b"] {
        let (index, _) = routes.begin("GET", &format!("/{name}"));
        routes.end(index, S, &finished(200, 1));
    }
    let (held, _) = routes.begin("GET", "/b");
    routes.tick(2_000 * S);
    let (_, name) = routes.begin("GET", "/c");
    assert_eq!(name, "/c");
    let (_, name) = routes.begin("GET", "/d");
    assert_eq!(name, OTHER_NAME);
    routes.end(held, 2_001 * S, &finished(200, 1));
    assert_eq!(routes.len(), 3);
}
