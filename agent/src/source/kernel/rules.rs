//! Which processes are watched: the user's rules against what runs.

use std::collections::{HashMap, HashSet};

use super::{process, sockets::SocketTable};
use crate::source::WatchRules;

/// A process as far as rules look at it.
struct Subject {
    pid: u32,
    comm: String,
    cgroup: String,
    /// Inode numbers of its listening sockets.
    listeners: Vec<u64>,
    ports: Vec<u16>,
}

/// What to do with processes that run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Watch at once.
    pub(super) watch: Vec<u32>,
    /// Watch as soon as they serve HTTP.
    pub(super) candidates: Vec<u32>,
    /// Watch at once, as a server that watched processes ask.
    pub(super) follow: Vec<u32>,
    /// Never.
    pub(super) drop: Vec<u32>,
}

/// Looks at processes, with one read of each network namespace's tables.
#[derive(Default)]
struct Observer {
    tables: HashMap<Option<std::path::PathBuf>, SocketTable>,
}

impl Observer {
    fn look(&mut self, pid: u32) -> Option<Subject> {
        let fact = process::fact(pid)?;
        let namespace = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let table = self
            .tables
            .entry(namespace)
            .or_insert_with(|| SocketTable::of(pid));
        let listeners = table.listeners(&process::sockets(pid));
        let ports = listeners
            .iter()
            .filter_map(|inode| table.get(*inode).map(|socket| socket.local_port))
            .filter(|port| *port != 0)
            .collect();
        Some(Subject {
            pid,
            comm: fact.comm,
            cgroup: fact.cgroup,
            listeners,
            ports,
        })
    }
}

impl Observer {
    /// Whether a process listens where `peer` is.
    fn serves_at(&self, subject: &Subject, peer: &str) -> bool {
        if !peer.starts_with("unix:") {
            let port = peer
                .rsplit_once(':')
                .and_then(|(_, port)| port.parse().ok());
            return port.is_some_and(|port: u16| subject.ports.contains(&port));
        }
        // The kernel side takes a path down as far as it has room.
        self.tables.values().any(|table| {
            let mut sockets = subject.listeners.iter().filter_map(|it| table.get(*it));
            sockets.any(|socket| socket.peer.starts_with(peer))
        })
    }
}

