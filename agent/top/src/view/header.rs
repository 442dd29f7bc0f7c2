//! The two lines above and the one below: who is asked, how it is, which keys there are.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Span};
use whyslow_proto::v1::Loss;

use super::{Line, paint::put};
use crate::{
    listeners,
    model::{Link, Model},
    number::{count, rate},
    palette::Theme,
    text::{Cut, clean, fit, width},
};

/// Keys named in the last line, most useful first.
const FOOTER: [&str; 9] = [
    "? help",
    "q quit",
    "1-5 pane",
    "Enter detail",
    "/ filter",
    "space pause",
    "< > sort",
    "z zoom",
    "i agent",
];

/// The same while something lies over the lists.
const FOOTER_OVER: [&str; 8] = [
    "Esc back",
    "j k scroll",
    "g G ends",
    "? help",
    "q quit",
    "space pause",
    "Tab list",
    "i agent",
];

pub(super) fn draw(model: &Model, theme: Theme, now: Duration, area: Rect, buffer: &mut Buffer) {
    let state = state(model);
    let room = area
        .width
        .saturating_sub(u16::try_from(state.len() + 2).unwrap_or(0));
    put(
        buffer,
        (area.x, area.y),
        room,
        &identity(model, room.into()),
        theme.strong(),
        (Cut::End, false),
    );
    if !state.is_empty() {
        let columns = area.width - room;
        put(
            buffer,
            (area.x + room, area.y),
            columns,
            &state,
            theme.reversed(),
            (Cut::End, true),
        );
    }
    let second = Rect {
        y: area.y + 1,
        height: 1,
        ..area
    };
    match &model.link {
        Link::Live => {
            buffer.set_line(second.x, second.y, &figures(model, theme), second.width);
        }
        Link::Lost { since, error } => {
            let text = format!(
                "agent lost, reconnecting ({} s): {error}",
                seconds(*since, now)
            );
            banner(&text, theme, second, buffer);
        }
        Link::Connecting { since, error } => {
            let text = format!("connecting ({} s)", seconds(*since, now));
            match error {
                Some(error) => banner(&format!("{text}: {error}"), theme, second, buffer),
                None => {
                    let place = (second.x, second.y);
                    put(
                        buffer,
                        place,
                        second.width,
                        &text,
                        theme.grey(),
                        (Cut::End, false),
                    );
                }
            }
        }
    }
}

const fn seconds(since: Duration, now: Duration) -> u64 {
    now.saturating_sub(since).as_secs()
}

fn banner(text: &str, theme: Theme, area: Rect, buffer: &mut Buffer) {
    buffer.set_style(area, theme.alarm().patch(theme.reversed()));
    let text = format!(" {text}");
    put(
        buffer,
        (area.x, area.y),
        area.width,
        &text,
        Style::new(),
        (Cut::End, false),
    );
}

/// Between two parts of a line.
const BETWEEN: &str = " · ";
/// Least of the label that is shown: the end of a path.
const SHORTEST_LABEL: usize = 12;

/// "whyslow 0.1.0 · local · Linux 6.1.0 · 4 processes, 16 threads" within `columns`: a long label (a
/// path) makes room for the others.
pub(crate) fn identity(model: &Model, columns: usize) -> String {
    let mut parts = Vec::new();
    let status = model.snapshot.as_ref().and_then(|s| s.info.status.as_ref());
    match status {
        Some(status) => parts.push(format!("whyslow {}", clean(&status.version))),
        None => parts.push("whyslow".to_owned()),
    }
    if let Some(status) = status {
        parts.push(format!("Linux {}", clean(&status.kernel)));
        parts.push(format!(
            "{} processes, {} threads",
            status.processes, status.threads
        ));
    }
    let others: usize = parts.iter().map(|part| width(part) + width(BETWEEN)).sum();
    let room = columns.saturating_sub(others).max(SHORTEST_LABEL);
    parts.insert(1, fit(&model.label, room, Cut::Start));
    fit(&parts.join(BETWEEN), columns, Cut::End)
}

/// What is not as usual.
fn state(model: &Model) -> String {
    let mut words = Vec::new();
    let status = model.snapshot.as_ref().and_then(|s| s.info.status.as_ref());
    if status.is_some_and(|status| status.replay) {
        words.push("REPLAY");
    }
    if model.ui.paused {
        words.push("PAUSED");
    }
    if matches!(model.link, Link::Lost { .. }) {
        words.push("LOST");
    }
    words.join(" ")
}

/// "182 req/s · 12 in flight · loss: ring_full 12 · 12.3k finished": what must not be cut off on a
/// narrow screen comes first.
pub(crate) fn figures(model: &Model, theme: Theme) -> Line {
    let Some(snapshot) = &model.snapshot else {
        return Line::default();
    };
    let status = snapshot.info.status.clone().unwrap_or_default();
    let per_s = model.rate_per_s.map_or_else(|| "?".to_owned(), rate);
    let text = format!("{per_s} req/s · {} in flight · ", status.requests_in_flight);
    let mut line = Line::from(Span::styled(text, theme.text()));
    match losses(&snapshot.info.losses) {
        Some(text) => line.push_span(Span::styled(format!("loss: {text}"), theme.alarm())),
        None => line.push_span(Span::styled("no loss", theme.text())),
    }
    if let Some(text) = listeners::warning(&snapshot.listeners.listeners) {
        line.push_span(Span::styled(format!(" · {text}"), theme.alarm()));
    }
    let finished = format!(" · {} finished", count(status.requests_finished));
    line.push_span(Span::styled(finished, theme.text()));
    line
}

/// Losses by reason, largest first; `None`: none.
fn losses(losses: &[Loss]) -> Option<String> {
    let mut losses: Vec<&Loss> = losses.iter().filter(|loss| loss.count > 0).collect();
    losses.sort_by_key(|loss| std::cmp::Reverse(loss.count));
    let words: Vec<String> = losses
        .iter()
        .map(|loss| format!("{} {}", clean(&loss.reason), count(loss.count)))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

pub(super) fn footer(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if model.ui.typing {
        let prompt = format!("/{}█", clean(&model.ui.filter));
        let text = fit(&prompt, area.width.into(), Cut::Start);
        buffer.set_stringn(area.x, area.y, text, area.width.into(), theme.strong());
        return;
    }
    let interval = format!("every {} s", model.ui.interval.as_secs_f64());
    let room = usize::from(area.width).saturating_sub(interval.len() + 1);
    let mut text = String::new();
    let keys: &[&str] = match model.ui.overlay {
        Some(_) => &FOOTER_OVER,
        None => &FOOTER,
    };
    for key in keys {
        if width(&text) + key.len() <= room {
            text += key;
            text += "  ";
        }
    }
    let style = theme.grey();
    put(
        buffer,
        (area.x, area.y),
        area.width,
        text.trim_end(),
        style,
        (Cut::End, false),
    );
    let columns = u16::try_from(interval.len()).unwrap_or(0);
    let place = (area.right().saturating_sub(columns), area.y);
    put(buffer, place, columns, &interval, style, (Cut::End, true));
}
