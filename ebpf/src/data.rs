//! What a thread with an open request exchanges with the servers that its process connected to: the
//! first and last bytes of each transfer, for user space to read operations from.

use whyslow_abi::{
    record::{
        DATA_FRONT, DATA_PIECES, DATA_SPENT, DATA_TAIL, DATA_WRITTEN, DataRecord, RecordKind,
    },
    thread::{ASKED, ENCRYPTS, ThreadSlot},
    wait::WAIT_NAME,
};

use crate::{
    descriptor::{AF_INET, AF_INET6, AF_UNIX},
    emit::{self, SUBMIT},
    kernel::*,
    maps::UNINTERESTING,
    payload::copy_user,
    tls,
};

/// One transfer with a server, by the current thread.
#[repr(C)]
pub struct Exchange {
    /// `struct inode` and `struct sock` of the connection.
    pub inode: u64,
    /// See `inode`.
    pub sock: u64,
    /// Return of the call.
    pub now: u64,
    /// Bytes moved.
    pub len: u64,
    /// Address of the first byte.
    pub start: u64,
    /// Bytes at `start` in one piece.
    pub first_len: u64,
    /// Address just after the last byte; 0: not known.
    pub end: u64,
    /// Address family.
    pub family: u32,
    /// 1: the thread wrote.
    pub writes: u32,
}

/// A transfer with a server returned with more than nothing. A function of its own for the verifier too,
/// which looks at it once and not on each way that leads here. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn exchange_data(slot: *mut ThreadSlot, exchange: *const Exchange) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(exchange)) = (unsafe { slot.as_mut() }, unsafe { exchange.as_ref() })
    else {
        return 0;
    };
    on_transfer(slot, exchange);
    0
}

#[inline(always)]
fn on_transfer(slot: &mut ThreadSlot, exchange: &Exchange) {
    let writes = exchange.writes != 0;
    if writes {
        slot.flags |= ASKED;
    } else if slot.flags & ASKED != 0 {
        slot.flags &= !ASKED;
        slot.totals.round_trips = slot.totals.round_trips.wrapping_add(1);
    }
    if slot.data_budget == 0 {
        return;
    }
    let peer = probe::<u64>(exchange.inode, OFF_INODE_INO.load());
    if slot.flags & ENCRYPTS != 0 && tls::crossed(slot, exchange, peer) != 0 {
        return;
    }
    // SAFETY: only whether it is there matters.
    if unsafe { UNINTERESTING.get(peer) }.is_some() {
        return;
    }
    let pieces = if writes { DATA_PIECES } else { 1 };
    let mut at = 0u64;
    let mut count = 0;
    while count < DATA_PIECES {
        count += 1;
        let left = exchange.len - at;
        let captured = if exchange.first_len > at {
            exchange.first_len - at
        } else {
            0
        };
        let last = count >= pieces || left <= DATA_FRONT as u64 || captured <= DATA_FRONT as u64;
        let stands_for = if last { left } else { DATA_FRONT as u64 };
        ship(slot, exchange, peer, (at, captured, stands_for));
        if last || slot.data_budget == 0 {
            return;
        }
        at += DATA_FRONT as u64;
    }
}

/// `(at, captured, stands_for)`: offset in the transfer, bytes that are there in one piece, bytes that the
/// record stands for.
#[inline(always)]
fn ship(
    slot: &mut ThreadSlot,
    exchange: &Exchange,
    peer: u64,
    (at, captured, stands_for): (u64, u64, u64),
) {
    slot.data_budget -= 1;
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<DataRecord>() else {
        return;
    };
    let record = entry.as_mut_ptr();
    let spent = if slot.data_budget == 0 { DATA_SPENT } else { 0 };
    // SAFETY: the entry is room for one record.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Data,
            slot,
            sequence,
            exchange.now,
        );
        (*record).peer = peer;
        (*record).connection = slot.connection;
        (*record).request = slot.request;
        (*record).flags = spent
            | if exchange.writes != 0 {
                DATA_WRITTEN
            } else {
                0
            };
        (*record).len = stands_for as u32;
        let front_len = copy_user(&raw mut (*record).front, exchange.start + at, captured);
        (*record).front_len = front_len;
        (*record).tail_len = 0;
        let end = exchange.end;
        if end != 0 && stands_for > u64::from(front_len) && stands_for >= DATA_TAIL as u64 {
            let from = end - DATA_TAIL as u64;
            (*record).tail_len = copy_user(&raw mut (*record).tail, from, DATA_TAIL as u64);
        }
        (*record).family = exchange.family as u16;
        fill_server(
            &raw mut (*record).port_be,
            &raw mut (*record).address,
            &raw mut (*record).name,
            exchange,
        );
    }
    entry.submit(SUBMIT);
}

/// The server at the other end.
///
/// # Safety
/// All must be writable.
#[inline(always)]
pub unsafe fn fill_server(
    port_be: *mut u16,
    address: *mut [u8; 16],
    name: *mut [u8; WAIT_NAME],
    exchange: &Exchange,
) {
    let (family, sock) = (exchange.family as u16, exchange.sock);
    // SAFETY: by the contract.
    unsafe {
        *port_be = 0;
        *address = [0; 16];
        *name = [0; WAIT_NAME];
        let address = address.cast::<u64>();
        match family {
            AF_INET => {
                *port_be = probe::<u16>(sock, OFF_SK_DPORT.load());
                let word = probe::<u32>(sock, OFF_SK_DADDR.load());
                core::ptr::write_unaligned(address, u64::from(word));
            }
            AF_INET6 => {
                *port_be = probe::<u16>(sock, OFF_SK_DPORT.load());
                let high = probe::<u64>(sock, OFF_SK_V6_DADDR.load());
                let low = probe::<u64>(sock, OFF_SK_V6_DADDR.load() + 8);
                core::ptr::write_unaligned(address, high);
                core::ptr::write_unaligned(address.add(1), low);
            }
            AF_UNIX => {
                let server = probe::<u64>(sock, OFF_UNIX_PEER.load());
                let bound = probe::<u64>(server, OFF_UNIX_ADDR.load());
                if bound != 0 {
                    // `sun_path` lies two bytes into the name.
                    copy_name(name, bound + OFF_UNIX_ADDRESS_NAME.load() + 2);
                }
            }
            _ => {}
        }
    }
}
