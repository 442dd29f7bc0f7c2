//! Asks the agent, again and again, and connects anew when it was lost.
//!
//! It has no state that is shown: it sends [`Update`]s to the one owner of the state through a
//! bounded channel. What must stay true: a lost agent is an update, never an end; no question waits
//! for ever; no more than one round of questions is under way.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use whyslow_proto::v1::{
    Event, InFlightQuery, InFlightResponse, InfoRequest, InfoResponse, ListenersRequest,
    ListenersResponse, ProgramsRequest, ProgramsResponse, RoutesRequest, RoutesResponse,
    ShapesRequest, ShapesResponse, SubscribeRequest, WorkersRequest, WorkersResponse,
    whyslow_client::WhyslowClient,
};

use crate::{Connector, finished::Finished, text::clean};

/// Longest time to connect, and longest time of one round of questions.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before the first new attempt to connect; doubled with each one.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// Longest such pause.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Largest answer that is taken, bytes: tens of thousands of requests in flight.
const LARGEST_ANSWER: usize = 64 << 20;

/// One round of answers, taken together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// The agent.
    pub(crate) info: InfoResponse,
    /// Requests in flight.
    pub(crate) in_flight: InFlightResponse,
    /// Routes.
    pub(crate) routes: RoutesResponse,
    /// Workers.
    pub(crate) workers: WorkersResponse,
    /// Shapes of operations; empty also for an agent that does not know the question.
    pub(crate) shapes: ShapesResponse,
    /// What is started; empty also for an agent that does not know the question.
    pub(crate) programs: ProgramsResponse,
    /// Listening sockets; empty also for an agent that does not know the question.
    pub(crate) listeners: ListenersResponse,
}

impl Snapshot {
    /// The agent reads what requests ask of servers.
    pub(crate) fn reads_operations(&self) -> bool {
        let status = self.info.status.as_ref();
        status.is_some_and(|status| status.operations)
    }
}

/// News for the owner of the state.
#[derive(Debug)]
pub(crate) enum Update {
    /// Answers.
    Snapshot(Box<Snapshot>),
    /// Finished requests of the row whose details are open.
    Finished(Box<Finished>),
    /// The agent could not be reached or did not answer; why.
    Lost(String),
}

/// A connection to an agent.
pub(crate) struct Agent<'a> {
    connector: &'a Connector,
    client: WhyslowClient<InterceptedService<Channel, Bearer>>,
    window_s: u32,
    /// It has answered: it is an agent.
    answered: bool,
}

/// Puts the token into each call.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl<'a> Agent<'a> {
    /// Connects.
    pub(crate) async fn connect(connector: &'a Connector, window_s: u32) -> anyhow::Result<Self> {
        let bearer = connector
            .token()
            .map(|token| format!("Bearer {token}").parse());
        let bearer: Option<MetadataValue<Ascii>> = bearer
            .transpose()
            .ok()
            .context("the token has characters that no header may have")?;
        let channel = timeout(PATIENCE, connector.connect())
            .await
            .ok()
            .with_context(|| too_late("cannot be reached", connector))??;
        let client = WhyslowClient::with_interceptor(channel, Bearer(bearer))
            .max_decoding_message_size(LARGEST_ANSWER);
        Ok(Self {
            connector,
            client,
            window_s,
            answered: false,
        })
    }

    /// Asks for everything that is shown.
    pub(crate) async fn poll(&mut self) -> anyhow::Result<Snapshot> {
        let snapshot = timeout(PATIENCE, self.ask())
            .await
            .ok()
            .with_context(|| too_late("gives no answer", self.connector))?
            .map_err(|status| self.connector.explain(&status, self.answered))?;
        self.answered = true;
        Ok(snapshot)
    }

    /// Subscribes to events.
    pub(crate) async fn subscribe(
        &mut self,
        request: SubscribeRequest,
    ) -> anyhow::Result<Streaming<Event>> {
        let events = timeout(PATIENCE, self.client.subscribe(request))
            .await
            .ok()
            .with_context(|| too_late("gives no answer", self.connector))?
            .map_err(|status| self.connector.explain(&status, self.answered))?;
        Ok(events.into_inner())
    }

    async fn ask(&self) -> Result<Snapshot, Status> {
        let window_s = self.window_s;
        let (mut a, mut b, mut c, mut d, mut e, mut f, mut g) = (
            self.client.clone(),
            self.client.clone(),
            self.client.clone(),
            self.client.clone(),
            self.client.clone(),
            self.client.clone(),
            self.client.clone(),
        );
        let shapes = async { or_nothing(e.shapes(ShapesRequest { window_s }).await) };
        let listeners = async { or_nothing(f.listeners(ListenersRequest { window_s }).await) };
        let programs = async { or_nothing(g.programs(ProgramsRequest { window_s }).await) };
        let (info, in_flight, routes, workers, shapes, programs, listeners) = tokio::try_join!(
            a.info(InfoRequest {}),
            b.in_flight(InFlightQuery::default()),
            c.routes(RoutesRequest { window_s }),
            d.workers(WorkersRequest::default()),
            shapes,
            programs,
            listeners,
        )?;
        Ok(Snapshot {
            info: info.into_inner(),
            in_flight: in_flight.into_inner(),
            routes: routes.into_inner(),
            workers: workers.into_inner(),
            shapes: shapes.into_inner(),
            programs: programs.into_inner(),
            listeners: listeners.into_inner(),
        })
    }
}

/// Of an older agent, which does not know the question, all else can be shown.
fn or_nothing<T: Default>(answer: Result<Response<T>, Status>) -> Result<Response<T>, Status> {
    match answer {
        Err(status) if status.code() == Code::Unimplemented => Ok(Response::new(T::default())),
        answer => answer,
    }
}

/// Patience has ended.
fn too_late(what: &str, connector: &Connector) -> String {
    format!(
        "the agent at {} {what} within {} s\nhint: is the address right, and the network in between?",
        clean(connector.label()),
        PATIENCE.as_secs()
    )
}

/// Sends updates until the receiver is gone. `interval`: time between two rounds; a change counts at
/// once.
pub(crate) async fn follow(
    connector: Arc<Connector>,
    window_s: u32,
    mut interval: watch::Receiver<Duration>,
    updates: mpsc::Sender<Update>,
) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let error = match Agent::connect(&connector, window_s).await {
            Ok(mut agent) => {
                match watch_agent(&mut agent, &mut interval, &updates, &mut backoff).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if updates
            .send(Update::Lost(format!("{error:#}")))
            .await
            .is_err()
        {
            return;
        }
        tokio::select! {
            () = sleep(backoff) => {}
            () = updates.closed() => return,
        }
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// Asks until the agent is lost (an error) or the receiver is gone.
async fn watch_agent(
    agent: &mut Agent<'_>,
    interval: &mut watch::Receiver<Duration>,
    updates: &mpsc::Sender<Update>,
    backoff: &mut Duration,
) -> anyhow::Result<()> {
    loop {
        let asked = Instant::now();
        let snapshot = agent.poll().await?;
        *backoff = FIRST_BACKOFF;
        if updates
            .send(Update::Snapshot(Box::new(snapshot)))
            .await
            .is_err()
        {
            return Ok(());
        }
        loop {
            let next = asked + *interval.borrow_and_update();
            tokio::select! {
                () = sleep_until(next) => break,
                changed = interval.changed() => if changed.is_err() { return Ok(()) },
                () = updates.closed() => return Ok(()),
            }
        }
    }
}
