//! Finished requests of the row whose details are open: of a route, or with a shape.
//!
//! The agent keeps none, so there are those only that end while somebody looks. What must stay true: the agent is
//! asked for them only as long as the details are open; what is kept is bounded; what was not seen is counted.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::{mpsc, watch},
    time::{interval, sleep},
};
use whyslow_proto::v1::{Operation, RequestFinished, SubscribeRequest, event::Event as Kind};

use crate::{
    Connector,
    client::{Agent, Snapshot, Update},
    rows::{Key, OTHER_ROUTE},
    text::clean,
};

/// Requests kept of each kind.
const KEPT: usize = 8;
/// Between two updates.
const PAUSE: Duration = Duration::from_millis(500);
/// Before it is asked again, after it failed.
const BACKOFF: Duration = Duration::from_secs(2);
/// Reason of the loss that a reader causes that is too slow.
const TOO_SLOW: &str = "subscriber_slow";

/// Whose finished requests are wanted, and which routes they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    /// As a subscription takes them; empty: any.
    routes: Vec<String>,
}

impl Wanted {
    /// `None`: a row of this kind has no finished requests.
    pub(crate) fn of(key: &Key, snapshot: &Snapshot) -> Option<Self> {
        let routes = match key {
            Key::Route(method, route) => vec![pattern(method, route)],
            Key::Shape(..) => {
                let shape = key.shape(snapshot)?;
                let routes = shape.routes.iter();
                let all: Vec<String> = routes.map(|r| pattern(&r.method, &r.route)).collect();
                // Behind the overflow entry may be any.
                let known = shape.routes.iter().all(|r| r.route != OTHER_ROUTE);
                if known { all } else { Vec::new() }
            }
            Key::Request(_) | Key::Worker(..) | Key::Program(_) | Key::Listener(..) => return None,
        };
        Some(Self {
            key: key.clone(),
            routes,
        })
    }
}

fn pattern(method: &str, route: &str) -> String {
    if route == OTHER_ROUTE {
        route.to_owned()
    } else {
        format!("{method} {route}")
    }
}

/// What was seen of a row.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The row.
    pub(crate) key: Key,
    /// Requests seen.
    pub(crate) seen: u64,
    /// Requests that came too fast to be seen; of any route.
    pub(crate) missed: u64,
    /// The slowest, slowest first: of a shape, by the time of its operations.
    pub(crate) slowest: Vec<Arc<RequestFinished>>,
    /// The latest, latest first.
    pub(crate) latest: VecDeque<Arc<RequestFinished>>,
    /// Why no more of them come; cleaned.
    pub(crate) trouble: Option<String>,
}

impl Finished {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            seen: 0,
            missed: 0,
            slowest: Vec::new(),
            latest: VecDeque::new(),
            trouble: None,
        }
    }

    /// Takes a request; one that is not of the row is left out.
    pub(crate) fn add(&mut self, request: RequestFinished) {
        let Some(time) = self.time(&request) else {
            return;
        };
        self.seen += 1;
        let request = Arc::new(request);
        let slower = |other: &Arc<_>| self.time(other).is_some_and(|other| other >= time);
        let place = self.slowest.partition_point(slower);
        if place < KEPT {
            self.slowest.insert(place, Arc::clone(&request));
            self.slowest.truncate(KEPT);
        }
        self.latest.push_front(request);
        self.latest.truncate(KEPT);
    }

    /// What slow means here: of a route the wall time, of a shape the time of its operations, ns; `None`: the request is not of the row.
    pub(crate) fn time(&self, request: &RequestFinished) -> Option<u64> {
        match &self.key {
            Key::Route(method, route) => {
                let is_of =
                    request.route == *route && (request.method == *method || route == OTHER_ROUTE);
                is_of.then_some(request.wall_ns)
            }
            Key::Shape(protocol, shape) => {
                let of_shape = |one: &&Operation| one.protocol == *protocol && one.shape == *shape;
                let times = request.operations.iter().filter(of_shape);
                times.map(|one| one.total_ns).reduce(u64::saturating_add)
            }
            Key::Request(_) | Key::Worker(..) | Key::Program(_) | Key::Listener(..) => None,
        }
    }
}

