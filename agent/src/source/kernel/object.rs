//! The eBPF objects that this binary carries.

use anyhow::Context as _;
use object::{Object as _, ObjectSection as _, SectionKind};
use whyslow_abi::{catalogue::ObjectFile, settings::CAST_CALL};

/// Bytes aligned as an ELF reader needs them.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static CORE: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/whyslow-core.o")));
static CALIBRATE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(
    env!("OUT_DIR"),
    "/whyslow-calibrate.o"
)));

/// The object's bytes.
///
/// # Errors
/// The binary was built without the programs.
pub(super) fn bytes(object: ObjectFile) -> anyhow::Result<&'static [u8]> {
    let bytes = match object {
        ObjectFile::Core => &CORE.0,
        ObjectFile::Calibrate => &CALIBRATE.0,
    };
    if bytes.is_empty() {
        anyhow::bail!("this binary was built without eBPF programs\nhint: cargo xtask build");
    }
    Ok(bytes)
}

/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, as the source register.
const KERNEL_FUNCTION: u8 = 2 << 4;

/// Turns the placeholder calls of an object into calls of the kernel function with that type id.
///
/// # Errors
/// The object is not readable.
pub(super) fn bind_cast(bytes: &mut [u8], function: u32) -> anyhow::Result<()> {
    let texts: Vec<(u64, u64)> = object::File::parse(&*bytes)
        .context("read the eBPF object")?
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .filter_map(|section| section.file_range())
        .collect();
    for (start, len) in texts {
        let (start, len) = (usize::try_from(start)?, usize::try_from(len)?);
        let text = bytes.get_mut(start..start + len).context("truncated")?;
        for instruction in text.chunks_exact_mut(8) {
            if instruction[0] == CALL
                && instruction[1] >> 4 == 0
                && instruction[4..] == CAST_CALL.to_ne_bytes()
            {
                instruction[1] |= KERNEL_FUNCTION;
                instruction[4..].copy_from_slice(&function.to_ne_bytes());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(bytes: &[u8], source: u8, target: u32) -> usize {
        bytes
            .chunks_exact(8)
            .filter(|chunk| {
                chunk[0] == CALL && chunk[1] == source && chunk[4..] == target.to_ne_bytes()
            })
            .count()
    }

    #[test]
    fn every_placeholder_becomes_a_call_of_the_kernel_function() {
        for object in [ObjectFile::Core, ObjectFile::Calibrate] {
            let Ok(built) = bytes(object) else {
                // Checked again by every live test: those are built with the programs.
                return;
            };
            let mut bound = built.to_vec();
            let placeholders = calls(built, 0, CAST_CALL);
            assert!(placeholders > 0);
            bind_cast(&mut bound, 4711).unwrap();
            assert_eq!(calls(&bound, KERNEL_FUNCTION, 4711), placeholders);
            assert_eq!(calls(&bound, 0, CAST_CALL), 0);
            let changed = built
                .iter()
                .zip(&bound)
                .filter(|(was, is)| was != is)
                .count();
            assert!(changed <= placeholders * 5);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(bind_cast(&mut [0; 64], 1).is_err());
    }
}
