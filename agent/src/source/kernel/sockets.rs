//! The kernel's socket tables (`/proc/PID/net/*`), by inode number, for one network namespace at
//! a time. Read when somebody looks at live waits or when processes are judged, never per event.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::process;

/// How long a table is taken for fresh where it does not know a socket.
const FRESH: Duration = Duration::from_millis(500);
/// Network namespaces whose tables are kept.
const NAMESPACES: usize = 32;

/// `TCP_ESTABLISHED` and `TCP_LISTEN` as the tables print them.
const LISTEN: u8 = 0x0a;
/// `SO_ACCEPTCON` in the flags column of `/proc/net/unix`.
const UNIX_LISTENING: u32 = 0x0001_0000;

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// It listens.
    pub(super) listening: bool,
    /// Local TCP port; 0 for unix sockets.
    pub(super) local_port: u16,
    /// Peer: `127.0.0.1:5432`, or `unix:/path`; empty: none or not known.
    pub(super) peer: String,
    /// A unix socket with a name of its own: accepted, unless it listens.
    pub(super) named: bool,
    /// TCP or UDP, not unix.
    pub(super) inet: bool,
}

/// The tables of several network namespaces. Reading one takes the kernel longer than all else that a
/// look at a live wait needs, so it is read again only for a socket that it does not know.
#[derive(Debug, Default)]
pub(super) struct SocketTables {
    by_namespace: HashMap<u64, (Instant, Arc<SocketTable>)>,
}

impl SocketTables {
    /// A table that knows the socket of `pid` with this inode number, if there is one.
    pub(super) fn knowing(&mut self, pid: u32, inode: u64) -> Arc<SocketTable> {
        let namespace = namespace(pid).unwrap_or_default();
        if let Some((read, table)) = self.by_namespace.get(&namespace)
            && (table.get(inode).is_some_and(Socket::is_settled) || read.elapsed() < FRESH)
        {
            return Arc::clone(table);
        }
        if self.by_namespace.len() >= NAMESPACES {
            self.by_namespace.clear();
        }
        let table = Arc::new(SocketTable::of(pid));
        self.by_namespace
            .insert(namespace, (Instant::now(), Arc::clone(&table)));
        table
    }
}

impl Socket {
    /// Its peer is a name server.
    pub(super) fn asks_for_names(&self) -> bool {
        self.peer.ends_with(":53")
    }

    /// What is known of it will not change as long as it lives.
    fn is_settled(&self) -> bool {
        self.listening || !self.peer.is_empty()
    }
}

/// Sockets of one network namespace.
#[derive(Debug, Default)]
pub(super) struct SocketTable {
    sockets: HashMap<u64, Socket>,
    listening_ports: Vec<u16>,
}

impl SocketTable {
    /// Reads the tables as seen by `pid`. What cannot be read is left out.
    #[must_use]
    pub(super) fn of(pid: u32) -> Self {
        let mut table = Self::default();
        let base = format!("/proc/{pid}/net");
        for name in ["tcp", "tcp6", "udp", "udp6"] {
            if let Ok(text) = fs::read_to_string(Path::new(&base).join(name)) {
                let stream = name.starts_with("tcp");
                for line in text.lines().skip(1) {
                    table.add_inet(line, stream);
                }
            }
        }
        if let Ok(text) = fs::read_to_string(Path::new(&base).join("unix")) {
            for line in text.lines().skip(1) {
                table.add_unix(line);
            }
        }
        table
    }

    fn add_inet(&mut self, line: &str, stream: bool) -> Option<()> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let local = address(fields.get(1)?)?;
        let peer = address(fields.get(2)?)?;
        let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
        let inode = fields.get(9)?.parse().ok()?;
        let listening = stream && state == LISTEN;
        if listening {
            self.listening_ports.push(local.port());
        }
        let peer = if peer.port() == 0 {
            String::new()
        } else {
            peer.to_string()
        };
        self.sockets.insert(
            inode,
            Socket {
                listening,
                local_port: local.port(),
                peer,
                named: false,
                inet: true,
            },
        );
        Some(())
    }

    fn add_unix(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        let inode = fields.get(6)?.parse().ok()?;
        let path = fields.get(7).copied().unwrap_or_default();
        let peer = if path.is_empty() {
            String::new()
        } else {
            format!("unix:{path}")
        };
        self.sockets.insert(
            inode,
            Socket {
                listening: flags & UNIX_LISTENING != 0 && fields.get(4) == Some(&"0001"),
                local_port: 0,
                peer,
                named: !path.is_empty(),
                inet: false,
            },
        );
        Some(())
    }

    /// The socket with this inode number.
    #[must_use]
    pub(super) fn get(&self, inode: u64) -> Option<&Socket> {
        self.sockets.get(&inode)
    }

    /// Whether a connection with this local port was accepted, as far as the table can tell.
    #[must_use]
    pub(super) fn listens_on(&self, port: u16) -> bool {
        self.listening_ports.contains(&port)
    }

    /// Inode numbers of listening sockets among `inodes`.
    #[must_use]
    pub(super) fn listeners(&self, inodes: &[u64]) -> Vec<u64> {
        inodes
            .iter()
            .copied()
            .filter(|inode| self.get(*inode).is_some_and(|socket| socket.listening))
            .collect()
    }
}

