//! Name look-ups: which connections are to a resolver, so that waits there go to an account of their own.
//!
//! Known by the peer: port 53, or the socket of nscd or systemd-resolved. A datagram socket without a peer
//! is known by the address that the thread last sent to on it. Looked at when a thread has waited, and when
//! it sends to an address; never else.

use whyslow_abi::{record::ServerAddress, thread::ThreadSlot};

use crate::{
    descriptor::{AF_INET, AF_INET6, AF_UNIX, Descriptor},
    kernel::*,
    payload::read_user_or_zero,
};

/// `domain`, as sockets keep it.
const PORT_BE: u16 = 53u16.to_be();

const fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_ne_bytes(*bytes)
}

const fn half(bytes: &[u8; 4]) -> u32 {
    u32::from_ne_bytes(*bytes)
}

/// Whether a connection to a server is one to a resolver. `noted` is the socket that [`note`] has kept.
/// A function of its own for the verifier too, which looks at it once and not on each way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_resolver(walked: *const Descriptor, noted: u64) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(walked) = (unsafe { walked.as_ref() }) else {
        return 0;
    };
    match walked.family {
        AF_INET | AF_INET6 => {
            let port = probe::<u16>(walked.sock, OFF_SK_DPORT.load());
            let is_noted =
                || noted != 0 && probe::<u64>(walked.inode, OFF_INODE_INO.load()) == noted;
            i32::from(port == PORT_BE || port == 0 && is_noted())
        }
        AF_UNIX => {
            let peer = probe::<u64>(walked.sock, OFF_UNIX_PEER.load());
            let address = probe::<u64>(peer, OFF_UNIX_ADDR.load());
            // `sun_path` lies two bytes into the name.
            let path = address + OFF_UNIX_ADDRESS_NAME.load() + 2;
            i32::from(address != 0 && is_resolver_path(path))
        }
        _ => 0,
    }
}

/// The paths that nscd (`_PATH_NSCDSOCKET` in `nscd/nscd-client.h`, glibc 2.36, and where `/var/run` is
/// left out) and systemd-resolved (`org.varlink.resolve`) bind, their ends included.
#[inline(always)]
fn is_resolver_path(path: u64) -> bool {
    let first = probe::<u64>(path, 0);
    let second = probe::<u64>(path, 8);
    if first == word(b"/run/nsc") {
        return second == word(b"d/socket") && probe::<u8>(path, 16) == 0;
    }
    if first == word(b"/var/run") {
        return second == word(b"/nscd/so")
            && probe::<u32>(path, 16) == half(b"cket")
            && probe::<u8>(path, 20) == 0;
    }
    first == word(b"/run/sys")
        && second == word(b"temd/res")
        && probe::<u64>(path, 16) == word(b"olve/io.")
        && probe::<u64>(path, 24) == word(b"systemd.")
        && probe::<u64>(path, 32) == word(b"Resolve\0")
}

/// The thread sent to the address at `to` (`struct sockaddr`; 0: to the socket's own peer).
#[inline(always)]
pub fn note(slot: &mut ThreadSlot, walked: &Descriptor, to: u64) {
    if to == 0 || walked.family != AF_INET && walked.family != AF_INET6 {
        return;
    }
    let socket = probe::<u64>(walked.inode, OFF_INODE_INO.load());
    // The port lies behind the family in both.
    if read_user_or_zero::<u16>(to + 2) == PORT_BE {
        slot.name_socket = socket;
    } else if slot.name_socket == socket {
        slot.name_socket = 0;
    }
}

/// The server of a socket without a peer is whom the call names, at `to` (`struct sockaddr`).
///
/// # Safety
/// `server` must be writable, and its family and address set.
#[inline(always)]
pub unsafe fn fill_named(server: *mut ServerAddress, to: u64) {
    // SAFETY: by the contract.
    unsafe {
        let address = (&raw mut (*server).address).cast::<u64>();
        match (*server).family {
            AF_INET => {
                let word = read_user_or_zero::<u32>(to + 4);
                core::ptr::write_unaligned(address, u64::from(word));
            }
            // Behind port and flow.
            AF_INET6 => {
                core::ptr::write_unaligned(address, read_user_or_zero::<u64>(to + 8));
                core::ptr::write_unaligned(address.add(1), read_user_or_zero::<u64>(to + 16));
            }
            _ => return,
        }
        (*server).port_be = read_user_or_zero::<u16>(to + 2);
    }
}
