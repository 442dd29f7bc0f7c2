//! The screen: a function of the state.
//!
//! Nothing here changes the state or asks for the time; what the screen knows and the state needs
//! (how long a page is) goes back as [`Feedback`]. What must stay true: any size is drawn without a
//! panic; below the smallest useful size it says so.

mod detail;
mod finished;
mod header;
mod links;
mod list;
mod operations;
mod overlay;
mod paint;
mod programs;

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    columns::Column,
    model::{List, Model, Overlay},
    palette::Theme,
};

pub(crate) use self::{
    header::{figures, identity},
    list::{draw_list, height_of},
    paint::{account_name, to_text},
};

/// Smallest useful width and height.
const SMALLEST: (u16, u16) = (40, 10);
/// From this height of the body on there is room for two lists.
const TWO_LISTS: u16 = 13;
/// From this height of the body on there is room for three.
const THREE_LISTS: u16 = 33;

/// Rows that the list of requests in flight has at least, beside another.
const FEWEST_ROWS: usize = 3;

/// What the screen tells the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feedback {
    /// Rows of a page of what the keys move.
    pub(crate) page: usize,
    /// Furthest that an overlay can be scrolled.
    pub(crate) longest_scroll: usize,
}

/// A line of text in pieces.
type Line = ratatui::text::Line<'static>;

/// Draws the whole screen. `now`: time since the view began.
pub(crate) fn draw(model: &Model, theme: Theme, now: Duration, buffer: &mut Buffer) -> Feedback {
    let area = buffer.area;
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(area, buffer);
        return Feedback::default();
    }
    let theme = Theme {
        stale: model.is_stale() && model.snapshot.is_some(),
        ..theme
    };
    header::draw(model, theme, now, Rect { height: 2, ..area }, buffer);
    header::footer(
        model,
        theme,
        Rect {
            y: area.bottom() - 1,
            height: 1,
            ..area
        },
        buffer,
    );
    let body = Rect {
        y: area.y + 2,
        height: area.height - 3,
        ..area
    };
    match &model.ui.overlay {
        None => lists(model, theme, body, buffer),
        Some(Overlay::Help) => {
            let lines = overlay::help(theme, body.width);
            overlay::draw("Help", &lines, model.ui.scroll, theme, body, buffer)
        }
        Some(Overlay::Info) => {
            let lines = overlay::info(model, theme, body.width);
            overlay::draw("Agent", &lines, model.ui.scroll, theme, body, buffer)
        }
        Some(Overlay::Detail(key, last)) => {
            let (title, lines) = detail::lines(model, key, last, theme, body.width);
            overlay::draw(title, &lines, model.ui.scroll, theme, body, buffer)
        }
    }
}

fn too_small(area: Rect, buffer: &mut Buffer) {
    let text = format!(
        "too small: {}x{}, needs {}x{}",
        area.width, area.height, SMALLEST.0, SMALLEST.1
    );
    for (y, line) in (area.y..area.bottom()).zip(crate::text::wrap(&text, area.width.into())) {
        buffer.set_string(area.x, y, line, ratatui::style::Style::new());
    }
}

fn lists(model: &Model, theme: Theme, body: Rect, buffer: &mut Buffer) -> Feedback {
    let mut feedback = Feedback::default();
    let places = places(model, body);
    for &(list, area) in &places {
        let layout = Column::layout(list, area.width);
        let page = draw_list(model, list, &layout, theme, area, buffer);
        if list == model.ui.focus {
            feedback.page = page;
        }
    }
    if let Some((_, last)) = places.last() {
        let is_hidden = |list: &List| places.iter().all(|(shown, _)| shown != list);
        let hidden = List::ALL.into_iter().filter(is_hidden);
        list::name_hidden(hidden, theme, *last, buffer);
    }
    feedback
}

/// Which lists are shown, and where.
fn places(model: &Model, body: Rect) -> Vec<(List, Rect)> {
    let focus = model.ui.focus;
    if model.ui.zoomed || body.height < TWO_LISTS {
        return vec![(focus, body)];
    }
    let part = |y: u16, height: u16| Rect { y, height, ..body };
    // Lines that requests in flight have never needed are of more use to the routes. The most that
    // there were counts, not how many there are, so that the lists stay where they are.
    let needed = height_of(List::InFlight, model.most_in_flight.max(FEWEST_ROWS));
    if body.height < THREE_LISTS {
        let first = needed.min(body.height * 2 / 5);
        let second = match focus {
            List::InFlight | List::Routes => List::Routes,
            List::Workers | List::Shapes | List::Programs | List::Listeners => focus,
        };
        return vec![
            (List::InFlight, part(body.y, first)),
            (second, part(body.y + first, body.height - first)),
        ];
    }
    let last = match focus {
        List::Shapes | List::Programs | List::Listeners => focus,
        _ => List::Workers,
    };
    let third = body.height / 3;
    let first = needed.min(third);
    vec![
        (List::InFlight, part(body.y, first)),
        (List::Routes, part(body.y + first, 2 * third - first)),
        (last, part(body.y + 2 * third, body.height - 2 * third)),
    ]
}
