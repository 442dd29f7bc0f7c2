//! The server over real sockets, with a scripted source behind it.

use std::{path::Path, time::Duration};

use tokio_stream::StreamExt as _;
use tonic::{Code, Request, transport::Channel, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};
use whyslow_proto::v1::{
    self, SubscribeRequest, event::Event as Kind, whyslow_client::WhyslowClient,
};

mod listeners;
mod operations;

use super::*;
use crate::{
    host,
    pipeline::{Pipeline, Running, Timing},
    sink::hub::SUBSCRIBER_SLOW,
    testing::{REQUEST_NS, Script, ScriptSource, SimWorker, TempDir},
};

/// Longest time that any awaited thing may take.
const LIMIT: Duration = Duration::from_secs(20);

struct Agent {
    folder: TempDir,
    script: Script,
    running: Running,
    serving: Serving,
}

impl Agent {
    async fn start(timing: Timing, token: Option<Token>) -> Self {
        let folder = TempDir::new();
        let (script, source) = ScriptSource::new();
        let settings = host::settings();
        let running = Pipeline::new(Box::new(source), settings, timing)
            .start()
            .unwrap();
        let bound = bind(Endpoints {
            socket: folder.path().join("agent.sock"),
            group: None,
            tcp: token.map(|token| ("127.0.0.1:0".parse().unwrap(), token)),
        })
        .await
        .unwrap();
        let serving = bound.serve(running.handle.clone()).unwrap();
        Self {
            folder,
            script,
            running,
            serving,
        }
    }

    async fn channel(&self) -> Channel {
        channel(&self.folder.path().join("agent.sock")).await
    }

    async fn client(&self) -> WhyslowClient<Channel> {
        WhyslowClient::new(self.channel().await)
    }

    async fn stop(self) {
        self.running.finish().unwrap();
        self.serving.stop().await;
    }
}

async fn channel(socket: &Path) -> Channel {
    Endpoint::from_shared(format!("unix:{}", socket.display()))
        .unwrap()
        // Small, so that a reader that does not read is felt soon.
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535)
        .connect()
        .await
        .unwrap()
}

async fn next(events: &mut tonic::Streaming<v1::Event>) -> Kind {
    tokio::time::timeout(LIMIT, events.message())
        .await
        .expect("an event in time")
        .unwrap()
        .expect("the stream goes on")
        .event
        .unwrap()
}

async fn next_finished(events: &mut tonic::Streaming<v1::Event>) -> v1::RequestFinished {
    loop {
        if let Kind::RequestFinished(request) = next(events).await {
            return request;
        }
    }
}

