//! Numbers that the loader hands to the programs before they are verified.
//!
//! Each is a read-only global of the eBPF object, by the name given here. The verifier knows the
//! values, so a branch on one costs nothing, and a load at such an offset is a typed load.

/// A field of a kernel structure: where the programs find it. `path` steps through embedded
/// structures (not pointers) with `.`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name of the global (a `u64`: byte offset).
    pub global: &'static str,
    /// Kernel structure.
    pub structure: &'static str,
    /// Member, or members joined by `.`.
    pub path: &'static str,
    /// Feature that is off without it, by its name in [`crate::catalogue`].
    pub feature: &'static str,
}

const fn field(
    global: &'static str,
    structure: &'static str,
    path: &'static str,
    feature: &'static str,
) -> Field {
    Field {
        global,
        structure,
        path,
        feature,
    }
}

/// Every offset that the programs use. `u64::MAX` stands for a field that the kernel lacks.
pub const FIELDS: &[Field] = &[
    field("OFF_TASK_PID", "task_struct", "pid", "core"),
    field("OFF_TASK_TGID", "task_struct", "tgid", "core"),
    field("OFF_TASK_FILES", "task_struct", "files", "core"),
    field("OFF_TASK_COMM", "task_struct", "comm", "core"),
    field("OFF_TASK_FLAGS", "task_struct", "flags", "core"),
    field("OFF_TASK_STATE", "task_struct", "__state", "core"),
    field("OFF_TASK_NVCSW", "task_struct", "nvcsw", "core"),
    field("OFF_TASK_NIVCSW", "task_struct", "nivcsw", "core"),
    field("OFF_TASK_MIN_FLT", "task_struct", "min_flt", "core"),
    field("OFF_TASK_MAJ_FLT", "task_struct", "maj_flt", "core"),
    field("OFF_TASK_REAL_PARENT", "task_struct", "real_parent", "core"),
    field(
        "OFF_TASK_GROUP_LEADER",
        "task_struct",
        "group_leader",
        "core",
    ),
    field(
        "OFF_TASK_START_BOOTTIME",
        "task_struct",
        "start_boottime",
        "core",
    ),
    field("OFF_TASK_EXIT_CODE", "task_struct", "exit_code", "core"),
    field(
        "OFF_TASK_RUN_DELAY",
        "task_struct",
        "sched_info.run_delay",
        "run_delay",
    ),
    field("OFF_TASK_SIGNAL", "task_struct", "signal", "core"),
    field(
        "OFF_TASK_GROUP",
        "task_struct",
        "sched_task_group",
        "throttled",
    ),
    field("OFF_GROUP_PARENT", "task_group", "parent", "throttled"),
    field(
        "OFF_GROUP_QUOTA",
        "task_group",
        "cfs_bandwidth.quota",
        "throttled",
    ),
    field(
        "OFF_GROUP_PERIOD",
        "task_group",
        "cfs_bandwidth.period",
        "throttled",
    ),
    field(
        "OFF_GROUP_REFILL",
        "task_group",
        "cfs_bandwidth.period_timer.node.expires",
        "throttled",
    ),
    field("OFF_TASK_MM", "task_struct", "mm", "core"),
    field("OFF_SIGNAL_FLAGS", "signal_struct", "flags", "core"),
    field("OFF_SIGNAL_LIVE", "signal_struct", "live", "core"),
    field(
        "OFF_SIGNAL_GROUP_EXIT_CODE",
        "signal_struct",
        "group_exit_code",
        "core",
    ),
    field("OFF_FILES_FDT", "files_struct", "fdt", "core"),
    field("OFF_FDT_FD", "fdtable", "fd", "core"),
    field("OFF_FDT_MAX_FDS", "fdtable", "max_fds", "core"),
    field("OFF_FILE_OP", "file", "f_op", "core"),
    field("OFF_FILE_PRIVATE", "file", "private_data", "core"),
    field("OFF_FILE_INODE", "file", "f_inode", "core"),
    field("OFF_FILE_REFERENCES", "file", "f_ref", "core"),
    field("OFF_FILE_DENTRY", "file", "f_path.dentry", "core"),
    field("OFF_INODE_MODE", "inode", "i_mode", "core"),
    field("OFF_INODE_INO", "inode", "i_ino", "core"),
    field("OFF_INODE_SB", "inode", "i_sb", "core"),
    field("OFF_SB_DEV", "super_block", "s_dev", "core"),
    field("OFF_DENTRY_NAME", "dentry", "d_name.name", "core"),
    field("OFF_SOCKET_SK", "socket", "sk", "core"),
    field("OFF_SOCKET_TYPE", "socket", "type", "core"),
    field("OFF_SK_FAMILY", "sock_common", "skc_family", "core"),
    field("OFF_SK_STATE", "sock_common", "skc_state", "core"),
    field("OFF_SK_DPORT", "sock_common", "skc_dport", "core"),
    field("OFF_SK_NUM", "sock_common", "skc_num", "core"),
    field("OFF_SK_DADDR", "sock_common", "skc_daddr", "core"),
    field("OFF_SK_V6_DADDR", "sock_common", "skc_v6_daddr", "core"),
    field(
        "OFF_SK_MAX_ACK_BACKLOG",
        "sock",
        "sk_max_ack_backlog",
        "core",
    ),
    field(
        "OFF_SK_ACK_BACKLOG",
        "sock",
        "sk_ack_backlog",
        "accept_queue",
    ),
    field("OFF_TCP_RCV_NXT", "tcp_sock", "rcv_nxt", "first_data"),
    field("OFF_TCP_COPIED_SEQ", "tcp_sock", "copied_seq", "first_data"),
    field("OFF_UNIX_ADDR", "unix_sock", "addr", "core"),
    field("OFF_UNIX_PEER", "unix_sock", "peer", "core"),
    field("OFF_UNIX_ADDRESS_NAME", "unix_address", "name", "core"),
    field(
        "OFF_EVENTPOLL_ROOT",
        "eventpoll",
        "rbr.rb_root.rb_node",
        "core",
    ),
    field("OFF_EPITEM_FILE", "epitem", "ffd.file", "core"),
    field("OFF_EPITEM_DATA", "epitem", "event.data", "core"),
    field(
        "OFF_MM_ARG_START",
        "mm_struct",
        "arg_start",
        "program_names",
    ),
    field("OFF_MM_ARG_END", "mm_struct", "arg_end", "program_names"),
    field(
        "OFF_BPRM_FILENAME",
        "linux_binprm",
        "filename",
        "program_names",
    ),
    field("OFF_TASK_FS", "task_struct", "fs", "file_locks"),
    field("OFF_FS_ROOT", "fs_struct", "root.dentry", "file_locks"),
    field("OFF_DENTRY_PARENT", "dentry", "d_parent", "file_locks"),
    field("OFF_DENTRY_SB", "dentry", "d_sb", "file_locks"),
    field("OFF_INODE_LOCKS", "inode", "i_flctx", "file_locks"),
    field(
        "OFF_LOCKS_FLOCK",
        "file_lock_context",
        "flc_flock",
        "file_locks",
    ),
    field(
        "OFF_LOCKS_POSIX",
        "file_lock_context",
        "flc_posix",
        "file_locks",
    ),
    field("OFF_LOCK_LIST", "file_lock", "c.flc_list", "file_locks"),
    field("OFF_LOCK_OWNER", "file_lock", "c.flc_owner", "file_locks"),
    field("OFF_LOCK_TYPE", "file_lock", "c.flc_type", "file_locks"),
    field("OFF_LOCK_PID", "file_lock", "c.flc_pid", "file_locks"),
    field("OFF_LOCK_START", "file_lock", "fl_start", "file_locks"),
    field("OFF_LOCK_END", "file_lock", "fl_end", "file_locks"),
];

