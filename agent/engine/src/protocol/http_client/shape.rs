//! The shape of a request: method, host, path template.

use std::net::IpAddr;

use super::super::{client::SHAPE_LIMIT, host_name::host_name, http::METHOD_LIMIT};
use crate::routes::template::{path, template};

/// What stands for the end of a path that was not kept.
const CUT: &str = "{cut}";

/// Ports that clients leave out, and 0, which is none.
const USUAL_PORTS: [u16; 3] = [80, 443, 0];

/// The shape. `cut`: the end of the target is missing.
pub(super) fn shape(method: &[u8], target: &[u8], host: &[u8], cut: bool) -> String {
    let method = String::from_utf8_lossy(method.get(..METHOD_LIMIT).unwrap_or(method));
    let target = String::from_utf8_lossy(target);
    let mut shape = format!("{method} ");
    if method == "CONNECT" {
        connects_to(&target, cut, &mut shape);
        return bounded(shape);
    }
    let cut = cut && !target.contains(['?', '#']);
    // A last segment without its end may be the front of a secret.
    let whole = match target.rfind('/') {
        Some(last) if cut => &target[..last],
        None if cut => "",
        _ => &target,
    };
    let mut route = String::new();
    if !whole.is_empty() {
        template(whole, &[], &mut route);
    }
    if route.starts_with('/') || route.is_empty() {
        shape.push_str(&named(host));
    }
    shape.push_str(&route);
    if cut && !shape.ends_with(CUT) {
        shape.push('/');
        shape.push_str(CUT);
    }
    bounded(shape)
}

/// Whom a proxy is to connect to: this is not the peer, so its address and port are told too.
fn connects_to(target: &str, cut: bool, shape: &mut String) {
    let target = path(target);
    match target.rsplit_once(':') {
        Some((host, port)) if !cut && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            match host.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(_) => shape.push_str(host),
                Err(_) => shape.push_str(&host_name(host.as_bytes().split(|byte| *byte == b'.'))),
            }
            shape.push(':');
            shape.push_str(port.get(..5).unwrap_or(port));
        }
        _ => shape.push_str(CUT),
    }
}

/// The host, where it is a name, and its port unless that is a usual one: services behind one name are told
/// apart by it.
fn named(host: &[u8]) -> String {
    let Ok(host) = std::str::from_utf8(host) else {
        return String::new();
    };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    let inner = name.trim_start_matches('[').trim_end_matches(']');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if inner.parse::<IpAddr>().is_ok() || !name.bytes().all(plain) {
        return String::new();
    }
    let mut named = host_name(name.as_bytes().split(|byte| *byte == b'.'));
    if !named.is_empty()
        && port
            .parse::<u16>()
            .is_ok_and(|port| !USUAL_PORTS.contains(&port))
    {
        named.push(':');
        named.push_str(port.trim_start_matches('0'));
    }
    named
}

fn bounded(mut shape: String) -> String {
    // Bytes out of step look like a method now and then.
    if shape.contains(char::is_control) {
        shape = shape.replace(char::is_control, "?");
    }
    if shape.len() > SHAPE_LIMIT {
        let end = (0..=SHAPE_LIMIT - 3).rfind(|at| shape.is_char_boundary(*at));
        shape.truncate(end.unwrap_or(0));
        shape.push_str("...");
    }
    shape
}

/// The host that a target in absolute form names; empty: it has none.
pub(super) fn target_host(target: &[u8]) -> &[u8] {
    let Some(scheme) = target.windows(3).position(|bytes| bytes == b"://") else {
        return b"";
    };
    if target.starts_with(b"/") {
        return b"";
    }
    let rest = target.get(scheme + 3..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let authority = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
    authority
        .rsplit(|byte| *byte == b'@')
        .next()
        .unwrap_or_default()
}
