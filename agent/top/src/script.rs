//! Output for scripts: one snapshot as text, and JSON.
//!
//! What must stay true: text has no control characters but line ends; JSON is the agent's answers
//! unchanged, in the proto3 mapping; a closed pipe is a normal end.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    Connector, Options,
    client::{Agent, Snapshot, Update, follow},
    columns::Column,
    model::{List, Model},
    number::share,
    palette::Theme,
    rows::request_line,
    signals::Signals,
    text::{Cut, clean, fit},
    view::{account_name, draw_list, figures, height_of, identity, to_text},
};

/// Width of titles and legends where nothing is cut.
const WIDTH: u16 = 100;
/// Narrowest text.
const NARROWEST: u16 = 40;
/// Rows printed of each list.
const MOST_ROWS: usize = 50;
/// Accounts spelled out for each route.
const TOP_ACCOUNTS: usize = 5;

/// Watches for the settling time and prints one snapshot.
pub(crate) async fn once(connector: &Connector, options: &Options) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    tokio::select! {
        () = signals.ended() => Ok(()),
        model = settle(connector, options) => {
            let model = model?;
            print(&if options.json { json_line(model.snapshot.as_deref()) } else { text(&model, columns()) })
        }
    }
}

/// The state after the settling time.
pub(crate) async fn settle(connector: &Connector, options: &Options) -> anyhow::Result<Model> {
    let begin = Instant::now();
    let end = begin + options.settle;
    let mut model = Model::new(connector.label(), options, Duration::ZERO);
    let mut agent = Agent::connect(connector, options.window_s).await?;
    loop {
        let snapshot = agent.poll().await?;
        model.apply(Update::Snapshot(Box::new(snapshot)), begin.elapsed());
        let now = Instant::now();
        // A rate needs two answers, however slow the first one was.
        if now >= end && (model.rate_per_s.is_some() || options.settle.is_zero()) {
            return Ok(model);
        }
        let next = now + options.interval;
        sleep_until(if now < end { next.min(end) } else { next }).await;
    }
}

/// Prints one JSON object per answer until the user leaves.
pub(crate) async fn json_lines(connector: Connector, options: &Options) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // The sender of intervals stays until the end: its loss would end the questions.
    let (_intervals, interval) = watch::channel(options.interval);
    let (sender, mut updates) = mpsc::channel(2);
    let task = tokio::spawn(follow(
        Arc::new(connector),
        options.window_s,
        interval,
        sender,
    ));
    loop {
        let update = tokio::select! {
            update = updates.recv() => update,
            () = signals.ended() => None,
        };
        match update {
            Some(Update::Snapshot(snapshot)) => {
                if let Err(error) = write_out(&json_line(Some(&snapshot))) {
                    task.abort();
                    return unless_closed(error);
                }
            }
            Some(Update::Lost(error)) => {
                let line = error.lines().next().unwrap_or_default();
                eprintln!("whyslow: agent lost, reconnecting: {}", clean(line));
            }
            // Nobody asked for them.
            Some(Update::Finished(_)) => {}
            None => break,
        }
    }
    task.abort();
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    write_out(text).or_else(unless_closed)
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The reader of a pipe may leave at any time.
fn unless_closed(error: io::Error) -> anyhow::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(error).context("write to standard output")
}

/// `{"info": …, "inFlight": …, "routes": …, "workers": …, "shapes": …, "programs": …,
/// "listeners": …}`: the answers, in one line.
pub(crate) fn json_line(snapshot: Option<&Snapshot>) -> String {
    let object = snapshot.map_or(Value::Null, |s| {
        json!({
            "info": s.info,
            "inFlight": s.in_flight,
            "routes": s.routes,
            "workers": s.workers,
            "shapes": s.shapes,
            "programs": s.programs,
            "listeners": s.listeners,
        })
    });
    format!("{object}\n")
}

