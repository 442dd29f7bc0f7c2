//! Listening sockets: their rows, and which of them fill up.

use whyslow_proto::v1::Listener;

use crate::{
    number::{count, duration, rate},
    rows::{By, Cell, Content, Key, Row, cell, known_time, text, trouble},
    text::clean,
};

impl Key {
    pub(crate) fn of_listener(listener: &Listener) -> Self {
        Self::Listener(listener.address.clone(), listener.pid)
    }
}

/// "12/128"; the limit is `?` where it is not known.
fn fill(length: u32, limit: u32) -> String {
    match limit {
        0 => format!("{length}/?"),
        limit => format!("{length}/{limit}"),
    }
}

/// Half full, or more.
const fn fills_up(length: u32, limit: u32) -> bool {
    limit != 0 && length as u64 * 2 >= limit as u64
}

pub(crate) fn row(listener: &Listener) -> Row {
    let known = |ns: u64| (listener.accept_queue_known > 0).then_some(ns);
    let length = |length: u32| {
        let mut cell = cell(fill(length, listener.limit), f64::from(length));
        if fills_up(length, listener.limit)
            && let Content::Text(text, _) = cell.content
        {
            cell.content = Content::Alarm(text);
        }
        cell
    };
    let pid = Cell {
        content: Content::Text(listener.pid.to_string(), crate::text::Cut::End),
        by: By::Number(f64::from(listener.pid)),
    };
    Row {
        key: Key::of_listener(listener),
        cells: vec![
            length(listener.length),
            length(listener.max_length),
            trouble(listener.overflows, false),
            cell(rate(listener.accepted_per_s), listener.accepted_per_s),
            known_time(known(listener.accept_queue_p50_ns)),
            known_time(known(listener.accept_queue_p95_ns)),
            known_time(known(listener.accept_queue_max_ns)),
            pid,
            text(&listener.comm),
            text(&listener.address),
        ],
    }
}

/// The fullest listener of those that fill up or overflow, in words; `None`: there is none.
pub(crate) fn warning(listeners: &[Listener]) -> Option<String> {
    let fills = |one: &&Listener| one.overflows > 0 || fills_up(one.length, one.limit);
    let fullest = listeners
        .iter()
        .filter(fills)
        .max_by_key(|one| one.length)?;
    let mut text = format!(
        "queue {} of {}",
        fill(fullest.length, fullest.limit),
        clean(&fullest.address)
    );
    if fullest.overflows > 0 {
        text += &format!(", {} overflows in its namespace", count(fullest.overflows));
    }
    Some(text)
}

/// Fields of its details.
pub(crate) fn details(listener: &Listener, window_s: f64) -> Vec<(&'static str, String)> {
    let process = format!("pid {}, {}", listener.pid, clean(&listener.comm));
    let mut queue = format!("{} now", fill(listener.length, listener.limit));
    if listener.limit == 0 {
        queue += " (its limit is not known)";
    }
    queue += &format!(", {} at the most", listener.max_length);
    let taken = format!(
        "{window_s:.0} s, {} connections per second",
        rate(listener.accepted_per_s)
    );
    let waited = match listener.accept_queue_known {
        0 => "not known of any connection".to_owned(),
        known => format!(
            "p50 {}   p95 {}   max {}   of {} connections",
            duration(listener.accept_queue_p50_ns),
            duration(listener.accept_queue_p95_ns),
            duration(listener.accept_queue_max_ns),
            count(known)
        ),
    };
    let lost = format!(
        "{} overflows, {} connections dropped, of all listeners of its network namespace",
        count(listener.overflows),
        count(listener.drops)
    );
    vec![
        ("listener", clean(&listener.address)),
        ("process", process),
        ("queue", queue),
        ("window", taken),
        ("waited", waited),
        ("lost", lost),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(length: u32, limit: u32, overflows: u64) -> Listener {
        Listener {
            address: format!("127.0.0.1:{length}"),
            length,
            limit,
            overflows,
            ..Listener::default()
        }
    }

    #[test]
    fn the_fullest_is_warned_of() {
        let quiet = listener(63, 128, 0);
        assert_eq!(warning(&[quiet.clone(), listener(900, 0, 0)]), None);
        let all = [quiet, listener(64, 128, 0), listener(2, 1, 7)];
        let text = warning(&all).unwrap();
        assert_eq!(text, "queue 64/128 of 127.0.0.1:64");
        assert_eq!(
            warning(&all[2..]).unwrap(),
            "queue 2/1 of 127.0.0.1:2, 7 overflows in its namespace"
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let details = details(&listener(3, 0, 0), 60.0);
        let of = |name| &details.iter().find(|(known, _)| *known == name).unwrap().1;
        assert_eq!(
            of("queue"),
            "3/? now (its limit is not known), 0 at the most"
        );
        assert_eq!(of("waited"), "not known of any connection");
        let row = row(&listener(3, 0, 0));
        let texts: Vec<String> = row
            .cells
            .iter()
            .map(|cell| match &cell.content {
                Content::Text(text, _) | Content::Alarm(text) => text.clone(),
                _ => String::new(),
            })
            .collect();
        assert_eq!(texts[..2], ["3/?", "0/?"]);
        assert_eq!(texts[4..7], ["?", "?", "?"]);
    }
}
