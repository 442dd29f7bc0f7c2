//! What every object needs: its licence, and a panic handler for the compiler.

/// Some helpers are for GPL-compatible programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: no program has a path that panics; a verifier would refuse it.
    unsafe { core::hint::unreachable_unchecked() }
}
