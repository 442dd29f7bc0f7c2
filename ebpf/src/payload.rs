//! The user buffer of a read or write: where it is, its first bytes, its last.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use whyslow_abi::{loss::LossReason, syscall::SyscallKind};

use crate::{arch::SyscallRegisters, maps::count_loss};

/// Reads a `T` of user memory; `None` (and counted) when it is not resident.
#[inline(always)]
pub fn read_user<T: Copy + Default>(address: u64) -> Option<T> {
    let mut value = T::default();
    // SAFETY: a live local of the given size.
    let result = unsafe {
        bpf_probe_read_user(
            core::ptr::from_mut(&mut value).cast(),
            size_of::<T>() as u32,
            address as *const _,
        )
    };
    if result == 0 {
        Some(value)
    } else {
        count_loss(LossReason::UserReadFault);
        None
    }
}

/// As [`read_user`]; zeros (and counted) when it is not resident.
#[inline(always)]
pub fn read_user_or_zero<T: Copy + Default>(address: u64) -> T {
    let mut value = T::default();
    // SAFETY: a live local of the given size, which the helper zeroes when it fails.
    let result = unsafe {
        bpf_probe_read_user(
            core::ptr::from_mut(&mut value).cast(),
            size_of::<T>() as u32,
            address as *const _,
        )
    };
    if result != 0 {
        count_loss(LossReason::UserReadFault);
    }
    value
}

/// Where the bytes of a finished transfer lie. The last part is only known for few buffers.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Span {
    /// Address of the first byte; 0: not known.
    pub start: u64,
    /// Bytes at `start` in one piece.
    pub first_len: u64,
    /// Address just after the last byte; 0: not known.
    pub end: u64,
}

impl Span {
    /// Nothing known.
    pub const UNKNOWN: Self = Self {
        start: 0,
        first_len: 0,
        end: 0,
    };
}

/// The span of a transfer of `len` bytes.
#[inline(always)]
pub fn span(kind: u8, registers: SyscallRegisters, len: u64) -> Span {
    let mut span = Span::UNKNOWN;
    find_span(kind, registers.arg1(), registers.arg2(), len, &raw mut span);
    span
}

/// Fills `span` for a call of this kind with these second and third arguments. A function of its own for
/// the verifier too, which looks at it once and not on each way that leads here. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_span(kind: u8, second: u64, third: u64, len: u64, span: *mut Span) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let Some(span) = (unsafe { span.as_mut() }) else {
        return 0;
    };
    if kind == SyscallKind::Read as u8 || kind == SyscallKind::Write as u8 {
        span.start = second;
        span.first_len = len;
        span.end = second + len;
    } else if kind == SyscallKind::ReadVector as u8 || kind == SyscallKind::WriteVector as u8 {
        vector_span(second, third, len, span);
    } else if kind == SyscallKind::ReceiveMessage as u8 || kind == SyscallKind::SendMessage as u8 {
        // struct user_msghdr: name, namelen, iov at 16, iovlen at 24.
        let vector = read_user::<u64>(second + 16);
        let count = read_user::<u64>(second + 24);
        if let (Some(vector), Some(count)) = (vector, count) {
            vector_span(vector, count, len, span);
        }
    }
    0
}

/// Two words: base and length.
type IoVector = [u64; 2];

#[inline(always)]
fn vector_span(vector: u64, count: u64, len: u64, span: &mut Span) {
    let Some(first) = read_user::<IoVector>(vector) else {
        return;
    };
    let first_len = if first[1] < len { first[1] } else { len };
    span.start = first[0];
    span.first_len = first_len;
    if first_len == len {
        span.end = first[0] + len;
        return;
    }
    // The end is where the last part of the data lies, provided that everything was transferred.
    let mut left = len - first_len;
    let mut index = 1u64;
    while index < 16 {
        if index >= count {
            break;
        }
        let Some(part) = read_user::<IoVector>(vector + index * 16) else {
            break;
        };
        if part[1] >= left {
            span.end = part[0] + left;
            break;
        }
        left -= part[1];
        index += 1;
    }
}

/// First eight bytes, as in memory.
#[inline(always)]
pub fn first_word(span: &Span) -> u64 {
    if span.start == 0 || span.first_len < 8 {
        return 0;
    }
    read_user_or_zero::<u64>(span.start)
}

