//! What ties routes to shapes, in details: the shapes that a route asks for, the routes that ask for a shape.
//!
//! What must stay true: figures that may be too small are marked, and so is what is not told.

use ratatui::text::Span;
use whyslow_proto::v1::{Route, Shape, ShapeRoute};

use super::{
    Line,
    operations::{WIDE, named},
    overlay::heading,
};
use crate::{
    client::Snapshot,
    number::{at_least, count, rate, share, total},
    palette::Theme,
    rows::{OTHER_ROUTE, request_line},
    text::{Cut, clean, fit, width},
};

/// Shapes shown of a route.
const SHAPES: usize = 10;
/// Columns of a protocol's name.
const PROTOCOL: usize = 10;

/// Not all routes that ask for the shape are told: some are added up.
fn has_rest(shape: &Shape) -> bool {
    shape.routes.iter().any(is_rest)
}

fn is_rest(asked: &ShapeRoute) -> bool {
    asked.method.is_empty() && asked.route == OTHER_ROUTE
}

/// What requests of the route asked for in the shape.
fn part_of<'a>(shape: &'a Shape, route: &Route) -> Option<&'a ShapeRoute> {
    let mut routes = shape.routes.iter();
    routes.find(|asked| asked.method == route.method && asked.route == route.route)
}

/// The routes that ask for a shape, most time first; nothing of an agent that does not tell.
pub(super) fn used_by(shape: &Shape, theme: Theme, columns: u16) -> Vec<Line> {
    if shape.routes.is_empty() {
        return Vec::new();
    }
    let wide = columns >= WIDE;
    let titles = if wide {
        format!(
            " {:>7}{:>8}{:>7}{:>9}{:>6} ROUTE",
            "REQS", "COUNT", "EACH", "TIME", "SHARE"
        )
    } else {
        format!(" {:>7}{:>9} ROUTE", "COUNT", "TIME")
    };
    let mut lines = vec![
        Line::default(),
        heading("Used by", theme),
        Line::from(Span::styled(titles, theme.strong())),
    ];
    for asked in &shape.routes {
        let rest = is_rest(asked);
        let least = shape.sampled || (has_rest(shape) && !rest);
        let operations = at_least(count(asked.count), least);
        let time = total(asked.total_ns, least);
        let figures = if wide {
            let requests = at_least(count(asked.requests), least);
            let each = at_least(
                rate(asked.count as f64 / asked.requests as f64),
                shape.sampled,
            );
            let part = share(asked.total_ns as f64 / shape.total_ns as f64);
            format!(" {requests:>7}{operations:>8}{each:>7}{time:>9}{part:>6} ")
        } else {
            format!(" {operations:>7}{time:>9} ")
        };
        let name = if rest {
            "(other routes)".to_owned()
        } else {
            request_line(&asked.method, &asked.route)
        };
        lines.push(named(figures, (asked.repeated > 0, &name), theme, columns));
    }
    lines
}

/// The shapes that a route asks for, most time first. `requests`: of the route, over the window.
pub(super) fn asks_for(
    route: &Route,
    requests: f64,
    snapshot: &Snapshot,
    theme: Theme,
    columns: u16,
) -> Vec<Line> {
    let shapes = snapshot.shapes.shapes.iter();
    let mut asked: Vec<(&Shape, &ShapeRoute)> = shapes
        .filter_map(|shape| Some((shape, part_of(shape, route)?)))
        .collect();
    asked.sort_by_key(|(_, asked)| std::cmp::Reverse(asked.total_ns));
    let wide = columns >= WIDE;
    let titles = if wide {
        format!(
            " {:>7}{:>8}{:>9} {:<PROTOCOL$} SHAPE",
            "COUNT", "PER REQ", "TIME", "PROTOCOL"
        )
    } else {
        format!(" {:>7}{:>9} SHAPE", "COUNT", "TIME")
    };
    let mut lines = vec![
        Line::default(),
        heading("Shapes it asks for", theme),
        Line::from(Span::styled(titles, theme.strong())),
    ];
    for (shape, asked) in asked.iter().take(SHAPES) {
        let figures = figures(shape, asked, requests, wide);
        let name = (asked.repeated > 0, shape.shape.as_str());
        lines.push(named(figures, name, theme, columns));
    }
    lines.extend(not_told(route, asked.len(), snapshot).map(|text| {
        let text = fit(&text, columns.into(), Cut::End);
        Line::from(Span::styled(text, theme.grey()))
    }));
    // Only the titles: it asks for nothing, or that is not told.
    if lines.len() == 3 { Vec::new() } else { lines }
}

fn figures(shape: &Shape, asked: &ShapeRoute, requests: f64, wide: bool) -> String {
    let least = shape.sampled || has_rest(shape) && !is_rest(asked);
    let operations = at_least(count(asked.count), least);
    let time = total(asked.total_ns, least);
    if !wide {
        return format!(" {operations:>7}{time:>9} ");
    }
    let each = at_least(rate(asked.count as f64 / requests), least);
    let protocol = fit(&clean(&shape.protocol), PROTOCOL, Cut::End);
    let indent = " ".repeat((PROTOCOL + 1).saturating_sub(width(&protocol)));
    format!(" {operations:>7}{each:>8}{time:>9} {protocol}{indent}")
}

/// Shapes that are not shown, and those that it may ask for, too.
fn not_told(route: &Route, asked: usize, snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let more = asked.saturating_sub(SHAPES);
    let more = (more > 0).then(|| format!(" … and {more} more: they are in the list of shapes"));
    let shapes = snapshot.shapes.shapes.iter();
    let shared = shapes.filter(|shape| has_rest(shape) && part_of(shape, route).is_none());
    let shared = match shared.count() {
        0 => None,
        1 => Some(" perhaps also 1 that many routes share".to_owned()),
        n => Some(format!(" perhaps also {n} that many routes share")),
    };
    more.into_iter().chain(shared)
}
