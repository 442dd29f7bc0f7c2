//! Which events a subscriber wants, decided on the engine's own types, before any conversion.

use whyslow_engine::output::{EventKind, RequestStarted};
use whyslow_proto::v1::SubscribeRequest;

/// Names of `Event`'s oneof in JSON form, as filters and `--kind` take them.
pub const KINDS: &[&str] = &[
    "requestStarted",
    "requestFinished",
    "workerStarted",
    "workerEnded",
    "loopStalled",
    "loss",
    "agentStatus",
    WAIT_OBSERVED,
];

/// Sent only where it is named: there may be many.
const WAIT_OBSERVED: &str = "waitObserved";

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A name that is no event.
    #[error("no event is called {0:?}; events are {list}", list = KINDS.join(", "))]
    Kind(String),
    /// Not a status.
    #[error("{0:?} is no status: write 500, 5xx or none")]
    Status(String),
}

/// A filter, checked. All given conditions must hold; loss always passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    kinds: Vec<&'static str>,
    routes: Vec<RoutePattern>,
    statuses: Vec<StatusRange>,
    min_wall_ns: u64,
    pids: Vec<u32>,
}

impl TryFrom<&SubscribeRequest> for Filter {
    type Error = FilterError;

    fn try_from(request: &SubscribeRequest) -> Result<Self, FilterError> {
        Ok(Self {
            kinds: request
                .kinds
                .iter()
                .map(|name| kind(name))
                .collect::<Result<_, _>>()?,
            routes: request
                .routes
                .iter()
                .map(|text| RoutePattern::new(text))
                .collect(),
            statuses: request
                .statuses
                .iter()
                .map(|text| StatusRange::parse(text))
                .collect::<Result<_, _>>()?,
            min_wall_ns: request.min_wall_ns,
            pids: request.pids.clone(),
        })
    }
}

fn kind(name: &str) -> Result<&'static str, FilterError> {
    KINDS
        .iter()
        .copied()
        .find(|known| *known == name)
        .ok_or_else(|| FilterError::Kind(name.to_owned()))
}

impl Filter {
    /// Whether an event passes. A condition on a field that the event does not have fails: only
    /// finished requests have a status and a wall time, only requests have a route.
    #[must_use]
    pub fn admits(&self, event: &EventKind) -> bool {
        match event {
            EventKind::Loss { .. } => true,
            EventKind::RequestStarted(started) => {
                self.has_kind("requestStarted")
                    && self.statuses.is_empty()
                    && self.min_wall_ns == 0
                    && self.admits_request(started)
            }
            EventKind::RequestFinished(finished) => {
                self.has_kind("requestFinished")
                    && finished.wall_ns >= self.min_wall_ns
                    && self.admits_status(finished.status)
                    && self.admits_request(&finished.started)
            }
            EventKind::WaitObserved(observed) => {
                self.kinds.contains(&WAIT_OBSERVED)
                    && self.statuses.is_empty()
                    && self.min_wall_ns == 0
                    && match &observed.request {
                        Some(request) => self.admits_request(request),
                        None => self.admits_worker(observed.pid),
                    }
            }
            EventKind::WorkerStarted(worker) => {
                self.has_kind("workerStarted") && self.admits_worker(worker.pid)
            }
            EventKind::WorkerEnded(worker) => {
                self.has_kind("workerEnded") && self.admits_worker(worker.pid)
            }
            EventKind::LoopStalled(stalled) => {
                self.has_kind("loopStalled") && self.admits_worker(stalled.pid)
            }
        }
    }

    /// Whether a request in flight is told at the begin of a subscription. Its age stands for its wall
    /// time; who asks for a status is not told of it, since it has none yet.
    #[must_use]
    pub fn admits_in_flight(&self, started: &RequestStarted, age_ns: u64) -> bool {
        self.statuses.is_empty() && age_ns >= self.min_wall_ns && self.admits_request(started)
    }

