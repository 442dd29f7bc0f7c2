//! Names of hosts as part of a shape: in lower case, printable, bounded, and with `{id}` for labels that look
//! like one.

use crate::routes::segment::is_value;

/// Longest name told, bytes. What is longer ends in `...`.
const NAME_LIMIT: usize = 256;
/// What stands for a label that looks like an id.
const ID: &str = "{id}";

/// A name from its labels. Several ids in a row (an address, backwards) are one.
pub(crate) fn host_name<'a>(labels: impl Iterator<Item = &'a [u8]>) -> String {
    let mut name = String::new();
    let mut after_id = false;
    for label in labels {
        let label: String = label.iter().map(|byte| printable(*byte)).collect();
        let is_id = is_value(&label);
        if is_id && after_id {
            continue;
        }
        after_id = is_id;
        let label = if is_id { ID } else { &label };
        if name.len() + label.len() + 1 > NAME_LIMIT {
            name.push_str("...");
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(label);
    }
    name
}

fn printable(byte: u8) -> char {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
            char::from(byte.to_ascii_lowercase())
        }
        b'*' => '*',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("db.internal", "db.internal"),
            ("DB-1.Internal", "db-1.internal"),
            ("4.3.2.10.in-addr.arpa", "{id}.in-addr.arpa"),
            ("_http._tcp.a", "_http._tcp.a"),
            ("3f2504e0-4f89-11d3-9a0c-0305e82c3301.a.17", "{id}.a.{id}"),
            ("a\x1b[31m\u{e9}.b", "a??31m??.b"),
            ("", ""),
        ] {
            let labels = name.as_bytes().split(|byte| *byte == b'.');
            assert_eq!(host_name(labels), expected, "{name}");
        }
        let long = std::iter::repeat_n(&b"label"[..], 1_000);
        let name = host_name(long);
        assert!(name.len() <= NAME_LIMIT + 3 && name.ends_with("..."));
    }
}
