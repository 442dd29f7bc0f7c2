//! Small pieces that all parts of the screen are made of: text at a place, bars, buffers as text.
//!
//! What must stay true: nothing is drawn outside of the width that was given.

use ratatui::{
    buffer::Buffer,
    style::Style,
    text::{Line, Span},
};
use whyslow_proto::v1::LedgerEntry;

use crate::{
    palette::{FAMILIES, Family, Theme},
    text::{Cut, clean, fit, width},
};

/// Text within `columns`, cut where it is longer.
pub(super) fn put(
    buffer: &mut Buffer,
    (x, y): (u16, u16),
    columns: u16,
    text: &str,
    style: Style,
    (cut, right): (Cut, bool),
) {
    let text = fit(text, columns.into(), cut);
    let indent = if right {
        usize::from(columns).saturating_sub(width(&text))
    } else {
        0
    };
    let x = x + u16::try_from(indent).unwrap_or(0);
    buffer.set_stringn(x, y, text, columns.into(), style);
}

/// A bar of `columns` cells, one part per account family, in the order of the legend.
pub(super) fn ledger_bar(ledger: &[LedgerEntry], columns: u16, theme: Theme) -> Vec<Span<'static>> {
    let total: u64 = ledger.iter().fold(0, |sum, e| sum.saturating_add(e.ns));
    if total == 0 {
        return vec![Span::styled("no ledger", theme.grey())];
    }
    let mut ends = Vec::new();
    let mut sum = 0_u64;
    for family in FAMILIES {
        let entries = ledger.iter().filter(|e| Family::of(&e.account) == family);
        sum = entries.fold(sum, |sum, e| sum.saturating_add(e.ns));
        ends.push((family, sum as f64 / total as f64));
    }
    let family_at = |cell: u16| {
        let place = (f64::from(cell) + 0.5) / f64::from(columns);
        ends.iter()
            .find(|(_, end)| place < *end)
            .map_or(FAMILIES[0], |(family, _)| *family)
    };
    let mut spans: Vec<Span<'static>> = Vec::new();
    for cell in 0..columns {
        let family = family_at(cell);
        let (fill, style) = (theme.fill(family), theme.account(family));
        match spans.last_mut().filter(|span| span.style == style) {
            Some(span) => span.content.to_mut().push(fill),
            None => spans.push(Span::styled(fill.to_string(), style)),
        }
    }
    spans
}

/// A bar of `columns` cells, filled by a share of 0 to 1.
pub(super) fn share_bar(share: f64, columns: u16, theme: Theme) -> String {
    let cells = (share.clamp(0.0, 1.0) * f64::from(columns)).round();
    let filled = if cells.is_finite() { cells as usize } else { 0 };
    let (on, off) = if theme.colour {
        ("█", "░")
    } else {
        ("#", ".")
    };
    on.repeat(filled) + &off.repeat(usize::from(columns).saturating_sub(filled))
}

/// The legend of the bars: all families where they fit, else those that `ledgers` have.
pub(super) fn legend<'a>(
    ledgers: impl Iterator<Item = &'a [LedgerEntry]>,
    theme: Theme,
    columns: u16,
) -> Line<'static> {
    let fits = |line: &Line<'_>| line.width() <= usize::from(columns);
    let all = legend_of(&FAMILIES, "  ", theme);
    if fits(&all) {
        return all;
    }
    let mut shown = FAMILIES.map(|_| false);
    for entry in ledgers.flatten().filter(|entry| entry.ns > 0) {
        let family = Family::of(&entry.account);
        if let Some(index) = FAMILIES.iter().position(|other| *other == family) {
            shown[index] = true;
        }
    }
    let mut families: Vec<Family> = std::iter::zip(FAMILIES, shown)
        .filter_map(|(family, shown)| shown.then_some(family))
        .collect();
    let wide = legend_of(&families, "  ", theme);
    if fits(&wide) {
        return wide;
    }
    loop {
        let line = legend_of(&families, " ", theme);
        if fits(&line) {
            return line;
        }
        families.pop();
    }
}

