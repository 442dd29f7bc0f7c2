//! Colours and letters of account families.
//!
//! Only the sixteen colours of the terminal's own theme are used, and its own foreground and
//! background, so that a light and a dark terminal both stay readable. Without colour (`NO_COLOR`,
//! or plain text) bars are drawn with the families' letters instead.

use ratatui::style::{Color, Modifier, Style};

/// Accounts that share a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// Its name in the legend.
    pub(crate) name: &'static str,
    /// Its letter in a bar without colour.
    pub(crate) letter: char,
    color: Color,
    /// An account belongs to the first family with a prefix of its name here.
    prefixes: &'static [&'static str],
}

/// All families, in the order of the legend. The last takes what no other takes.
pub(crate) const FAMILIES: [Family; 10] = [
    family("cpu", 'C', Color::Green, &["cpu"]),
    family(
        "queue",
        'Q',
        Color::Yellow,
        &["run_queue", "throttled", "queue."],
    ),
    family("lock", 'L', Color::Magenta, &["lock."]),
    family("disk", 'D', Color::Blue, &["disk."]),
    family("client", 'N', Color::Cyan, &["net.client"]),
    family("upstream", 'U', Color::LightBlue, &["net."]),
    family("process", 'P', Color::Reset, &["child", "ipc"]),
    family("memory", 'M', Color::LightMagenta, &["memory"]),
    family("sleep", 'S', Color::DarkGray, &["sleep"]),
    family("unexplained", '?', Color::Red, &[""]),
];

const fn family(
    name: &'static str,
    letter: char,
    color: Color,
    prefixes: &'static [&'static str],
) -> Family {
    Family {
        name,
        letter,
        color,
        prefixes,
    }
}

impl Family {
    /// Family of an account.
    pub(crate) fn of(account: &str) -> Self {
        let mut families = FAMILIES.into_iter();
        families
            .find(|family| {
                family
                    .prefixes
                    .iter()
                    .any(|prefix| account.starts_with(prefix))
            })
            .unwrap_or(FAMILIES[FAMILIES.len() - 1])
    }
}

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    /// Colours may be used.
    pub(crate) colour: bool,
    /// Draw in grey: the data is old.
    pub(crate) stale: bool,
    /// Somebody is at the keys: titles name the key that shows their list.
    pub(crate) keys: bool,
}

impl Theme {
    /// Colours unless `NO_COLOR` is set and not empty (no-color.org) or the terminal is `dumb`.
    pub(crate) fn from_environment() -> Self {
        let set = |name, value: fn(&str) -> bool| std::env::var(name).is_ok_and(|v| value(&v));
        let colour = !set("NO_COLOR", |v| !v.is_empty()) && !set("TERM", |v| v == "dumb");
        Self {
            colour,
            stale: false,
            keys: true,
        }
    }

    /// For text that is read elsewhere: without colours and keys.
    pub(crate) const fn plain() -> Self {
        Self {
            colour: false,
            stale: false,
            keys: false,
        }
    }

    /// Text of a row.
    pub(crate) fn text(self) -> Style {
        if self.stale {
            self.grey()
        } else {
            Style::new()
        }
    }

    /// Less important text.
    pub(crate) fn grey(self) -> Style {
        if self.colour {
            Style::new().fg(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }

    /// Titles, names.
    pub(crate) fn strong(self) -> Style {
        self.text().add_modifier(Modifier::BOLD)
    }

    /// Something is wrong.
    pub(crate) fn alarm(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colour {
            style.fg(Color::Red)
        } else {
            style
        }
    }

    /// A banner, the row under the cursor.
    pub(crate) fn reversed(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// An account's name or its part of a bar.
    pub(crate) fn account(self, family: Family) -> Style {
        if self.stale || !self.colour {
            self.text()
        } else {
            Style::new().fg(family.color)
        }
    }

    /// What a family's part of a bar is drawn with.
    pub(crate) const fn fill(self, family: Family) -> char {
        if self.colour { '█' } else { family.letter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_find_their_family() {
        let cases = [
            ("cpu", "cpu"),
            ("run_queue", "queue"),
            ("throttled", "queue"),
            ("queue.app", "queue"),
            ("lock.gil", "lock"),
            ("disk.fault", "disk"),
            ("net.client_write", "client"),
            ("net.upstream", "upstream"),
            ("net.dns", "upstream"),
            ("child", "process"),
            ("ipc", "process"),
            ("sleep", "sleep"),
            ("memory", "memory"),
            ("unexplained", "unexplained"),
            ("an account of a newer agent", "unexplained"),
        ];
        for (account, name) in cases {
            assert_eq!(Family::of(account).name, name, "{account}");
        }
    }

    #[test]
    fn letters_tell_families_apart() {
        for (i, one) in FAMILIES.iter().enumerate() {
            assert!(
                FAMILIES
                    .iter()
                    .skip(i + 1)
                    .all(|other| other.letter != one.letter)
            );
        }
    }

    #[test]
    fn no_colour_means_no_colour() {
        let theme = Theme::plain();
        for family in FAMILIES {
            assert_eq!(theme.account(family).fg, None);
        }
        assert_eq!((theme.alarm().fg, theme.grey().fg), (None, None));
    }
}
