//! What an agent says when it starts: who is watched, and what is read of them.

use crate::source::{KernelOptions, WatchRules, kernel};

/// Logs it, and each chosen port that nothing listens on yet.
pub(super) fn log(options: &KernelOptions) {
    tracing::info!("watching {}; {}", whom(&options.rules), what(options));
    if options.rules.ports.is_empty() {
        return;
    }
    let open = kernel::listening_ports();
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

#[cfg(test)]
mod tests {
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
}
