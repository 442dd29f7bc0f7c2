//! Paths to templates: `/users/17/orders` becomes `/users/{id}/orders`. The user's rules come first.

use super::segment::is_path_value;
use crate::protocol::authority::authority;

/// Longest template, bytes. What is longer ends in `{cut}`.
const TEMPLATE_LIMIT: usize = 256;
/// Segments of a template at the most.
const SEGMENT_LIMIT: usize = 16;

/// A user's rule: `/shop/{name}/item/{id}`; a last segment `*` stands for any rest.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    text: String,
    segments: Vec<Segment>,
    any_rest: bool,
}

#[derive(Clone, Debug)]
enum Segment {
    Exact(String),
    Any,
}

impl Rule {
    /// Reads a rule; every text is one.
    pub(crate) fn new(text: &str) -> Self {
        let mut segments: Vec<Segment> = text
            .trim_matches('/')
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|segment| {
                if segment.starts_with('{') && segment.ends_with('}') {
                    Segment::Any
                } else {
                    Segment::Exact(segment.to_owned())
                }
            })
            .collect();
        let any_rest = matches!(segments.last(), Some(Segment::Exact(last)) if last == "*");
        if any_rest {
            segments.pop();
        }
        Self {
            text: text.to_owned(),
            segments,
            any_rest,
        }
    }

    fn matches(&self, path: &str) -> bool {
        let mut parts = path.trim_matches('/').split('/').filter(|s| !s.is_empty());
        for segment in &self.segments {
            match (segment, parts.next()) {
                (_, None) => return false,
                (Segment::Any, Some(_)) => {}
                (Segment::Exact(exact), Some(part)) if exact == part => {}
                (Segment::Exact(_), Some(_)) => return false,
            }
        }
        self.any_rest || parts.next().is_none()
    }
}

/// The path of a request target: without query and fragment, and without scheme and authority. Of a
/// target that is an authority alone, its host and port.
pub(crate) fn path(target: &str) -> &str {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let target = &target[..end];
    let (start, end) = authority(target);
    let user = target[start..end].rfind('@');
    if user.is_none() && (target.starts_with('/') || !target.contains("://")) {
        // Two slashes before a path are no authority as a rule.
        return target;
    }
    match (&target[end..], user) {
        ("", Some(user)) if start == 0 => &target[user + 1..],
        ("", _) => "/",
        (path, _) => path,
    }
}

/// Appends the template of `target` to `out`.
pub(crate) fn template(target: &str, rules: &[Rule], out: &mut String) {
    let path = path(target);
    if let Some(rule) = rules.iter().find(|rule| rule.matches(path)) {
        out.push_str(&rule.text);
        return;
    }
    if path.is_empty() {
        out.push_str("(unknown)");
        return;
    }
    let start = out.len();
    let mut before = "";
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        // Parameters (`;jsessionid=...`) are none of the resource's name.
        let segment = segment.split(';').next().unwrap_or_default();
        if index > SEGMENT_LIMIT || out.len() - start + segment.len().min(48) > TEMPLATE_LIMIT {
            out.push_str("{cut}");
            return;
        }
        let is_host = index == 0 && is_host_and_port(segment);
        out.push_str(if is_path_value(segment, before) && !is_host {
            "{id}"
        } else {
            segment
        });
        before = segment;
    }
}

/// Whether it is what a CONNECT asks for.
fn is_host_and_port(segment: &str) -> bool {
    let parts = segment.rsplit_once(':');
    parts
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str) -> String {
        let mut out = String::new();
        template(target, &[], &mut out);
        out
    }

    #[test]
    fn variable_parts() {
        for (target, expected) in [
            ("/", "/"),
            ("/users/17/orders?x=1", "/users/{id}/orders"),
            ("/users/17/", "/users/{id}/"),
            ("/d/2024-05-01", "/d/{id}"),
            ("/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/o/{id}"),
            ("/c/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/c/{id}"),
            ("/c/deadbeef", "/c/{id}"),
            ("/c/deadbee1", "/c/{id}"),
            ("/verify/SeKr1tWrd.png", "/verify/{id}"),
            ("/auth/v1/token/Summer/x", "/auth/v1/token/{id}/x"),
            ("/users/hunter2", "/users/{id}"),
            ("/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIi", "/t/{id}"),
            ("/static/app.css", "/static/app.css"),
            ("/api/v1/items", "/api/v1/items"),
            (
                "/a/how-to-bake-a-very-good-cake",
                "/a/how-to-bake-a-very-good-cake",
            ),
            ("http://h/a/1", "/a/{id}"),
            ("http://h", "/"),
            ("http://me:pw@h", "/"),
            ("http://me:pw@h/a/1", "/a/{id}"),
            ("https:me:pw@h/a", "/a"),
            ("//me:pw@h/a", "/a"),
            ("//static/a", "//static/a"),
            ("me:pw@h:443", "h:443"),
            ("h:443", "h:443"),
            ("/user/password:x", "/user/{id}"),
            ("/v1/keys/AKIAIOSFODNN7EXAMPLE", "/v1/keys/{id}"),
            ("/u/me%40example.org/a", "/u/{id}/a"),
            ("/a;jsessionid=abc/b;v=1", "/a/b"),
            ("/users/17;jsessionid=abc?x", "/users/{id}"),
            ("*", "*"),
            ("", "(unknown)"),
            ("/a#b", "/a"),
        ] {
            assert_eq!(of(target), expected, "{target}");
        }
    }

    #[test]
    fn long_paths_are_cut() {
        let long = format!("/{}", "x".repeat(70_000));
        assert_eq!(of(&long), "/{id}");
        assert!(of(&"/ab".repeat(1_000)).ends_with("/{cut}"));
        assert!(of(&"/abcdefghijklmnopqrstuvwxyz".repeat(1_000)).len() < 300);
    }

    #[test]
    fn user_rules_first() {
        let rules: Vec<Rule> = ["/shop/{name}/item/{id}", "/static/*", "/"]
            .iter()
            .map(|rule| Rule::new(rule))
            .collect();
        let of = |target: &str| {
            let mut out = String::new();
            template(target, &rules, &mut out);
            out
        };
        assert_eq!(of("/shop/red/item/x?y"), "/shop/{name}/item/{id}");
        assert_eq!(of("/static/js/app.js"), "/static/*");
        assert_eq!(of("/shop/red/item"), "/shop/red/item");
        assert_eq!(of("/shop/red/item/x/y"), "/shop/red/item/x/y");
        assert_eq!(of("/"), "/");
    }
}
