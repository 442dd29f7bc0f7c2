//! All maps of the core object.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue, RingBuf},
    helpers::generated::{bpf_task_storage_delete, bpf_task_storage_get},
    macros::btf_map,
};
use whyslow_abi::{
    connection::{ConnectionState, SocketPlace},
    interpreter::Interpreter,
    library::{EncryptedPeer, Execution, LibraryCall, LibraryCalls, LibraryObject},
    lock::FileLocks,
    loss::LossReason,
    queue::QueueTimes,
    settings::{
        self, DEFAULT_CONNECTIONS, DEFAULT_RING_BYTES, DEFAULT_THREADS, MARKS_PER_ENTRY,
        SIGNAL_RING_BYTES,
    },
    thread::{ThreadLink, ThreadSlot},
};

use crate::kernel::Task;

/// `BPF_F_MMAPABLE`: user space maps the array and reads it without a system call.
const MMAPABLE: usize = 1 << 10;
/// `BPF_F_NO_PREALLOC`: entries are allocated as they come.
const NO_PREALLOC: usize = 1;

/// Live state of watched threads.
#[btf_map]
pub static THREADS: Array<ThreadSlot, { DEFAULT_THREADS as usize }, MMAPABLE> = Array::new();

/// Numbers of free slots; filled by the loader.
#[btf_map]
pub static FREE_SLOTS: Queue<u32, { DEFAULT_THREADS as usize }> = Queue::new();

/// One entry for each slot that programs may still have; filled by the loader, which sets the length.
#[btf_map]
pub static PROGRAM_LEAVES: Queue<u8, { DEFAULT_THREADS as usize }> = Queue::new();

/// HTTP connections by the inode number of their socket.
#[btf_map]
pub static CONNECTIONS: HashMap<
    u64,
    ConnectionState,
    { DEFAULT_CONNECTIONS as usize },
    NO_PREALLOC,
> = HashMap::new();

/// Connections whose bytes are not HTTP, by the inode number of their socket: those that were told.
/// The kernel drops the oldest.
#[btf_map]
pub static STRANGERS: LruHashMap<u64, u8, { settings::STRANGERS as usize }> = LruHashMap::new();

/// Connections to servers, by the inode number of their socket: bits of `whyslow_abi::connection`. The kernel
/// drops the oldest.
#[btf_map]
pub static SERVERS: LruHashMap<u64, u32, { settings::SERVERS as usize }> = LruHashMap::new();

/// A bit for each TCP port: something else than HTTP is spoken there.
#[btf_map]
pub static OTHER_PORTS: Array<u64, 1024> = Array::new();

/// Sockets that were connected to from outside, by the address of their `struct sock`. The kernel drops the oldest.
#[btf_map]
pub static QUEUED: LruHashMap<u64, QueueTimes, { settings::QUEUED as usize }> = LruHashMap::new();

/// (process id << 32 | descriptor) -> the socket, for `close`, whose descriptor
/// is gone when it returns.
#[btf_map]
pub static DESCRIPTORS: HashMap<u64, SocketPlace, { DEFAULT_CONNECTIONS as usize }, NO_PREALLOC> =
    HashMap::new();

/// Interpreters by process id. Filled by the agent, handed on to forks. The kernel drops the oldest.
#[btf_map]
pub static INTERPRETERS: LruHashMap<u32, Interpreter, { settings::INTERPRETERS as usize }> =
    LruHashMap::new();

/// Processes in which one thread reads requests and others work. Filled by the agent. The kernel drops the oldest.
#[btf_map]
pub static HANDOVERS: LruHashMap<u32, u32, { settings::HANDOVERS as usize }> = LruHashMap::new();

/// Files that watched threads have waited to lock, by the address of the inode. The kernel drops the oldest.
#[btf_map]
pub static FILE_LOCKS: LruHashMap<u64, FileLocks, { settings::FILE_LOCKS as usize }> =
    LruHashMap::new();

/// What the adoption pass is to do, by process id. Filled and emptied by the agent.
#[btf_map]
pub static TARGETS: HashMap<u32, u32, 16384, NO_PREALLOC> = HashMap::new();

