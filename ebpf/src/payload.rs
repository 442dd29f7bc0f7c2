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
    const UNKNOWN: Self = Self {
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
    read_user::<u64>(span.start).unwrap_or(0)
}

/// The last eight bytes of a transfer (zeros in front when there are fewer than eight but five).
#[inline(always)]
pub fn last_bytes(span: &Span, len: u64) -> [u8; 8] {
    if span.end == 0 {
        return [0; 8];
    }
    if len >= 8 {
        return read_user::<u64>(span.end - 8).unwrap_or(0).to_ne_bytes();
    }
    if len >= 5 {
        // "0\r\n\r\n" may be written alone.
        let word = read_user::<u32>(span.end - 4).unwrap_or(0);
        let byte = read_user::<u8>(span.end - 5).unwrap_or(0);
        return ((u64::from(word) << 32) | (u64::from(byte) << 24)).to_ne_bytes();
    }
    [0; 8]
}

const fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_ne_bytes(*bytes)
}

/// Whether these eight bytes may begin an HTTP/1.x request: a method, a space, and the start of a
/// target. The engine judges the rest.
#[inline(always)]
pub fn begins_request(bytes: u64) -> bool {
    const THREE: u64 = word(b"\xff\xff\xff\xff\0\0\0\0");
    const FOUR: u64 = word(b"\xff\xff\xff\xff\xff\0\0\0");
    const FIVE: u64 = word(b"\xff\xff\xff\xff\xff\xff\0\0");
    const SIX: u64 = word(b"\xff\xff\xff\xff\xff\xff\xff\0");
    let three = bytes & THREE;
    let four = bytes & FOUR;
    let (space, next) = if three == word(b"GET \0\0\0\0") || three == word(b"PUT \0\0\0\0") {
        (true, (bytes >> 32) as u8)
    } else if four == word(b"POST \0\0\0") || four == word(b"HEAD \0\0\0") {
        (true, (bytes >> 40) as u8)
    } else if bytes & FIVE == word(b"PATCH \0\0") || bytes & FIVE == word(b"TRACE \0\0") {
        (true, (bytes >> 48) as u8)
    } else if bytes & SIX == word(b"DELETE \0") {
        (true, (bytes >> 56) as u8)
    } else {
        // OPTIONS and CONNECT fill the word; so do WebDAV's methods.
        return bytes == word(b"OPTIONS ")
            || bytes == word(b"CONNECT ")
            || bytes == word(b"PROPFIND")
            || bytes == word(b"PROPPATC")
            || bytes & SIX == word(b"REPORT \0")
            || bytes & FIVE == word(b"MKCOL \0\0");
    };
    space && (next == b'/' || next == b'*' || next == b'h' || next == b'H')
}

/// Whether a transfer may begin a request, however short its first piece is: of fewer bytes than a
/// method takes, the first must be a capital letter.
#[inline(always)]
pub fn may_begin_request(span: &Span) -> bool {
    if span.first_len >= 8 {
        return begins_request(first_word(span));
    }
    span.start != 0 && read_user::<u8>(span.start).is_some_and(|byte| byte.is_ascii_uppercase())
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
