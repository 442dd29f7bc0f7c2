//! The table of shapes: figures, bounds, places given away.

use super::*;
use crate::{
    attribution::operations::{Done, Operations},
    output::ShapeRoute,
};

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// What a request asked for: protocol, server, shape, time.
fn asked(operations: &[(&'static str, &str, &str, u64)]) -> Vec<Counted> {
    let mut all = Operations::default();
    for (protocol, peer, shape, ns) in operations {
        all.add(&Done {
            protocol,
            peer: &(*peer).into(),
            shape,
            asked_ns: 0,
            ns: *ns,
            first_byte_ns: 0,
            rows: 1,
            bytes: 1,
            error: (*ns == 0).then_some("42P01"),
            opaque: false,
            rows_estimated: false,
            answer_unseen: false,
            waited_for: true,
            together: false,
        });
    }
    all.into_entries(10, 0)
}

#[test]
fn figures_are_sums_over_all_requests() {
    let mut shapes = Shapes::new(0);
    for n in 0..10 {
        let mut request = vec![("postgresql", "a:1", "select ?", 2 * MS); 19];
        request.push(("postgresql", "a:1", "select ?", 100 * MS));
        request.push(("redis", "b:2", "GET ?", 0));
        shapes.end(n * S, None, &asked(&request));
    }
    shapes.end(9 * S, None, &asked(&[("redis", "c:3", "GET ?", 5 * MS)]));
    let view = shapes.view(10 * S, 0);
    assert!((view.window_s - 10.0).abs() < 1e-9);
    let [select, get] = &view.shapes[..] else {
        panic!("two shapes: {:?}", view.shapes);
    };
    assert_eq!(
        (select.protocol, &*select.shape),
        ("postgresql", "select ?")
    );
    assert_eq!(select.peer.as_deref(), Some("a:1"));
    assert_eq!(
        (select.count, select.requests, select.repeated),
        (200, 10, 10)
    );
    assert_eq!((select.total_ns, select.max_ns), (1_380 * MS, 100 * MS));
    assert!((select.rate_per_s - 20.0).abs() < 1e-9);
    // 190 of 200 took 2 ms: the 95th in a hundred is the last of them.
    assert!(
        select.p95_ns.abs_diff(2 * MS) < MS / 20,
        "{}",
        select.p95_ns
    );
    assert!(select.p50_ns.abs_diff(2 * MS) < MS / 20);
    assert_eq!(get.peer, None, "it was asked of two servers");
    assert_eq!(
        (get.count, get.requests, get.repeated, get.errors),
        (11, 11, 0, 10)
    );
    assert!((select.time_share - 1_380.0 / 1_385.0).abs() < 1e-9);
}

#[test]
fn a_p95_is_that_of_single_operations() {
    let mut shapes = Shapes::new(0);
    // In each request, one of ten is slow: by requests' means or maxima, this would not be seen.
    for n in 1..=10 {
        let mut request = vec![("redis", "a", "GET ?", MS); 9];
        request.push(("redis", "a", "GET ?", n * 10 * MS));
        shapes.end(S, None, &asked(&request));
    }
    let shape = &shapes.view(2 * S, 0).shapes[0];
    assert!(shape.p95_ns.abs_diff(50 * MS) < 2 * MS, "{}", shape.p95_ns);
    assert!(shape.p50_ns.abs_diff(MS) < MS / 20);
    assert_eq!(shape.max_ns, 100 * MS);
}

#[test]
fn a_request_that_asks_two_servers_is_one() {
    let mut shapes = Shapes::new(0);
    let mut request = vec![("redis", "a", "GET ?", MS); 10];
    request.extend(vec![("redis", "b", "GET ?", MS); 12]);
    for _ in 0..2 {
        shapes.end(S, None, &asked(&request));
    }
    let shape = &shapes.view(2 * S, 0).shapes[0];
    assert_eq!((shape.count, shape.requests, shape.repeated), (44, 2, 2));
}

#[test]
fn endless_shapes_are_one_entry_and_are_counted() {
    let mut shapes = Shapes::with_limit(3, 0);
    for n in 0..2 * FOLDED_LIMIT {
        let name = format!("select {n}");
        shapes.end(
            S,
            None,
            &asked(&[("postgresql", "a", &name, MS), ("redis", "b", &name, MS)]),
        );
        assert!(shapes.entries.len() <= 5);
        if n == 9 {
            let view = shapes.view(2 * S, 0);
            assert_eq!((view.folded, view.folded_more), (17, false));
        }
    }
    let view = shapes.view(2 * S, 0);
    assert_eq!((view.folded, view.folded_more), (FOLDED_LIMIT as u64, true));
    let others: Vec<_> = view.shapes.iter().filter(|s| s.shape == OTHER).collect();
    assert_eq!(others.len(), 2, "one per protocol");
    let count: u64 = view.shapes.iter().map(|shape| shape.count).sum();
    assert_eq!(count, 4 * FOLDED_LIMIT as u64, "none is lost");
    // What a request itself could not keep apart is counted there too.
    shapes.end(S, None, &asked(&[("redis", "b", OTHER, MS)]));
    assert_eq!(shapes.view(2 * S, 0).shapes.len(), 5);
}

#[test]
fn an_idle_shape_gives_its_place_away() {
    let mut shapes = Shapes::with_limit(1, 0);
    shapes.end(S, None, &asked(&[("redis", "a", "GET ?", MS)]));
    shapes.tick(300 * S);
    assert_eq!(shapes.entries.len(), 1);
    assert!(
        shapes.view(300 * S, 60).shapes.is_empty(),
        "not within the last minute"
    );
    assert_eq!(shapes.view(300 * S, 600).shapes.len(), 1);
    shapes.tick(2_000 * S);
    assert!(shapes.entries.is_empty());
    shapes.end(2_000 * S, None, &asked(&[("redis", "a", "SET ?", MS)]));
    assert_eq!(shapes.view(2_001 * S, 0).shapes[0].shape, "SET ?");
}

fn name(route: &str) -> Arc<RouteName> {
    Arc::new(RouteName {
        method: "GET".to_owned(),
        route: route.to_owned(),
    })
}

#[test]
fn a_shape_knows_the_routes_that_ask_for_it() {
    let mut shapes = Shapes::new(0);
    let (report, cart) = (name("/report"), name("/cart"));
    // One request that asks two servers is one.
    let mut request = vec![("redis", "a", "GET ?", MS); 10];
    request.extend([("redis", "b", "GET ?", 2 * MS)]);
    for n in 0..20 {
        shapes.end(n * 5 * S, Some(&report), &asked(&request));
        shapes.end(n * 5 * S, Some(&cart), &asked(&request[..1]));
    }
    let shape = &shapes.view(100 * S, 600).shapes[0];
    let asked = |name: &Arc<RouteName>, repeated, count, total_ns| ShapeRoute {
        name: Arc::clone(name),
        requests: 20,
        repeated,
        count,
        total_ns,
    };
    assert_eq!(
        shape.routes,
        [
            asked(&report, 20, 220, 240 * MS),
            asked(&cart, 0, 20, 20 * MS)
        ]
    );
    let last = &shapes.view(100 * S, 5).shapes[0];
    assert_eq!(last.routes[0].requests, 1, "of the window only");
}

#[test]
fn routes_beyond_the_bound_are_one_entry() {
    let mut shapes = Shapes::new(0);
    let names: Vec<_> = (0..100).map(|n| name(&format!("/{n}"))).collect();
    for (n, name) in (0..).zip(names.iter().rev()) {
        let ask = asked(&[("redis", "a", "GET ?", (n + 1) * MS)]);
        shapes.end(n * S, Some(name), &ask);
    }
    shapes.end(100 * S, None, &asked(&[("redis", "a", "GET ?", MS)]));
    let shape = &shapes.view(101 * S, 600).shapes[0];
    assert_eq!(shape.routes.len(), 17);
    assert_eq!(shape.routes[0].name.route, "/0", "most time first");
    assert_eq!(*shape.routes[16].name, RouteName::other());
    let sum = |value: fn(&ShapeRoute) -> u64| shape.routes.iter().map(value).sum::<u64>();
    assert_eq!(sum(|route| route.requests), shape.requests, "none is lost");
    assert_eq!(sum(|route| route.count), shape.count);
    assert_eq!(sum(|route| route.total_ns), shape.total_ns);
    for entry in shapes.entries.values_mut() {
        assert!(entry.window.at(101 * S).askers.len() <= 17);
    }
}