fn legend_of(families: &[Family], between: &'static str, theme: Theme) -> Line<'static> {
    let mut line = Line::default();
    for (index, family) in families.iter().enumerate() {
        if index > 0 {
            line.push_span(Span::styled(between, theme.text()));
        }
        line.push_span(Span::styled(
            format!("{} ", theme.fill(*family)),
            theme.account(*family),
        ));
        line.push_span(Span::styled(family.name, theme.text()));
    }
    line
}

/// An account's name as text.
pub(crate) fn account_name(account: &str) -> String {
    if account.is_empty() {
        "?".to_owned()
    } else {
        clean(account)
    }
}

/// The characters of a buffer, line by line, without trailing blanks.
pub(crate) fn to_text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in buffer.area.y..buffer.area.bottom() {
        let mut line = String::new();
        let mut x = buffer.area.x;
        while x < buffer.area.right() {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character covers the cells after its own.
            x = x.saturating_add(u16::try_from(width(symbol).max(1)).unwrap_or(1));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(account: &str, ns: u64) -> LedgerEntry {
        LedgerEntry {
            account: account.to_owned(),
            ns,
            count: 1,
        }
    }

    fn bar(ledger: &[LedgerEntry], columns: u16) -> String {
        let spans = ledger_bar(ledger, columns, Theme::plain());
        spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn a_bar_shows_shares_in_the_order_of_the_legend() {
        let ledger = [
            entry("net.upstream", 50),
            entry("cpu", 30),
            entry("disk.sync", 20),
        ];
        assert_eq!(bar(&ledger, 10), "CCCDDUUUUU");
        assert_eq!(bar(&[entry("sleep", 1)], 3), "SSS");
        assert_eq!(bar(&[], 10), "no ledger");
        assert_eq!(
            bar(&[entry("cpu", u64::MAX), entry("sleep", u64::MAX)], 2),
            "CC"
        );
    }

    #[test]
    fn a_legend_names_what_is_on_the_screen() {
        let legend = |accounts: &[&str], columns| {
            let ledger: Vec<LedgerEntry> = accounts.iter().map(|name| entry(name, 1)).collect();
            legend([ledger.as_slice()].into_iter(), Theme::plain(), columns).to_string()
        };
        assert!(legend(&[], 120).ends_with("M memory  S sleep  ? unexplained"));
        assert_eq!(
            legend(&["new", "sleep", "cpu"], 40),
            "C cpu  S sleep  ? unexplained"
        );
        assert_eq!(
            legend(&["new", "sleep", "cpu"], 28),
            "C cpu S sleep ? unexplained"
        );
        assert_eq!(legend(&["new", "sleep", "cpu"], 20), "C cpu S sleep");
        assert_eq!(legend(&["cpu"], 2), "");
        // All that today's agents tell, on the usual screen.
        let accounts = [
            "cpu",
            "run_queue",
            "lock.futex",
            "disk.read",
            "net.client_read",
            "net.upstream",
            "child",
            "sleep",
            "unexplained",
        ];
        let line = legend(&accounts, 80);
        assert!(line.ends_with("S sleep ? unexplained"), "{line}");
    }

    #[test]
    fn a_share_bar_is_never_longer_than_asked_for() {
        let theme = Theme::plain();
        assert_eq!(share_bar(0.5, 4, theme), "##..");
        assert_eq!(share_bar(7.0, 4, theme), "####");
        assert_eq!(share_bar(f64::NAN, 4, theme), "....");
    }

    #[test]
    fn a_buffer_with_wide_characters_becomes_text() {
        let buffer = Buffer::with_lines(["日本 x", "é"]);
        assert_eq!(to_text(&buffer), "日本 x\né\n");
    }
}