/// Records of requests and lifecycles.
#[btf_map]
pub static RECORDS: RingBuf<u64, { DEFAULT_RING_BYTES as usize }> = RingBuf::new();

/// Records of signals and ends, which nothing may crowd out.
#[btf_map]
pub static SIGNALS: RingBuf<u64, { SIGNAL_RING_BYTES as usize }> = RingBuf::new();

/// Losses by [`LossReason`].
#[btf_map]
pub static LOSSES: PerCpuArray<u64, { LossReason::COUNT }> = PerCpuArray::new();

/// A zero of each large value, to start one from.
#[btf_map]
pub static ZERO_CONNECTION: Array<ConnectionState, 1> = Array::new();
/// See `ZERO_CONNECTION`.
#[btf_map]
pub static ZERO_THREAD: Array<ThreadSlot, 1> = Array::new();

/// See `ZERO_CONNECTION`.
#[btf_map]
pub static ZERO_FILE_LOCKS: Array<FileLocks, 1> = Array::new();

/// Calls of library functions under way, by number of the thread's slot. As this and the next three, of
/// one entry unless libraries are probed; the loader sets the length.
#[btf_map]
pub static LIBRARY_CALLS: Array<LibraryCalls, 1> = Array::new();

/// The same for threads that are not watched yet, by thread id.
#[btf_map]
pub static EARLY_CALLS: LruHashMap<u32, LibraryCall, 1> = LruHashMap::new();

/// Statements of SQLite that have begun and not ended.
#[btf_map]
pub static EXECUTIONS: LruHashMap<LibraryObject, Execution, 1> = LruHashMap::new();

/// Connections by the `SSL *` that encrypts them.
#[btf_map]
pub static ENCRYPTED: LruHashMap<LibraryObject, EncryptedPeer, 1> = LruHashMap::new();

/// A task storage map. The layout is what a BTF map definition looks like to a loader.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; 29],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; NO_PREALLOC],
}

// SAFETY: the fields are placeholders that the loader patches; they are never dereferenced.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    #[inline(always)]
    fn as_ptr(&self) -> *mut core::ffi::c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }

    /// The task's value, if it has one.
    #[inline(always)]
    pub fn get(&self, task: *const Task) -> Option<&'static mut T> {
        // SAFETY: the helper returns null or a pointer to a live value of this map.
        unsafe {
            bpf_task_storage_get(self.as_ptr(), task as *mut _, core::ptr::null_mut(), 0)
                .cast::<T>()
                .as_mut()
        }
    }

    /// The task's value; made from `initial` when it has none. `None`: no memory.
    #[inline(always)]
    pub fn get_or_insert(&self, task: *const Task, initial: &mut T) -> Option<&'static mut T> {
        // SAFETY: as in `get`; `initial` is a live value of the map's value type.
        unsafe {
            bpf_task_storage_get(
                self.as_ptr(),
                task as *mut _,
                core::ptr::from_mut(initial).cast(),
                1,
            )
            .cast::<T>()
            .as_mut()
        }
    }

    /// Removes the task's value.
    #[inline(always)]
    pub fn remove(&self, task: *const Task) {
        // SAFETY: removing what is not there is an error code.
        unsafe {
            bpf_task_storage_delete(self.as_ptr(), task as *mut _);
        }
    }
}

/// What is done with each thread, by thread id. An array is looked up inline: a thread that nobody
/// watches costs no helper call, and one that is watched none to find its slot. The loader sets the
/// length by the host's highest thread id.
#[btf_map]
pub static MARKS: Array<[u16; MARKS_PER_ENTRY as usize], 1> = Array::new();

/// Where each marked thread comes from.
#[btf_map]
pub static LINKS: TaskStorage<ThreadLink> = TaskStorage::new();

/// Counts a loss.
#[inline(always)]
pub fn count_loss(reason: LossReason) {
    if let Some(count) = LOSSES.get_ptr_mut(reason as u32) {
        // SAFETY: a per-CPU value; an interrupting program may cost one count.
        unsafe { *count += 1 }
    }
}
