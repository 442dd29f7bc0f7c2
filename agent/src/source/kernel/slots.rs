//! The memory-mapped array of thread slots, read without a system call.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use anyhow::{Context as _, bail};
use aya::maps::MapData;
use whyslow_abi::thread::ThreadSlot;

/// Tries to read a slot that is being written.
const TRIES: u32 = 64;

/// A read-only mapping of `THREADS`.
#[derive(Debug)]
pub(super) struct SlotMap {
    base: NonNull<ThreadSlot>,
    len: usize,
    bytes: usize,
}

// SAFETY: the mapping is read-only and not tied to a thread.
unsafe impl Send for SlotMap {}

impl SlotMap {
    /// Maps the array of `len` slots.
    ///
    /// # Errors
    /// The kernel refuses the mapping.
    pub(super) fn new(map: &MapData, len: u32) -> anyhow::Result<Self> {
        // SAFETY: sysconf has no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let bytes = (len as usize * size_of::<ThreadSlot>()).next_multiple_of(page);
        // SAFETY: a fresh shared mapping of a map made with BPF_F_MMAPABLE, of its own size.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("map the thread slots");
        }
        let Some(base) = NonNull::new(base.cast()) else {
            bail!("map the thread slots: null")
        };
        Ok(Self {
            base,
            len: len as usize,
            bytes,
        })
    }

    /// A consistent copy of a slot; `None`: no such slot, or it was written all the time.
    #[must_use]
    pub(super) fn read(&self, index: u32) -> Option<ThreadSlot> {
        if index as usize >= self.len {
            return None;
        }
        // SAFETY: inside the mapping.
        let slot = unsafe { self.base.as_ptr().add(index as usize) };
        for _ in 0..TRIES {
            // SAFETY: a live mapping; the kernel side writes it at any time, hence volatile. The
            // sequence tells whether the copy is of one moment.
            let (before, copy) = unsafe {
                let before = (&raw const (*slot).sequence).read_volatile();
                fence(Ordering::Acquire);
                (before, slot.read_volatile())
            };
            fence(Ordering::Acquire);
            // SAFETY: as above.
            let after = unsafe { (&raw const (*slot).sequence).read_volatile() };
            if before == after && before & 1 == 0 {
                return Some(copy);
            }
            std::hint::spin_loop();
        }
        None
    }
}

impl Drop for SlotMap {
    fn drop(&mut self) {
        // SAFETY: unmaps what `new` mapped; nobody else has the address.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