fn below(cgroup: &str, rules: &[String]) -> bool {
    rules.iter().any(|rule| {
        let rule = rule.trim_end_matches('/');
        cgroup
            .strip_prefix(rule)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

impl Subject {
    fn excluded(&self, rules: &WatchRules) -> bool {
        self.pid == std::process::id()
            || rules.exclude_pids.contains(&self.pid)
            || rules.exclude_comms.contains(&self.comm)
            || self
                .ports
                .iter()
                .any(|port| rules.exclude_ports.contains(port))
            || below(&self.cgroup, &rules.exclude_cgroups)
    }

    fn chosen(&self, rules: &WatchRules) -> bool {
        rules.comms.contains(&self.comm)
            || self.ports.iter().any(|port| rules.ports.contains(port))
            || below(&self.cgroup, &rules.cgroups)
    }
}

/// Whether the rules can be followed.
///
/// # Errors
/// A process that was named by id does not exist.
pub(super) fn check(rules: &WatchRules) -> anyhow::Result<()> {
    match rules.pids.iter().find(|pid| process::fact(**pid).is_none()) {
        Some(pid) => {
            anyhow::bail!("process {pid} does not exist\nhint: list processes with: ps -e")
        }
        None => Ok(()),
    }
}

/// Takes stock of everything that runs.
#[must_use]
pub(super) fn take_stock(rules: &WatchRules) -> Verdict {
    let named: HashSet<u32> = rules
        .pids
        .iter()
        .flat_map(|pid| process::tree(*pid))
        .collect();
    let mut observer = Observer::default();
    let mut verdict = Verdict::default();
    for pid in process::all() {
        let Some(subject) = observer.look(pid) else {
            continue;
        };
        if subject.excluded(rules) {
            continue;
        }
        if named.contains(&pid) || subject.chosen(rules) {
            verdict.watch.push(pid);
        } else if rules.discovers() && !subject.listeners.is_empty() {
            verdict.candidates.push(pid);
        }
    }
    verdict
}

/// A process has called `listen`.
#[must_use]
pub(super) fn judge(pid: u32, rules: &WatchRules) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(subject) = Observer::default().look(pid) else {
        return verdict;
    };
    if subject.excluded(rules) {
        verdict.drop.push(pid);
    } else if subject.chosen(rules) {
        verdict.watch.push(pid);
    } else if rules.discovers() {
        // The thread that called is a candidate already; its siblings are not.
        verdict.candidates.push(pid);
    }
    verdict
}

/// Whether a process that serves HTTP is to be watched. One that is gone is: its requests were real, and
/// nobody can tell any more.
#[must_use]
pub(super) fn wants(pid: u32, rules: &WatchRules) -> bool {
    if *rules == WatchRules::default() {
        return true;
    }
    Observer::default().look(pid).is_none_or(|subject| {
        !subject.excluded(rules) && (rules.discovers() || subject.chosen(rules))
    })
}

/// A process serves HTTP: it, and every process that shares one of its listening sockets (the
/// pre-forking parent and its other children).
#[must_use]
pub(super) fn family(pid: u32, rules: &WatchRules) -> Verdict {
    let mut verdict = Verdict::default();
    let mut observer = Observer::default();
    let Some(subject) = observer.look(pid) else {
        return verdict;
    };
    if subject.excluded(rules) {
        verdict.drop.push(pid);
        return verdict;
    }
    verdict.watch.push(pid);
    for other in process::all() {
        // The first process may hold sockets on behalf of all services.
        if other == pid || other == 1 {
            continue;
        }
        let Some(other) = observer.look(other) else {
            continue;
        };
        let shares = other
            .listeners
            .iter()
            .any(|inode| subject.listeners.contains(inode));
        if shares && !other.excluded(rules) {
            verdict.watch.push(other.pid);
        }
    }
    verdict
}

/// Generations from a process of a server up to the one that listens.
const GENERATIONS: u32 = 4;

/// A watched process was answered by `pid`, on a connection to `peer` (`127.0.0.1:5432`, `unix:/path`): if that serves
/// there, all processes of the server.
#[must_use]
pub(super) fn server(pid: u32, peer: &str, rules: &WatchRules) -> Verdict {
    let mut verdict = Verdict::default();
    let mut observer = Observer::default();
    let mut at = pid;
    for _ in 0..GENERATIONS {
        let Some(subject) = observer.look(at).filter(|it| !it.excluded(rules)) else {
            break;
        };
        if observer.serves_at(&subject, peer) {
            verdict.follow = process::tree(at);
            break;
        }
        match process::fact(at) {
            Some(fact) if fact.parent > 1 => at = fact.parent,
            _ => break,
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_match_whole_components() {
        let rules = vec!["/system.slice/web.service".to_owned()];
        assert!(below("/system.slice/web.service", &rules));
        assert!(below("/system.slice/web.service/worker", &rules));
        assert!(!below("/system.slice/web.service2", &rules));
        assert!(!below("/", &rules));
    }

    #[test]
    fn exclusion_wins() {
        let subject = Subject {
            pid: 5,
            comm: "gunicorn".to_owned(),
            cgroup: "/".to_owned(),
            listeners: vec![1],
            ports: vec![8000],
        };
        let mut rules = WatchRules {
            ports: vec![8000],
            ..WatchRules::default()
        };
        assert!(subject.chosen(&rules) && !subject.excluded(&rules));
        rules.exclude_comms.push("gunicorn".to_owned());
        assert!(subject.excluded(&rules));
    }

    #[test]
    fn a_process_that_is_gone_is_told() {
        let rules = WatchRules {
            pids: vec![u32::MAX - 1],
            ..WatchRules::default()
        };
        let error = check(&rules).unwrap_err().to_string();
        assert!(
            error.contains("does not exist") && error.contains("hint:"),
            "{error}"
        );
    }
}
