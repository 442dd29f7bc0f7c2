//! A reader of the running kernel's BTF: offsets of structure members and shapes of tracepoints.
//!
//! The format is `include/uapi/linux/btf.h`. aya offers no access to members, and Rust programs
//! carry no relocations of their own, so the loader looks offsets up here and hands them over.

use std::collections::HashMap;

use anyhow::{Context as _, bail};

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Types and strings of a kernel image.
#[derive(Debug)]
pub(super) struct KernelTypes {
    data: Vec<u8>,
    strings: usize,
    /// Offset of each type's record; index is the type id (0 is void).
    types: Vec<usize>,
    structures: HashMap<String, u32>,
}

impl KernelTypes {
    /// Reads `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// The kernel has no BTF, or it is not in the known format.
    pub(super) fn from_running_kernel() -> anyhow::Result<Self> {
        let path = "/sys/kernel/btf/vmlinux";
        let data = std::fs::read(path).map_err(|error| {
            anyhow::anyhow!(
                "cannot read {path}, the kernel's type information: {error}\n\
                 hint: whyslow needs a kernel built with CONFIG_DEBUG_INFO_BTF (most distributions' are)"
            )
        })?;
        Self::parse(data).context("the kernel's type information (BTF) is not readable")
    }

    /// Parses BTF.
    ///
    /// # Errors
    /// Truncated data, or a kind of type that is not known.
    pub(super) fn parse(data: Vec<u8>) -> anyhow::Result<Self> {
        if u16_at(&data, 0)? != MAGIC {
            bail!("not BTF");
        }
        let header = word(&data, 4)? as usize;
        let types_at = header + word(&data, 8)? as usize;
        let types_end = types_at + word(&data, 12)? as usize;
        let strings = header + word(&data, 16)? as usize;
        let mut this = Self {
            data,
            strings,
            types: vec![0],
            structures: HashMap::new(),
        };
        let mut at = types_at;
        while at < types_end {
            let id = u32::try_from(this.types.len())?;
            this.types.push(at);
            let kind = this.kind(at)?;
            if kind == KIND_STRUCT || kind == KIND_UNION {
                let name = this.name(word(&this.data, at)?)?.to_owned();
                if !name.is_empty() {
                    this.structures.entry(name).or_insert(id);
                }
            }
            at += this.record_len(at)?;
        }
        Ok(this)
    }

    /// Byte offset of a member; `path` steps through embedded structures with `.`.
    #[must_use]
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u64> {
        Some(self.bit_offset(structure, path)? / 8)
    }

    /// Offset of a member in bits, as for `offset`.
    #[must_use]
    pub(super) fn bit_offset(&self, structure: &str, path: &str) -> Option<u64> {
        let mut id = *self.structures.get(structure)?;
        let mut bits = 0;
        for member in path.split('.') {
            let (at, member_type) = self.member(id, member, 0)?;
            bits += at;
            id = member_type;
        }
        Some(bits)
    }

    /// Bytes of a structure.
    #[must_use]
    pub(super) fn size(&self, structure: &str) -> Option<u64> {
        let at = self.record(self.structure(structure)?)?;
        word(&self.data, at + 8).ok().map(u64::from)
    }

    /// Type id of a structure.
    #[must_use]
    pub(super) fn structure(&self, name: &str) -> Option<u32> {
        self.structures.get(name).copied()
    }

