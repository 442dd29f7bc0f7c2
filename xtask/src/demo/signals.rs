//! Ctrl-C and its kind: told to the loop that waits, so that everything is ended in order.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    ASKED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP only make [`asked_to_end`] true. Programs that are
/// started get the default actions back, as exec(2) does with handlers.
///
/// # Errors
/// When the kernel refuses a handler.
pub(crate) fn catch() -> Result<()> {
    let handler = note as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        let before = unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        if before == libc::SIG_ERR {
            return Err(io::Error::last_os_error()).context("catch signals");
        }
    }
    Ok(())
}

/// Whether someone asked us to end.
pub(crate) fn asked_to_end() -> bool {
    ASKED.load(Ordering::Relaxed)
}