/// TCP ports that something listens on, in any network namespace that has a process.
#[must_use]
pub(crate) fn listening_ports() -> HashSet<u16> {
    let mut ports = HashSet::new();
    let mut namespaces = HashSet::new();
    for pid in process::all() {
        if namespace(pid).is_some_and(|namespace| namespaces.insert(namespace)) {
            ports.extend(SocketTable::of(pid).listening_ports);
        }
    }
    ports
}

/// The network namespace of a process.
fn namespace(pid: u32) -> Option<u64> {
    let data = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
    Some(data.ino())
}

/// `0100007F:1538`: words of the address in memory order, port in hexadecimal.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(host.get(at..at + 8)?, 16).ok();
    let ip = match host.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut bytes = [0; 16];
            for index in 0..4 {
                bytes[index * 4..][..4].copy_from_slice(&word(index * 8)?.to_ne_bytes());
            }
            let ip = Ipv6Addr::from(bytes);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_table() {
        assert_eq!(
            address("0100007F:1538").unwrap().to_string(),
            "127.0.0.1:5432"
        );
        assert_eq!(
            address("00000000000000000000000001000000:0050")
                .unwrap()
                .to_string(),
            "[::1]:80"
        );
        assert_eq!(
            address("0000000000000000FFFF00000100007F:0050")
                .unwrap()
                .to_string(),
            "127.0.0.1:80"
        );
        for bad in ["", ":", "01:02", "0100007F", "0100007F:zz"] {
            assert!(address(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_table_is_read_again_for_what_it_does_not_know() {
        let mut tables = SocketTables::default();
        let pid = std::process::id();
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = |socket: &std::net::TcpListener| {
            let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
            process::descriptor_inode(pid, fd).unwrap()
        };
        let table = tables.knowing(pid, inode(&first));
        assert!(table.get(inode(&first)).unwrap().listening);
        assert!(Arc::ptr_eq(&table, &tables.knowing(pid, inode(&first))));
        let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for (read, _) in tables.by_namespace.values_mut() {
            *read = read.checked_sub(FRESH).unwrap();
        }
        // Still known, however old.
        assert!(Arc::ptr_eq(&table, &tables.knowing(pid, inode(&first))));
        let table = tables.knowing(pid, inode(&second));
        assert!(table.get(inode(&second)).unwrap().listening);
        assert_eq!(tables.by_namespace.len(), 1);
    }

    #[test]
    fn own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = std::process::id();
        let table = SocketTable::of(pid);
        let found = table.listeners(&process::sockets(pid));
        assert!(
            found
                .iter()
                .any(|inode| table.get(*inode).unwrap().local_port == port)
        );
        assert!(table.listens_on(port));
    }

    #[test]
    fn only_listeners_open_a_port() {
        let line = |state: &str| {
            format!(
                "   0: 0100007F:1F40 00000000:0000 {state} 00000000:00000000 00:00000000 0 0 0 1"
            )
        };
        let ports = |line: &str| {
            let mut table = SocketTable::default();
            let _ = table.add_inet(line, true);
            table.listening_ports
        };
        assert_eq!(ports(&line("0A")), [8000]);
        assert_eq!(ports(&line("01")), Vec::<u16>::new());
        for odd in [
            "",
            "sl local_address",
            "0: x 0A",
            "0: 00:FFFFF 0:0 0A",
            "0: 0:1",
        ] {
            assert_eq!(ports(odd), Vec::<u16>::new(), "{odd:?}");
        }
    }

    #[test]
    fn a_listener_of_this_process_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening_ports().contains(&port));
        drop(listener);
        assert!(!listening_ports().contains(&port));
    }
}
