//! The accounts of the ledger: why a thread's time passed. Integers are part of the ABI.

crate::integer_enum! {
    /// One reason for time. Every nanosecond of a request is in exactly one.
    pub enum Account: u8 {
        /// On a CPU, between switch-in and switch-out.
        Cpu = 0 => "cpu",
        /// Runnable, waiting for a CPU: from the waking (or the preemption) to the switch-in.
        RunQueue = 1 => "run_queue",
        /// Runnable while the control group's CPU quota was used up.
        Throttled = 2 => "throttled",
        /// Waiting for the interpreter lock.
        LockGil = 3 => "lock.gil",
        /// Waiting on a futex: a user-space lock or condition.
        LockFutex = 4 => "lock.futex",
        /// Waiting for `flock`, `fcntl(F_SETLKW)` or `fcntl(F_OFD_SETLKW)`.
        LockFile = 5 => "lock.file",
        /// Handed over by the thread that read the request, not yet begun.
        QueueApp = 6 => "queue.app",
        /// Contended kernel mutex or rw-semaphore.
        LockKernel = 7 => "lock.kernel",
        /// Reading a regular file or looking up a path.
        DiskRead = 8 => "disk.read",
        /// Writing a regular file or changing a directory.
        DiskWrite = 9 => "disk.write",
        /// `fsync` and its family.
        DiskSync = 10 => "disk.sync",
        /// Major page faults.
        DiskFault = 11 => "disk.fault",
        /// Waiting for the request's own client to send.
        NetClientRead = 12 => "net.client_read",
        /// Waiting for the request's own client to take the response.
        NetClientWrite = 13 => "net.client_write",
        /// Waiting for a peer on another connection.
        NetUpstream = 14 => "net.upstream",
        /// Looking up a name: waits on a connection to port 53, to nscd or to systemd-resolved.
        NetDns = 15 => "net.dns",
        /// Waiting for a child process.
        Child = 16 => "child",
        /// Pipes, socket pairs, eventfd: another thread or process of this host.
        Ipc = 17 => "ipc",
        /// Asked to sleep.
        Sleep = 18 => "sleep",
        /// Page allocation, reclaim, swap.
        Memory = 19 => "memory",
        /// Blocked for a reason that could not be named.
        Unexplained = 20 => "unexplained",
    }
}
