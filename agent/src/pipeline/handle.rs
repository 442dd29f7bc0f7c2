//! How everybody else asks a running pipeline: a bounded channel of requests, each with a place for its
//! answer. Asking never waits for room.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc::{SyncSender, TrySendError},
};

use tokio::sync::{mpsc, oneshot};
use whyslow_engine::{
    ListenersView, ProgramsView, RoutesView, ShapesView,
    output::{InFlight, Worker},
};
use whyslow_proto::v1;

use crate::{host::Anchor, sink::filter::Filter, source::Feature};

/// What the pipeline is asked.
#[derive(Debug)]
pub(super) enum Control {
    Subscribe {
        filter: Filter,
        in_flight_first: bool,
        reply: oneshot::Sender<Option<mpsc::Receiver<Arc<v1::Event>>>>,
    },
    InFlight {
        min_age_ns: u64,
        reply: oneshot::Sender<At<Vec<InFlight>>>,
    },
    Routes {
        window_s: u32,
        reply: oneshot::Sender<At<RoutesView>>,
    },
    Shapes {
        window_s: u32,
        reply: oneshot::Sender<At<ShapesView>>,
    },
    Listeners {
        window_s: u32,
        reply: oneshot::Sender<At<ListenersView>>,
    },
    Programs {
        window_s: u32,
        reply: oneshot::Sender<At<ProgramsView>>,
    },
    Workers {
        reply: oneshot::Sender<At<Vec<Worker>>>,
    },
    Info {
        reply: oneshot::Sender<Info>,
    },
}

/// An answer and its time.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// Monotonic time of the answer, ns.
    pub now_ns: u64,
    /// The answer.
    pub value: T,
}

/// The agent's own state.
#[derive(Clone, Debug)]
pub struct Info {
    /// For `AgentStatus`.
    pub status: v1::AgentStatus,
    /// As the source found them.
    pub features: Vec<Feature>,
    /// By reason, since the start; the engine's and the hub's.
    pub losses: Vec<(&'static str, u64)>,
    /// Subscribers connected now.
    pub subscribers: u32,
}

/// Why the pipeline gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many requests wait already.
    #[error("the agent has too many requests waiting")]
    Busy,
    /// The pipeline has ended.
    #[error("the agent is stopping")]
    Ended,
    /// Only for subscriptions.
    #[error("the agent has too many subscribers")]
    TooManySubscribers,
}

/// Asks a running pipeline. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) control: SyncSender<Control>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) anchor: Anchor,
}

impl Handle {
    /// The clock anchor of its events.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// Events from now on, after the agent's status and (if asked for) what is in flight.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn subscribe(
        &self,
        filter: Filter,
        in_flight_first: bool,
    ) -> Result<mpsc::Receiver<Arc<v1::Event>>, AskError> {
        self.ask(|reply| Control::Subscribe {
            filter,
            in_flight_first,
            reply,
        })
        .await?
        .ok_or(AskError::TooManySubscribers)
    }

    /// Requests in flight of at least this age, oldest first.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn in_flight(&self, min_age_ns: u64) -> Result<At<Vec<InFlight>>, AskError> {
        self.ask(|reply| Control::InFlight { min_age_ns, reply })
            .await
    }

    /// Figures by route over the last `window_s` seconds; 0: 60.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn routes(&self, window_s: u32) -> Result<At<RoutesView>, AskError> {
        self.ask(|reply| Control::Routes { window_s, reply }).await
    }

    /// Figures by shape over the last `window_s` seconds; 0: 60.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn shapes(&self, window_s: u32) -> Result<At<ShapesView>, AskError> {
        self.ask(|reply| Control::Shapes { window_s, reply }).await
    }

    /// Listening sockets, with figures over the last `window_s` seconds; 0: 60.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn listeners(&self, window_s: u32) -> Result<At<ListenersView>, AskError> {
        self.ask(|reply| Control::Listeners { window_s, reply })
            .await
    }

    /// Figures by command over the last `window_s` seconds; 0: 60.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn programs(&self, window_s: u32) -> Result<At<ProgramsView>, AskError> {
        self.ask(|reply| Control::Programs { window_s, reply })
            .await
    }

    /// Threads that serve.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn workers(&self) -> Result<At<Vec<Worker>>, AskError> {
        self.ask(|reply| Control::Workers { reply }).await
    }

    /// The agent's own state.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn info(&self) -> Result<Info, AskError> {
        self.ask(|reply| Control::Info { reply }).await
    }

    /// Ends the pipeline after the inputs that have arrived, within a poll. Returns at once.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<T>) -> Control,
    ) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        self.control
            .try_send(make(reply))
            .map_err(|error| match error {
                TrySendError::Full(_) => AskError::Busy,
                TrySendError::Disconnected(_) => AskError::Ended,
            })?;
        answer.await.map_err(|_| AskError::Ended)
    }
}
