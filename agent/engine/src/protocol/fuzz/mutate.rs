//! Changes to conversations: bytes, lengths, order, directions, and pieces of other conversations.

use super::{Conversation, Step};

/// xorshift64*: deterministic, good enough to choose bytes.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    /// 0 to `limit` - 1.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    /// Once in so many.
    pub(super) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Numbers that parsers stumble over.
const NUMBERS: [u32; 10] = [
    0,
    1,
    3,
    4,
    255,
    0xffff,
    1 << 24,
    1 << 30,
    (1 << 30) + 1,
    u32::MAX,
];

/// Longest step that mutations make.
const STEP_LIMIT: usize = 16 << 10;

/// Changes a few things in a conversation; `others` is where pieces may come from.
pub(super) fn conversation(
    random: &mut Random,
    steps: &mut Conversation,
    others: &[&Conversation],
) {
    for _ in 0..=random.below(4) {
        let at = random.below(steps.len());
        match random.below(12) {
            0 => steps.truncate(random.below(steps.len() + 1)),
            1 if at < steps.len() => {
                steps.remove(at);
            }
            2 if at < steps.len() => {
                let step = steps[at].clone();
                let times = random.below(4);
                steps.splice(at..at, std::iter::repeat_n(step, times));
            }
            3 => steps.insert(at, Step::Gap),
            4 if at < steps.len() => {
                let other = random.below(steps.len());
                steps.swap(at, other);
            }
            5 if at < steps.len() => {
                steps[at] = match std::mem::replace(&mut steps[at], Step::Gap) {
                    Step::Written(bytes) => Step::Read(bytes),
                    Step::Read(bytes) => Step::Written(bytes),
                    Step::Gap => Step::Gap,
                };
            }
            6 => {
                let other = others[random.below(others.len())];
                let from = random.below(other.len());
                let to = (from + random.below(6)).min(other.len());
                steps.splice(at..at, other[from..to].iter().cloned());
            }
            _ => {
                if let Some(Step::Written(bytes) | Step::Read(bytes)) = steps.get_mut(at) {
                    self::bytes(random, bytes);
                }
            }
        }
    }
}

/// Changes a few bytes.
pub(super) fn bytes(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(9) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            3 => bytes.insert(at, random.next() as u8),
            4 => {
                let to = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..to);
            }
            5 => {
                let to = (at + random.below(60)).min(bytes.len());
                let piece = bytes[at..to].to_vec();
                let times = 1 + random.below(30);
                let place = random.below(bytes.len() + 1);
                bytes.splice(place..place, piece.repeat(times));
            }
            6 => number(random, bytes, at),
            7 => {
                // Decimal digits: lengths of text protocols.
                let digits = NUMBERS[random.below(NUMBERS.len())].to_string();
                let from = bytes[at..].iter().position(u8::is_ascii_digit);
                if let Some(from) = from.map(|from| at + from) {
                    let rest = bytes[from..].iter();
                    let to = from + rest.take_while(|byte| byte.is_ascii_digit()).count();
                    bytes.splice(from..to, digits.into_bytes());
                }
            }
            _ => {
                let signs = b"'\"\\$`*/-;()[]{}#\r\n\0 :?@=,.0x\xff\xc3\x80";
                bytes.insert(at, signs[random.below(signs.len())]);
            }
        }
    }
    bytes.truncate(STEP_LIMIT);
}

fn number(random: &mut Random, bytes: &mut [u8], at: usize) {
    let number = NUMBERS[random.below(NUMBERS.len())];
    let field = match random.below(4) {
        0 => number.to_be_bytes(),
        1 => number.to_le_bytes(),
        2 => [(number >> 8) as u8, number as u8, 0, 0],
        _ => [number as u8, (number >> 8) as u8, (number >> 16) as u8, 0],
    };
    let len = [1, 2, 3, 4][random.below(4)];
    if let Some(place) = bytes.get_mut(at..at + len) {
        place.copy_from_slice(&field[..len]);
    }
}
