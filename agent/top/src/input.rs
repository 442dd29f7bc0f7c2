//! What a key means.
//!
//! Key -> [`Action`], and what each action does to the state. No terminal code. The table
//! [`KEYS`] is what the help shows.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::model::{List, Model, Overlay};

/// Longest filter, characters.
const LONGEST_FILTER: usize = 256;

/// Something that the user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Help,
    Info,
    Pause,
    Move(isize),
    Page(isize),
    First,
    Last,
    SortColumn { right: bool },
    Invert,
    Filter,
    Open,
    Back,
    Interval { longer: bool },
    NextPane(usize),
    Show(List),
    Overview,
    Zoom,
    Type(char),
    Erase,
    Accept,
    Clear,
}

/// Keys and what they do, for the help.
pub(crate) const KEYS: [(&str, &str); 16] = [
    ("q  Ctrl-C", "quit"),
    ("?", "this help"),
    ("i", "agent: features, losses"),
    ("space p", "pause, go on"),
    ("j k  arrows", "move"),
    ("PgUp PgDn", "move by a page"),
    ("g G", "first, last row"),
    ("Enter", "details of the row"),
    ("Esc Bksp", "back; clear filter"),
    ("Tab S-Tab", "next list, list before"),
    ("123457/0", "one list / overview"),
    ("z", "this list alone, or not"),
    ("< >", "sort by another column"),
    ("I", "invert the order"),
    ("/", "show only rows with a text"),
    ("+ -", "longer, shorter interval"),
];

/// The action of a key. `typing`: the filter is being typed.
pub(crate) fn action(key: KeyEvent, typing: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return Some(Action::Quit);
    }
    if typing {
        typed(key.code, control)
    } else {
        pressed(key.code, control)
    }
}

const fn typed(code: KeyCode, control: bool) -> Option<Action> {
    Some(match code {
        KeyCode::Char('u') if control => Action::Clear,
        KeyCode::Char(c) if !control => Action::Type(c),
        KeyCode::Backspace => Action::Erase,
        KeyCode::Enter => Action::Accept,
        KeyCode::Esc => Action::Back,
        KeyCode::Up => Action::Move(-1),
        KeyCode::Down => Action::Move(1),
        _ => return None,
    })
}

const fn pressed(code: KeyCode, control: bool) -> Option<Action> {
    Some(match code {
        KeyCode::Char('f') if control => Action::Page(1),
        KeyCode::Char('b') if control => Action::Page(-1),
        KeyCode::Char(_) if control => return None,
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('i') => Action::Info,
        KeyCode::Char(' ' | 'p') => Action::Pause,
        KeyCode::Char('j') | KeyCode::Down => Action::Move(1),
        KeyCode::Char('k') | KeyCode::Up => Action::Move(-1),
        KeyCode::PageDown => Action::Page(1),
        KeyCode::PageUp => Action::Page(-1),
        KeyCode::Char('g') | KeyCode::Home => Action::First,
        KeyCode::Char('G') | KeyCode::End => Action::Last,
        KeyCode::Char('<') | KeyCode::Left => Action::SortColumn { right: false },
        KeyCode::Char('>') | KeyCode::Right => Action::SortColumn { right: true },
        KeyCode::Char('I') => Action::Invert,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Enter => Action::Open,
        KeyCode::Esc | KeyCode::Backspace => Action::Back,
        KeyCode::Char('+' | '=') => Action::Interval { longer: true },
        KeyCode::Char('-') => Action::Interval { longer: false },
        KeyCode::Tab => Action::NextPane(1),
        KeyCode::BackTab => Action::NextPane(List::ALL.len() - 1),
        KeyCode::Char('1') => Action::Show(List::InFlight),
        KeyCode::Char('2') => Action::Show(List::Routes),
        KeyCode::Char('3') => Action::Show(List::Workers),
        KeyCode::Char('4') => Action::Show(List::Shapes),
        KeyCode::Char('5') => Action::Show(List::Programs),
        KeyCode::Char('7') => Action::Show(List::Listeners),
        KeyCode::Char('0') => Action::Overview,
        KeyCode::Char('z') => Action::Zoom,
        _ => return None,
    })
}

/// Does it.
pub(crate) fn perform(model: &mut Model, action: Action) {
    if model.ui.overlay.is_some() && over_lists(model, action) {
        return;
    }
    let page = isize::try_from(model.ui.page.max(1)).unwrap_or(1);
    match action {
        Action::Quit => model.ui.quit = true,
        Action::Help => open(model, Overlay::Help),
        Action::Info => open(model, Overlay::Info),
        Action::Pause => model.ui.paused = !model.ui.paused,
        Action::Move(step) => model.move_by(step),
        Action::Page(pages) => model.move_by(pages.saturating_mul(page)),
        Action::First => model.move_by(isize::MIN),
        Action::Last => model.move_by(isize::MAX),
        Action::Open => model.open_detail(),
        Action::Interval { longer } => model.step_interval(longer),
        Action::NextPane(step) => model.ui.focus = model.ui.focus.next(step),
        Action::Show(list) => (model.ui.focus, model.ui.zoomed) = (list, true),
        Action::Overview => model.ui.zoomed = false,
        Action::Zoom => model.ui.zoomed = !model.ui.zoomed,
        Action::SortColumn { .. } | Action::Invert => sort(model, action),
        Action::Filter
        | Action::Type(_)
        | Action::Erase
        | Action::Accept
        | Action::Clear
        | Action::Back => filter(model, action),
    }
}

fn open(model: &mut Model, overlay: Overlay) {
    model.ui.overlay = Some(overlay);
    model.ui.scroll = 0;
}

/// With something over the lists, movement scrolls it. True: done.
fn over_lists(model: &mut Model, action: Action) -> bool {
    let page = isize::try_from(model.ui.page.max(1)).unwrap_or(1);
    let scroll = &mut model.ui.scroll;
    match action {
        Action::Move(step) => *scroll = scroll.saturating_add_signed(step),
        Action::Page(pages) => *scroll = scroll.saturating_add_signed(pages.saturating_mul(page)),
        Action::First => *scroll = 0,
        // The screen clamps it to what there is.
        Action::Last => *scroll = usize::MAX / 2,
        Action::Back => model.ui.overlay = None,
        Action::Help if model.ui.overlay == Some(Overlay::Help) => model.ui.overlay = None,
        Action::Info if model.ui.overlay == Some(Overlay::Info) => model.ui.overlay = None,
        Action::Quit | Action::Pause | Action::Interval { .. } | Action::Help | Action::Info => {
            return false;
        }
        Action::Show(_) | Action::Overview | Action::NextPane(_) => {
            model.ui.overlay = None;
            return false;
        }
        _ => {}
    }
    true
}

fn sort(model: &mut Model, action: Action) {
    let sorting = &mut model.ui.tables[model.ui.focus.index()].sorting;
    match action {
        Action::SortColumn { right } => sorting.step(right),
        _ => sorting.inverted = !sorting.inverted,
    }
    model.reorder();
}

fn filter(model: &mut Model, action: Action) {
    match action {
        Action::Filter => model.ui.typing = true,
        Action::Accept => model.ui.typing = false,
        Action::Type(c) if model.ui.filter.chars().count() < LONGEST_FILTER => {
            model.ui.filter.extend(c.to_lowercase());
        }
        Action::Erase => {
            model.ui.filter.pop();
        }
        Action::Back => {
            model.ui.typing = false;
            model.ui.filter.clear();
        }
        Action::Clear => model.ui.filter.clear(),
        _ => {}
    }
    model.reorder();
}
