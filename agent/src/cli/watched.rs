//! What an agent says when it starts: who is watched, and what is read of them.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _};

use crate::source::{KernelOptions, WatchRules};

/// `TCP_LISTEN` as `/proc/net/tcp` prints it, from `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// Logs it, and each chosen port that nothing listens on yet.
pub(super) fn log(options: &KernelOptions) {
    tracing::info!("watching {}; {}", whom(&options.rules), what(options));
    if options.rules.ports.is_empty() {
        return;
    }
    let open = open_ports();
    for port in &options.rules.ports {
        if !open.contains(port) {
            tracing::warn!("nothing listens on port {port} yet");
        }
    }
}

fn whom(rules: &WatchRules) -> String {
    let chosen = words([
        ("with id", texts(&rules.pids)),
        ("named", rules.comms.clone()),
        ("that listen on port", texts(&rules.ports)),
        ("in the control group", rules.cgroups.clone()),
    ]);
    let excluded = words([
        ("with id", texts(&rules.exclude_pids)),
        ("named", rules.exclude_comms.clone()),
        ("that listen on port", texts(&rules.exclude_ports)),
        ("in the control group", rules.exclude_cgroups.clone()),
    ]);
    let mut text = if rules.discovers() {
        "every process that serves HTTP".to_owned()
    } else {
        format!("processes {chosen}")
    };
    if !excluded.is_empty() {
        text += &format!(", but none {excluded}");
    }
    text
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// "with id 1 or 2, or named gunicorn".
fn words(rules: [(&str, Vec<String>); 4]) -> String {
    let given = rules.into_iter().filter(|(_, values)| !values.is_empty());
    let parts: Vec<String> = given
        .map(|(kind, values)| format!("{kind} {}", values.join(" or ")))
        .collect();
    parts.join(", or ")
}

fn what(options: &KernelOptions) -> &'static str {
    match (options.operations, options.probes_libraries()) {
        (false, _) => "operations are not read (--operations)",
        (true, false) => "operations are read, without library probes",
        (true, true) => "operations are read, with library probes",
    }
}

/// TCP ports that something listens on, in any network namespace that has a process.
fn open_ports() -> HashSet<u16> {
    let mut ports = HashSet::new();
    let mut namespaces = HashSet::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        return ports;
    };
    for process in processes.flatten() {
        let path = process.path();
        let Ok(namespace) = fs::metadata(path.join("ns/net")) else {
            continue;
        };
        if !namespaces.insert(namespace.ino()) {
            continue;
        }
        for table in ["net/tcp", "net/tcp6"] {
            let table = fs::read_to_string(path.join(table)).unwrap_or_default();
            ports.extend(table.lines().filter_map(listening_port));
        }
    }
    ports
}

/// The port of a line of `/proc/net/tcp`, if it is that of a listener.
fn listening_port(line: &str) -> Option<u16> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (_, port) = columns.next()?.split_once(':')?;
    let state = columns.nth(1)?;
    (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_is_watched_in_words() {
        let mut rules = WatchRules::default();
        assert_eq!(whom(&rules), "every process that serves HTTP");
        rules.exclude_comms = vec!["nginx".to_owned()];
        assert_eq!(
            whom(&rules),
            "every process that serves HTTP, but none named nginx"
        );
        rules.ports = vec![8000, 8001];
        rules.cgroups = vec!["/web".to_owned()];
        assert_eq!(
            whom(&rules),
            "processes that listen on port 8000 or 8001, or in the control group /web, but none named nginx"
        );
    }

    #[test]
    fn what_is_read_in_words() {
        let mut options = KernelOptions::default();
        assert!(what(&options).contains("not read"));
        (options.operations, options.library_probes) = (true, true);
        assert!(what(&options).ends_with("with library probes"));
    }

    #[test]
    fn only_listeners_open_a_port() {
        let line = |state: &str| {
            format!("   0: 0100007F:1F40 00000000:0000 {state} 00000000:00000000 00:00000000 0 0 0")
        };
        assert_eq!(listening_port(&line("0A")), Some(8000));
        assert_eq!(listening_port(&line("01")), None);
        for odd in [
            "",
            "sl local_address",
            "0: x 0A",
            "0: 00:FFFFF 0:0 0A",
            "0: 0:1",
        ] {
            assert_eq!(listening_port(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_listener_of_this_process_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(open_ports().contains(&port));
        drop(listener);
        assert!(!open_ports().contains(&port));
    }
}
