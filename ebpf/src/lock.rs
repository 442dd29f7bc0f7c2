//! Locks that are waited for: who holds those on files, and the record of each longer wait.
//!
//! Of files that no watched thread has waited for, nothing is kept: for all others a lock costs one look into a map. Who
//! holds the lock is read from the kernel's own list when the waiting thread blocks, so it does not matter when it was
//! taken; who comes after is seen to take it.

use whyslow_abi::{
    account::Account,
    lock::{FILE_LOCKS, FileLock, FileLocks, LOCK_HOLDERS_TOLD, LockHolder},
    record::{PATH_DEPTH, PATH_NAME, RecordKind, WaitRecord},
    thread::{ThreadSlot, ThreadState},
    wait::{WAIT_NAME, WaitTargetKind},
};

use crate::{
    classify,
    descriptor::Descriptor,
    emit::{self, SUBMIT},
    kernel::{self, *},
    library::clock,
    maps,
    thread::{self, write_begin, write_end},
};

/// `F_WRLCK` and `F_UNLCK`.
const WRITE: u8 = 1;
const UNLOCK: u8 = 2;
/// `FILE_LOCK_DEFERRED`: the thread is about to wait.
const DEFERRED: i32 = 1;
/// Locks of a file that are looked at.
const LISTED: u32 = 8;

/// A lock was asked for. `inode`, `request`: addresses of the kernel's structures; `list`: where the file's locks of this
/// sort begin.
#[inline(always)]
pub fn seen(inode: u64, request: u64, result: i32, list: u64) {
    // The verifier of later kernels wants to see that they are there.
    if inode == 0 || request == 0 {
        return;
    }
    if result == DEFERRED {
        if thread::watched(current_task()).is_some() {
            blocks(inode, list);
        }
        return;
    }
    if result != 0 {
        return;
    }
    let Some(locks) = known(inode) else {
        return;
    };
    let now = clock();
    let mut lock = read(request);
    let task = current_task();
    if lock.exclusive == u32::from(UNLOCK) {
        released(locks, &lock, task, now);
        return;
    }
    if let Some(slot) = thread::watched(task) {
        note_holders(slot, locks, &lock, now);
    }
    lock.from_ns = now;
    lock.tgid = kernel::tgid(task);
    lock.tid = kernel::pid(task);
    let place = place(locks, &lock) & (FILE_LOCKS - 1);
    write(&mut locks.held[place], &lock);
    name(&mut locks.held[place], task);
}

/// What is kept of that file.
#[inline(always)]
fn known(inode: u64) -> Option<&'static mut FileLocks> {
    // SAFETY: a live map value; a race costs the name of a holder.
    let locks = unsafe { maps::FILE_LOCKS.get_ptr_mut(inode)?.as_mut() }?;
    (locks.inode == probe::<u64>(inode, OFF_INODE_INO.load())).then_some(locks)
}

/// A lock as the kernel has it; of one that is released, `exclusive` is the type.
#[inline(always)]
fn read(lock: u64) -> FileLock {
    FileLock {
        owner: probe(lock, OFF_LOCK_OWNER.load()),
        from_ns: 0,
        to_ns: 0,
        start: probe(lock, OFF_LOCK_START.load()),
        end: probe(lock, OFF_LOCK_END.load()),
        tgid: probe(lock, OFF_LOCK_PID.load()),
        tid: 0,
        exclusive: u32::from(probe::<u8>(lock, OFF_LOCK_TYPE.load())),
        reserved: 0,
        comm: [0; 16],
    }
}

#[inline(always)]
fn write(to: &mut FileLock, lock: &FileLock) {
    to.owner = lock.owner;
    to.from_ns = lock.from_ns;
    to.to_ns = 0;
    to.start = lock.start;
    to.end = lock.end;
    to.tgid = lock.tgid;
    to.tid = lock.tid;
    to.exclusive = lock.exclusive;
    to.comm = [0; 16];
}

#[inline(always)]
fn name(lock: &mut FileLock, task: *const Task) {
    // SAFETY: a live array; the task is the current one.
    unsafe {
        kernel::copy(
            &raw mut lock.comm,
            (task as u64 + OFF_TASK_COMM.load()) as *const [u8; 16],
        );
    }
}

