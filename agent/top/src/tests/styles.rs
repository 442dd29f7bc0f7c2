//! Colours: what is red, what is grey, what has an account's colour.

use std::time::Duration;

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier},
};

use super::fixture::{model, model_of, press, snapshot, terminal, with_losses};
use crate::{client::Update, model::Model, palette::Theme};

const COLOUR: Theme = Theme {
    colour: true,
    stale: false,
    keys: true,
};

fn drawn(model: &mut Model, theme: Theme) -> Buffer {
    terminal(model, (80, 24), theme, Duration::from_secs(2))
        .backend()
        .buffer()
        .clone()
}

/// Place of the first cell of a text.
fn find(buffer: &Buffer, text: &str) -> (u16, u16) {
    for y in 0..buffer.area.height {
        for x in 0..buffer.area.width {
            let rest: String = (x..buffer.area.width)
                .map(|x| buffer[(x, y)].symbol())
                .collect();
            if rest.starts_with(text) {
                return (x, y);
            }
        }
    }
    panic!("no {text:?} on the screen");
}

#[test]
fn accounts_have_their_colours() {
    let buffer = drawn(&mut model(), COLOUR);
    assert_eq!(buffer[find(&buffer, "net.upstream")].fg, Color::LightBlue);
    assert_eq!(buffer[find(&buffer, "lock.file")].fg, Color::Magenta);
}

#[test]
fn a_bar_is_coloured_by_account() {
    let mut model = model();
    press(&mut model, "2");
    let buffer = drawn(&mut model, COLOUR);
    let (_, y) = find(&buffer, "GET /report");
    let mut colours: Vec<Color> = (0..80)
        .filter(|&x| buffer[(x, y)].symbol() == "█")
        .map(|x| buffer[(x, y)].fg)
        .collect();
    colours.dedup();
    assert_eq!(colours, [Color::Green, Color::Yellow, Color::LightBlue]);
}

#[test]
fn losses_are_red_only_when_there_are_some() {
    let mut lossy = model_of(with_losses(snapshot()));
    let buffer = drawn(&mut lossy, COLOUR);
    assert_eq!(buffer[find(&buffer, "loss: ring_full")].fg, Color::Red);
    let buffer = drawn(&mut model(), COLOUR);
    assert_eq!(buffer[find(&buffer, "no loss")].fg, Color::Reset);
}

#[test]
fn what_is_repeated_is_red() {
    let mut model = model();
    press(&mut model, "4");
    let buffer = drawn(&mut model, COLOUR);
    let (x, y) = find(&buffer, "select name");
    let repeated = (0..x).filter(|&x| buffer[(x, y)].fg == Color::Red).count();
    assert_eq!(repeated, "940".len(), "the requests that repeat it");
    assert_eq!(buffer[find(&buffer, "update cart")].fg, Color::Reset);
    press(&mut model, "1\nG");
    drawn(&mut model, COLOUR);
    let buffer = drawn(&mut model, COLOUR);
    assert_eq!(buffer[find(&buffer, "N+1 select")].fg, Color::Red);
}

#[test]
fn old_data_is_grey() {
    let mut lost = model();
    lost.apply(Update::Lost("gone".to_owned()), Duration::from_secs(2));
    let buffer = drawn(&mut lost, COLOUR);
    assert!(
        buffer[find(&buffer, "agent lost")]
            .modifier
            .contains(Modifier::REVERSED)
    );
    for text in ["net.upstream", "GET /report", "12.4 s"] {
        assert_eq!(buffer[find(&buffer, text)].fg, Color::DarkGray, "{text}");
    }
    for y in 3..23 {
        for x in 0..80 {
            assert_eq!(buffer[(x, y)].bg, Color::Reset);
            assert!(
                matches!(buffer[(x, y)].fg, Color::Reset | Color::DarkGray),
                "{x},{y}"
            );
        }
    }
}

#[test]
fn without_colour_nothing_is_coloured() {
    for keys in ["", "1", "2", "3", "4", "?", "i", "1\n", "2\n", "4\n"] {
        let mut model = model_of(with_losses(snapshot()));
        press(&mut model, keys);
        let buffer = drawn(&mut model, Theme::plain());
        for cell in buffer.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
    }
}

#[test]
fn the_row_under_the_cursor_is_reversed() {
    let mut model = model();
    let reversed = |buffer: &Buffer, text| {
        buffer[find(buffer, text)]
            .modifier
            .contains(Modifier::REVERSED)
    };
    assert!(
        !reversed(&drawn(&mut model, COLOUR), "GET /report"),
        "no cursor before the first move"
    );
    press(&mut model, "jj");
    let buffer = drawn(&mut model, COLOUR);
    assert!(reversed(&buffer, "GET /cart/17"));
    assert!(!reversed(&buffer, "GET /users/8812"));
}