    fn has_kind(&self, name: &str) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&name)
    }

    fn admits_request(&self, started: &RequestStarted) -> bool {
        self.admits_pid(started.pid)
            && (self.routes.is_empty()
                || self
                    .routes
                    .iter()
                    .any(|pattern| pattern.matches(&started.method, &started.route)))
    }

    fn admits_worker(&self, pid: u32) -> bool {
        self.routes.is_empty()
            && self.statuses.is_empty()
            && self.min_wall_ns == 0
            && self.admits_pid(pid)
    }

    fn admits_pid(&self, pid: u32) -> bool {
        self.pids.is_empty() || self.pids.contains(&pid)
    }

    fn admits_status(&self, status: u16) -> bool {
        self.statuses.is_empty() || self.statuses.iter().any(|range| range.contains(status))
    }
}

/// `GET /users/{id}`, `/users/*`, `POST *`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RoutePattern {
    method: Option<String>,
    path: String,
    prefix: bool,
}

impl RoutePattern {
    fn new(text: &str) -> Self {
        let (method, path) = match text.split_once(' ') {
            Some((method, path)) if !method.starts_with('/') => (Some(method), path),
            _ => (None, text),
        };
        let (path, prefix) = match path.strip_suffix('*') {
            Some(path) => (path, true),
            None => (path, false),
        };
        Self {
            method: method.map(str::to_owned),
            path: path.to_owned(),
            prefix,
        }
    }

    fn matches(&self, method: &str, route: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && if self.prefix {
                route.starts_with(&self.path)
            } else {
                route == self.path
            }
    }
}

/// Statuses from `low` to `high`; 0 is "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StatusRange {
    low: u16,
    high: u16,
}