/// A watched thread is about to wait: takes down who holds the file's locks.
#[inline(always)]
fn blocks(inode: u64, list: u64) {
    if known(inode).is_none() {
        let Some(zero) = maps::ZERO_FILE_LOCKS.get(0) else {
            return;
        };
        let _ = maps::FILE_LOCKS.insert(inode, zero, 0);
        // SAFETY: a live map value.
        let Some(locks) = (unsafe {
            maps::FILE_LOCKS
                .get_ptr_mut(inode)
                .and_then(|it| it.as_mut())
        }) else {
            return;
        };
        locks.inode = probe(inode, OFF_INODE_INO.load());
    }
    let Some(locks) = known(inode) else {
        return;
    };
    let head = probe::<u64>(inode, OFF_INODE_LOCKS.load()) + list;
    let mut at = probe::<u64>(head, 0);
    let mut count = 0;
    while count < LISTED {
        if at == 0 || at == head {
            return;
        }
        let lock = read(at.wrapping_sub(OFF_LOCK_LIST.load()));
        let place = place(locks, &lock) & (FILE_LOCKS - 1);
        let held = &mut locks.held[place];
        if held.owner != lock.owner || held.start != lock.start || held.to_ns != 0 {
            write(held, &lock);
        }
        at = probe(at, 0);
        count += 1;
    }
}

/// Where a lock is kept: its own place, else a free one, else that of the one that was released first, or taken first.
#[inline(always)]
fn place(locks: &FileLocks, lock: &FileLock) -> usize {
    let mut oldest = 0;
    let mut age = u64::MAX;
    let mut index = 0;
    while index < FILE_LOCKS {
        let held = &locks.held[index];
        if held.owner == lock.owner && held.start == lock.start {
            return index;
        }
        // Those that are held are younger than all that were released.
        let since = if held.to_ns != 0 || held.owner == 0 {
            held.to_ns
        } else {
            held.from_ns | 1 << 63
        };
        if since < age {
            age = since;
            oldest = index;
        }
        index += 1;
    }
    oldest
}

/// The current thread has released what an owner has of a part of a file.
#[inline(always)]
fn released(locks: &mut FileLocks, part: &FileLock, task: *const Task, now: u64) {
    let mut index = 0;
    while index < FILE_LOCKS {
        let held = &mut locks.held[index];
        let within = held.start >= part.start && held.end <= part.end;
        if held.owner == part.owner && held.to_ns == 0 && within {
            held.to_ns = now;
            // A descriptor that was handed on may be closed by another process.
            if held.tgid == kernel::tgid(task) {
                held.tid = kernel::pid(task);
                name(held, task);
            }
        }
        index += 1;
    }
}

/// The current thread has got a lock that it may have waited for: notes who held it meanwhile.
#[inline(always)]
fn note_holders(slot: &mut ThreadSlot, locks: &FileLocks, lock: &FileLock, now: u64) {
    let since = if slot.pending_count != 0 {
        slot.pending_start_ns
    } else if slot.state != ThreadState::Running as u32 {
        slot.since_ns
    } else {
        return;
    };
    let until = if slot.wake_ns > since {
        slot.wake_ns
    } else {
        now
    };
    let mut found = [(0u64, 0usize); LOCK_HOLDERS_TOLD];
    let mut index = 0;
    while index < FILE_LOCKS {
        let held = &locks.held[index];
        let conflicts = held.exclusive != 0 && held.exclusive != u32::from(UNLOCK)
            || lock.exclusive == u32::from(WRITE);
        let apart = held.start > lock.end || held.end < lock.start;
        if held.owner != 0 && held.owner != lock.owner && conflicts && !apart {
            let from = if held.from_ns > since {
                held.from_ns
            } else {
                since
            };
            let to = if held.to_ns != 0 && held.to_ns < until {
                held.to_ns
            } else {
                until
            };
            let ns = if to > from { to - from } else { 0 };
            if ns > found[0].0 {
                found[1] = found[0];
                found[0] = (ns, index);
            } else if ns > found[1].0 {
                found[1] = (ns, index);
            }
        }
        index += 1;
    }
    write_begin(slot);
    slot.held_since_ns = since;
    let waker = slot.waker;
    tell(&mut slot.held[0], locks, found[0], until, waker);
    tell(&mut slot.held[1], locks, found[1], until, waker);
    write_end(slot);
}

