//! The state of the view: what the agent said last, how the link is, what the user chose.
//!
//! No screen code, no clock (time is an argument: time since the view began), no I/O. What must stay
//! true: one owner; the last data outlives the agent; while paused the data does not move, and the
//! link is still told.

use std::{collections::VecDeque, time::Duration};

use crate::{
    Options, Pane,
    client::{Snapshot, Update},
    finished::{Finished, Wanted},
    rows::{Key, Row, Sorting, rows},
    text::clean,
};

/// Time over which requests per second are measured.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Intervals that `+` and `-` step through, ms.
const STEPS_MS: [u64; 9] = [100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// The connection to the agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Link {
    /// Never connected yet; why not, when an attempt failed.
    Connecting {
        since: Duration,
        error: Option<String>,
    },
    /// Answers come.
    Live,
    /// Was live; since when not, and why.
    Lost { since: Duration, error: String },
}

/// A list. Its number is its place in [`Ui::tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Requests in flight.
    InFlight,
    /// Routes.
    Routes,
    /// Workers.
    Workers,
    /// Shapes of operations.
    Shapes,
    /// Programs that are started.
    Programs,
    /// Listening sockets.
    Listeners,
}

impl List {
    /// All, in the order of `Tab`.
    pub(crate) const ALL: [Self; 6] = [
        Self::InFlight,
        Self::Routes,
        Self::Workers,
        Self::Shapes,
        Self::Programs,
        Self::Listeners,
    ];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::InFlight => 0,
            Self::Routes => 1,
            Self::Workers => 2,
            Self::Shapes => 3,
            Self::Programs => 4,
            Self::Listeners => 5,
        }
    }

    /// The digit of its key.
    pub(crate) const fn key(self) -> usize {
        match self {
            Self::Listeners => 7,
            _ => self.index() + 1,
        }
    }

    pub(crate) fn next(self, step: usize) -> Self {
        Self::ALL[(self.index() + step) % Self::ALL.len()]
    }
}

/// Where the cursor of one list is, and its order.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Order.
    pub(crate) sorting: Sorting,
    /// Row under the cursor; `None` until the user moves: the list then stays at its top.
    pub(crate) selected: Option<Key>,
    /// Its place when it was last seen.
    pub(crate) index: usize,
}

/// What lies over the lists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Overlay {
    /// Keys.
    Help,
    /// The agent: features, losses.
    Info,
    /// One row. Keeps the last that was seen of it.
    Detail(Key, Box<Snapshot>),
}

/// What the user chose.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    /// List with the cursor.
    pub(crate) focus: List,
    /// That list alone on the screen.
    pub(crate) zoomed: bool,
    /// One per [`List`].
    pub(crate) tables: [Table; List::ALL.len()],
    /// Part of a row that must be there, lower case.
    pub(crate) filter: String,
    /// The filter is being typed.
    pub(crate) typing: bool,
    /// Over the lists.
    pub(crate) overlay: Option<Overlay>,
    /// First line shown of it.
    pub(crate) scroll: usize,
    /// The data stands still.
    pub(crate) paused: bool,
    /// Time between two questions.
    pub(crate) interval: Duration,
    /// Rows that a page has: told by the screen before.
    pub(crate) page: usize,
    /// The user left.
    pub(crate) quit: bool,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Model {
    /// Whom we ask, cleaned.
    pub(crate) label: String,
    /// What is shown.
    pub(crate) snapshot: Option<Box<Snapshot>>,
    /// Finished requests of the row whose details were open last.
    pub(crate) finished: Option<Box<Finished>>,
    /// Requests per second of it; `None`: not known yet.
    pub(crate) rate_per_s: Option<f64>,
    /// Most requests in flight in one answer until now.
    pub(crate) most_in_flight: usize,
    /// The connection.
    pub(crate) link: Link,
    /// What the user chose.
    pub(crate) ui: Ui,
    /// Requests finished, by time of the answer.
    counts: VecDeque<(Duration, u64)>,
    /// Finished requests that came while the data stands still.
    held: Option<Box<Finished>>,
}

impl Model {
    /// A view that begins at `now`.
    pub(crate) fn new(label: &str, options: &Options, now: Duration) -> Self {
        let table = |list| Table {
            sorting: Sorting::of(list),
            selected: None,
            index: 0,
        };
        let (focus, zoomed) = match options.pane {
            Pane::Overview => (List::InFlight, false),
            Pane::InFlight => (List::InFlight, true),
            Pane::Routes => (List::Routes, true),
            Pane::Workers => (List::Workers, true),
            Pane::Shapes => (List::Shapes, true),
            Pane::Programs => (List::Programs, true),
            Pane::Listeners => (List::Listeners, true),
        };
        Self {
            label: clean(label),
            snapshot: None,
            finished: None,
            rate_per_s: None,
            most_in_flight: 0,
            link: Link::Connecting {
                since: now,
                error: None,
            },
            ui: Ui {
                focus,
                zoomed,
                tables: List::ALL.map(table),
                filter: String::new(),
                typing: false,
                overlay: None,
                scroll: 0,
                paused: false,
                interval: options.interval,
                page: 10,
                quit: false,
            },
            counts: VecDeque::new(),
            held: None,
        }
    }

