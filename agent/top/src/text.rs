//! Text that strangers chose, made safe for a terminal, and cut to a width.
//!
//! Request targets, thread names and paths are bytes of somebody else: a terminal escape among them
//! must not reach the terminal, and neither must characters that reorder or hide what stands beside
//! them. What must stay true: everything that came from the agent passes [`clean`] before it is drawn,
//! or [`printable`] before it is printed as text. (JSON output escapes by itself.)

use std::borrow::Cow;

use ratatui::text::Span;

/// Longest text kept for one value, in characters: more never fits on a screen.
const LONGEST: usize = 4096;

/// Escapes control characters (`\x1b`, `\n`) and invisible formatting characters (`\u{202e}`), and
/// cuts what never fits on a screen.
pub(crate) fn clean(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |c| c.0);
    printable(&text[..end]).into_owned()
}

/// Text safe to be sent to a terminal, of any length: control characters (`\x1b`, `\n`) and
/// invisible formatting characters (`\u{202e}`) are written out.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_invisible(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Characters that are drawn as nothing and change how their neighbours are drawn: soft hyphen,
/// zero-width and bidirectional controls, line separators, variation selectors, tags.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Columns that a text takes on the screen.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Which end of a text may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The end: `GET /users/…`.
    End,
    /// The start: `…/app.lock`. For paths, whose end tells most.
    Start,
    /// What is between: `select name, pr…ere id = ?`. For statements, whose both ends tell.
    Middle,
}

/// At most `columns` wide; what was dropped is marked by `…`.
pub(crate) fn fit(text: &str, columns: usize, cut: Cut) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let room = columns - 1;
    match cut {
        Cut::End => {
            let mut kept = take(text.chars(), room);
            kept.push('…');
            kept
        }
        Cut::Start => {
            let kept = take(text.chars().rev(), room);
            std::iter::once('…').chain(kept.chars().rev()).collect()
        }
        Cut::Middle => {
            let start = take(text.chars(), room - room / 2);
            let end = take(text.chars().rev(), room / 2);
            let end: String = end.chars().rev().collect();
            format!("{start}…{end}")
        }
    }
}

/// Lines of at most `columns` each.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && columns > 1 {
        let mut line = take(rest.chars(), columns);
        // Between words, where that leaves no short line.
        if line.len() < rest.len()
            && let Some(end) = line.rfind(' ').filter(|end| *end >= columns / 2)
        {
            line.truncate(end + 1);
        }
        rest = rest.get(line.len()..).unwrap_or_default();
        lines.push(line);
    }
    lines
}

fn take(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut kept = String::new();
    let mut used = 0;
    let mut buffer = [0; 4];
    for c in chars {
        used += width(c.encode_utf8(&mut buffer));
        if used > columns {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_become_visible() {
        assert_eq!(clean("/a\x1b[31mb"), "/a\\x1b[31mb");
        assert_eq!(clean("\u{9b}2J\x7f\0\r\n\t"), "\\x9b2J\\x7f\\x00\\r\\n\\t");
        assert_eq!(
            clean("a\u{202e}b\u{200b}c\u{feff}"),
            "a\\u{202e}b\\u{200b}c\\u{feff}"
        );
        assert_eq!(clean("/grüße/日本"), "/grüße/日本");
    }

    #[test]
    fn every_character_comes_out_harmless() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let out = clean(&c.to_string());
            assert!(
                !out.chars().any(|c| c.is_control() || is_invisible(c)),
                "{c:?}"
            );
            assert!(!out.is_empty(), "{c:?}");
        }
    }

    #[test]
    fn a_long_text_is_bounded() {
        assert_eq!(clean(&"x".repeat(1 << 16)).len(), LONGEST);
    }

    #[test]
    fn fitting_marks_what_was_dropped() {
        assert_eq!(fit("abcdef", 6, Cut::End), "abcdef");
        assert_eq!(fit("abcdef", 4, Cut::End), "abc…");
        assert_eq!(fit("abcdef", 4, Cut::Start), "…def");
        assert_eq!(fit("abcdefgh", 6, Cut::Middle), "abc…gh");
        assert_eq!(fit("abcdefgh", 7, Cut::Middle), "abc…fgh");
        assert_eq!(fit("abc", 1, Cut::Middle), "…");
        assert_eq!(fit("abc", 1, Cut::End), "…");
        assert_eq!(fit("abc", 0, Cut::End), "");
    }

    #[test]
    fn wide_characters_count_as_two_columns() {
        assert_eq!(width("日本"), 4);
        assert_eq!(fit("日本語", 4, Cut::End), "日…");
        assert_eq!(fit("日本語", 4, Cut::Start), "…語");
        assert_eq!(fit("日本語", 5, Cut::Middle), "日…語");
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
    }

    #[test]
    fn wrapping_keeps_all() {
        assert_eq!(wrap("abcde", 2), ["ab", "cd", "e"]);
        assert_eq!(wrap("where id = ?", 10), ["where id ", "= ?"]);
        assert_eq!(wrap("a bcdefghijk", 10), ["a bcdefghi", "jk"]);
        assert!(wrap("", 10).is_empty());
    }
}
