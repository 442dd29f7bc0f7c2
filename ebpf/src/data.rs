//! What a thread with an open request exchanges with the servers that its process connected to: the
//! first and last bytes of each transfer, for user space to read operations from.

use whyslow_abi::{
    record::{
        DATA_FRONT, DATA_PIECES, DATA_SPENT, DATA_TAIL, DATA_WRITTEN, DataRecord, RecordKind,
    },
    thread::{ASKED, ThreadSlot},
};

use crate::{
    connection::Transfer,
    descriptor::{AF_INET, AF_INET6, AF_UNIX},
    emit::{self, SUBMIT},
    kernel::*,
    maps::UNINTERESTING,
    payload::copy_user,
};

/// A transfer with a server returned with more than nothing.
#[inline(always)]
pub fn on_transfer(slot: &mut ThreadSlot, transfer: &Transfer<'_>, writes: bool, now: u64) {
    if writes {
        slot.flags |= ASKED;
    } else if slot.flags & ASKED != 0 {
        slot.flags &= !ASKED;
        slot.totals.round_trips = slot.totals.round_trips.wrapping_add(1);
    }
    if slot.data_budget == 0 {
        return;
    }
    let peer = probe::<u64>(transfer.descriptor.inode, OFF_INODE_INO.load());
    // SAFETY: only whether it is there matters.
    if unsafe { UNINTERESTING.get(peer) }.is_some() {
        return;
    }
    let len = transfer.result as u64;
    let pieces = if writes { DATA_PIECES } else { 1 };
    let mut at = 0u64;
    let mut count = 0;
    while count < pieces {
        count += 1;
        let left = len - at;
        let captured = if transfer.span.first_len > at {
            transfer.span.first_len - at
        } else {
            0
        };
        let last = count == pieces || left <= DATA_FRONT as u64 || captured <= DATA_FRONT as u64;
        let stands_for = if last { left } else { DATA_FRONT as u64 };
        ship(
            slot,
            transfer,
            peer,
            writes,
            (at, captured, stands_for),
            now,
        );
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
    transfer: &Transfer<'_>,
    peer: u64,
    writes: bool,
    (at, captured, stands_for): (u64, u64, u64),
    now: u64,
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
            now,
        );
        (*record).peer = peer;
        (*record).connection = slot.connection;
        (*record).request = slot.request;
        (*record).flags = spent | if writes { DATA_WRITTEN } else { 0 };
        (*record).len = stands_for as u32;
        let front_len = copy_user(&raw mut (*record).front, transfer.span.start + at, captured);
        (*record).front_len = front_len;
        (*record).tail_len = 0;
        let end = transfer.span.end;
        if end != 0 && stands_for > u64::from(front_len) && stands_for >= DATA_TAIL as u64 {
            let from = end - DATA_TAIL as u64;
            (*record).tail_len = copy_user(&raw mut (*record).tail, from, DATA_TAIL as u64);
        }
        fill_server(record, transfer);
    }
    entry.submit(SUBMIT);
}

/// # Safety
/// `record` must be room for a record.
#[inline(always)]
unsafe fn fill_server(record: *mut DataRecord, transfer: &Transfer<'_>) {
    let (family, sock) = (transfer.descriptor.family, transfer.descriptor.sock);
    // SAFETY: by the contract.
    unsafe {
        (*record).family = family;
        (*record).port_be = 0;
        (*record).address = [0; 16];
        let address = (&raw mut (*record).address).cast::<u64>();
        match family {
            AF_INET => {
                (*record).port_be = probe::<u16>(sock, OFF_SK_DPORT.load());
                let word = probe::<u32>(sock, OFF_SK_DADDR.load());
                core::ptr::write_unaligned(address, u64::from(word));
            }
            AF_INET6 => {
                (*record).port_be = probe::<u16>(sock, OFF_SK_DPORT.load());
                let high = probe::<u64>(sock, OFF_SK_V6_DADDR.load());
                let low = probe::<u64>(sock, OFF_SK_V6_DADDR.load() + 8);
                core::ptr::write_unaligned(address, high);
                core::ptr::write_unaligned(address.add(1), low);
            }
            _ => {}
        }
        (*record).name = [0; whyslow_abi::wait::WAIT_NAME];
        if family == AF_UNIX {
            let server = probe::<u64>(sock, OFF_UNIX_PEER.load());
            let bound = probe::<u64>(server, OFF_UNIX_ADDR.load());
            if bound != 0 {
                // `sun_path` lies two bytes into the name.
                copy_name(
                    &raw mut (*record).name,
                    bound + OFF_UNIX_ADDRESS_NAME.load() + 2,
                );
            }
        }
    }
}
