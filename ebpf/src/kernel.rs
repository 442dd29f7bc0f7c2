//! Reads of kernel structures at offsets that the loader found in the running kernel's BTF.
//!
//! `load_*` are typed loads through pointers that the verifier knows (tracepoint arguments, the
//! current task, and what is reached from them by further loads). `probe_*` read any kernel
//! address through a helper and yield zero when that fails.

use aya_ebpf::{
    Global,
    helpers::generated::{
        bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_kernel_str,
    },
};
use whyslow_abi::settings::CAST_CALL;

/// A kernel task. Never dereferenced as a Rust type.
#[repr(C)]
pub struct Task {
    opaque: u8,
}

/// A socket of the network layer. Never dereferenced as a Rust type.
#[repr(C)]
pub struct Sock {
    opaque: u8,
}

/// `struct bpf_iter__task`: context of a task iterator. The task is null at the end.
#[repr(C)]
pub struct TaskIteration {
    meta: u64,
    /// The thread of this step.
    pub task: *const Task,
}

macro_rules! globals {
    ($($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            pub static $name: Global<u64> = Global::new(0);
        )+
    };
}

globals! {
    OFF_TASK_PID OFF_TASK_TGID OFF_TASK_FILES OFF_TASK_COMM OFF_TASK_FLAGS OFF_TASK_STATE
    OFF_TASK_NVCSW OFF_TASK_NIVCSW OFF_TASK_MIN_FLT OFF_TASK_MAJ_FLT
    OFF_TASK_REAL_PARENT OFF_TASK_GROUP_LEADER OFF_TASK_START_BOOTTIME OFF_TASK_EXIT_CODE
    OFF_TASK_RUN_DELAY OFF_TASK_SIGNAL OFF_SIGNAL_FLAGS OFF_SIGNAL_LIVE OFF_SIGNAL_GROUP_EXIT_CODE
    OFF_FILES_FDT OFF_FDT_FD OFF_FDT_MAX_FDS
    OFF_FILE_OP OFF_FILE_PRIVATE OFF_FILE_INODE OFF_FILE_REFERENCES OFF_FILE_DENTRY
    OFF_INODE_MODE OFF_INODE_INO OFF_INODE_SB OFF_SB_DEV OFF_DENTRY_NAME
    OFF_SOCKET_SK OFF_SOCKET_TYPE
    OFF_SK_FAMILY OFF_SK_STATE OFF_SK_DPORT OFF_SK_NUM OFF_SK_DADDR OFF_SK_V6_DADDR
    OFF_SK_MAX_ACK_BACKLOG OFF_SK_ACK_BACKLOG OFF_TCP_RCV_NXT OFF_TCP_COPIED_SEQ
    OFF_UNIX_ADDR OFF_UNIX_PEER OFF_UNIX_ADDRESS_NAME
    OFF_TASK_MM OFF_MM_ARG_START OFF_MM_ARG_END OFF_BPRM_FILENAME
    ALL_PROGRAMS
    OFF_EVENTPOLL_ROOT OFF_EPITEM_FILE OFF_EPITEM_DATA
    OFF_TASK_FS OFF_FS_ROOT OFF_DENTRY_PARENT OFF_DENTRY_SB
    OFF_INODE_LOCKS OFF_LOCKS_FLOCK OFF_LOCKS_POSIX
    OFF_LOCK_LIST OFF_LOCK_OWNER OFF_LOCK_TYPE OFF_LOCK_PID OFF_LOCK_START OFF_LOCK_END
    OFF_TASK_MEMSTALL MEMSTALL_MASK
    OFF_RSS_FILE RSS_STRIDE PAGE_BYTES
    OFF_TASK_THROTTLED OFF_TASK_CFS_RQ OFF_CFS_RQ_THROTTLES
    OFF_TASK_GROUP OFF_GROUP_PARENT OFF_GROUP_QUOTA OFF_GROUP_PERIOD OFF_GROUP_REFILL
    SELF_TGID DISCOVER COPY_DATA WAIT_FLOOR_NS LOOP_STALL_NS PREV_STATE_ARGUMENT
    OPS_EVENT OPS_EPOLL OPS_TIMER OPS_PIDFD
    CAST_TYPE FILE_ONE_REFERENCE
}