    /// Takes news.
    pub(crate) fn apply(&mut self, update: Update, now: Duration) {
        match update {
            Update::Snapshot(snapshot) => self.take(snapshot, now),
            Update::Finished(finished) if self.ui.paused => self.held = Some(finished),
            Update::Finished(finished) => self.finished = Some(finished),
            Update::Lost(error) => {
                self.counts.clear();
                let error = clean(error.lines().next().unwrap_or_default());
                self.link = match self.link {
                    Link::Connecting { since, .. } => Link::Connecting {
                        since,
                        error: Some(error),
                    },
                    Link::Lost { since, .. } => Link::Lost { since, error },
                    Link::Live => Link::Lost { since: now, error },
                };
            }
        }
    }

    fn take(&mut self, snapshot: Box<Snapshot>, now: Duration) {
        self.link = Link::Live;
        let finished = snapshot
            .info
            .status
            .as_ref()
            .map_or(0, |status| status.requests_finished);
        if self
            .counts
            .back()
            .is_some_and(|&(_, before)| before > finished)
        {
            // Another agent: it counts from zero.
            self.counts.clear();
        }
        self.counts.push_back((now, finished));
        while self
            .counts
            .get(1)
            .is_some_and(|&(at, _)| at + RATE_WINDOW <= now)
        {
            self.counts.pop_front();
        }
        if self.ui.paused {
            return;
        }
        self.rate_per_s = self.measure_rate();
        self.finished = self.held.take().or_else(|| self.finished.take());
        let in_flight = snapshot.in_flight.requests.len();
        self.most_in_flight = self.most_in_flight.max(in_flight);
        if let Some(Overlay::Detail(key, last)) = &mut self.ui.overlay
            && key.is_in(&snapshot)
        {
            last.clone_from(&snapshot);
        }
        self.snapshot = Some(snapshot);
        self.follow_selection();
    }

    fn measure_rate(&self) -> Option<f64> {
        let (&(first_at, first), &(last_at, last)) = (self.counts.front()?, self.counts.back()?);
        let seconds = last_at.checked_sub(first_at)?.as_secs_f64();
        (seconds > 0.0).then(|| (last - first) as f64 / seconds)
    }

    /// The rows of a list, as filtered and sorted.
    pub(crate) fn shown(&self, list: List) -> Vec<Row> {
        let Some(snapshot) = &self.snapshot else {
            return Vec::new();
        };
        let mut rows = rows(snapshot, list);
        if !self.ui.filter.is_empty() {
            rows.retain(|row| row.matches(&self.ui.filter));
        }
        self.ui.tables[list.index()].sorting.sort(&mut rows);
        rows
    }

    /// Keeps each cursor on its row while the order changes; a row that went leaves the cursor at
    /// its place.
    fn follow_selection(&mut self) {
        for list in List::ALL {
            if self.ui.tables[list.index()].selected.is_some() {
                let rows = self.shown(list);
                let table = &mut self.ui.tables[list.index()];
                let place = rows
                    .iter()
                    .position(|row| Some(&row.key) == table.selected.as_ref());
                table.index = place
                    .unwrap_or(table.index)
                    .min(rows.len().saturating_sub(1));
                if let Some(row) = rows.get(table.index) {
                    table.selected = Some(row.key.clone());
                }
            }
        }
    }

    /// Moves the cursor of the focused list.
    pub(crate) fn move_by(&mut self, step: isize) {
        let rows = self.shown(self.ui.focus);
        let table = &mut self.ui.tables[self.ui.focus.index()];
        let last = rows.len().saturating_sub(1);
        table.index = match table.selected {
            Some(_) => table.index.saturating_add_signed(step).min(last),
            // The first step down shows the cursor on the first row.
            None => 0_usize
                .saturating_add_signed(step.saturating_sub(1).max(0))
                .min(last),
        };
        table.selected = rows.get(table.index).map(|row| row.key.clone());
    }

    /// After a change of filter or order.
    pub(crate) fn reorder(&mut self) {
        self.follow_selection();
    }

    /// Opens the row under the cursor.
    pub(crate) fn open_detail(&mut self) {
        let rows = self.shown(self.ui.focus);
        let row = rows.get(self.ui.tables[self.ui.focus.index()].index);
        if let (Some(row), Some(snapshot)) = (row, &self.snapshot) {
            self.ui.overlay = Some(Overlay::Detail(row.key.clone(), snapshot.clone()));
            self.ui.scroll = 0;
        }
    }

    /// Whose finished requests are to be seen.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        match &self.ui.overlay {
            Some(Overlay::Detail(key, last)) => Wanted::of(key, last),
            _ => None,
        }
    }

    /// The next longer or shorter interval.
    pub(crate) fn step_interval(&mut self, longer: bool) {
        let now_ms = u64::try_from(self.ui.interval.as_millis()).unwrap_or(u64::MAX);
        let step = if longer {
            STEPS_MS.into_iter().find(|&ms| ms > now_ms)
        } else {
            STEPS_MS.into_iter().rev().find(|&ms| ms < now_ms)
        };
        if let Some(ms) = step {
            self.ui.interval = Duration::from_millis(ms);
        }
    }

    /// What the screen told: rows of a page, and how far an overlay can be scrolled.
    pub(crate) fn learn(&mut self, page: usize, longest_scroll: usize) {
        self.ui.page = page;
        self.ui.scroll = self.ui.scroll.min(longest_scroll);
    }

    /// The data is not of now: the agent is lost.
    pub(crate) const fn is_stale(&self) -> bool {
        !matches!(self.link, Link::Live)
    }
}