    /// Type id of a function that programs may call.
    #[must_use]
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        let found = self.types.iter().skip(1).position(|at| {
            self.kind(*at).is_ok_and(|kind| kind == KIND_FUNC)
                && word(&self.data, *at)
                    .and_then(|offset| self.name(offset))
                    .is_ok_and(|found| found == name)
        })?;
        u32::try_from(found + 1).ok()
    }

    /// For each argument of a tracepoint (without the leading data pointer): is it a pointer?
    #[must_use]
    pub(super) fn tracepoint_arguments(&self, name: &str) -> Option<Vec<bool>> {
        let wanted = format!("btf_trace_{name}");
        for at in self.types.iter().skip(1).copied() {
            if self.kind(at).ok()? != KIND_TYPEDEF
                || self.name(word(&self.data, at).ok()?).ok()? != wanted
            {
                continue;
            }
            let pointer = self.record(word(&self.data, at + 8).ok()?)?;
            let prototype = self.record(word(&self.data, pointer + 8).ok()?)?;
            let count = self.count(prototype).ok()?;
            return (1..count)
                .map(|index| {
                    let id = word(&self.data, prototype + 12 + index * 8 + 4).ok()?;
                    Some(self.kind(self.record(self.plain(id)?)?).ok()? == KIND_PTR)
                })
                .collect();
        }
        None
    }

    /// Bit offset and type of a member, searched in anonymous members too.
    fn member(&self, structure: u32, name: &str, depth: u32) -> Option<(u64, u32)> {
        let at = self.record(self.plain(structure)?)?;
        let kind = self.kind(at).ok()?;
        if (kind != KIND_STRUCT && kind != KIND_UNION) || depth > 8 {
            return None;
        }
        let bitfields = word(&self.data, at + 4).ok()? >> 31 == 1;
        for index in 0..self.count(at).ok()? {
            let member = at + 12 + index * 12;
            let member_name = self.name(word(&self.data, member).ok()?).ok()?;
            let member_type = word(&self.data, member + 4).ok()?;
            let raw = word(&self.data, member + 8).ok()?;
            let bits = u64::from(if bitfields { raw & 0x00ff_ffff } else { raw });
            if member_name == name {
                return Some((bits, member_type));
            }
            if member_name.is_empty()
                && let Some((inner, found)) = self.member(member_type, name, depth + 1)
            {
                return Some((bits + inner, found));
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> Option<u32> {
        for _ in 0..32 {
            let at = self.record(id)?;
            match self.kind(at).ok()? {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = word(&self.data, at + 8).ok()?;
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn record(&self, id: u32) -> Option<usize> {
        self.types.get(id as usize).copied().filter(|at| *at != 0)
    }

    fn kind(&self, at: usize) -> anyhow::Result<u32> {
        Ok(word(&self.data, at + 4)? >> 24 & 0x1f)
    }

    fn count(&self, at: usize) -> anyhow::Result<usize> {
        Ok((word(&self.data, at + 4)? & 0xffff) as usize)
    }

    fn name(&self, offset: u32) -> anyhow::Result<&str> {
        let start = self.strings + offset as usize;
        let rest = self.data.get(start..).context("truncated")?;
        let end = rest
            .iter()
            .position(|byte| *byte == 0)
            .context("truncated")?;
        Ok(std::str::from_utf8(&rest[..end])?)
    }

    fn record_len(&self, at: usize) -> anyhow::Result<usize> {
        let count = self.count(at)?;
        let tail = match self.kind(at)? {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => count * 12,
            KIND_ENUM | KIND_FUNC_PROTO => count * 8,
            kind if kind <= KIND_ENUM64 => 0,
            kind => bail!("type kind {kind} is not known"),
        };
        Ok(12 + tail)
    }
}

fn word(data: &[u8], at: usize) -> anyhow::Result<u32> {
    let bytes = data.get(at..at + 4).context("truncated")?;
    Ok(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn u16_at(data: &[u8], at: usize) -> anyhow::Result<u16> {
    let bytes = data.get(at..at + 2).context("truncated")?;
    Ok(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_an_error() {
        assert!(KernelTypes::parse(Vec::new()).is_err());
        assert!(KernelTypes::parse(vec![0; 64]).is_err());
        let mut cut = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        cut.extend([0xff; 16]);
        assert!(KernelTypes::parse(cut).is_err());
    }

    #[test]
    fn every_truncation_of_a_small_image_is_safe() {
        // One structure `s` with an anonymous union that holds `x` at bit 64.
        let mut types = Vec::new();
        let mut put =
            |words: &[u32]| types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        put(&[1, KIND_INT << 24, 4, 32]);
        put(&[0, KIND_UNION << 24 | 1, 4, 3, 1, 0]);
        put(&[5, KIND_STRUCT << 24 | 1, 12, 0, 2, 64]);
        put(&[1, KIND_FUNC << 24, 0]);
        let strings = b"\0i\0x\0s\0";
        let mut image = Vec::new();
        image.extend(MAGIC.to_ne_bytes());
        image.extend([1, 0]);
        for word in [
            24u32,
            0,
            types.len() as u32,
            types.len() as u32,
            strings.len() as u32,
        ] {
            image.extend(word.to_ne_bytes());
        }
        image.extend(&types);
        image.extend(strings);
        let parsed = KernelTypes::parse(image.clone()).unwrap();
        assert_eq!(parsed.offset("s", "x"), Some(8));
        assert_eq!(parsed.offset("s", "y"), None);
        assert_eq!(parsed.offset("t", "x"), None);
        assert_eq!(
            (parsed.structure("s"), parsed.structure("i")),
            (Some(3), None)
        );
        assert_eq!(
            (parsed.function("i"), parsed.function("s")),
            (Some(4), None)
        );
        for len in 0..image.len() {
            if let Ok(cut) = KernelTypes::parse(image[..len].to_vec()) {
                let _ = cut.offset("s", "x");
                let _ = cut.function("i");
            }
        }
    }
}