impl StatusRange {
    fn parse(text: &str) -> Result<Self, FilterError> {
        let wrong = || FilterError::Status(text.to_owned());
        if text == "none" {
            return Ok(Self { low: 0, high: 0 });
        }
        if text.len() != 3 {
            return Err(wrong());
        }
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().map_err(|_| wrong())?;
            if !(1..=5).contains(&class) {
                return Err(wrong());
            }
            return Ok(Self {
                low: class * 100,
                high: class * 100 + 99,
            });
        }
        let status: u16 = text.parse().map_err(|_| wrong())?;
        if status < 100 {
            return Err(wrong());
        }
        Ok(Self {
            low: status,
            high: status,
        })
    }

    fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whyslow_engine::output::{WaitObserved, WorkerStarted};

    use super::*;
    use crate::testing;

    fn filter(request: SubscribeRequest) -> Filter {
        Filter::try_from(&request).unwrap()
    }

    fn finished(method: &str, route: &str, status: u16, wall_ns: u64, pid: u32) -> EventKind {
        let mut request = testing::finished();
        request.started = Arc::new(RequestStarted {
            method: method.to_owned(),
            route: route.to_owned(),
            pid,
            ..(*request.started).clone()
        });
        request.status = status;
        request.wall_ns = wall_ns;
        EventKind::RequestFinished(Arc::new(request))
    }

    #[test]
    fn empty_admits_all() {
        let all = filter(SubscribeRequest::default());
        assert!(all.admits(&finished("GET", "/", 200, 1, 1)));
        assert!(all.admits(&EventKind::WorkerStarted(WorkerStarted::default())));
        assert!(all.admits(&EventKind::RequestStarted(Arc::default())));
    }

    #[test]
    fn single_waits_only_for_who_names_them() {
        let request = testing::finished();
        let event = |request| {
            EventKind::WaitObserved(Arc::new(WaitObserved {
                pid: 100,
                tid: 101,
                comm: "gunicorn".to_owned(),
                request,
                wait: testing::finished().waits.swap_remove(0),
            }))
        };
        let (of_none, of_one) = (event(None), event(Some(request.started)));
        assert!(!filter(SubscribeRequest::default()).admits(&of_one));
        let mut asked = SubscribeRequest {
            kinds: vec!["waitObserved".to_owned()],
            ..SubscribeRequest::default()
        };
        let named = filter(asked.clone());
        assert!(named.admits(&of_one) && named.admits(&of_none));
        asked.routes = vec!["/users/*".to_owned()];
        let named = filter(asked.clone());
        assert!(named.admits(&of_one) && !named.admits(&of_none));
        asked.min_wall_ns = 1;
        assert!(!filter(asked).admits(&of_one));
    }

    #[test]
    fn routes() {
        let by = |route: &str| {
            filter(SubscribeRequest {
                routes: vec![route.to_owned()],
                ..SubscribeRequest::default()
            })
        };
        let event = finished("GET", "/users/{id}", 200, 1, 1);
        for pattern in ["GET /users/{id}", "/users/{id}", "/users/*", "GET *", "*"] {
            assert!(by(pattern).admits(&event), "{pattern}");
        }
        for pattern in ["POST /users/{id}", "/users", "/user", "POST *", "GET /x*"] {
            assert!(!by(pattern).admits(&event), "{pattern}");
        }
        assert!(!by("*").admits(&EventKind::WorkerStarted(WorkerStarted::default())));
    }

    #[test]
    fn statuses() {
        let by = |statuses: &[&str]| {
            filter(SubscribeRequest {
                statuses: statuses.iter().map(|&s| s.to_owned()).collect(),
                ..SubscribeRequest::default()
            })
        };
        let (ok, failed, none) = (
            finished("GET", "/", 200, 1, 1),
            finished("GET", "/", 503, 1, 1),
            finished("GET", "/", 0, 1, 1),
        );
        assert!(by(&["5xx"]).admits(&failed) && !by(&["5xx"]).admits(&ok));
        assert!(by(&["200"]).admits(&ok) && !by(&["200"]).admits(&failed));
        assert!(by(&["none"]).admits(&none) && !by(&["none"]).admits(&ok));
        assert!(by(&["none", "5xx"]).admits(&failed));
        for statuses in [&["5xx"], &["none"]] {
            let started = Arc::<RequestStarted>::default();
            assert!(!by(statuses).admits_in_flight(&started, u64::MAX));
            assert!(!by(statuses).admits(&EventKind::RequestStarted(started)));
        }
        assert!(by(&[]).admits_in_flight(&RequestStarted::default(), 0));
    }

    #[test]
    fn conditions_are_joined_and_loss_always_passes() {
        let narrow = filter(SubscribeRequest {
            kinds: vec!["requestFinished".to_owned()],
            min_wall_ns: 100,
            pids: vec![7],
            ..SubscribeRequest::default()
        });
        assert!(narrow.admits(&finished("GET", "/", 200, 100, 7)));
        assert!(!narrow.admits(&finished("GET", "/", 200, 99, 7)));
        assert!(!narrow.admits(&finished("GET", "/", 200, 100, 8)));
        assert!(!narrow.admits(&EventKind::RequestStarted(Arc::default())));
        assert!(narrow.admits(&EventKind::Loss {
            reason: "ring_full",
            count: 1,
            pid: 9
        }));
        let started = RequestStarted {
            pid: 7,
            ..RequestStarted::default()
        };
        assert!(narrow.admits_in_flight(&started, 100));
        assert!(!narrow.admits_in_flight(&started, 99));
    }

    #[test]
    fn nonsense_is_refused() {
        for status in [
            "", "5", "5x", "0xx", "6xx", "9xx", "xxx", "099", "50x", "1000", "+50", "ok",
        ] {
            let request = SubscribeRequest {
                statuses: vec![status.to_owned()],
                ..SubscribeRequest::default()
            };
            assert_eq!(
                Filter::try_from(&request),
                Err(FilterError::Status(status.to_owned()))
            );
        }
        let request = SubscribeRequest {
            kinds: vec!["request_finished".to_owned()],
            ..SubscribeRequest::default()
        };
        assert!(matches!(
            Filter::try_from(&request),
            Err(FilterError::Kind(_))
        ));
    }
}