/// The thread that runs this program.
#[inline(always)]
pub fn current_task() -> *const Task {
    // SAFETY: the helper has no preconditions; the pointer is valid while the program runs.
    unsafe { bpf_get_current_task_btf() as *const Task }
}

/// Typed load of a `T` at `offset` of a structure that the verifier knows.
///
/// # Safety
/// `base` must be a pointer that the verifier tracks, not null.
#[inline(always)]
pub unsafe fn load<T: Copy, S>(base: *const S, offset: u64) -> T {
    // SAFETY: the verifier turns this into a load that cannot fault.
    unsafe { core::ptr::read_volatile(base.cast::<u8>().add(offset as usize).cast::<T>()) }
}

/// The address as a typed pointer. A call that the agent turns into one of the kernel's
/// `bpf_rdonly_cast`, which is no call in the end: the verifier removes it.
#[inline(always)]
fn cast(address: u64) -> *const u8 {
    // SAFETY: a function by its number, as all helpers are. It is called only where `CAST_TYPE`
    // says that the agent has put the kernel's function in its place.
    unsafe {
        let cast: unsafe extern "C" fn(u64, u64) -> *const u8 =
            core::mem::transmute(CAST_CALL as usize);
        cast(address, CAST_TYPE.load())
    }
}

/// Reads a `T` at any kernel address plus `offset`; zero bytes when that fails. Where the kernel
/// casts, that is one load, of which the kernel recovers should it fault; else a helper call, an
/// order of magnitude dearer.
#[inline(always)]
pub fn probe<T: Copy + Default>(base: u64, offset: u64) -> T {
    if size_of::<T>() <= size_of::<u64>() && CAST_TYPE.load() != 0 {
        // SAFETY: the verifier makes this a load that cannot fault.
        return unsafe { core::ptr::read_volatile(cast(base + offset).cast::<T>()) };
    }
    let mut value = T::default();
    // SAFETY: the destination is a live local of the given size; a bad source is an error code.
    unsafe {
        bpf_probe_read_kernel(
            core::ptr::from_mut(&mut value).cast(),
            size_of::<T>() as u32,
            (base + offset) as *const _,
        );
    }
    value
}

/// Copies `size` bytes of kernel memory (map values included).
///
/// # Safety
/// `to` must be writable for `size` bytes as the verifier sees it.
#[inline(always)]
pub unsafe fn copy<T>(to: *mut T, from: *const T) {
    // SAFETY: by the contract above.
    unsafe {
        bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, from.cast());
    }
}

/// Sets words to zero without a call: of a function that is called deep down, a call of `memset` may be more
/// than the 512 bytes of stack that all callers share (each takes at least 32).
///
/// # Safety
/// `to` must be writable for `WORDS` words as the verifier sees it.
#[inline(always)]
pub unsafe fn zero_words<const WORDS: usize>(to: *mut u64) {
    let mut index = 0;
    while index < WORDS {
        // SAFETY: by the contract; volatile, or the compiler makes the call of it.
        unsafe { core::ptr::write_volatile(to.add(index), 0) };
        index += 1;
    }
}

/// Copies a NUL-terminated name, cut where `to` ends.
///
/// # Safety
/// `to` must be writable for `LEN` bytes as the verifier sees it.
#[inline(always)]
pub unsafe fn copy_name<const LEN: usize>(to: *mut [u8; LEN], address: u64) {
    // SAFETY: by the contract; a bad source is an error code.
    unsafe {
        bpf_probe_read_kernel_str(to.cast(), LEN as u32, address as *const _);
    }
}

/// Thread id.
#[inline(always)]
pub fn pid(task: *const Task) -> u32 {
    // SAFETY: `task` comes from the kernel (tracepoint argument or current).
    unsafe { load(task, OFF_TASK_PID.load()) }
}

/// Process id.
#[inline(always)]
pub fn tgid(task: *const Task) -> u32 {
    // SAFETY: as in `pid`.
    unsafe { load(task, OFF_TASK_TGID.load()) }
}
