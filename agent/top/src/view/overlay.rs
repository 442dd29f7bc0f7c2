//! What lies over the lists: the help, the agent's state; and the frame that scrolls them.

use ratatui::{buffer::Buffer, layout::Rect, text::Span};

use super::{Feedback, Line, paint::put};
use crate::{
    columns::Column,
    input::KEYS,
    model::{List, Model},
    number::{bytes, count, duration},
    palette::{FAMILIES, Theme},
    text::{Cut, clean, wrap},
};

/// Draws lines from `scroll` on, below a title.
pub(super) fn draw(
    title: &str,
    lines: &[Line],
    scroll: usize,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Feedback {
    let room = usize::from(area.height - 1);
    let longest_scroll = lines.len().saturating_sub(room);
    let scroll = scroll.min(longest_scroll);
    let rule = "─".repeat(area.width.into());
    buffer.set_stringn(area.x, area.y, rule, area.width.into(), theme.grey());
    let mut text = format!("▸{title} · Esc back");
    if longest_scroll > 0 {
        let last = (scroll + room).min(lines.len());
        text += &format!(" · lines {}-{last} of {}", scroll + 1, lines.len());
    }
    text.push(' ');
    put(
        buffer,
        (area.x, area.y),
        area.width,
        &text,
        theme.strong(),
        (Cut::End, false),
    );
    for (y, line) in (area.y + 1..).zip(lines.iter().skip(scroll).take(room)) {
        buffer.set_line(area.x, y, line, area.width);
    }
    Feedback {
        page: room,
        longest_scroll,
    }
}

/// A line "name  value", wrapped below itself.
pub(super) fn field(name: &str, value: &str, theme: Theme, columns: u16) -> Vec<Line> {
    const NAME: usize = 12;
    let room = usize::from(columns).saturating_sub(NAME + 2).max(2);
    let mut lines = Vec::new();
    for (i, part) in wrap(value, room).into_iter().enumerate() {
        let name = if i == 0 { name } else { "" };
        lines.push(Line::from(vec![
            Span::styled(format!(" {name:<NAME$} "), theme.grey()),
            Span::styled(part, theme.text()),
        ]));
    }
    lines
}

/// A heading.
pub(super) fn heading(text: &str, theme: Theme) -> Line {
    Line::from(Span::styled(format!(" {text}"), theme.strong()))
}

/// Keys, colours, columns.
pub(super) fn help(theme: Theme, columns: u16) -> Vec<Line> {
    let mut lines = Vec::new();
    let per_line = if columns >= 80 { 2 } else { 1 };
    for pair in KEYS.chunks(per_line) {
        let mut line = Line::default();
        for (key, about) in pair {
            line.push_span(Span::styled(format!(" {key:<11} "), theme.strong()));
            line.push_span(Span::styled(format!("{about:<26}"), theme.text()));
        }
        lines.push(line);
    }
    lines.push(Line::default());
    lines.push(heading("Accounts: where time goes", theme));
    for pair in FAMILIES.chunks(per_line) {
        let mut line = Line::default();
        for family in pair {
            let fill = format!(" {} ", theme.fill(*family));
            line.push_span(Span::styled(fill, theme.account(*family)));
            line.push_span(Span::styled(
                format!("{:<36}", about(family.name)),
                theme.text(),
            ));
        }
        lines.push(line);
    }
    for list in List::ALL {
        lines.push(Line::default());
        lines.push(heading(
            match list {
                List::InFlight => "1 In flight",
                List::Routes => "2 Routes",
                List::Workers => "3 Workers",
                List::Shapes => "4 Shapes: what requests ask of servers",
                List::Programs => "5 Programs: what requests and workers start",
                List::Listeners => "7 Listeners: queues of connections",
            },
            theme,
        ));
        for column in Column::of(list) {
            lines.extend(field(column.name, column.about, theme, columns));
        }
    }
    lines
}

fn about(family: &str) -> &'static str {
    match family {
        "cpu" => "cpu: running",
        "queue" => "queue: runnable, waits for a CPU",
        "lock" => "lock: futex, file lock, interpreter",
        "disk" => "disk: files, fsync, major faults",
        "client" => "client: slow sender or receiver",
        "upstream" => "upstream: database, cache, network",
        "process" => "process: child, pipe, unix socket",
        "memory" => "memory: reclaim, swap",
        "sleep" => "sleep: asked to sleep",
        _ => "unexplained: not named",
    }
}

/// The agent: version, cost, losses, features.
pub(super) fn info(model: &Model, theme: Theme, columns: u16) -> Vec<Line> {
    let Some(snapshot) = &model.snapshot else {
        return vec![Line::from(Span::styled(" no answer yet", theme.grey()))];
    };
    let (info, mut lines) = (&snapshot.info, Vec::new());
    let status = info.status.clone().unwrap_or_default();
    let mut add = |name, value: &str| lines.extend(field(name, value, theme, columns));
    add("agent", &clean(&status.version));
    add("kernel", &clean(&status.kernel));
    add(
        "watches",
        &format!("{} processes, {} threads", status.processes, status.threads),
    );
    add(
        "finished",
        &format!("{} requests", status.requests_finished),
    );
    add("resident", &bytes(info.rss_bytes));
    add("cpu time", &duration(info.cpu_ns));
    add("subscribers", &info.subscribers.to_string());
    lines.push(Line::default());
    lines.push(heading("Losses since the agent's start", theme));
    let losses: Vec<_> = info.losses.iter().filter(|loss| loss.count > 0).collect();
    if losses.is_empty() {
        lines.push(Line::from(Span::styled(" none", theme.text())));
    }
    for loss in losses {
        let process = if loss.pid == 0 {
            String::new()
        } else {
            format!("  pid {}", loss.pid)
        };
        let text = format!(
            " {:<20} {:>7}{process}",
            clean(&loss.reason),
            count(loss.count)
        );
        lines.push(Line::from(Span::styled(text, theme.alarm())));
    }
    lines.push(Line::default());
    lines.push(heading("Features", theme));
    for feature in &info.features {
        let name = clean(&feature.name);
        if feature.available {
            lines.extend(field(&name, "on", theme, columns));
        } else {
            lines.extend(field(
                &name,
                &format!("off: {}", clean(&feature.reason)),
                theme,
                columns,
            ));
        }
    }
    lines
}