/// Names of the other globals, with what they are. All `u64`.
pub mod global {
    /// Process id of the agent: never watched.
    pub const SELF_TGID: &str = "SELF_TGID";
    /// 1: processes that listen become candidates by themselves; the agent judges them later.
    pub const DISCOVER: &str = "DISCOVER";
    /// 1: what a thread with a request exchanges with servers is copied.
    pub const COPY_DATA: &str = "COPY_DATA";
    /// 1: programs that no watched process started are followed too.
    pub const ALL_PROGRAMS: &str = "ALL_PROGRAMS";
    /// Shortest wait that is kept with a request, ns.
    pub const WAIT_FLOOR_NS: &str = "WAIT_FLOOR_NS";
    /// An event loop that does not come back to poll for this long is told, ns; `u64::MAX`: none is.
    pub const LOOP_STALL_NS: &str = "LOOP_STALL_NS";
    /// Which argument of `sched_switch` is the previous state; `u64::MAX`: none (before 5.18).
    pub const PREV_STATE_ARGUMENT: &str = "PREV_STATE_ARGUMENT";
    /// Address of the file operations of eventfd, epoll, timerfd and pidfd; 0: not known.
    pub const OPS_EVENT: &str = "OPS_EVENT";
    /// See `OPS_EVENT`.
    pub const OPS_EPOLL: &str = "OPS_EPOLL";
    /// See `OPS_EVENT`.
    pub const OPS_TIMER: &str = "OPS_TIMER";
    /// See `OPS_EVENT`.
    pub const OPS_PIDFD: &str = "OPS_PIDFD";
    /// Where a task says that the quota of its control group is used up (`task_struct.throttled`, Linux 6.18);
    /// `u64::MAX`: it does not.
    pub const OFF_TASK_THROTTLED: &str = "OFF_TASK_THROTTLED";
    /// Where a task has its queue, and that how often it is throttled; `u64::MAX`: nowhere.
    pub const OFF_TASK_CFS_RQ: &str = "OFF_TASK_CFS_RQ";
    /// See `OFF_TASK_CFS_RQ`.
    pub const OFF_CFS_RQ_THROTTLES: &str = "OFF_CFS_RQ_THROTTLES";
    /// Byte of a task in which lies `in_memstall`, and its bit; `u64::MAX`: there is none, or it is not kept.
    pub const OFF_TASK_MEMSTALL: &str = "OFF_TASK_MEMSTALL";
    /// See `OFF_TASK_MEMSTALL`.
    pub const MEMSTALL_MASK: &str = "MEMSTALL_MASK";
    /// Where a process's memory counts its resident pages of files (a 64-bit integer); `u64::MAX`: not known.
    pub const OFF_RSS_FILE: &str = "OFF_RSS_FILE";
    /// Bytes from one kind of resident pages to the next.
    pub const RSS_STRIDE: &str = "RSS_STRIDE";
    /// Bytes of a page.
    pub const PAGE_BYTES: &str = "PAGE_BYTES";
    /// Count of references of a `struct file` (signed) that has just one: 0 for `f_ref`, 1 for `f_count`.
    pub const FILE_ONE_REFERENCE: &str = "FILE_ONE_REFERENCE";
    /// BTF id of the structure that addresses are cast to; 0: this kernel does not cast.
    pub const CAST_TYPE: &str = "CAST_TYPE";
}

