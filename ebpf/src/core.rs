//! The core object: the per-thread ledger, HTTP connections, lifecycles and signals.
#![no_std]
#![no_main]

mod arch;
mod classify;
mod connection;
mod descriptor;
mod emit;
mod kernel;
mod ledger;
mod maps;
mod payload;
mod probes;
mod thread;

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
