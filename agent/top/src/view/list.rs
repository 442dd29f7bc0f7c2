//! One list: title, column titles, rows, legend.
//!
//! What must stay true: the row under the cursor is visible.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::Line,
};

use super::paint::{ledger_bar, legend, put, share_bar};
use crate::{
    columns::Column,
    model::{Link, List, Model},
    number::share,
    palette::{Family, Theme},
    rows::{Cell, Content, Row, SHORTEST},
    text::{Cut, clean, fit, width},
};

/// From this height on a list of routes has its legend.
const WITH_LEGEND: u16 = 6;

/// Height that a list with `rows` rows needs.
pub(crate) fn height_of(list: List, rows: usize) -> u16 {
    let rows = u16::try_from(rows.max(1)).unwrap_or(u16::MAX - 8);
    if list == List::Routes {
        (rows + 3).max(WITH_LEGEND)
    } else {
        rows + 2
    }
}

/// Draws a list in columns of these widths; returns how many rows it has room for.
pub(crate) fn draw_list(
    model: &Model,
    list: List,
    layout: &[(usize, u16)],
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> usize {
    if area.height < 3 {
        return 0;
    }
    let rows = model.shown(list);
    let with_legend = list == List::Routes && area.height >= WITH_LEGEND;
    let room = area.height - 2 - u16::from(with_legend);
    let table = &model.ui.tables[list.index()];
    let first = (table.index + 1).saturating_sub(room.into());
    let shown = rows.iter().enumerate().skip(first).take(room.into());

    title(
        model,
        list,
        &rows,
        (first, room.into()),
        theme,
        Rect { height: 1, ..area },
        buffer,
    );
    column_titles(model, list, layout, theme, (area.x, area.y + 1), buffer);
    if rows.is_empty() {
        let text = nothing(model, list, area.width);
        let style = theme.grey();
        put(
            buffer,
            (area.x + 1, area.y + 2),
            area.width - 1,
            &text,
            style,
            (Cut::End, false),
        );
    }
    for (y, (index, row)) in (area.y + 2..).zip(shown) {
        let cursor = model.ui.focus == list && table.selected.is_some() && index == table.index;
        draw_row(row, list, layout, cursor, theme, (area.x, y), buffer);
    }
    if with_legend {
        let ledgers = rows.iter().skip(first).take(room.into());
        let ledgers = ledgers
            .flat_map(|row| &row.cells)
            .filter_map(|cell| match &cell.content {
                Content::Ledger(ledger) => Some(ledger.as_slice()),
                _ => None,
            });
        let line = legend(ledgers, theme, area.width);
        buffer.set_line(area.x, area.bottom() - 1, &line, area.width);
    }
    room.into()
}

/// Why there are no rows.
fn nothing(model: &Model, list: List, columns: u16) -> String {
    let Some(snapshot) = &model.snapshot else {
        return match model.link {
            Link::Live => "no answer yet".to_owned(),
            _ => "not connected".to_owned(),
        };
    };
    if list == List::Shapes && !snapshot.reads_operations() {
        return off(columns).to_owned();
    }
    if !model.ui.filter.is_empty() {
        return format!("no row has \"{}\"", clean(&model.ui.filter));
    }
    match list {
        List::InFlight => "no request in flight".to_owned(),
        List::Routes => "no request finished within the window".to_owned(),
        List::Workers => "no process that serves HTTP was seen yet".to_owned(),
        List::Shapes => "no finished request asked for anything within the window".to_owned(),
        List::Programs => "no program was started within the window".to_owned(),
        List::Listeners => "no listening socket of a process that serves is known".to_owned(),
    }
}

/// What the agent does not read, and what mends it.
pub(super) const fn off(columns: u16) -> &'static str {
    if columns < 70 {
        "operations are off (agent --operations)"
    } else {
        "operations are off: the agent has to be started with --operations"
    }
}

const fn name(list: List) -> &'static str {
    match list {
        List::InFlight => "In flight",
        List::Routes => "Routes",
        List::Workers => "Workers",
        List::Shapes => "Shapes",
        List::Programs => "Programs",
        List::Listeners => "Listeners",
    }
}

fn title(
    model: &Model,
    list: List,
    rows: &[Row],
    (first, room): (usize, usize),
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) {
    let sorting = model.ui.tables[list.index()].sorting;
    let focused = theme.keys && model.ui.focus == list;
    let name_text = match (theme.keys, focused) {
        (false, _) => name(list).to_owned(),
        (true, true) => format!("▸{} {}", list.key(), name(list)),
        (true, false) => format!(" {} {}", list.key(), name(list)),
    };
    let mut text = match rows.len() {
        n if n > room && room > 0 => format!(": {}-{} of {n}", first + 1, (first + room).min(n)),
        n => format!(": {n}"),
    };
    let arrow = if sorting.is_descending() {
        '▼'
    } else {
        '▲'
    };
    text += &format!(" · by {} {arrow}", Column::of(list)[sorting.column].name);
    text += &window(model, list, area.width);
    if !model.ui.filter.is_empty() {
        text += &format!(" · filter \"{}\"", clean(&model.ui.filter));
    }
    let rule = "─".repeat(area.width.into());
    buffer.set_stringn(area.x, area.y, rule, area.width.into(), theme.grey());
    let style = if focused {
        theme.strong()
    } else {
        theme.text()
    };
    let room = usize::from(area.width).saturating_sub(width(&name_text) + 2);
    let text = fit(&text, room, Cut::End) + " ";
    let x = area.x + u16::try_from(width(&name_text)).unwrap_or(0);
    buffer.set_string(area.x, area.y, &name_text, style);
    buffer.set_stringn(x, area.y, text, room + 1, theme.text());
}