/// The last eight bytes of a stream whose last eight were `before`, after a transfer of `len` more. Zeros:
/// not known.
#[inline(always)]
pub fn last_bytes(span: &Span, len: u64, before: [u8; 8]) -> [u8; 8] {
    if span.end == 0 {
        return [0; 8];
    }
    if len >= 8 {
        return read_user_or_zero::<u64>(span.end - 8).to_ne_bytes();
    }
    // Byte by byte: a last chunk may be written in pieces, down to a single line feed.
    let mut word = u64::from_be_bytes(before);
    let mut index = 0u64;
    while index < 7 {
        if index < len {
            let byte = read_user_or_zero::<u8>(span.end - len + index);
            word = (word << 8) | u64::from(byte);
        }
        index += 1;
    }
    word.to_be_bytes()
}

const fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_ne_bytes(*bytes)
}

/// Longest method looked for, and the space behind it.
const METHOD: u64 = 16;

/// Whether a transfer may begin an HTTP/1.x request: perhaps an empty line, a method in capitals, a space, and
/// the start of a target. Of a first piece that ends within the method, the capitals are enough: the engine
/// judges the rest.
#[inline(always)]
pub fn may_begin_request(span: &Span) -> bool {
    begins_request(span.start, span.first_len) != 0
}

/// As [`may_begin_request`], for `len` bytes at `start`. A function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begins_request(start: u64, len: u64) -> i32 {
    if start == 0 || len == 0 {
        return 0;
    }
    // Servers are asked to let an empty line before a request pass (RFC 9112, 2.2).
    let front = read_user_or_zero::<u16>(start);
    let empty = if len > 2 && front == u16::from_ne_bytes(*b"\r\n") {
        2
    } else {
        0
    };
    let (start, len) = (start + empty, len - empty);
    let mut index = 0u64;
    let mut word = 0u64;
    while index < METHOD {
        if index >= len {
            return 1;
        }
        if index & 7 == 0 {
            word = first_bytes(start + index, len - index);
        }
        let byte = (word >> ((index & 7) * 8)) as u8;
        if byte == b' ' {
            let next = read_user_or_zero::<u8>(start + index + 1);
            let connects = index == 7 && word == u64::from_ne_bytes(*b"CONNECT ");
            let target = index + 1 >= len || connects || begins_target(next);
            return i32::from(index >= 3 && target);
        }
        if !byte.is_ascii_uppercase() && byte != b'-' && byte != b'_' {
            return 0;
        }
        index += 1;
    }
    0
}

/// A path, `*`, or a scheme that a proxy is asked for.
#[inline(always)]
fn begins_target(byte: u8) -> bool {
    byte == b'/' || byte == b'*' || byte == b'h' || byte == b'H'
}

/// Up to eight bytes, as in memory; zeros behind `len`.
#[inline(always)]
fn first_bytes(address: u64, len: u64) -> u64 {
    if len >= 8 {
        return read_user_or_zero::<u64>(address);
    }
    let mut word = 0u64;
    let mut index = 0u64;
    while index < 7 {
        if index < len {
            let byte = read_user_or_zero::<u8>(address + index);
            word |= u64::from(byte) << (index * 8);
        }
        index += 1;
    }
    word
}

/// Longest interim head that another response is looked for behind.
const INTERIM: u64 = 512;

/// Where the head at `start` ends, that is, behind its empty line; 0: not within `len` bytes, or too far. A
/// function of its own for the verifier too.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn head_end(start: u64, len: u64) -> u64 {
    // Byte by byte: simple, and interim heads are few and short.
    let mut last = 0u32;
    let mut index = 0u64;
    while index < INTERIM {
        if index >= len {
            return 0;
        }
        let byte = read_user_or_zero::<u8>(start + index);
        last = (last << 8) | u32::from(byte);
        index += 1;
        if last == u32::from_be_bytes(*b"\r\n\r\n") {
            return index;
        }
    }
    0
}

/// Whether these eight bytes may begin an HTTP/1.x response.
#[inline(always)]
pub fn begins_response(bytes: u64) -> bool {
    const SEVEN: u64 = word(b"\xff\xff\xff\xff\xff\xff\xff\0");
    bytes & SEVEN == word(b"HTTP/1.\0")
}

/// Copies at most `LEN` bytes (a power of two) from `address` to `to`; returns how many.
#[inline(always)]
pub fn copy_user<const LEN: usize>(to: *mut [u8; LEN], address: u64, len: u64) -> u32 {
    if len == 0 {
        return 0;
    }
    // A constant, or a value under a mask: older verifiers (6.1) lose a compared bound when the
    // compiler reloads the value.
    let size = if len >= LEN as u64 {
        LEN as u32
    } else {
        (black_box(len) & (LEN as u64 - 1)) as u32
    };
    // SAFETY: `to` holds LEN bytes and size is at most LEN.
    if unsafe { bpf_probe_read_user(to.cast(), size, address as *const _) } == 0 {
        size
    } else {
        count_loss(LossReason::UserReadFault);
        0
    }
}
