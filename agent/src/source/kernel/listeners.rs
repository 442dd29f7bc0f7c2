//! The listening TCP sockets of a process, from the tables of its network namespace. Looked up once in a while, and when
//! somebody looks; never per connection.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    time::{Duration, Instant},
};

use whyslow_engine::{ListenerFact, ListenersFact};

use super::{process, sockets::address};

/// `TCP_LISTEN` as the tables print it.
const LISTEN: &str = "0A";
/// Bytes of a table that are read at the most: listeners stand first.
const TABLE_LIMIT: u64 = 1 << 20;

/// How long it is remembered which listeners a process has, while its namespace has the same: going through all
/// descriptors takes longer than all else.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Processes remembered.
const PROCESSES: usize = 1024;

/// What is remembered of a process.
#[derive(Debug)]
struct Known {
    /// Listeners of its namespace, by inode number.
    all: Vec<u64>,
    /// Its own.
    own: Vec<u64>,
    since: Instant,
}

/// Looks listeners up.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    known: HashMap<u32, Known>,
}

impl Listeners {
    /// The listeners of a process; `None`: it is gone.
    pub(super) fn of(&mut self, pid: u32) -> Option<ListenersFact> {
        let net = format!("/proc/{pid}/net");
        let counts = fs::read_to_string(Path::new(&net).join("netstat")).ok()?;
        let mut listeners = Vec::new();
        for table in ["tcp", "tcp6"] {
            // Without IPv6 there is none.
            if let Ok(file) = File::open(Path::new(&net).join(table)) {
                let lines = BufReader::new(file.take(TABLE_LIMIT)).lines();
                listeners.extend(lines.skip(1).map_while(|line| listener(&line.ok()?)));
            }
        }
        let own = self.own(pid, &listeners);
        listeners.retain(|listener| own.contains(&listener.inode));
        Some(ListenersFact {
            listeners,
            overflows: count(&counts, "ListenOverflows"),
            drops: count(&counts, "ListenDrops"),
        })
    }

    /// Which of the listeners the process has, by inode number.
    fn own(&mut self, pid: u32, listeners: &[ListenerFact]) -> &[u64] {
        let all: Vec<u64> = listeners.iter().map(|listener| listener.inode).collect();
        let fresh = |known: &Known| known.all == all && known.since.elapsed() < REMEMBERED;
        if !self.known.get(&pid).is_some_and(fresh) {
            if self.known.len() >= PROCESSES {
                self.known.clear();
            }
            let mut own = process::sockets(pid);
            own.retain(|inode| all.contains(inode));
            let since = Instant::now();
            self.known.insert(pid, Known { all, own, since });
        }
        self.known.get(&pid).map_or(&[], |known| &known.own)
    }
}

/// The listener of a line; `None`: it is none, and none follows.
fn listener(line: &str) -> Option<ListenerFact> {
    let mut fields = line.split_ascii_whitespace();
    let address = address(fields.nth(1)?)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let (_, length) = fields.next()?.split_once(':')?;
    let inode = fields.nth(4)?.parse().ok()?;
    Some(ListenerFact {
        inode,
        address: address.to_string(),
        port: address.port(),
        length: u32::from_str_radix(length, 16).ok()?,
    })
}

/// A counter of `/proc/net/netstat`: a line of names, then one of values. 0 where it is not there.
fn count(text: &str, name: &str) -> u64 {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut pairs = names
            .split_ascii_whitespace()
            .zip(values.split_ascii_whitespace());
        if let Some((_, value)) = pairs.find(|(known, _)| *known == name) {
            return value.parse().unwrap_or_default();
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_listener_and_its_queue() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut table = Listeners::default();
        let mut found = || {
            let fact = table.of(std::process::id()).unwrap();
            let mut all = fact.listeners.into_iter();
            all.find(|listener| listener.port == address.port())
        };
        let before = found().unwrap();
        assert_eq!(
            (&*before.address, before.length),
            (&*address.to_string(), 0)
        );
        let clients: Vec<_> = (0..3)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        assert_eq!(found().unwrap().length, 3);
        drop((socket, clients));
        assert_eq!(found(), None);
        // A new one is another.
        let socket = std::net::TcpListener::bind(address).unwrap();
        assert_eq!(found().unwrap().length, 0);
        drop(socket);
    }

    #[test]
    fn lines_that_are_no_listeners() {
        let line = |state: &str| {
            format!(
                "   0: 0100007F:1F40 00000000:0000 {state} 00000000:00000007 00:00000000 00000000     0        0 4711 1"
            )
        };
        let found = listener(&line("0A")).unwrap();
        assert_eq!((found.port, found.length, found.inode), (8000, 7, 4711));
        assert_eq!(listener(&line("01")), None);
        for odd in ["", "sl local_address rem_address st", "0: x 0A", "0: 0:1"] {
            assert_eq!(listener(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn counters_by_name() {
        let text = "TcpExt: A ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: B\nIpExt: 4\n";
        assert_eq!(count(text, "ListenOverflows"), 22);
        assert_eq!(count(text, "ListenDrops"), 333);
        assert_eq!(count(text, "B"), 4);
        assert_eq!(count(text, "C"), 0);
        assert_eq!(count("", "C"), 0);
    }
}
