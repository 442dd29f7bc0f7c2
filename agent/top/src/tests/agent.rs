//! The view against a real gRPC server, that goes away and comes back.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tonic::{
    Request, Response, Status,
    codegen::tokio_stream::{Stream, wrappers::ReceiverStream},
    transport::{Endpoint, Server, server::TcpIncoming},
};
use whyslow_proto::v1::{
    Event, InFlightQuery, InFlightResponse, InfoRequest, InfoResponse, ListenersRequest,
    ListenersResponse, ProgramsRequest, ProgramsResponse, RoutesRequest, RoutesResponse,
    ShapesRequest, ShapesResponse, SubscribeRequest, WorkersRequest, WorkersResponse,
    event::Event as Kind,
    whyslow_server::{Whyslow, WhyslowServer},
};

use super::fixture::{finished_request, press, screen, snapshot};
use crate::{
    Connector, Options,
    client::{Agent, Update, follow},
    finished,
    model::{Link, Model},
    script,
};

/// Limit of every wait of these tests.
const LIMIT: Duration = Duration::from_secs(20);

/// What was asked for, and where events are awaited.
type Subscription = (SubscribeRequest, mpsc::Sender<Result<Event, Status>>);

/// Answers with the fixture; counts what it was asked; wants a token if it has one.
#[derive(Clone, Default)]
struct Fake {
    asked: Arc<AtomicU64>,
    token: Option<&'static str>,
    /// It does not know all questions.
    old: bool,
    /// Who subscribes; `None`: nobody may.
    subscriptions: Option<mpsc::Sender<Subscription>>,
}

impl Fake {
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let Some(token) = self.token else {
            return Ok(());
        };
        let given = request
            .metadata()
            .get("authorization")
            .and_then(|v| v.to_str().ok());
        if given == Some(format!("Bearer {token}").as_str()) {
            return Ok(());
        }
        Err(Status::unauthenticated("no valid token"))
    }
}

#[tonic::async_trait]
impl Whyslow for Fake {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.check(&request)?;
        let Some(subscriptions) = &self.subscriptions else {
            return Err(Status::resource_exhausted("too many subscribers"));
        };
        let (events, stream) = mpsc::channel(64);
        let subscription = (request.into_inner(), events);
        subscriptions.send(subscription).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn in_flight(
        &self,
        request: Request<InFlightQuery>,
    ) -> Result<Response<InFlightResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(snapshot().in_flight))
    }

    async fn routes(
        &self,
        request: Request<RoutesRequest>,
    ) -> Result<Response<RoutesResponse>, Status> {
        self.check(&request)?;
        let window_s = f64::from(request.get_ref().window_s);
        Ok(Response::new(RoutesResponse {
            window_s,
            ..snapshot().routes
        }))
    }

    async fn shapes(
        &self,
        request: Request<ShapesRequest>,
    ) -> Result<Response<ShapesResponse>, Status> {
        self.check(&request)?;
        if self.old {
            return Err(Status::unimplemented("what shapes?"));
        }
        let window_s = f64::from(request.get_ref().window_s);
        Ok(Response::new(ShapesResponse {
            window_s,
            ..snapshot().shapes
        }))
    }

    async fn programs(
        &self,
        request: Request<ProgramsRequest>,
    ) -> Result<Response<ProgramsResponse>, Status> {
        self.check(&request)?;
        if self.old {
            return Err(Status::unimplemented("what programs?"));
        }
        let window_s = f64::from(request.get_ref().window_s);
        Ok(Response::new(ProgramsResponse {
            window_s,
            ..snapshot().programs
        }))
    }

    async fn listeners(
        &self,
        request: Request<ListenersRequest>,
    ) -> Result<Response<ListenersResponse>, Status> {
        self.check(&request)?;
        if self.old {
            return Err(Status::unimplemented("what listeners?"));
        }
        Ok(Response::new(ListenersResponse::default()))
    }

    async fn workers(
        &self,
        request: Request<WorkersRequest>,
    ) -> Result<Response<WorkersResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(snapshot().workers))
    }

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        self.check(&request)?;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut info = snapshot().info;
        info.status.as_mut().unwrap().requests_finished += asked;
        Ok(Response::new(info))
    }
}

