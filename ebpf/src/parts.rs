//! Transfers with servers that are not one piece of memory: several messages of one call, and a write whose
//! first buffer is short (a length before what it counts). Each part is told as a transfer of its own.

use core::mem::offset_of;

use whyslow_abi::{record::DATA_FRONT, syscall::SyscallKind, thread::ThreadSlot};

use crate::{
    arch::{RECVMMSG, SENDMMSG, SyscallRegisters},
    data::{Exchange, exchange_data},
    payload::{self, read_user_or_zero},
};

/// Messages of one call that are looked at: a resolver asks for both kinds of addresses in one.
const MESSAGES: u64 = 2;
/// `struct mmsghdr`: a `msghdr` and the length of its message.
const MESSAGE_SIZE: u64 = 64;
/// See `MESSAGE_SIZE`.
const MESSAGE_LENGTH: u64 = 56;
/// An [`Exchange`] has a [`payload::Span`] in it.
const _: () = {
    let start = offset_of!(Exchange, start);
    assert!(offset_of!(Exchange, first_len) - start == offset_of!(payload::Span, first_len));
    assert!(offset_of!(Exchange, end) - start == offset_of!(payload::Span, end));
};
/// Buffers of one write that are told one by one.
const PARTS: u64 = 4;

/// A transfer with a server; `exchange` is filled as if it were one piece.
#[inline(always)]
pub fn exchange(
    slot: &mut ThreadSlot,
    exchange: &mut Exchange,
    kind: u8,
    registers: SyscallRegisters,
) {
    let number = registers.number();
    if number == SENDMMSG || number == RECVMMSG {
        // Of these the result is a number of messages.
        exchange_messages(slot, exchange, registers.arg1());
    } else if exchange.writes != 0
        && exchange.first_len < exchange.len
        && exchange.first_len < DATA_FRONT as u64
    {
        exchange_buffers(slot, exchange, kind, registers.arg1());
    } else {
        exchange_data(slot, exchange);
    }
}

/// As many messages as `exchange.len`, at `vector`. Those behind the first are told as bytes that were not
/// captured. A function of its own for the verifier too. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn exchange_messages(
    slot: *mut ThreadSlot,
    exchange: *mut Exchange,
    vector: u64,
) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(exchange)) = (unsafe { slot.as_mut() }, unsafe { exchange.as_mut() })
    else {
        return 0;
    };
    let count = exchange.len;
    // No loop: its counter would not fit on the stack that all callers share.
    if count > 0 {
        exchange_message(slot, exchange, vector);
    }
    if count > 1 {
        exchange_message(slot, exchange, vector + MESSAGE_SIZE);
    }
    if count > MESSAGES {
        exchange.len = count - MESSAGES;
        exchange.start = 0;
        exchange.first_len = 0;
        exchange.end = 0;
        exchange_data(slot, exchange);
    }
    0
}

/// The message at `message` (`struct mmsghdr`).
#[inline(always)]
fn exchange_message(slot: &mut ThreadSlot, exchange: &mut Exchange, message: u64) {
    exchange.len = u64::from(read_user_or_zero::<u32>(message + MESSAGE_LENGTH));
    exchange.start = 0;
    exchange.first_len = 0;
    exchange.end = 0;
    // In place: what functions of this depth keep on their stacks just fits into the 512 bytes that all of
    // them have.
    let span = (&raw mut exchange.start).cast::<payload::Span>();
    let kind = SyscallKind::SendMessage as u8;
    payload::find_span(kind, message, 0, exchange.len, span);
    if exchange.len > 0 {
        exchange_data(slot, exchange);
    }
}

/// The buffers of a write, whose second argument is `second`: the last that is looked at stands for the
/// rest. A function of its own for the verifier too. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn exchange_buffers(
    slot: *mut ThreadSlot,
    exchange: *mut Exchange,
    kind: u8,
    second: u64,
) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(exchange)) = (unsafe { slot.as_mut() }, unsafe { exchange.as_mut() })
    else {
        return 0;
    };
    // struct user_msghdr: iov at 16.
    let vector = if kind == SyscallKind::SendMessage as u8 {
        read_user_or_zero::<u64>(second + 16)
    } else {
        second
    };
    let (mut left, end) = (exchange.len, exchange.end);
    let mut index = 0u64;
    while index < PARTS && left > 0 {
        let [base, length] = read_user_or_zero::<[u64; 2]>(vector + index * 16);
        index += 1;
        let here = if length < left { length } else { left };
        let stands_for = if index == PARTS { left } else { here };
        exchange.start = base;
        exchange.first_len = here;
        exchange.len = stands_for;
        exchange.end = if here == stands_for { base + here } else { end };
        if stands_for > 0 {
            exchange_data(slot, exchange);
        }
        left -= stands_for;
    }
    0
}
