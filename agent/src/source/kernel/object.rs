//! The eBPF objects that this binary carries.

use whyslow_abi::catalogue::ObjectFile;

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
