//! What was asked of servers, in details of rows: a request's operations so far, and a shape.

use ratatui::text::Span;
use whyslow_proto::v1::{InFlightRequest, Operation, Shape};

use super::{Line, list::off, overlay::heading};
use crate::{
    client::Snapshot,
    number::{about, at_least, count, duration, rate, share, time_of_one, total},
    palette::Theme,
    rows::{answered_in, is_sampled, operations_in},
    text::{Cut, clean, fit, width},
};

/// From this width on there is room for more than the most needed.
pub(super) const WIDE: u16 = 70;
/// Columns of a protocol's name.
const PROTOCOL: usize = 10;

/// A request's operations so far, or why they are not known.
pub(super) fn in_a_line(request: &InFlightRequest, snapshot: &Snapshot, columns: u16) -> String {
    if !snapshot.reads_operations() {
        return off(columns).to_owned();
    }
    if request.binding != "thread" {
        return "not known: it is not bound to one thread".to_owned();
    }
    let operations = &request.operations;
    if operations.is_empty() {
        return if request.open_operations.is_empty() {
            "nothing so far".to_owned()
        } else {
            String::new()
        };
    }
    let least = if is_sampled(request) { "at least " } else { "" };
    let asked = count(operations_in(request));
    let time = operations.iter().map(|one| one.total_ns);
    let time = duration(time.fold(0, u64::saturating_add));
    let mut text = format!("{least}{asked} operations so far, ");
    if !request.open_operations.is_empty() {
        text += &format!("{} answered in ", count(answered_in(request)));
    }
    text += &time;
    let repeated = operations.iter().filter(|one| one.is_one_by_one());
    if let Some(most) = repeated.max_by_key(|one| one.count) {
        text += &format!("; one shape {} times (N+1)", count(most.count));
    }
    text
}

/// What it waits for a server to answer, longest first; empty: nothing.
pub(super) fn open(request: &InFlightRequest) -> String {
    let Some(oldest) = request.open_operations.first() else {
        return String::new();
    };
    let mut text = format!(
        "for {}: {} {}",
        duration(oldest.age_ns),
        clean(&oldest.protocol),
        clean(&oldest.shape)
    );
    let more = request.open_operations.len() - 1;
    if more > 0 {
        text += &format!("; and {more} more");
    }
    text
}

/// The same as a table, most time first; nothing where there are none.
pub(super) fn table(request: &InFlightRequest, theme: Theme, columns: u16) -> Vec<Line> {
    if request.operations.is_empty() {
        return Vec::new();
    }
    let titles = if columns < WIDE {
        format!(" {:>7}{:>9} SHAPE", "COUNT", "TIME")
    } else {
        format!(
            " {:>7}{:>9}{:>8}{:>7} {:<PROTOCOL$} SHAPE",
            "COUNT", "TIME", "SLOWEST", "ERR", "PROTOCOL"
        )
    };
    let mut lines = vec![
        Line::default(),
        heading("Operations so far", theme),
        Line::from(Span::styled(titles, theme.strong())),
    ];
    for operation in &request.operations {
        lines.push(row(operation, theme, columns));
    }
    let left_out = match request.shapes_left_out {
        0 => return lines,
        1 => " … and 1 more shape".to_owned(),
        n => format!(" … and {n} more shapes"),
    };
    lines.push(Line::from(Span::styled(left_out, theme.grey())));
    lines
}

fn row(operation: &Operation, theme: Theme, columns: u16) -> Line {
    let mut figures = format!(
        " {:>7}{:>9} ",
        at_least(count(operation.count), operation.sampled),
        about(
            total(operation.total_ns, operation.sampled),
            operation.times_shared
        ),
    );
    if columns >= WIDE {
        let protocol = fit(&clean(&operation.protocol), PROTOCOL, Cut::End);
        figures.pop();
        figures += &format!(
            "{:>8}{:>7} {protocol}{}",
            time_of_one(operation.slowest_ns),
            at_least(count(operation.errors), operation.is_errors_at_least()),
            " ".repeat((PROTOCOL + 1).saturating_sub(width(&protocol)))
        );
    }
    if let Some(words) = operation.pipelined_words() {
        figures += &format!("{words}: ");
    }
    let shape = (operation.is_one_by_one(), operation.shape.as_str());
    named(figures, shape, theme, columns)
}

/// Figures, and what they are of: whether it is repeated one by one, and its name.
pub(super) fn named(
    figures: String,
    (repeated, name): (bool, &str),
    theme: Theme,
    columns: u16,
) -> Line {
    let mut spans = vec![Span::styled(figures, theme.text())];
    if repeated {
        spans.push(Span::styled("N+1 ", theme.alarm()));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let room = usize::from(columns).saturating_sub(used);
    let name = fit(&clean(name), room, Cut::Middle);
    spans.push(Span::styled(name, theme.text()));
    Line::from(spans)
}

/// The fields of a shape.
pub(super) fn of_shape(shape: &Shape, window_s: f64) -> [(&'static str, String); 8] {
    let least = if shape.sampled { "at least " } else { "" };
    let operations = format!(
        "{least}{} in {} requests, {} each; {} failed",
        count(shape.count),
        count(shape.requests),
        rate(shape.count as f64 / shape.requests as f64),
        at_least(count(shape.errors), shape.sampled || shape.answers_sampled)
    );
    let repeated = match shape.repeated {
        0 => "in no request".to_owned(),
        n => format!("in {} requests (N+1): could one ask for all?", count(n)),
    };
    let quantiles = format!(
        "p50 {}   p95 {}   max {}",
        time_of_one(shape.p50_ns),
        time_of_one(shape.p95_ns),
        time_of_one(shape.max_ns)
    );
    let part = share(shape.time_share);
    [
        ("protocol", clean(&shape.protocol)),
        ("server", clean(&shape.peer)),
        ("shape", clean(&shape.shape)),
        (
            "window",
            format!("{window_s:.0} s, {} per second", rate(shape.rate_per_s)),
        ),
        ("operations", operations),
        ("repeated", repeated),
        ("time of one", quantiles),
        (
            "time",
            format!(
                "{least}{}, {part} of all operations",
                about(duration(shape.total_ns), shape.times_shared)
            ),
        ),
    ]
}