/// A server that runs until it is told to end.
struct Running {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Port 0: any free one.
    fn start(address: SocketAddr, fake: Fake) -> Self {
        let incoming = TcpIncoming::bind(address).unwrap();
        let address = incoming.local_addr().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let server = Server::builder().add_service(WhyslowServer::new(fake));
            let ended = async move { ended.await.unwrap_or(()) };
            server
                .serve_with_incoming_shutdown(incoming, ended)
                .await
                .unwrap();
        });
        Self { address, end, task }
    }

    async fn stop(self) {
        self.end.send(()).unwrap();
        timeout(LIMIT, self.task).await.unwrap().unwrap();
    }

    fn connector(&self) -> Connector {
        let address = self.address;
        Connector::new("test", move || async move {
            Ok(Endpoint::from_shared(format!("http://{address}"))?
                .connect()
                .await?)
        })
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Applies updates until the state is as wanted.
async fn until(
    model: &mut Model,
    updates: &mut mpsc::Receiver<Update>,
    wanted: impl Fn(&Model) -> bool,
) {
    let begin = tokio::time::Instant::now();
    let reach = async {
        while !wanted(model) {
            let update = updates.recv().await.unwrap();
            model.apply(update, begin.elapsed());
        }
    };
    timeout(LIMIT, reach)
        .await
        .expect("the state was not reached in time");
}

#[tokio::test]
async fn an_agent_that_goes_away_and_comes_back() {
    let server = Running::start(anywhere(), Fake::default());
    let address = server.address;
    let connector = server.connector();
    let mut model = Model::new(connector.label(), &Options::default(), Duration::ZERO);
    let (intervals, interval) = watch::channel(Duration::from_millis(10));
    let (sender, mut updates) = mpsc::channel(2);
    let task = tokio::spawn(follow(Arc::new(connector), 30, interval, sender));

    until(&mut model, &mut updates, |m| m.rate_per_s.is_some()).await;
    assert_eq!(
        model.snapshot.as_ref().unwrap().routes.window_s,
        30.0,
        "the window is asked for"
    );
    assert!(screen(&mut model, (80, 24)).contains("GET /report"));

    server.stop().await;
    until(&mut model, &mut updates, |m| {
        matches!(m.link, Link::Lost { .. })
    })
    .await;
    let lost = screen(&mut model, (80, 24));
    assert!(lost.contains("agent lost, reconnecting"), "{lost}");
    assert!(lost.contains("GET /report"), "the last data stays:\n{lost}");

    let server = Running::start(address, Fake::default());
    until(&mut model, &mut updates, |m| m.link == Link::Live).await;
    assert!(!screen(&mut model, (80, 24)).contains("agent lost"));

    drop(updates);
    timeout(LIMIT, task)
        .await
        .expect("it ends when nobody listens")
        .unwrap();
    drop(intervals);
    server.stop().await;
}

#[tokio::test]
async fn a_shorter_interval_counts_at_once() {
    let server = Running::start(anywhere(), Fake::default());
    let (intervals, interval) = watch::channel(Duration::from_secs(3600));
    let (sender, mut updates) = mpsc::channel(2);
    let task = tokio::spawn(follow(Arc::new(server.connector()), 0, interval, sender));
    let first = timeout(LIMIT, updates.recv()).await.unwrap();
    assert!(matches!(first, Some(Update::Snapshot(_))));
    intervals.send(Duration::from_millis(10)).unwrap();
    let second = timeout(LIMIT, updates.recv())
        .await
        .expect("not only after an hour");
    assert!(matches!(second, Some(Update::Snapshot(_))));
    drop(updates);
    timeout(LIMIT, task).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn one_snapshot() {
    let server = Running::start(anywhere(), Fake::default());
    let options = Options {
        settle: Duration::from_millis(50),
        interval: Duration::from_millis(10),
        ..Options::default()
    };
    let settled = timeout(LIMIT, script::settle(&server.connector(), &options))
        .await
        .unwrap();
    let model = settled.unwrap();
    assert!(model.rate_per_s.is_some(), "more than one answer was taken");
    let text = script::text(&model, Some(100));
    assert!(
        text.contains("127.0.0.1:5432") && text.contains("net.upstream 82 %"),
        "{text}"
    );

    server.stop().await;
}

#[tokio::test]
async fn an_agent_that_knows_no_shapes_is_shown_all_the_same() {
    for old in [false, true] {
        let fake = Fake {
            old,
            ..Fake::default()
        };
        let server = Running::start(anywhere(), fake);
        let connector = server.connector();
        let mut agent = Agent::connect(&connector, 30).await.unwrap();
        let answer = agent.poll().await.unwrap();
        assert_eq!(answer.shapes.shapes.is_empty(), old);
        assert_eq!(answer.routes.routes.len(), 4);
        if !old {
            assert_eq!(answer.shapes.window_s, 30.0);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn one_snapshot_without_an_agent_is_an_error() {
    let connector = Connector::new("test", || async { anyhow::bail!("no agent on test") });
    let error = timeout(LIMIT, script::settle(&connector, &Options::default()))
        .await
        .unwrap();
    // In the words of the one who connects, and nothing before them.
    assert_eq!(format!("{:#}", error.unwrap_err()), "no agent on test");
}

#[tokio::test]
async fn the_token_is_sent() {
    let fake = Fake {
        token: Some("open sesame"),
        ..Fake::default()
    };
    let server = Running::start(anywhere(), fake);
    let with = |token: Option<&str>| server.connector().with_token(token.map(str::to_owned));
    let right = with(Some("open sesame"));
    let mut agent = Agent::connect(&right, 0).await.unwrap();
    agent.poll().await.unwrap();
    for wrong in [None, Some("sesame")] {
        let wrong = with(wrong).with_words(|status, answered| {
            anyhow::anyhow!("{:?} {answered}: {}", status.code(), status.message())
        });
        let mut agent = Agent::connect(&wrong, 0).await.unwrap();
        let error = agent.poll().await.unwrap_err().to_string();
        assert_eq!(error, "Unauthenticated false: no valid token");
    }
    let error = Agent::connect(&with(Some("line\nbreak")), 0)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("token") && !error.contains("break"),
        "{error}"
    );
    assert!(!format!("{:?}", with(Some("secret"))).contains("secret"));
    server.stop().await;
}

/// Finished requests of the row whose details are open, from a server.
struct Row {
    model: Model,
    wanted: watch::Sender<Option<finished::Wanted>>,
    updates: mpsc::Receiver<Update>,
    task: JoinHandle<()>,
}

impl Row {
    fn start(server: &Running) -> Self {
        let (wanted, wanted_now) = watch::channel(None);
        let (sender, updates) = mpsc::channel(2);
        let connector = Arc::new(server.connector());
        let task = tokio::spawn(finished::follow(connector, wanted_now, sender));
        let mut model = Model::new("test", &Options::default(), Duration::ZERO);
        model.apply(Update::Snapshot(Box::new(snapshot())), Duration::ZERO);
        Self {
            model,
            wanted,
            updates,
            task,
        }
    }

    fn press(&mut self, keys: &str) {
        press(&mut self.model, keys);
        self.wanted.send_replace(self.model.wanted());
    }

    async fn shows(&mut self, text: &str) {
        until(&mut self.model, &mut self.updates, |model| {
            let seen = model.finished.as_ref();
            seen.is_some_and(|seen| format!("{seen:?}").contains(text))
        })
        .await;
    }

    async fn end(self) {
        drop(self.updates);
        drop(self.wanted);
        timeout(LIMIT, self.task).await.unwrap().unwrap();
    }
}

fn event(kind: Kind) -> Result<Event, Status> {
    Ok(Event {
        event: Some(kind),
        ..Event::default()
    })
}

#[tokio::test]
async fn finished_requests_are_asked_for_while_the_details_are_open() {
    let (sender, mut subscriptions) = mpsc::channel(8);
    let fake = Fake {
        subscriptions: Some(sender),
        ..Fake::default()
    };
    let server = Running::start(anywhere(), fake);
    let mut row = Row::start(&server);
    for (keys, routes) in [("2\n", vec!["GET /report"]), ("\x1b4jj\n", Vec::new())] {
        row.press(keys);
        let subscription = timeout(LIMIT, subscriptions.recv()).await.unwrap();
        let (request, events) = subscription.unwrap();
        assert_eq!(request.kinds, ["requestFinished"]);
        assert_eq!(request.routes, routes);
        assert!(!request.in_flight_first);
        let mut one = finished_request("/report?id=?", "/report", 77);
        one.operations = vec![super::fixture::operation("redis", "GET ?", 1)];
        events
            .send(event(Kind::RequestFinished(one)))
            .await
            .unwrap();
        row.shows("/report?id=?").await;
        let loss = whyslow_proto::v1::Loss {
            reason: "subscriber_slow".to_owned(),
            count: 4321,
            pid: 0,
        };
        events.send(event(Kind::Loss(loss))).await.unwrap();
        row.shows("missed: 4321").await;
        row.press("\x1b");
        timeout(LIMIT, events.closed())
            .await
            .expect("the subscription ends with the details");
        assert!(subscriptions.is_empty());
    }
    row.end().await;
    server.stop().await;
}

#[tokio::test]
async fn an_agent_that_tells_no_finished_requests_is_asked_again() {
    let (sender, mut subscriptions) = mpsc::channel(8);
    let refusing = Running::start(anywhere(), Fake::default());
    let address = refusing.address;
    let mut row = Row::start(&refusing);
    row.press("2\n");
    row.shows("too many subscribers").await;
    let text = screen(&mut row.model, (80, 50));
    assert!(text.contains(" no more come: "), "{text}");
    refusing.stop().await;
    let fake = Fake {
        subscriptions: Some(sender),
        ..Fake::default()
    };
    let server = Running::start(address, fake);
    let first = timeout(LIMIT, subscriptions.recv()).await.unwrap();
    row.shows("trouble: None").await;
    drop(first);
    row.shows("the agent has stopped").await;
    row.end().await;
    server.stop().await;
}
