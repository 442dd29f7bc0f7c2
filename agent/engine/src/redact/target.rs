//! Request targets without secrets, for people.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_question_marks() {
        for (given, expected) in [
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("/a?x=1&y=2", "/a?x=?&y=?"),
            ("/a?x=1=2&y=", "/a?x=?&y="),
            ("/a?SECRET", "/a??"),
            ("/a?x=1&&SECRET", "/a?x=?&&?"),
            ("/a?x=a?b#c", "/a?x=?"),
            ("http://me:pw@h/a?x=1", "http://?@h/a?x=?"),
            ("http://h/a@b", "http://h/a@b"),
            ("http://me:pw@h", "http://?@h"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(target(given), expected, "{given}");
        }
    }
}
