//! The columns of the lists: one registry for titles, widths and order.
//!
//! What must stay true: the cells of `rows` stand in this order.

use crate::{model::List, rows::Row, text::width};

/// Width of a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    /// Columns of the screen.
    Fixed(u16),
    /// A part of what is left, by weight.
    Flex(u16),
}

/// Width of a bar where there is any room.
const BAR: usize = 20;
/// Widest column where there is any room.
const WIDEST: u16 = 4096;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Title.
    pub(crate) name: &'static str,
    /// Width.
    pub(crate) width: Width,
    /// Aligned right.
    pub(crate) right: bool,
    /// Shown when the list is at least this wide.
    pub(crate) from: u16,
    /// Its natural order is largest first.
    pub(crate) descending: bool,
    /// What it means, for the help.
    pub(crate) about: &'static str,
}

const fn number(name: &'static str, width: u16, from: u16, about: &'static str) -> Column {
    Column {
        name,
        width: Width::Fixed(width),
        right: true,
        from,
        descending: true,
        about,
    }
}

const fn id(name: &'static str, from: u16, about: &'static str) -> Column {
    Column {
        name,
        width: Width::Fixed(7),
        right: true,
        from,
        descending: false,
        about,
    }
}

const fn text(name: &'static str, width: Width, from: u16, about: &'static str) -> Column {
    Column {
        name,
        width,
        right: false,
        from,
        descending: false,
        about,
    }
}

const IN_FLIGHT: [Column; 8] = [
    number("AGE", 7, 0, "since its first byte was read"),
    id("PID", 70, "process"),
    id("TID", 100, "thread"),
    text(
        "PHASE",
        Width::Fixed(10),
        110,
        "reading, working, responding",
    ),
    number(
        "OPS",
        6,
        85,
        "operations so far, open ones too; +: or more; !: one shape is repeated one by one",
    ),
    text(
        "NOW",
        Width::Flex(5),
        0,
        "account that time goes to now, and what is waited for",
    ),
    number("FOR", 7, 60, "time in it so far"),
    text("REQUEST", Width::Flex(5), 0, "method and target"),
];

const ROUTES: [Column; 12] = [
    number("RATE/S", 6, 70, "requests per second"),
    number("P50", 7, 80, "median wall time"),
    number("P95", 7, 60, "95 % were faster"),
    number("P99", 7, 0, "99 % were faster"),
    number("ERR", 5, 50, "5xx and unanswered since the start"),
    number("WORK", 5, 0, "share of all routes' worker time"),
    number("OPS/R", 6, 90, "operations per request, mean; +: or more"),
    number("INFL", 4, 100, "in flight now"),
    number(
        "QUEUED",
        7,
        130,
        "95 % waited less in the accept queue; first requests of connections",
    ),
    number(
        "CLIENT",
        6,
        130,
        "share of its workers' time that clients kept them waiting",
    ),
    text("ACCOUNTS", Width::Flex(4), 0, "where its time went"),
    text("ROUTE", Width::Flex(6), 0, "method and path template"),
];

const WORKERS: [Column; 11] = [
    id("PID", 0, "process"),
    id("TID", 50, "thread"),
    text("COMM", Width::Fixed(10), 70, "thread name"),
    text("STATE", Width::Fixed(5), 60, "idle, busy, ended"),
    text(
        "BUSY",
        Width::Fixed(11),
        0,
        "share of the last 10 s in requests",
    ),
    number("CPU", 5, 60, "share of the last 10 s on a CPU"),
    number("REQS", 6, 100, "requests finished"),
    number("MEM", 8, 120, "memory that its process has resident"),
    text("NOW", Width::Flex(5), 0, "account that time goes to now"),
    number("FOR", 7, 100, "time in it so far"),
    text("ROUTE", Width::Flex(5), 70, "what it serves"),
];

const SHAPES: [Column; 10] = [
    number("COUNT", 7, 0, "operations; +: at least so many"),
    number("REQS", 6, 60, "requests that asked for it"),
    number(
        "N+1",
        5,
        50,
        "requests that repeated it one by one, not pipelined",
    ),
    number(
        "TOTAL",
        8,
        0,
        "sum of the operations' times; +: or more; ~: shared with others",
    ),
    number("P95", 7, 0, "95 % of the operations were faster"),
    number("MAX", 7, 100, "the slowest operation"),
    number("ERR", 6, 90, "operations that failed; +: or more"),
    text("PROTOCOL", Width::Fixed(10), 90, "what is spoken"),
    text("SERVER", Width::Flex(5), 120, "asked, if it is one"),
    text(
        "SHAPE",
        Width::Flex(14),
        0,
        "statement or command, without literals",
    ),
];