/// Asks until the answer is as wanted.
async fn until<T, F: Future<Output = T>>(
    mut ask: impl FnMut() -> F,
    good: impl Fn(&T) -> bool,
) -> T {
    tokio::time::timeout(LIMIT, async {
        loop {
            let answer = ask().await;
            if good(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the answer becomes right in time")
}

#[tokio::test]
async fn a_subscription_begins_with_the_status_and_what_is_in_flight() {
    let agent = Agent::start(Timing::default(), None).await;
    let (mut worker, adopted) = SimWorker::new(7);
    agent
        .script
        .send([adopted, worker.begin("GET /slow HTTP/1.1")]);
    let mut client = agent.client().await;
    let in_flight = until(
        || {
            let mut client = client.clone();
            async move {
                let query = v1::InFlightQuery::default();
                client.in_flight(query).await.unwrap().into_inner()
            }
        },
        |answer| !answer.requests.is_empty(),
    )
    .await;
    let started = in_flight.requests[0].started.clone().unwrap();
    assert_eq!(
        (started.method.as_str(), started.route.as_str()),
        ("GET", "/slow")
    );
    assert_eq!((started.pid, started.tid), (7, 7));

    let request = SubscribeRequest {
        in_flight_first: true,
        ..SubscribeRequest::default()
    };
    let mut events = client.subscribe(request).await.unwrap().into_inner();
    let Kind::AgentStatus(status) = next(&mut events).await else {
        panic!("the status is first");
    };
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert!(!status.replay);
    let Kind::RequestStarted(first) = next(&mut events).await else {
        panic!("what is in flight comes next");
    };
    assert_eq!(first, started);

    agent.script.send([worker.end(201)]);
    let finished = next_finished(&mut events).await;
    assert_eq!(finished.request_id, started.request_id);
    assert_eq!((finished.status, finished.wall_ns), (201, REQUEST_NS));
    assert_eq!(finished.binding, "thread");
    let sum: u64 = finished.ledger.iter().map(|entry| entry.ns).sum();
    assert_eq!(sum, REQUEST_NS);
    agent.stop().await;
}

#[tokio::test]
async fn filters_are_the_subscribers_own() {
    let agent = Agent::start(Timing::default(), None).await;
    let mut client = agent.client().await;
    let mut subscribe =
        async |request: SubscribeRequest| client.subscribe(request).await.unwrap().into_inner();
    let finished_only = || SubscribeRequest {
        kinds: vec!["requestFinished".to_owned()],
        ..SubscribeRequest::default()
    };
    let mut failed = subscribe(SubscribeRequest {
        statuses: vec!["5xx".to_owned()],
        ..finished_only()
    })
    .await;
    let mut users = subscribe(SubscribeRequest {
        routes: vec!["GET /users/*".to_owned()],
        ..finished_only()
    })
    .await;
    let mut other_process = subscribe(SubscribeRequest {
        pids: vec![8],
        ..finished_only()
    })
    .await;
    let (mut seven, adopted_seven) = SimWorker::new(7);
    let (mut eight, adopted_eight) = SimWorker::new(8);
    agent.script.send([
        adopted_seven,
        adopted_eight,
        seven.begin("GET /users/1 HTTP/1.1"),
        seven.end(200),
        seven.begin("POST /users/1 HTTP/1.1"),
        seven.end(200),
        seven.begin("GET /fail HTTP/1.1"),
        seven.end(500),
        seven.begin("GET /users/last HTTP/1.1"),
        seven.end(503),
        eight.begin("GET /other HTTP/1.1"),
        eight.end(204),
    ]);
    for events in [&mut failed, &mut users, &mut other_process] {
        assert!(matches!(next(events).await, Kind::AgentStatus(_)));
    }
    let targets = async |events: &mut tonic::Streaming<v1::Event>, count: usize| {
        let mut targets = Vec::new();
        for _ in 0..count {
            targets.push(next_finished(events).await.target);
        }
        targets
    };
    assert_eq!(targets(&mut failed, 2).await, ["/fail", "/users/last"]);
    assert_eq!(targets(&mut users, 2).await, ["/users/1", "/users/last"]);
    assert_eq!(targets(&mut other_process, 1).await, ["/other"]);

    let nonsense = SubscribeRequest {
        statuses: vec!["teapot".to_owned()],
        ..SubscribeRequest::default()
    };
    let refused = client.subscribe(nonsense).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("teapot"));
    agent.stop().await;
}

#[tokio::test]
async fn a_slow_subscriber_loses_events_and_the_count_is_exact() {
    const REQUESTS: u64 = 2_000;
    let timing = Timing {
        subscriber_buffer: 4,
        ..Timing::default()
    };
    let agent = Agent::start(timing, None).await;
    let mut client = agent.client().await;
    let request = SubscribeRequest {
        kinds: vec!["requestFinished".to_owned()],
        ..SubscribeRequest::default()
    };
    let mut slow = client.subscribe(request).await.unwrap().into_inner();
    let (mut worker, adopted) = SimWorker::new(7);
    agent.script.send([adopted]);
    for _ in 0..REQUESTS {
        agent
            .script
            .send([worker.begin("GET / HTTP/1.1"), worker.end(200)]);
    }
    let mut asker = agent.client().await;
    until(
        || {
            let mut asker = asker.clone();
            async move { asker.info(v1::InfoRequest {}).await.unwrap().into_inner() }
        },
        |info| info.status.as_ref().unwrap().requests_finished == REQUESTS,
    )
    .await;
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < REQUESTS {
        match next(&mut slow).await {
            Kind::RequestFinished(_) => seen += 1,
            Kind::Loss(loss) if loss.reason == SUBSCRIBER_SLOW => lost += loss.count,
            Kind::AgentStatus(_) | Kind::Loss(_) => {}
            other => panic!("not asked for: {other:?}"),
        }
    }
    assert_eq!(seen + lost, REQUESTS);
    assert!(
        lost > 0,
        "2,000 events do not fit into 64 KiB and four places"
    );
    let info = asker.info(v1::InfoRequest {}).await.unwrap().into_inner();
    let told = info
        .losses
        .iter()
        .find(|loss| loss.reason == SUBSCRIBER_SLOW);
    assert_eq!(told.map(|loss| loss.count), Some(lost));
    assert_eq!(info.subscribers, 1);
    agent.stop().await;
}

#[tokio::test]
async fn routes_workers_and_info() {
    let agent = Agent::start(Timing::default(), None).await;
    let (mut worker, adopted) = SimWorker::new(7);
    agent.script.send([adopted]);
    for status in [200, 200, 404, 500] {
        agent
            .script
            .send([worker.begin("GET /users/1 HTTP/1.1"), worker.end(status)]);
    }
    agent.script.set_clock(worker.now_ns());
    let client = agent.client().await;
    let info = until(
        || {
            let mut client = client.clone();
            async move { client.info(v1::InfoRequest {}).await.unwrap().into_inner() }
        },
        |info| info.status.as_ref().unwrap().requests_finished == 4,
    )
    .await;
    assert!(info.rss_bytes > 0 && info.cpu_ns > 0);
    assert_eq!(info.features.len(), 1);
    assert!(info.features[0].available);
    assert_eq!(info.subscribers, 0);
    let mut client = client;
    let routes = client
        .routes(v1::RoutesRequest { window_s: 60 })
        .await
        .unwrap()
        .into_inner();
    let route = &routes.routes[0];
    assert_eq!(
        (route.method.as_str(), route.route.as_str()),
        ("GET", "/users/{id}")
    );
    assert_eq!(
        (route.requests, route.client_errors, route.server_errors),
        (4, 1, 1)
    );
    let workers = client
        .workers(v1::WorkersRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(workers.workers.len(), 1);
    assert_eq!(
        (workers.workers[0].tid, workers.workers[0].requests),
        (7, 4)
    );
    let others = client
        .workers(v1::WorkersRequest { pid: vec![8] })
        .await
        .unwrap()
        .into_inner();
    assert!(others.workers.is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn tcp_needs_the_token() {
    let folder = TempDir::new();
    let path = folder.path().join("token");
    std::fs::write(&path, "0123456789abcdef").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let agent = Agent::start(Timing::default(), Some(Token::read(&path).unwrap())).await;
    let address = agent.serving.tcp().unwrap();
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = WhyslowClient::new(channel.clone());
    for header in [
        None,
        Some("Bearer 0123456789abcdeX"),
        Some("Bearer "),
        Some("0123456789abcdef"),
    ] {
        let mut request = Request::new(v1::InfoRequest {});
        if let Some(header) = header {
            request
                .metadata_mut()
                .insert("authorization", header.parse().unwrap());
        }
        let refused = client.info(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{header:?}");
    }
    let health = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    assert_eq!(health.unwrap_err().code(), Code::Unauthenticated);
    let mut request = Request::new(v1::InfoRequest {});
    request
        .metadata_mut()
        .insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    client.info(request).await.unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn reflection_lists_the_service() {
    let agent = Agent::start(Timing::default(), None).await;
    let channel = agent.channel().await;

    let ask = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answers =
        reflection::server_reflection_client::ServerReflectionClient::new(channel.clone())
            .server_reflection_info(tokio_stream::once(ask))
            .await
            .unwrap()
            .into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    let Some(reflection::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("a list of services");
    };
    assert!(list.service.iter().any(|s| s.name == "whyslow.v1.Whyslow"));
    agent.stop().await;
}

#[tokio::test]
async fn older_reflection_describes_messages() {
    let agent = Agent::start(Timing::default(), None).await;
    let channel = agent.channel().await;
    let ask = reflection_alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection_alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "whyslow.v1.RequestFinished".to_owned(),
            ),
        ),
    };
    let mut answers =
        reflection_alpha::server_reflection_client::ServerReflectionClient::new(channel.clone())
            .server_reflection_info(tokio_stream::once(ask))
            .await
            .unwrap()
            .into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    assert!(matches!(
        answer.message_response,
        Some(
            reflection_alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(
                _
            )
        )
    ));
    agent.stop().await;
}

#[tokio::test]
async fn health_says_serving() {
    let agent = Agent::start(Timing::default(), None).await;
    let channel = agent.channel().await;
    let client = HealthClient::new(channel);
    until(
        || {
            let mut client = client.clone();
            async move {
                let request = HealthCheckRequest {
                    service: "whyslow.v1.Whyslow".to_owned(),
                };
                client
                    .check(request)
                    .await
                    .ok()
                    .map(|a| a.into_inner().status)
            }
        },
        |status| *status == Some(1),
    )
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn a_second_agent_is_refused_and_a_port_in_use_is_told() {
    let agent = Agent::start(Timing::default(), None).await;
    let error = bind(Endpoints {
        socket: agent.folder.path().join("agent.sock"),
        group: None,
        tcp: None,
    })
    .await
    .unwrap_err()
    .to_string();
    assert!(error.contains("running already"), "{error}");
    agent.client().await.info(v1::InfoRequest {}).await.unwrap();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = agent.folder.path().join("token");
    std::fs::write(&path, "0123456789abcdef").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let other = agent.folder.path().join("other.sock");
    let error = bind(Endpoints {
        socket: other.clone(),
        group: None,
        tcp: Some((taken.local_addr().unwrap(), Token::read(&path).unwrap())),
    })
    .await
    .unwrap_err()
    .to_string();
    assert!(error.starts_with("cannot listen on ") && error.contains("\nhint: "));
    assert!(!other.exists(), "a failed start leaves no socket");
    agent.stop().await;
}

#[tokio::test]
async fn a_stop_ends_subscriptions_and_removes_the_socket() {
    let agent = Agent::start(Timing::default(), None).await;
    let socket = agent.folder.path().join("agent.sock");
    let mut client = agent.client().await;
    let mut events = client
        .subscribe(SubscribeRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(matches!(next(&mut events).await, Kind::AgentStatus(_)));
    let Agent {
        folder: _folder,
        script: _script,
        running,
        serving,
    } = agent;
    running.finish().unwrap();
    let end = tokio::time::timeout(LIMIT, events.message()).await.unwrap();
    assert!(end.unwrap().is_none(), "the stream ends in order");
    serving.stop().await;
    assert!(!socket.exists());
}