/// Number of the call that the loader turns into one of the kernel's `bpf_rdonly_cast` (Linux 6.2
/// and later); no kernel has a helper of this number. Elsewhere the call is dead code.
pub const CAST_CALL: u32 = 0x6361_7374;
/// Structure that addresses are cast to: its first member is a 64-bit integer, of which parts may
/// be read too.
pub const CAST_STRUCTURE: &str = "timespec64";

/// Slots in `THREADS` unless configured.
pub const DEFAULT_THREADS: u32 = 4096;
/// Entries in `CONNECTIONS` unless configured.
pub const DEFAULT_CONNECTIONS: u32 = 16384;
/// Entries in `SERVERS`.
pub const SERVERS: u32 = 16384;
/// Entries in `HANDOVERS`.
pub const HANDOVERS: u32 = 4096;
/// Entries in `INTERPRETERS`.
pub const INTERPRETERS: u32 = 8192;
/// Entries in `FILE_LOCKS`.
pub const FILE_LOCKS: u32 = 1024;
/// Entries in `EXECUTIONS` and `ENCRYPTED` where libraries are probed.
pub const LIBRARY_ENTRIES: u32 = 8192;
/// Entries in `QUEUED`.
pub const QUEUED: u32 = 16384;
/// Entries in `STRANGERS`.
pub const STRANGERS: u32 = 1024;
/// Bytes of the core ring unless configured; a power of two.
pub const DEFAULT_RING_BYTES: u32 = 8 << 20;
/// Bytes of the signal ring.
pub const SIGNAL_RING_BYTES: u32 = 256 << 10;
/// Thread ids per entry of `MARKS`; its length is set by the host's highest thread id.
pub const MARKS_PER_ENTRY: u32 = 2048;