const PROGRAMS: [Column; 11] = [
    number("RATE/S", 6, 60, "runs per second"),
    number("RUNS", 6, 0, "runs that ended within the window"),
    number("NOW", 4, 50, "processes that run it now"),
    number(
        "FAIL",
        5,
        80,
        "runs that ended with a status other than 0 or by a signal",
    ),
    number(
        "COST",
        8,
        0,
        "CPU time of the runs, and time that requests waited for them",
    ),
    number("CPU", 8, 90, "CPU time of the runs"),
    number("CPU/RUN", 7, 100, "CPU time of a run, mean"),
    number("START", 7, 0, "from exec to the first output, median"),
    number("P50", 7, 70, "from start to end, median"),
    number("P95", 7, 80, "95 % of the runs were shorter"),
    text(
        "PROGRAM",
        Width::Flex(8),
        0,
        "what is run, without its arguments",
    ),
];

const LISTENERS: [Column; 10] = [
    number(
        "QUEUE",
        9,
        0,
        "connections that wait to be accepted, of how many may",
    ),
    number("MOST", 9, 50, "the most that waited"),
    number(
        "OVERFL",
        6,
        60,
        "connections that found a queue full, of all of its namespace",
    ),
    number(
        "ACC/S",
        6,
        70,
        "connections accepted per second, whose request came",
    ),
    number("P50", 7, 80, "median time in the queue"),
    number("P95", 7, 0, "95 % waited less"),
    number("MAX", 7, 100, "the longest that one waited"),
    id("PID", 90, "process that took one last"),
    text("COMM", Width::Fixed(10), 110, "its name"),
    text("ADDRESS", Width::Flex(5), 0, "where it listens"),
];

impl Column {
    /// Columns of a list.
    pub(crate) const fn of(list: List) -> &'static [Self] {
        match list {
            List::InFlight => &IN_FLIGHT,
            List::Routes => &ROUTES,
            List::Workers => &WORKERS,
            List::Shapes => &SHAPES,
            List::Programs => &PROGRAMS,
            List::Listeners => &LISTENERS,
        }
    }

    /// Indexes and widths of the columns shown in `width`, one column of space between them.
    pub(crate) fn layout(list: List, width: u16) -> Vec<(usize, u16)> {
        let shown = Self::of(list)
            .iter()
            .enumerate()
            .filter(|(_, column)| column.from <= width);
        let shown: Vec<(usize, &Self)> = shown.collect();
        let mut room = width.saturating_sub(u16::try_from(shown.len()).unwrap_or(0) - 1);
        let mut weights = 0;
        for (_, column) in &shown {
            match column.width {
                Width::Fixed(n) => room = room.saturating_sub(n),
                Width::Flex(weight) => weights += weight,
            }
        }
        let mut layout = Vec::new();
        for (index, column) in shown {
            let width = match column.width {
                Width::Fixed(n) => n,
                Width::Flex(weight) => {
                    // Of what is left, so that the last one takes the rest.
                    let part = room * weight / weights;
                    room -= part;
                    weights -= weight;
                    part
                }
            };
            layout.push((index, width));
        }
        layout
    }

    /// The same of all columns, each as wide as the widest of `rows` needs.
    pub(crate) fn uncut(list: List, rows: &[Row]) -> Vec<(usize, u16)> {
        let columns = Self::of(list).iter().enumerate();
        let layout = columns.map(|(index, column)| {
            let least = match column.width {
                Width::Fixed(n) => n,
                Width::Flex(_) => 0,
            };
            let cells = rows.iter().filter_map(|row| row.cells.get(index));
            let widest = cells.map(|cell| cell.content.width(BAR)).max();
            let needed = widest.unwrap_or(0).max(width(column.name));
            let needed = u16::try_from(needed).map_or(WIDEST, |needed| needed.min(WIDEST));
            (index, needed.max(least))
        });
        layout.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Snapshot, rows::rows};
    use whyslow_proto::v1::{InFlightRequest, Listener, Program, Route, Shape, Worker};

    #[test]
    fn a_layout_fills_the_width() {
        for list in List::ALL {
            for width in 40..300 {
                let layout = Column::layout(list, width);
                let sum: u16 = layout.iter().map(|(_, width)| width).sum();
                let gaps = u16::try_from(layout.len()).unwrap() - 1;
                assert_eq!(sum + gaps, width, "{list:?} {layout:?}");
                assert!(
                    layout.iter().all(|&(_, width)| width >= 4),
                    "{list:?} {layout:?}"
                );
            }
        }
    }

    #[test]
    fn rows_have_a_cell_for_each_column() {
        let mut snapshot = Snapshot::default();
        snapshot.in_flight.requests.push(InFlightRequest::default());
        snapshot.routes.routes.push(Route::default());
        snapshot.workers.workers.push(Worker::default());
        snapshot.shapes.shapes.push(Shape::default());
        snapshot.programs.programs.push(Program::default());
        snapshot.listeners.listeners.push(Listener::default());
        for list in List::ALL {
            assert_eq!(rows(&snapshot, list)[0].cells.len(), Column::of(list).len());
        }
    }
}
