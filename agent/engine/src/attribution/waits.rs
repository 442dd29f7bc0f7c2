//! Raw waits to what people read: account, target with address or path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use whyslow_abi::{
    account::Account,
    interpreter, read_plain,
    wait::{WAIT_NAME, Wait, WaitTargetKind},
};

use crate::output::{Holder, Target, WaitEntry, Waker};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A wait on a file at least this long is worth looking its path up.
pub(crate) const PATH_FLOOR_NS: u64 = 10_000_000;

/// Address of a peer, as text; empty: not known. `address`: as in memory; IPv4 in its first 4 bytes.
/// No peer has port 0: a socket that is not connected (UDP) has.
pub(crate) fn peer(family: u16, address: [u8; 16], port_be: u16) -> String {
    if port_be == 0 && family != AF_UNIX {
        return String::new();
    }
    let ip = match family {
        AF_INET => {
            let [a, b, c, d, ..] = address;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        AF_INET6 => Ipv6Addr::from(address).to_canonical(),
        AF_UNIX => return "unix:".to_owned(),
        _ => return String::new(),
    };
    SocketAddr::new(ip, u16::from_be(port_be)).to_string()
}

/// Address of a server, as text.
pub(crate) fn server(family: u16, address: [u8; 16], port_be: u16, name: &[u8]) -> String {
    if family == AF_UNIX {
        unix_path(name)
    } else {
        peer(family, address, port_be)
    }
}

/// Path of a unix socket, as text; an abstract one begins with `@`.
fn unix_path(name: &[u8]) -> String {
    let (prefix, rest) = match name {
        [0, rest @ ..] => ("unix:@", rest),
        rest => ("unix:", rest),
    };
    format!("{prefix}{}", crate::decode::name(rest))
}

/// What a wait was for.
pub(crate) fn target(wait: &Wait) -> Target {
    match WaitTargetKind::try_from(wait.target) {
        Ok(WaitTargetKind::Futex | WaitTargetKind::InterpreterLock) => {
            Target::Lock { address: wait.a }
        }
        Ok(WaitTargetKind::File) => Target::File {
            path: crate::decode::name(&wait.name),
            inode: wait.a,
        },
        Ok(WaitTargetKind::Peer) => {
            let mut address = [0; 16];
            address[..8].copy_from_slice(&wait.a.to_ne_bytes());
            address[8..].copy_from_slice(&wait.b.to_ne_bytes());
            match peer(wait.family, address, wait.port_be) {
                text if text.is_empty() => Target::Unknown,
                text => Target::Peer(text),
            }
        }
        Ok(WaitTargetKind::UnixPeer) => Target::Peer(unix_path(&wait.name)),
        Ok(WaitTargetKind::Process) => Target::Process(u32::try_from(wait.a).unwrap_or(0)),
        Ok(WaitTargetKind::None | WaitTargetKind::Pipe) | Err(_) => Target::Unknown,
    }
}

/// Whether `path`, as the kernel's table of descriptors has it, is of a file of which the kernel
/// side took the last component down as `captured`.
pub(crate) fn names(path: &str, captured: &str) -> bool {
    let last = path.rsplit_once('/').map_or(path, |(_, last)| last);
    // The kernel marks a file without a name so; a name may end so by itself.
    let undeleted = last.strip_suffix(" (deleted)").unwrap_or(last);
    // A name that fills its place was cut there, perhaps within a character.
    let front = captured.trim_end_matches(char::REPLACEMENT_CHARACTER);
    let cut = front.len() < captured.len() || captured.len() >= WAIT_NAME - 1;
    !front.is_empty()
        && (last == captured || undeleted == captured || cut && last.starts_with(front))
}

/// Who held the lock of an interpreter for most of a wait, by the number that the thread has in its own PID namespace;
/// `None`: not known.
fn holder(wait: &Wait) -> Option<Holder> {
    if WaitTargetKind::try_from(wait.target) != Ok(WaitTargetKind::InterpreterLock) {
        return None;
    }
    let most: interpreter::Holder = read_plain(&wait.name)?;
    (most.tid != 0 && most.ns > 0).then(|| Holder {
        tid: most.tid,
        share: most.ns as f64 / wait.ns.max(most.ns) as f64,
        samples: wait.b,
        ..Holder::default()
    })
}

/// Who ended a wait, where that is a thread that had to do with it: what an interrupt ends (network, disk) is ended by
/// whom it interrupted.
fn waker(wait: &Wait) -> Option<Waker> {
    use Account::{Child, Ipc, LockFile, LockFutex, LockKernel};
    let account = Account::try_from(wait.account).ok()?;
    let thread = matches!(account, LockFutex | LockFile | LockKernel | Ipc | Child)
        || wait.target == WaitTargetKind::UnixPeer as u8;
    let (pid, tid) = self::thread(wait.waker);
    (thread && tid != 0).then(|| Waker {
        pid,
        tid,
        ..Waker::default()
    })
}

/// Process and thread id, as the kernel side joins them.
pub(crate) fn thread(joined: u64) -> (u32, u32) {
    ((joined >> 32) as u32, joined as u32)
}

/// A wait, as the kernel side tells it.
pub(crate) fn entry(wait: &Wait) -> WaitEntry {
    WaitEntry {
        served: None,
        served_unknown: "",
        account: Account::try_from(wait.account).unwrap_or(Account::Unexplained),
        start_ns: wait.start_ns,
        ns: wait.ns,
        target: target(wait),
        holder: holder(wait),
        waker: waker(wait),
    }
}

/// The waits that lie within a request, longest first.
pub(crate) fn entries(waits: &[Wait], begin_ns: u64, end_ns: u64) -> Vec<WaitEntry> {
    let mut entries: Vec<WaitEntry> = waits
        .iter()
        .filter(|w| w.ns > 0 && w.start_ns >= begin_ns && w.start_ns <= end_ns)
        .map(entry)
        .collect();
    entries.sort_by(|a, b| b.ns.cmp(&a.ns).then(a.start_ns.cmp(&b.start_ns)));
    entries
}

/// Text of a target for one line on a screen; empty: not known.
pub(crate) fn text(target: &Target) -> String {
    match target {
        Target::Unknown => String::new(),
        Target::Lock { address } => format!("lock {address:#x}"),
        Target::File { path, .. } => path.clone(),
        Target::Peer(address) => address.clone(),
        Target::Process(0) => "any child".to_owned(),
        Target::Process(pid) => format!("process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use whyslow_abi::plain_bytes;

    use super::*;

    fn wait(kind: WaitTargetKind) -> Wait {
        Wait {
            start_ns: 10,
            ns: 5,
            account: Account::NetUpstream as u8,
            target: kind as u8,
            family: AF_INET,
            port_be: 5432_u16.to_be(),
            reserved: 0,
            fd: 7,
            syscall: 0,
            a: u64::from_ne_bytes([127, 0, 0, 1, 0, 0, 0, 0]),
            b: 0,
            name: [0; 32],
            waker: 0,
            waker_connection: 0,
            waker_request: 0,
            reserved_end: 0,
        }
    }

    #[test]
    fn who_ended_a_wait_is_told_where_a_thread_did() {
        let mut it = wait(WaitTargetKind::Futex);
        it.account = Account::LockFutex as u8;
        assert_eq!(waker(&it), None, "nobody was seen");
        it.waker = 7 << 32 | 8;
        let found = waker(&it).unwrap();
        assert_eq!((found.pid, found.tid), (7, 8));
        it.account = Account::NetUpstream as u8;
        assert_eq!(waker(&it), None, "an interrupt");
        it.target = WaitTargetKind::UnixPeer as u8;
        assert!(waker(&it).is_some());
    }

    #[test]
    fn peers() {
        let mut it = wait(WaitTargetKind::Peer);
        assert_eq!(target(&it), Target::Peer("127.0.0.1:5432".to_owned()));
        it.family = AF_INET6;
        it.a = 0;
        it.b = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(target(&it), Target::Peer("[::1]:5432".to_owned()));
        it.b = u64::from_ne_bytes([0, 0, 0xff, 0xff, 10, 0, 0, 2]);
        assert_eq!(target(&it), Target::Peer("10.0.0.2:5432".to_owned()));
        it.family = 77;
        assert_eq!(target(&it), Target::Unknown);
        for family in [AF_INET, AF_INET6] {
            it = wait(WaitTargetKind::Peer);
            (it.family, it.port_be, it.a, it.b) = (family, 0, 0, 0);
            assert_eq!(target(&it), Target::Unknown, "not connected");
        }
        assert_eq!(peer(AF_UNIX, [0; 16], 0), "unix:");
    }

    #[test]
    fn sockets_by_name_and_processes() {
        let mut it = wait(WaitTargetKind::UnixPeer);
        it.name[..4].copy_from_slice(b"/run");
        assert_eq!(target(&it), Target::Peer("unix:/run".to_owned()));
        it.name[..4].copy_from_slice(b"\0abs");
        assert_eq!(target(&it), Target::Peer("unix:@abs".to_owned()));
        it.target = WaitTargetKind::Process as u8;
        it.a = 12;
        assert_eq!(text(&target(&it)), "process 12");
        it.target = 200;
        assert_eq!(text(&target(&it)), "");
    }

    #[test]
    fn a_path_is_taken_when_it_ends_with_the_name() {
        let cut = "a".repeat(WAIT_NAME - 1);
        for (path, captured, expected) in [
            ("/srv/data/one", "one", true),
            ("/srv/data/one (deleted)", "one", true),
            ("/srv/one (deleted)", "one (deleted)", true),
            ("/srv/data/two", "one", false),
            ("/srv/one/two", "one", false),
            ("/srv/data/one.1", "one", false),
            ("/srv/data/one", "", false),
            (&format!("/srv/{cut}bc"), &cut, true),
            (&format!("/srv/{cut}bc (deleted)"), &cut, true),
            ("/srv/aaa", &cut, false),
            ("/srv/\u{65e5}\u{672c}", "\u{65e5}\u{fffd}", true),
            ("/srv/x", "\u{fffd}", false),
        ] {
            assert_eq!(names(path, captured), expected, "{path} {captured}");
        }
    }

    #[test]
    fn who_held_a_lock_for_most_of_the_time() {
        let mut it = wait(WaitTargetKind::InterpreterLock);
        it.ns = 100;
        it.b = 7;
        let most = interpreter::Holder {
            tid: 4711,
            samples: 5,
            ns: 91,
        };
        it.name[..16].copy_from_slice(plain_bytes(&most));
        let found = holder(&it).unwrap();
        assert_eq!((found.tid, found.samples), (4711, 7));
        assert!((found.share - 0.91).abs() < 1e-9);
        assert_eq!(target(&it), Target::Lock { address: it.a });
        // The figures are the kernel side's; a share is never above one.
        it.ns = 1;
        assert!(holder(&it).unwrap().share <= 1.0);
        it.name = [0; 32];
        assert_eq!(holder(&it), None, "nobody was seen");
        it.target = WaitTargetKind::Futex as u8;
        it.name[..16].copy_from_slice(plain_bytes(&most));
        assert_eq!(holder(&it), None, "a name");
    }

    #[test]
    fn only_waits_of_the_request_longest_first() {
        let mut late = wait(WaitTargetKind::None);
        late.start_ns = 99;
        let mut before = wait(WaitTargetKind::None);
        before.start_ns = 1;
        let mut long = wait(WaitTargetKind::Futex);
        long.ns = 9;
        long.account = 250;
        let mut empty = wait(WaitTargetKind::None);
        empty.ns = 0;
        let entries = entries(
            &[wait(WaitTargetKind::Peer), late, before, long, empty],
            5,
            50,
        );
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].account, Account::Unexplained);
        assert_eq!(entries[1].ns, 5);
    }
}
