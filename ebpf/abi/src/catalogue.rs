//! The probes: one row each. `whyslow doctor`, the loader and the tests derive from it.

use crate::library::{
    Function, Library, SQLITE_ENDS, SQLITE_STEP, SQLITE_TEXTS, TLS_CALLS, TLS_FREE, TLS_RETURNS,
};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// BTF-typed tracepoint of this name.
    Tracepoint(&'static str),
    /// Task iterator, run on demand.
    TaskIterator,
    /// Begin of these functions of a library, while a watched process has it mapped.
    Call(Library, &'static [Function]),
    /// Their ends: a return probe of the kernel's would end a thread that changes stacks within the call.
    Return(Library, &'static [Function]),
}

impl Hook {
    /// The functions of a library that it is attached to, on demand.
    #[must_use]
    pub const fn library(&self) -> Option<(Library, &'static [Function])> {
        match *self {
            Self::Call(library, functions) | Self::Return(library, functions) => {
                Some((library, functions))
            }
            Self::Tracepoint(_) | Self::TaskIterator => None,
        }
    }
}

/// Which object a program lies in. Each object loads alone, so that one kernel's refusal costs
/// one feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFile {
    /// The ledger, connections, lifecycle.
    Core,
    /// Learns the kernel's file operations, once, before the core is loaded.
    Calibrate,
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Name of the program (its Rust function).
    pub name: &'static str,
    /// Where it is attached.
    pub hook: Hook,
    /// The object it lies in.
    pub object: ObjectFile,
    /// Feature that is off without it. `core` is the ledger itself: the agent cannot do without.
    pub feature: &'static str,
    /// What it is for, for `whyslow doctor`.
    pub purpose: &'static str,
}

/// All programs.
pub const PROBES: &[Probe] = &[
    Probe {
        name: "sys_exit",
        hook: Hook::Tracepoint("sys_exit"),
        object: ObjectFile::Core,
        feature: "core",
        purpose: "names each wait, sees requests and responses",
    },
    Probe {
        name: "sched_switch",
        hook: Hook::Tracepoint("sched_switch"),
        object: ObjectFile::Core,
        feature: "core",
        purpose: "measures time on and off the CPU",
    },
    Probe {
        name: "sched_waking",
        hook: Hook::Tracepoint("sched_waking"),
        object: ObjectFile::Core,
        feature: "core",
        purpose: "tells waiting from waiting for a CPU",
    },
    Probe {
        name: "process_fork",
        hook: Hook::Tracepoint("sched_process_fork"),
        object: ObjectFile::Core,
        feature: "core",
        purpose: "follows new threads and workers",
    },
    Probe {
        name: "process_exec",
        hook: Hook::Tracepoint("sched_process_exec"),
        object: ObjectFile::Core,
        feature: "core",
        purpose: "tells which programs are started, and follows them",
    },
    Probe {
        name: "process_exit",
        hook: Hook::Tracepoint("sched_process_exit"),
        object: ObjectFile::Core,
        feature: "core",
        purpose: "closes the books of ended threads",
    },
    Probe {
        name: "signal_generate",
        hook: Hook::Tracepoint("signal_generate"),
        object: ObjectFile::Core,
        feature: "signals",
        purpose: "names who sent a deadly signal",
    },
    Probe {
        name: "signal_deliver",
        hook: Hook::Tracepoint("signal_deliver"),
        object: ObjectFile::Core,
        feature: "signals",
        purpose: "sees a worker being killed",
    },
    Probe {
        name: "reclaim_begin",
        hook: Hook::Tracepoint("mm_vmscan_direct_reclaim_begin"),
        object: ObjectFile::Core,
        feature: "reclaim",
        purpose: "tells freeing memory from computing",
    },
    Probe {
        name: "reclaim_end",
        hook: Hook::Tracepoint("mm_vmscan_direct_reclaim_end"),
        object: ObjectFile::Core,
        feature: "reclaim",
        purpose: "tells freeing memory from computing",
    },
    Probe {
        name: "group_reclaim_begin",
        hook: Hook::Tracepoint("mm_vmscan_memcg_reclaim_begin"),
        object: ObjectFile::Core,
        feature: "group_reclaim",
        purpose: "tells freeing memory of a control group from computing",
    },
    Probe {
        name: "group_reclaim_end",
        hook: Hook::Tracepoint("mm_vmscan_memcg_reclaim_end"),
        object: ObjectFile::Core,
        feature: "group_reclaim",
        purpose: "tells freeing memory of a control group from computing",
    },
    Probe {
        name: "socket_state",
        hook: Hook::Tracepoint("inet_sock_set_state"),
        object: ObjectFile::Core,
        feature: "accept_queue",
        purpose: "tells how long a connection waited to be accepted",
    },
    Probe {
        name: "socket_data",
        hook: Hook::Tracepoint("sk_data_ready"),
        object: ObjectFile::Core,
        feature: "first_data",
        purpose: "tells how long a request lay in its socket",
    },
    Probe {
        name: "flock_lock_inode",
        hook: Hook::Tracepoint("flock_lock_inode"),
        object: ObjectFile::Core,
        feature: "file_locks",
        purpose: "names who holds a lock on a file",
    },
    Probe {
        name: "posix_lock_inode",
        hook: Hook::Tracepoint("posix_lock_inode"),
        object: ObjectFile::Core,
        feature: "file_locks",
        purpose: "names who holds a lock on a part of a file",
    },
    Probe {
        name: "adopt",
        hook: Hook::TaskIterator,
        object: ObjectFile::Core,
        feature: "core",
        purpose: "starts and stops watching running processes",
    },
    Probe {
        name: "calibrate",
        hook: Hook::TaskIterator,
        object: ObjectFile::Calibrate,
        feature: "descriptors",
        purpose: "tells eventfd, epoll, timerfd and pidfd apart",
    },
    Probe {
        name: "sqlite_text_return",
        hook: Hook::Return(Library::Sqlite, SQLITE_TEXTS),
        object: ObjectFile::Core,
        feature: "sqlite",
        purpose: "learns the texts of SQLite's statements",
    },
    Probe {
        name: "sqlite_text_call",
        hook: Hook::Call(Library::Sqlite, SQLITE_TEXTS),
        object: ObjectFile::Core,
        feature: "sqlite",
        purpose: "learns the texts of SQLite's statements",
    },
    Probe {
        name: "sqlite_step_return",
        hook: Hook::Return(Library::Sqlite, SQLITE_STEP),
        object: ObjectFile::Core,
        feature: "sqlite",
        purpose: "measures SQLite's statements",
    },
    Probe {
        name: "sqlite_step_call",
        hook: Hook::Call(Library::Sqlite, SQLITE_STEP),
        object: ObjectFile::Core,
        feature: "sqlite",
        purpose: "measures SQLite's statements",
    },
    Probe {
        name: "sqlite_end",
        hook: Hook::Call(Library::Sqlite, SQLITE_ENDS),
        object: ObjectFile::Core,
        feature: "sqlite",
        purpose: "sees SQLite's statements end",
    },
    Probe {
        name: "tls_return",
        hook: Hook::Return(Library::OpenSsl, TLS_RETURNS),
        object: ObjectFile::Core,
        feature: "tls",
        purpose: "reads what is said to servers through OpenSSL",
    },
    Probe {
        name: "tls_call",
        hook: Hook::Call(Library::OpenSsl, TLS_CALLS),
        object: ObjectFile::Core,
        feature: "tls",
        purpose: "reads what is said to servers through OpenSSL",
    },
    Probe {
        name: "tls_free",
        hook: Hook::Call(Library::OpenSsl, TLS_FREE),
        object: ObjectFile::Core,
        feature: "tls",
        purpose: "forgets connections of OpenSSL",
    },
];
