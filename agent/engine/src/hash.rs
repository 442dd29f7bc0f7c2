//! Hash maps for keys that the kernel gives out (ids, descriptors). Not for keys that a stranger
//! chooses without a bound on the table.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Map with a fast, deterministic hasher: the same inputs give the same order of everything.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// Multiply and fold, 64 bits at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FastHasher(u64);

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads all bits of `value` over all bits of the result; a bijection.
pub(crate) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(MULTIPLIER);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl FastHasher {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(u128::from(MULTIPLIER));
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(26);
    }
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        mix(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut buffer = [0; 8];
            buffer.copy_from_slice(word);
            self.add(u64::from_le_bytes(buffer));
        }
        let rest = words.remainder();
        let mut buffer = [0; 8];
        buffer[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(buffer) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_i32(&mut self, value: i32) {
        self.add(u64::from(value.cast_unsigned()));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        let mut hasher = FastHasher::default();
        hasher.write(bytes);
        hasher.finish()
    }

    #[test]
    fn different_keys_differ() {
        let mut seen: Vec<u64> = (0..10_000_u64)
            .map(|n| {
                let mut hasher = FastHasher::default();
                hasher.write_u64(n);
                hasher.finish()
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn length_counts() {
        assert_ne!(hash(b"a"), hash(b"a\0"));
        assert_ne!(hash(b"12345678"), hash(b"12345678\0"));
    }
}
