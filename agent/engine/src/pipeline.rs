//! The one file that knows all stages: decode, timeline, protocol, attribution, routes, workers.

use crate::{
    input::{Input, Settings},
    output::{InFlight, Output, Route, Worker},
};

/// Figures of all routes over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutesView {
    /// By worker time used, most first.
    pub routes: Vec<Route>,
    /// Routes folded into `(other)` because the table is bounded.
    pub folded: u64,
    /// Window covered, seconds: shorter than asked for when the agent is younger.
    pub window_s: f64,
}

/// Figures of the engine itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests finished since the start.
    pub requests_finished: u64,
    /// Requests in flight.
    pub in_flight: u32,
    /// Threads watched.
    pub threads: u32,
    /// Processes watched.
    pub processes: u32,
}

/// See the crate's own page.
#[derive(Debug)]
pub struct Engine {
    _settings: Settings,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { _settings: settings }
    }

    /// Takes one input; appends what follows from it to `out`.
    pub fn step(&mut self, _input: Input, _out: &mut Vec<Output>) {}

    /// Requests in flight, oldest first. `now_ns`: monotonic.
    #[must_use]
    pub fn in_flight(&self, _now_ns: u64) -> Vec<InFlight> {
        Vec::new()
    }

    /// Threads whose slots the outside should read (as `Input::Thread`) before `in_flight`.
    #[must_use]
    pub fn in_flight_threads(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Threads whose slots the outside should read (as `Input::Thread`) before `workers`.
    #[must_use]
    pub fn worker_threads(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Threads of processes that served at least one request, by pid and tid.
    #[must_use]
    pub fn workers(&self, _now_ns: u64) -> Vec<Worker> {
        Vec::new()
    }

    /// Figures by route over the last `window_s` seconds (0: 60, at most 600).
    #[must_use]
    pub fn routes(&self, _now_ns: u64, _window_s: u32) -> RoutesView {
        RoutesView::default()
    }

    /// Losses since the start by reason; reasons without a loss are left out.
    #[must_use]
    pub fn losses(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The inputs are at their end (a recording): gives up what is open.
    pub fn finish(&mut self, _out: &mut Vec<Output>) {}

    /// Figures of the engine itself.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
