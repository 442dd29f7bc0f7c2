//! Request targets without secrets, for people.

use crate::protocol::authority::authority;

/// Longest authority that can be a host and a port: of a longer one the `@` may lie beyond what was
/// captured.
const HOST_LIMIT: usize = 300;

/// A request target without secrets: each value of a query or of a path parameter becomes `?`, and
/// so does user information.
pub(crate) fn target(target: &str) -> String {
    let query = target.find('?').unwrap_or(target.len());
    let (front, query) = target.split_at(query);
    let mut out = String::with_capacity(target.len());
    let (start, end) = authority(front);
    let host = &front[start..end];
    out.push_str(&front[..start]);
    match host.rsplit_once('@') {
        Some((_, host)) => {
            out.push_str("?@");
            out.push_str(host);
        }
        None if host.len() > HOST_LIMIT => out.push('?'),
        None => out.push_str(host),
    }
    path(&front[end..], &mut out);
    if query.is_empty() {
        return out;
    }
    for (index, pair) in query[1..].split('&').enumerate() {
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

/// Appends a path; values of its parameters (`;jsessionid=...`) become `?`.
fn path(path: &str, out: &mut String) {
    if !path.contains(';') {
        out.push_str(path);
        return;
    }
    for part in path.split_inclusive(['/', ';']) {
        let stop = part.len() - usize::from(part.ends_with(['/', ';']));
        let (text, stop) = part.split_at(stop);
        match text.split_once('=') {
            Some((name, value)) if out.ends_with(';') && !value.is_empty() => {
                out.push_str(name);
                out.push_str("=?");
            }
            _ => out.push_str(text),
        }
        out.push_str(stop);
    }
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
            ("me:pw@h:443", "?@h:443"),
            ("me@h", "?@h"),
            ("https:me:pw@h/x", "?@h/x"),
            ("https:/me:pw@h/x", "https:/?@h/x"),
            ("//me:pw@h/x", "//?@h/x"),
            ("///me:pw@h", "///?@h"),
            ("http://me:p@w@h/x", "http://?@h/x"),
            ("http://me:p w@h/x", "http://?@h/x"),
            ("me:pw@h:/x@y", "?@h:/x@y"),
            ("//me:pw@h?a=b@c", "//?@h?a=?"),
            ("//static//app.css", "//static//app.css"),
            ("h:443", "h:443"),
            ("http://h:80", "http://h:80"),
            ("/@me/a:b@c", "/@me/a:b@c"),
            ("/a;jsessionid=abc", "/a;jsessionid=?"),
            ("/a;j=abc=d/b;v;w=1;x=/c?d=1", "/a;j=?/b;v;w=?;x=/c?d=?"),
            ("/a=b/c", "/a=b/c"),
            ("http://u@h/a;j=abc", "http://?@h/a;j=?"),
            ("/", "/"),
            ("//", "//"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(target(given), expected, "{given}");
        }
    }

    #[test]
    fn an_authority_too_long_for_a_host_is_none() {
        let long = format!("http://me:{}", "p".repeat(2_000));
        assert_eq!(target(&long), "http://?");
    }
}
