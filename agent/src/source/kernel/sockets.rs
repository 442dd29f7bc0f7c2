//! The kernel's socket tables (`/proc/PID/net/*`), by inode number, for one network namespace at
//! a time. Read when somebody looks at live waits or when processes are judged, never per event.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

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

/// `0100007F:1538`: words of the address in memory order, port in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
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
    fn own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = std::process::id();
        let table = SocketTable::of(pid);
        let found = table.listeners(&super::super::process::sockets(pid));
        assert!(
            found
                .iter()
                .any(|inode| table.get(*inode).unwrap().local_port == port)
        );
        assert!(table.listens_on(port));
    }
}
