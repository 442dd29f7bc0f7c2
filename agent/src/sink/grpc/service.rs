//! `whyslow.v1.Whyslow`: asks the pipeline, converts its answers. Keeps no state.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use whyslow_proto::v1;

use crate::{
    host,
    pipeline::{AskError, Handle},
    sink::{filter::Filter, wire},
};

/// The service on one pipeline.
#[derive(Clone, Debug)]
pub(super) struct Service {
    handle: Handle,
}

impl Service {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl From<AskError> for Status {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Busy | AskError::TooManySubscribers => {
                Self::resource_exhausted(error.to_string())
            }
            AskError::Ended => Self::unavailable(error.to_string()),
        }
    }
}

/// A subscription: events until the pipeline ends.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Arc<v1::Event>>);

impl Stream for Events {
    type Item = Result<v1::Event, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The last subscriber takes the event, the others copy it.
        self.0
            .poll_recv(context)
            .map(|event| event.map(|event| Ok(Arc::unwrap_or_clone(event))))
    }
}

#[tonic::async_trait]
impl v1::whyslow_server::Whyslow for Service {
    type SubscribeStream = Events;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        let filter = Filter::try_from(&request)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let events = self
            .handle
            .subscribe(filter, request.in_flight_first)
            .await?;
        Ok(Response::new(Events(events)))
    }

    async fn in_flight(
        &self,
        request: Request<v1::InFlightQuery>,
    ) -> Result<Response<v1::InFlightResponse>, Status> {
        let answer = self
            .handle
            .in_flight(request.into_inner().min_age_ns)
            .await?;
        let anchor = self.handle.anchor();
        Ok(Response::new(v1::InFlightResponse {
            monotonic_ns: answer.now_ns,
            requests: answer
                .value
                .iter()
                .map(|request| wire::in_flight(request, anchor))
                .collect(),
        }))
    }

    async fn routes(
        &self,
        request: Request<v1::RoutesRequest>,
    ) -> Result<Response<v1::RoutesResponse>, Status> {
        let answer = self.handle.routes(request.into_inner().window_s).await?;
        Ok(Response::new(v1::RoutesResponse {
            monotonic_ns: answer.now_ns,
            window_s: answer.value.window_s,
            routes: answer.value.routes.iter().map(wire::route).collect(),
            folded: answer.value.folded,
            folded_more: answer.value.folded_more,
        }))
    }

    async fn shapes(
        &self,
        request: Request<v1::ShapesRequest>,
    ) -> Result<Response<v1::ShapesResponse>, Status> {
        let answer = self.handle.shapes(request.into_inner().window_s).await?;
        Ok(Response::new(v1::ShapesResponse {
            monotonic_ns: answer.now_ns,
            window_s: answer.value.window_s,
            shapes: answer.value.shapes.iter().map(wire::shape).collect(),
            folded: answer.value.folded,
            folded_more: answer.value.folded_more,
        }))
    }

    async fn listeners(
        &self,
        request: Request<v1::ListenersRequest>,
    ) -> Result<Response<v1::ListenersResponse>, Status> {
        let answer = self.handle.listeners(request.into_inner().window_s).await?;
        let listeners = answer.value.listeners.iter();
        Ok(Response::new(v1::ListenersResponse {
            monotonic_ns: answer.now_ns,
            window_s: answer.value.window_s,
            listeners: listeners.map(wire::listener).collect(),
        }))
    }

    async fn programs(
        &self,
        request: Request<v1::ProgramsRequest>,
    ) -> Result<Response<v1::ProgramsResponse>, Status> {
        let answer = self.handle.programs(request.into_inner().window_s).await?;
        Ok(Response::new(v1::ProgramsResponse {
            monotonic_ns: answer.now_ns,
            window_s: answer.value.window_s,
            programs: answer.value.programs.iter().map(wire::program).collect(),
            folded: answer.value.folded,
            folded_more: answer.value.folded_more,
        }))
    }

    async fn workers(
        &self,
        request: Request<v1::WorkersRequest>,
    ) -> Result<Response<v1::WorkersResponse>, Status> {
        let pids = request.into_inner().pid;
        let answer = self.handle.workers().await?;
        Ok(Response::new(v1::WorkersResponse {
            monotonic_ns: answer.now_ns,
            workers: answer
                .value
                .iter()
                .filter(|worker| pids.is_empty() || pids.contains(&worker.pid))
                .map(wire::worker)
                .collect(),
        }))
    }

    async fn info(
        &self,
        _request: Request<v1::InfoRequest>,
    ) -> Result<Response<v1::InfoResponse>, Status> {
        let info = self.handle.info().await?;
        Ok(Response::new(v1::InfoResponse {
            status: Some(info.status),
            features: info.features.iter().map(wire::feature).collect(),
            losses: info
                .losses
                .iter()
                .map(|(reason, count)| wire::loss(reason, *count, 0))
                .collect(),
            rss_bytes: host::own_rss_bytes(),
            cpu_ns: host::own_cpu_ns(),
            subscribers: info.subscribers,
        }))
    }
}
