//! Calls of library functions: which one a thread is within, from its begin to its return.
//!
//! Of calls within each other only the outermost is noted: what a library calls of itself is not the
//! application's. The stack pointer tells them apart: at an end it is known how far it is from what it was at the
//! begin.
//! Where a return is not seen (a probe was detached in between, the thread jumped out of the call or left it for
//! another stack), the note is void with the next request, or when another address is where the call was to return
//! to.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_get_attach_cookie},
    programs::ProbeContext,
};
use whyslow_abi::{
    library::{Library, LibraryCall, LibraryCalls, LibraryObject, Surroundings, TLS_HANDSHAKE},
    thread::ThreadSlot,
};

use crate::{
    arch::{instruction_pointer, result, return_address, stack_pointer},
    maps::{EARLY_CALLS, LIBRARY_CALLS},
    thread::{self, Mark},
};

/// The thread that calls.
#[derive(Clone, Copy)]
pub struct Caller {
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// What is done with it.
    pub mark: Mark,
}

impl Caller {
    /// The current thread; `None`: nothing is done with it.
    #[inline(always)]
    pub fn current() -> Option<Self> {
        let ids = bpf_get_current_pid_tgid();
        let tid = ids as u32;
        let mark = thread::mark_of(tid)?;
        Some(Self {
            tgid: (ids >> 32) as u32,
            tid,
            mark,
        })
    }

    /// An object of a library in its process.
    #[inline(always)]
    pub fn object(self, address: u64) -> LibraryObject {
        LibraryObject {
            tgid: u64::from(self.tgid),
            address,
        }
    }

    /// Its slot and its call of that library.
    #[inline(always)]
    pub fn watched(
        self,
        library: Library,
    ) -> Option<(&'static mut ThreadSlot, &'static mut LibraryCall)> {
        let (index, slot) = thread::slot_of(self.mark)?;
        Some((slot, call_at(index, library)?))
    }

    /// Its call of SQLite, watched or not yet.
    #[inline(always)]
    pub fn early(self) -> Option<(Option<&'static mut ThreadSlot>, &'static mut LibraryCall)> {
        if let Some((slot, call)) = self.watched(Library::Sqlite) {
            return Some((Some(slot), call));
        }
        if !self.mark.is_candidate() {
            return None;
        }
        // SAFETY: a live value of a map that this thread alone writes.
        let known = unsafe { EARLY_CALLS.get_ptr_mut(self.tid)?.as_mut() };
        known.map(|call| (None, call))
    }
}

/// What is kept of the libraries that a thread with that slot calls.
#[inline(always)]
pub fn calls_at(index: u32) -> Option<&'static mut LibraryCalls> {
    // SAFETY: array values live as long as the map; a thread writes its own only.
    unsafe { LIBRARY_CALLS.get_ptr_mut(index)?.as_mut() }
}

/// A call of a thread with that slot.
#[inline(always)]
fn call_at(index: u32, library: Library) -> Option<&'static mut LibraryCall> {
    calls_at(index)?.calls.get_mut(library as usize)
}

/// Now, monotonic.
#[inline(always)]
pub fn clock() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// What a call is made for: connection and number of a request, generation of the thread's slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Purpose {
    connection: u64,
    request: u32,
    generation: u32,
}

impl Purpose {
    /// Of a thread that is not watched.
    pub const NONE: Self = Self {
        connection: 0,
        request: 0,
        generation: 0,
    };

    /// Of a watched thread.
    #[inline(always)]
    pub fn of(slot: &ThreadSlot) -> Self {
        Self {
            connection: slot.connection,
            request: slot.request,
            generation: slot.generation,
        }
    }
}

/// Whether a noted call goes on, with that stack pointer now: it still has where it returns to.
#[inline(always)]
pub fn goes_on(call: &LibraryCall, stack: u64) -> bool {
    call.stack > stack && return_address(call.stack) == call.return_address
}

/// Whether a call has been noted for that purpose.
#[inline(always)]
fn serves(call: &LibraryCall, purpose: Purpose) -> bool {
    call.connection == purpose.connection
        && call.request == purpose.request
        && call.generation == purpose.generation
}

/// Notes a call that begins; `false`: it is within another.
#[inline(always)]
pub fn enter(call: &mut LibraryCall, ctx: &ProbeContext, function: u64, purpose: Purpose) -> bool {
    let stack = stack_pointer(ctx.as_ptr().cast());
    if serves(call, purpose) {
        // Nothing is within a call whose end is never seen.
        if call.function != TLS_HANDSHAKE && call.stack != 0 {
            if goes_on(call, stack) {
                return false;
            }
            call.missed = 1;
        }
    } else {
        call.missed = 0;
    }
    call.stack = stack;
    call.return_address = return_address(stack);
    call.function = function;
    call.connection = purpose.connection;
    call.request = purpose.request;
    call.generation = purpose.generation;
    call.arguments[0] = ctx.arg(0).unwrap_or(0);
    call.arguments[1] = ctx.arg(1).unwrap_or(0);
    call.arguments[2] = ctx.arg(2).unwrap_or(0);
    call.arguments[3] = ctx.arg(3).unwrap_or(0);
    call.arguments[4] = ctx.arg(4).unwrap_or(0);
    call.arguments[5] = ctx.arg(5).unwrap_or(0);
    call.begin_ns = clock();
    true
}

/// A call has begun within another of its library: whether the application has made it, in a function that the library
/// has called, and not the library itself.
#[inline(always)]
pub fn is_applications_own(ctx: &ProbeContext) -> bool {
    // SAFETY: the context is the program's own. The cookie is that of `Surroundings`.
    let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let registers = ctx.as_ptr().cast();
    let caller = return_address(stack_pointer(registers));
    !Surroundings::of_cookie(cookie).contain(instruction_pointer(registers), caller)
}

/// Ends the call that returns, with its result; `None`: it was not noted. Functions that are not probed have ends in
/// common with those that are.
#[inline(always)]
pub fn leave(call: &mut LibraryCall, ctx: &ProbeContext) -> Option<i32> {
    // SAFETY: the context is the program's own. The cookie is that of an `EndState`.
    let state = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let registers = ctx.as_ptr().cast();
    let stack = stack_pointer(registers) + (state & u64::from(u32::MAX));
    if call.stack == 0 || call.stack != stack {
        return None;
    }
    call.stack = 0;
    Some(result(registers, (state >> 32) as u32))
}
