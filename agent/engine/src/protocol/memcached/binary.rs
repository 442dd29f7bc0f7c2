//! The binary protocol: 24 bytes of header, then extras, key and value in one body. Names are from
//! `protocol_binary.h` of memcached 1.6.

use super::token::{HEADER_LEN, LENGTH_LIMIT};

/// First byte of a request.
pub(super) const REQUEST: u8 = 0x80;
/// First byte of a response.
pub(super) const RESPONSE: u8 = 0x81;
/// Longest key (`KEY_MAX_LENGTH`).
const KEY_LIMIT: u16 = 250;

/// What of a header is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) opcode: u8,
    pub(super) key_len: u16,
    extras_len: u8,
    data_type: u8,
    /// Of responses.
    pub(super) status: u16,
    /// Bytes that follow.
    pub(super) body_len: u64,
    /// Given back by the response.
    pub(super) opaque: u32,
}

impl Header {
    pub(super) fn new(bytes: [u8; HEADER_LEN]) -> Self {
        let [_, opcode, k0, k1, extras_len, data_type, s0, s1, ..] = bytes;
        let [_, _, _, _, _, _, _, _, b0, b1, b2, b3, o0, o1, o2, o3, ..] = bytes;
        Self {
            opcode,
            key_len: u16::from_be_bytes([k0, k1]),
            extras_len,
            data_type,
            status: u16::from_be_bytes([s0, s1]),
            body_len: u64::from(u32::from_be_bytes([b0, b1, b2, b3])),
            opaque: u32::from_be_bytes([o0, o1, o2, o3]),
        }
    }

    /// Key and extras fit into the body, and the type is the only one there is.
    pub(super) fn is_sane(&self) -> bool {
        let least = u64::from(self.key_len) + u64::from(self.extras_len);
        self.data_type == 0 && self.body_len >= least
    }

    /// A body that is longer than any.
    pub(super) fn is_hostile(&self) -> bool {
        self.body_len > LENGTH_LIMIT
    }

    /// Whether it is just what a client would send.
    pub(super) fn is_well_formed(&self) -> bool {
        let Some(operation) = operation(self.opcode) else {
            return false;
        };
        let least = u64::from(self.key_len) + u64::from(self.extras_len);
        self.is_sane()
            && !self.is_hostile()
            && operation.extras.contains(&self.extras_len)
            && self.key_len <= KEY_LIMIT
            && match operation.key {
                Key::Needed => self.key_len > 0,
                Key::Optional => true,
                Key::None => self.key_len == 0,
            }
            && (operation.value || self.body_len == least)
    }

    /// What went wrong, by a response's status. A key that is not found is an answer like others, and
    /// so is a demand for more of an authentication.
    pub(super) fn error(&self) -> Option<String> {
        let name = match self.status {
            0 | 0x01 | 0x21 => return None,
            0x02 => "KEY_EEXISTS",
            0x03 => "E2BIG",
            0x04 => "EINVAL",
            0x05 => "NOT_STORED",
            0x06 => "DELTA_BADVAL",
            0x20 => "AUTH_ERROR",
            0x81 => "UNKNOWN_COMMAND",
            0x82 => "ENOMEM",
            status => return Some(format!("STATUS_{status:#06x}")),
        };
        Some(name.to_owned())
    }

    /// More responses to the same request follow: those of STAT, but for its last, which is empty.
    pub(super) fn has_more(&self) -> bool {
        self.opcode == 0x10 && self.status == 0 && self.key_len > 0
    }

    /// Values in a response.
    pub(super) fn rows(&self) -> u64 {
        let is_get = operation(self.opcode).is_some_and(|operation| operation.is_get);
        u64::from(is_get && self.status == 0)
    }
}

enum Key {
    Needed,
    Optional,
    None,
}

/// What a request of an opcode consists of.
pub(super) struct Operation {
    /// As the text protocol calls it.
    pub(super) shape: &'static str,
    is_get: bool,
    extras: &'static [u8],
    key: Key,
    value: bool,
}

/// The operation of an opcode; `None`: unknown.
pub(super) fn operation(opcode: u8) -> Option<Operation> {
    let (shape, extras, key, value): (_, &'static [u8], _, _) = match opcode {
        0x00 | 0x09 | 0x0c | 0x0d => ("get ?", &[0], Key::Needed, false),
        0x01 | 0x11 => ("set ?", &[8], Key::Needed, true),
        0x02 | 0x12 => ("add ?", &[8], Key::Needed, true),
        0x03 | 0x13 => ("replace ?", &[8], Key::Needed, true),
        0x04 | 0x14 => ("delete ?", &[0], Key::Needed, false),
        0x05 | 0x15 => ("incr ?", &[20], Key::Needed, false),
        0x06 | 0x16 => ("decr ?", &[20], Key::Needed, false),
        0x07 | 0x17 => ("quit", &[0], Key::None, false),
        0x08 | 0x18 => ("flush_all", &[0, 4], Key::None, false),
        0x0a => ("noop", &[0], Key::None, false),
        0x0b => ("version", &[0], Key::None, false),
        0x0e | 0x19 => ("append ?", &[0], Key::Needed, true),
        0x0f | 0x1a => ("prepend ?", &[0], Key::Needed, true),
        0x10 => ("stats", &[0], Key::Optional, false),
        0x1b => ("verbosity", &[4], Key::None, false),
        0x1c => ("touch ?", &[4], Key::Needed, false),
        0x1d | 0x1e | 0x23 | 0x24 => ("gat ?", &[4], Key::Needed, false),
        0x20 => ("sasl_list_mechs", &[0], Key::None, false),
        0x21 => ("sasl_auth", &[0], Key::Needed, true),
        0x22 => ("sasl_step", &[0], Key::Needed, true),
        _ => return None,
    };
    Some(Operation {
        shape,
        is_get: matches!(shape, "get ?" | "gat ?"),
        extras,
        key,
        value,
    })
}

/// Whether the server answers only what is out of the ordinary.
pub(super) fn is_quiet(opcode: u8) -> bool {
    matches!(opcode, 0x09 | 0x0d | 0x11..=0x1a | 0x1e | 0x24)
}