/// At the end of a title: the lists that are not shown, and their keys. Nothing where there is no room.
pub(super) fn name_hidden(
    hidden: impl Iterator<Item = List>,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) {
    let names: Vec<String> = hidden
        .map(|list| format!("{} {}", list.key(), name(list)))
        .collect();
    let text = format!(" {}", names.join("  "));
    let columns = u16::try_from(width(&text)).unwrap_or(u16::MAX);
    let Some(x) = area.right().checked_sub(columns) else {
        return;
    };
    let is_rule = |x| {
        buffer
            .cell((x, area.y))
            .is_some_and(|cell| cell.symbol() == "─")
    };
    if !names.is_empty() && x > area.x && (x - 1..area.right()).all(is_rule) {
        buffer.set_string(x, area.y, text, theme.grey());
    }
}

/// Window of the figures, and what did not get a row of its own.
fn window(model: &Model, list: List, columns: u16) -> String {
    let Some(snapshot) = model.snapshot.as_ref().filter(|_| columns >= 60) else {
        return String::new();
    };
    let (window_s, folded, more) = match list {
        List::Routes => {
            let routes = &snapshot.routes;
            (routes.window_s, routes.folded, routes.folded_more)
        }
        List::Shapes => {
            let shapes = &snapshot.shapes;
            (shapes.window_s, shapes.folded, shapes.folded_more)
        }
        List::Programs => {
            let programs = &snapshot.programs;
            (programs.window_s, programs.folded, programs.folded_more)
        }
        List::Listeners => (snapshot.listeners.window_s, 0, false),
        List::InFlight | List::Workers => return String::new(),
    };
    let mut text = format!(" · last {window_s:.0} s");
    if folded > 0 {
        let least = if more { ">= " } else { "" };
        text += &format!(" · {least}{folded} folded into (other)");
    }
    text
}

fn column_titles(
    model: &Model,
    list: List,
    layout: &[(usize, u16)],
    theme: Theme,
    (mut x, y): (u16, u16),
    buffer: &mut Buffer,
) {
    let sorting = model.ui.tables[list.index()].sorting;
    for &(index, columns) in layout {
        let column = &Column::of(list)[index];
        let mut style = theme.strong();
        if index == sorting.column {
            style = style.add_modifier(Modifier::UNDERLINED);
        }
        put(
            buffer,
            (x, y),
            columns,
            column.name,
            style,
            (Cut::End, column.right),
        );
        x += columns + 1;
    }
}

fn draw_row(
    row: &Row,
    list: List,
    layout: &[(usize, u16)],
    cursor: bool,
    theme: Theme,
    (mut x, y): (u16, u16),
    buffer: &mut Buffer,
) {
    for &(index, columns) in layout {
        if let Some(cell) = row.cells.get(index) {
            let right = Column::of(list)[index].right;
            draw_cell(cell, right, theme, (x, y), columns, buffer);
            // A bar says by its colours; turned around it would say nothing.
            if cursor && !matches!(cell.content, Content::Ledger(_)) {
                let area = Rect::new(x, y, columns + 1, 1).intersection(buffer.area);
                buffer.set_style(area, theme.reversed());
            }
        }
        x += columns + 1;
    }
}

fn draw_cell(
    cell: &Cell,
    right: bool,
    theme: Theme,
    (x, y): (u16, u16),
    columns: u16,
    buffer: &mut Buffer,
) {
    let alarm = if theme.stale {
        theme.grey()
    } else {
        theme.alarm()
    };
    let mut text = |text: &str, style: Style, cut| {
        put(buffer, (x, y), columns, text, style, (cut, right));
    };
    match &cell.content {
        Content::Text(value, cut) => text(value, theme.text(), *cut),
        Content::Alarm(value) => text(value, alarm, Cut::End),
        Content::Share(value) => {
            let percent = share(*value);
            let bar = share_bar(*value, columns.saturating_sub(6), theme);
            text(&format!("{bar} {percent:>5}"), theme.text(), Cut::End);
        }
        Content::Account(account, target) => {
            let family = Family::of(account);
            text(account, theme.account(family), Cut::End);
            let used = width(account) + 1;
            let room = usize::from(columns).saturating_sub(used);
            if !target.is_empty()
                && room >= SHORTEST
                && let Ok(used) = u16::try_from(used)
            {
                let place = (x + used, y);
                let rest = (Cut::Start, false);
                put(buffer, place, columns - used, target, theme.text(), rest);
            }
        }
        Content::Ledger(ledger) => {
            let line = Line::from(ledger_bar(ledger, columns, theme));
            buffer.set_line(x, y, &line, columns);
        }
    }
}