#[inline(always)]
fn tell(to: &mut LockHolder, locks: &FileLocks, found: (u64, usize), until: u64, waker: u64) {
    let held = &locks.held[found.1 & (FILE_LOCKS - 1)];
    to.ns = found.0;
    to.tgid = if found.0 != 0 { held.tgid } else { 0 };
    to.tid = held.tid;
    // It wakes who waits before it is seen to release.
    if held.tid == 0 && held.tgid == (waker >> 32) as u32 {
        to.tid = waker as u32;
    }
    to.until_ns = if held.to_ns != 0 && held.to_ns < until {
        held.to_ns
    } else {
        until
    };
    to.comm = held.comm;
}

/// The path of a file within its file system, the last component first; returns how many there are. 0: they do not begin
/// at the process's own root: the file lies on a mount.
#[inline(always)]
fn fill_path(path: &mut [[u8; PATH_NAME]; PATH_DEPTH], file: u64) -> u32 {
    let mut entry = probe::<u64>(file, OFF_FILE_DENTRY.load());
    let own = probe::<u64>(current_task() as u64, OFF_TASK_FS.load());
    let own = probe::<u64>(own, OFF_FS_ROOT.load());
    let mut depth = 0u32;
    while depth < PATH_DEPTH as u32 {
        let parent = probe::<u64>(entry, OFF_DENTRY_PARENT.load());
        if parent == entry {
            let here = probe::<u64>(entry, OFF_DENTRY_SB.load());
            let same = here == probe::<u64>(own, OFF_DENTRY_SB.load());
            return if same { depth } else { 0 };
        }
        let name = probe::<u64>(entry, OFF_DENTRY_NAME.load());
        // SAFETY: a live array.
        unsafe { copy_name(&raw mut path[depth as usize & (PATH_DEPTH - 1)], name) };
        entry = parent;
        depth += 1;
    }
    0
}

/// The pending wait was for a lock: ships it. `what`: the account, and in the high half the operation on the futex;
/// `word`: its address, or the descriptor of the file. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_wait(
    slot: *mut ThreadSlot,
    walked: *const Descriptor,
    what: u64,
    word: u64,
    waker: u64,
) -> i32 {
    // SAFETY: the verifier makes sure that what is not null is whole.
    let (Some(slot), Some(walked)) = (unsafe { (slot.as_mut(), walked.as_ref()) }) else {
        return 0;
    };
    let sequence = emit::next_sequence(slot);
    let Some(mut entry) = emit::reserve::<WaitRecord>() else {
        return 0;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry is room for one record.
    unsafe {
        emit::fill_header(
            &raw mut (*record).header,
            RecordKind::Wait,
            slot,
            sequence,
            clock(),
        );
        (*record).connection = slot.connection;
        (*record).request = slot.request;
        (*record).operation = (what >> 32) as u32;
        let wait = &mut (*record).wait;
        wait.start_ns = slot.pending_start_ns;
        wait.ns = slot.pending_ns;
        wait.account = what as u8;
        wait.family = 0;
        wait.port_be = 0;
        wait.reserved = 0;
        wait.syscall = slot.interrupted;
        wait.waker = waker;
        wait.waker_connection = 0;
        wait.waker_request = 0;
        wait.reserved_end = 0;
        (*record).path_depth = 0;
        (*record).reserved = 0;
        if what as u8 == Account::LockFile as u8 {
            wait.fd = word as i32;
            classify::fill_file(wait, walked);
            (*record).path_depth = fill_path(&mut (*record).path, walked.file);
        } else {
            wait.target = WaitTargetKind::Futex as u8;
            wait.fd = -1;
            wait.a = word;
            wait.b = 0;
            wait.name = [0; WAIT_NAME];
        }
        kernel::copy(&raw mut (*record).holders, &raw const slot.held);
        if slot.held_since_ns != slot.pending_start_ns || what as u8 != Account::LockFile as u8 {
            (*record).holders[0].tgid = 0;
            (*record).holders[1].tgid = 0;
        }
    }
    entry.submit(SUBMIT);
    0
}