/// Sends what is wanted as [`Update::Finished`] until nobody wants to know any more.
pub(crate) async fn follow(
    connector: Arc<Connector>,
    mut wanted: watch::Receiver<Option<Wanted>>,
    updates: mpsc::Sender<Update>,
) {
    let mut kept: Option<Finished> = None;
    loop {
        let now = wanted.borrow_and_update().clone();
        let Some(now) = now else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        if kept.as_ref().is_none_or(|kept| kept.key != now.key) {
            kept = Some(Finished::new(now.key.clone()));
        }
        let Some(finished) = &mut kept else { continue };
        let asking = async {
            let Err(error) = watch_row(&connector, now.routes, finished, &updates).await else {
                return;
            };
            let error = format!("{error:#}");
            finished.trouble = Some(clean(error.lines().next().unwrap_or_default()));
            if tell(finished, &updates).await.is_ok() {
                sleep(BACKOFF).await;
            }
        };
        tokio::select! {
            () = asking => if updates.is_closed() { return },
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// Subscribes, and tells what comes. An error: the agent does not tell any more. Ends when nobody listens.
async fn watch_row(
    connector: &Connector,
    routes: Vec<String>,
    finished: &mut Finished,
    updates: &mpsc::Sender<Update>,
) -> anyhow::Result<()> {
    let mut agent = Agent::connect(connector, 0).await?;
    let request = SubscribeRequest {
        kinds: vec!["requestFinished".to_owned()],
        routes,
        ..SubscribeRequest::default()
    };
    let mut events = agent.subscribe(request).await?;
    finished.trouble = None;
    let mut tick = interval(PAUSE);
    let mut changed = true;
    loop {
        tokio::select! {
            event = events.message() => {
                let event = event.map_err(|status| connector.explain(&status, true))?;
                match event.context("the agent has stopped")?.event {
                    Some(Kind::RequestFinished(request)) => finished.add(request),
                    Some(Kind::Loss(loss)) if loss.reason == TOO_SLOW => {
                        finished.missed = finished.missed.saturating_add(loss.count);
                    }
                    _ => continue,
                }
                changed = true;
            }
            _ = tick.tick(), if changed => {
                changed = false;
                if tell(finished, updates).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

async fn tell(finished: &Finished, updates: &mpsc::Sender<Update>) -> Result<(), ()> {
    let update = Update::Finished(Box::new(finished.clone()));
    updates.send(update).await.map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::{finished_request, operation, snapshot};

    fn walls<'a>(requests: impl IntoIterator<Item = &'a Arc<RequestFinished>>) -> Vec<u64> {
        let ms = requests.into_iter().map(|one| one.wall_ns / 1_000_000);
        ms.collect()
    }

    #[test]
    fn the_slowest_and_the_latest_of_a_route() {
        let key = Key::Route("GET".to_owned(), "/report".to_owned());
        let mut finished = Finished::new(key);
        for n in 0..100 {
            // 37 and 100 have no common divisor: each wall time once.
            let ms = n * 37 % 100;
            finished.add(finished_request("/report", "/report", ms));
            finished.add(finished_request("/cart/1", "/cart/{id}", 1_000));
        }
        assert_eq!((finished.seen, finished.missed), (100, 0));
        assert_eq!(walls(&finished.slowest), [99, 98, 97, 96, 95, 94, 93, 92]);
        let latest = (92..100).rev().map(|n| n * 37 % 100);
        assert_eq!(walls(&finished.latest), latest.collect::<Vec<_>>());
    }

    #[test]
    fn requests_with_a_shape_by_the_time_of_its_operations() {
        let key = Key::Shape("redis".to_owned(), "GET ?".to_owned());
        let mut finished = Finished::new(key);
        for (ms, gets) in [(900, 1), (10, 70), (800, 0), (20, 3)] {
            let mut request = finished_request("/a", "/a", ms);
            request.operations = vec![operation("postgresql", "GET ?", 99)];
            if gets > 0 {
                request.operations.push(operation("redis", "GET ?", gets));
            }
            finished.add(request);
        }
        assert_eq!(finished.seen, 3);
        assert_eq!(walls(&finished.slowest), [10, 20, 900]);
        assert_eq!(walls(&finished.latest), [20, 10, 900]);
    }

    #[test]
    fn all_folded_routes_are_one_row() {
        let other = Key::Route(String::new(), OTHER_ROUTE.to_owned());
        let wanted = Wanted::of(&other, &snapshot()).unwrap();
        assert_eq!(wanted.routes, [OTHER_ROUTE]);
        let mut finished = Finished::new(other);
        finished.add(finished_request("/x/y", OTHER_ROUTE, 5));
        assert_eq!(finished.seen, 1);
    }

    #[test]
    fn no_more_routes_are_asked_for_than_needed() {
        let snapshot = snapshot();
        let routes = |n: usize| {
            let shape = &snapshot.shapes.shapes[n];
            let key = Key::Shape(shape.protocol.clone(), shape.shape.clone());
            Wanted::of(&key, &snapshot).unwrap().routes
        };
        assert_eq!(routes(0), ["GET /report"]);
        assert!(routes(1).is_empty(), "some routes of it are not told");
        let worker = Key::Worker(1, 1);
        assert_eq!(Wanted::of(&worker, &snapshot), None);
    }
}
