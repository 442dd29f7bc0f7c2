//! What the command line can choose for the view.

use std::{fmt, str::FromStr, time::Duration};

/// What to show first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// In flight above, routes below: the start.
    #[default]
    Overview,
    /// Requests in flight alone.
    InFlight,
    /// Routes alone.
    Routes,
    /// Workers alone.
    Workers,
    /// Shapes of operations alone.
    Shapes,
    /// Programs that are started alone.
    Programs,
    /// Listening sockets alone.
    Listeners,
}

impl Pane {
    /// All panes, for the help of a command line.
    pub const ALL: [Self; 7] = [
        Self::Overview,
        Self::InFlight,
        Self::Routes,
        Self::Workers,
        Self::Shapes,
        Self::Programs,
        Self::Listeners,
    ];

    /// Its name on the command line: `overview`, `in-flight`, `routes`, `workers`, `shapes`, `programs`, `listeners`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::InFlight => "in-flight",
            Self::Routes => "routes",
            Self::Workers => "workers",
            Self::Shapes => "shapes",
            Self::Programs => "programs",
            Self::Listeners => "listeners",
        }
    }
}

impl fmt::Display for Pane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Pane {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|pane| pane.name() == text)
            .ok_or_else(|| {
                anyhow::anyhow!(
                    "no pane {text:?}: overview, in-flight, routes, workers, shapes, programs or listeners"
                )
            })
    }
}

/// How to show it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Print one snapshot and leave.
    pub once: bool,
    /// Print JSON instead of a screen: one object with `once`, else one per `interval`.
    pub json: bool,
    /// Time between two questions to the agent. Default 1 s; kept within 100 ms to 60 s.
    pub interval: Duration,
    /// With `once`: how long to watch before the snapshot is taken. Default 3 s.
    pub settle: Duration,
    /// What to show first; with `once` and without `json`: what to show alone.
    pub pane: Pane,
    /// Window of the figures by route and by shape, seconds, at most 600; 0: the agent's default (60).
    pub window_s: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            once: false,
            json: false,
            interval: Duration::from_secs(1),
            settle: Duration::from_secs(3),
            pane: Pane::Overview,
            window_s: 0,
        }
    }
}