/// Columns of the terminal, or as `COLUMNS` says; `None`: neither, so that nothing is cut.
fn columns() -> Option<u16> {
    let size = io::stdout()
        .is_terminal()
        .then(ratatui::crossterm::terminal::size);
    let size = size.and_then(Result::ok).map(|(columns, _)| columns);
    let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
    // A terminal that does not know its size says 0.
    let columns = size.filter(|columns| *columns > 0).or_else(asked)?;
    Some(columns.max(NARROWEST))
}

/// A snapshot as text: the pane that was chosen, or all lists. `columns`: where it is cut.
pub(crate) fn text(model: &Model, columns: Option<u16>) -> String {
    let room = columns.map_or(usize::MAX, usize::from);
    let mut out = String::new();
    if let Some(snapshot) = &model.snapshot {
        out += &identity(model, room);
        out.push('\n');
        // Not cut: a loss that is not shown would be a lie.
        out += &figures(model, Theme::plain()).to_string();
        out.push('\n');
        if is_quiet(snapshot) {
            out +=
                "no request was seen yet: nothing was asked, or no watched process serves HTTP\n";
        }
    }
    for list in List::ALL {
        if model.ui.zoomed && list != model.ui.focus {
            continue;
        }
        out.push('\n');
        out += &list_text(model, list, columns);
        if list == List::Routes {
            out += &accounts(model, room);
        }
    }
    out
}

/// The first rows of a list.
fn list_text(model: &Model, list: List, columns: Option<u16>) -> String {
    let mut rows = model.shown(list);
    let more = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    let rule = columns.unwrap_or(WIDTH).into();
    let (layout, columns) = match columns {
        Some(columns) => (Column::layout(list, columns), columns),
        None => {
            let layout = Column::uncut(list, &rows);
            let widths = layout.iter().map(|(_, width)| width + 1);
            let needed = widths.fold(0, u16::saturating_add);
            (layout, needed.max(WIDTH))
        }
    };
    let area = Rect::new(0, 0, columns, height_of(list, rows.len()));
    let mut buffer = Buffer::empty(area);
    draw_list(model, list, &layout, Theme::plain(), area, &mut buffer);
    let text = to_text(&buffer);
    let (title, rest) = text.split_once('\n').unwrap_or_default();
    let used = title.trim_end_matches('─').chars().count();
    let title: String = title.chars().take(used.max(rule)).collect();
    let mut out = format!("{title}\n{rest}");
    if more > 0 {
        out += &format!("… {more} more\n");
    }
    out
}

/// No request was seen since the agent started.
fn is_quiet(snapshot: &Snapshot) -> bool {
    let finished = snapshot
        .info
        .status
        .as_ref()
        .is_some_and(|s| s.requests_finished > 0);
    !finished && snapshot.in_flight.requests.is_empty() && snapshot.routes.routes.is_empty()
}

/// The accounts of each route, in words.
fn accounts(model: &Model, columns: usize) -> String {
    let Some(snapshot) = &model.snapshot else {
        return String::new();
    };
    let mut out = String::new();
    for row in model.shown(List::Routes).into_iter().take(MOST_ROWS) {
        let Some(route) = row.key.route(snapshot) else {
            continue;
        };
        let total: u64 = route
            .ledger
            .iter()
            .fold(0, |sum, e| sum.saturating_add(e.ns));
        let named = route.ledger.iter().take(TOP_ACCOUNTS).map(|entry| {
            let part = entry.ns as f64 / total as f64;
            format!("{} {}", account_name(&entry.account), share(part))
        });
        let named: Vec<String> = named.collect();
        let named = if named.is_empty() {
            "no ledger".to_owned()
        } else {
            named.join(", ")
        };
        let name = clean(&request_line(&route.method, &route.route));
        out += &format!("{}\n", fit(&format!("  {name}"), columns, Cut::End));
        out += &format!("{}\n", fit(&format!("      {named}"), columns, Cut::End));
    }
    out
}
