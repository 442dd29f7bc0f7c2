//! The way of a TCP connection before its first byte is read: established, in the queue of its listener, accepted; and
//! since when bytes lie in it unread.
//!
//! The first two and the arrival of bytes are seen where the network's packets are worked on, in whatever task runs there:
//! nothing about the current task is asked. What was known of a socket is forgotten when it closes.

use whyslow_abi::{connection::ConnectionState, descriptor::DescriptorKind, queue::QueueTimes};

use crate::{
    descriptor::{self, AF_INET, AF_INET6, Descriptor},
    kernel::*,
    library::clock,
    maps::{OTHER_PORTS, QUEUED},
};

/// `TCP_ESTABLISHED`, `TCP_SYN_RECV`, `TCP_CLOSE` (`include/net/tcp_states.h`).
const ESTABLISHED: i32 = 1;
const SYN_RECEIVED: i32 = 3;
const CLOSED: i32 = 7;

/// The word of [`OTHER_PORTS`] that a port has its bit in.
#[inline(always)]
fn word_of(port: u16) -> Option<&'static mut u64> {
    // SAFETY: a live array value; a race costs one stamp.
    unsafe { OTHER_PORTS.get_ptr_mut(u32::from(port >> 6))?.as_mut() }
}

/// Notes whether HTTP is spoken on the port that this socket was connected to. Where it is not, nothing is stamped. A
/// function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_port(sock: u64, is_http: u32) -> i32 {
    let port = probe::<u16>(sock, OFF_SK_NUM.load());
    let Some(word) = word_of(port) else { return 0 };
    let bit = 1u64 << (port & 63);
    let now = if is_http != 0 {
        *word & !bit
    } else {
        *word | bit
    };
    if *word != now {
        *word = now;
    }
    0
}

/// Whether the socket is one that a listener made, or a listener, of what may be HTTP.
///
/// # Safety
/// `sock` must be an argument of a tracepoint.
#[inline(always)]
unsafe fn was_connected_to(sock: *const Sock) -> bool {
    // SAFETY: by the contract.
    unsafe {
        let port: u16 = load(sock, OFF_SK_NUM.load());
        if word_of(port).is_some_and(|word| *word >> (port & 63) & 1 != 0) {
            return false;
        }
        if load::<u32, _>(sock, OFF_SK_MAX_ACK_BACKLOG.load()) == 0 {
            return false;
        }
        // All unix sockets have a limit.
        let family = load::<u16, _>(sock, OFF_SK_FAMILY.load());
        family == AF_INET || family == AF_INET6
    }
}

/// A socket of the internet changes its state.
///
/// # Safety
/// `sock` must be an argument of a tracepoint.
#[inline(always)]
pub unsafe fn changed(sock: *const Sock, old: i32, new: i32) {
    let begins = old == SYN_RECEIVED && new == ESTABLISHED;
    // SAFETY: by the contract.
    if !begins && new != CLOSED || unsafe { !was_connected_to(sock) } {
        return;
    }
    let key = sock as u64;
    // In place where it can be: memory of sockets is used again soon, and that is cheaper than an entry of its own for
    // each connection.
    if let Some(times) = find(key) {
        *times = QueueTimes::NONE;
        if begins {
            times.established_ns = clock();
        }
    } else if begins {
        let mut times = QueueTimes::NONE;
        times.established_ns = clock();
        let _ = QUEUED.insert(key, times, 0);
    }
}

/// Bytes came for a socket, or a connection for a listener.
///
/// # Safety
/// `sock` must be an argument of a tracepoint.
#[inline(always)]
pub unsafe fn arrived(sock: *const Sock) {
    // SAFETY: by the contract.
    if unsafe { !was_connected_to(sock) } {
        return;
    }
    if let Some(times) = find(sock as u64)
        && times.data_ns == 0
    {
        times.data_ns = clock();
    }
}

#[inline(always)]
fn find(sock: u64) -> Option<&'static mut QueueTimes> {
    // SAFETY: a hash value of integers; a race costs one stamp.
    unsafe { QUEUED.get_ptr_mut(sock)?.as_mut() }
}

/// `accept` on descriptor `listener` returned: descriptor `fd`, or an error below 0. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_accepted(listener: u64, fd: i64) -> i32 {
    if fd < 0 {
        return 0;
    }
    let mut walked = Descriptor::NONE;
    descriptor::walk(fd as u64, &mut walked);
    let Some(times) = find(walked.sock) else {
        return 0;
    };
    times.accepted_ns = clock();
    times.limit = probe::<u32>(walked.sock, OFF_SK_MAX_ACK_BACKLOG.load());
    descriptor::walk(listener, &mut walked);
    if walked.kind == DescriptorKind::Listener {
        times.queued = probe::<u32>(walked.sock, OFF_SK_ACK_BACKLOG.load()).wrapping_add(1);
    }
    0
}

/// Bytes of the socket may have been read unseen: nothing is known of it. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn forget_queued(sock: u64) -> i32 {
    let _ = QUEUED.remove(sock);
    0
}

/// Bytes were read from the socket of a connection; `begins`: they are the first of a request, which takes over what
/// is known by now. A function of its own for the verifier. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_read(connection: *mut ConnectionState, sock: u64, begins: u32) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(connection) = (unsafe { connection.as_mut() }) else {
        return 0;
    };
    if begins != 0 {
        connection.queue = QueueTimes::NONE;
    }
    let Some(times) = find(sock) else {
        return 0;
    };
    let data_ns = times.data_ns;
    // One that was accepted unseen may have been read unseen, too.
    if begins != 0 && times.accepted_ns != 0 {
        connection.queue.established_ns = times.established_ns;
        connection.queue.accepted_ns = times.accepted_ns;
        connection.queue.data_ns = data_ns;
        connection.queue.queued = times.queued;
        connection.queue.limit = times.limit;
    }
    // What comes from here on is stamped anew, so this is done before looking for what is left.
    times.data_ns = 0;
    let left =
        probe::<u32>(sock, OFF_TCP_RCV_NXT.load()) != probe::<u32>(sock, OFF_TCP_COPIED_SEQ.load());
    if left && times.data_ns == 0 {
        times.data_ns = data_ns;
    }
    0
}
