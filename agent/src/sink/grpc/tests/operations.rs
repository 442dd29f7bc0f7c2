//! What requests ask of servers, as the service tells it: while they are in flight, and over all of them.

use super::*;

const MS: u64 = 1_000_000;

async fn shapes(client: &WhyslowClient<Channel>, window_s: u32) -> v1::ShapesResponse {
    let request = v1::ShapesRequest { window_s };
    client.clone().shapes(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn figures_of_shapes_are_the_sums_of_the_requests() {
    let agent = Agent::start(Timing::default(), None).await;
    let client = agent.client().await;
    assert!(shapes(&client, 0).await.shapes.is_empty());
    let mut events = client
        .clone()
        .subscribe(SubscribeRequest::default())
        .await
        .unwrap()
        .into_inner();
    let (mut worker, adopted) = SimWorker::new(7);
    agent.script.send([adopted]);
    for (path, gets) in [("/a", 3), ("/a", 12), ("/b", 1)] {
        agent
            .script
            .send([worker.begin(&format!("GET {path} HTTP/1.1"))]);
        for n in 1..=gets {
            agent.script.send(worker.ask("GET secret", n * MS));
        }
        agent.script.send(worker.ask("SET secret value", 100 * MS));
        agent.script.send([worker.end(200)]);
    }
    agent.script.set_clock(worker.now_ns());
    let mut told: Vec<v1::Operation> = Vec::new();
    for _ in 0..3 {
        told.extend(next_finished(&mut events).await.operations);
    }
    let answer = shapes(&client, 600).await;
    assert!(!format!("{answer:?} {told:?}").contains("secret"));
    assert_eq!((answer.folded, answer.folded_more), (0, false));
    let names: Vec<&str> = answer.shapes.iter().map(|s| s.shape.as_str()).collect();
    assert_eq!(names, ["SET ? ...", "GET ?"], "most time first");
    for shape in &answer.shapes {
        let own = || told.iter().filter(|o| o.shape == shape.shape);
        assert_eq!(shape.protocol, "redis");
        assert_eq!(shape.peer, "127.0.0.1:6379");
        assert_eq!(shape.requests, 3);
        assert_eq!(shape.count, own().map(|o| o.count).sum::<u64>());
        assert_eq!(shape.total_ns, own().map(|o| o.total_ns).sum::<u64>());
        assert_eq!(shape.max_ns, own().map(|o| o.slowest_ns).max().unwrap());
        assert_eq!(shape.repeated, own().filter(|o| o.repeated).count() as u64);
        let of = |route: &v1::ShapeRoute| (route.route.clone(), route.requests);
        let by: Vec<_> = shape.routes.iter().map(of).collect();
        assert_eq!(by, [("/a".to_owned(), 2), ("/b".to_owned(), 1)]);
        assert_eq!(shape.routes[0].repeated, shape.repeated);
    }
    let get = &answer.shapes[1];
    assert_eq!((get.count, get.repeated), (16, 1));
    // Of 16 times, the 16th is that of the 95th in a hundred.
    assert!(get.p95_ns.abs_diff(12 * MS) <= MS / 4, "{}", get.p95_ns);

    let request = v1::RoutesRequest { window_s: 600 };
    let routes = client.clone().routes(request).await.unwrap().into_inner();
    let of = |name: &str| routes.routes.iter().find(|r| r.route == name).unwrap();
    assert!((of("/a").operations_per_request - 8.5).abs() < 1e-9);
    assert!((of("/b").operations_per_request - 2.0).abs() < 1e-9);
    assert!(!of("/a").operations_sampled);
    agent.stop().await;
}

#[tokio::test]
async fn a_repeated_shape_is_seen_while_it_happens() {
    let agent = Agent::start(Timing::default(), None).await;
    let client = agent.client().await;
    let info = || async { client.clone().info(v1::InfoRequest {}).await };
    let off = info().await.unwrap().into_inner().status.unwrap();
    assert!(!off.operations, "nothing was read");
    let (mut worker, adopted) = SimWorker::new(7);
    agent
        .script
        .send([adopted, worker.begin("GET /slow HTTP/1.1")]);
    for _ in 0..11 {
        agent.script.send(worker.ask("GET key", MS));
    }
    for command in [
        "DEL", "DECR", "EXISTS", "HGETALL", "INCR", "LLEN", "SMEMBERS", "TTL",
    ] {
        agent
            .script
            .send(worker.ask(&format!("{command} key"), 2 * MS));
    }
    let slow = worker.exchange(true, b"*2\r\n$5\r\nBLPOP\r\n$1\r\nk\r\n");
    agent.script.send([slow]);
    let answer = until(
        || async {
            let query = v1::InFlightQuery::default();
            client.clone().in_flight(query).await.unwrap().into_inner()
        },
        |answer| {
            let open = |r: &v1::InFlightRequest| !r.open_operations.is_empty();
            answer.requests.iter().any(open)
        },
    )
    .await;
    assert_eq!(answer.requests[0].shapes_left_out, 1);
    let open = &answer.requests[0].open_operations[0];
    assert_eq!((&*open.protocol, &*open.shape), ("redis", "BLPOP ?"));
    let operations = &answer.requests[0].operations;
    assert_eq!(operations.len(), 8, "the others are only counted");
    let first = &operations[0];
    assert_eq!((first.shape.as_str(), first.count), ("GET ?", 11));
    assert!(first.repeated && first.total_ns == 11 * MS);
    assert!(!operations[1].repeated);
    // It is not over: it counts for no shape yet.
    assert!(shapes(&client, 600).await.shapes.is_empty());
    let on = info().await.unwrap().into_inner().status.unwrap();
    assert!(on.operations);
    agent.stop().await;
}
