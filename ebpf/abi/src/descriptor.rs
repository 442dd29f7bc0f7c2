//! What a file descriptor is, as found by walking the kernel's tables at the moment of use.

crate::integer_enum! {
    /// Kind of an open file.
    pub enum DescriptorKind: u8 {
        /// Not found, or of a kind not told apart here.
        Unknown = 0 => "unknown",
        /// Regular file, memfd included.
        File = 1 => "file",
        /// Directory.
        Directory = 2 => "directory",
        /// Pipe or FIFO.
        Pipe = 3 => "pipe",
        /// Character or block device.
        Device = 4 => "device",
        /// Listening TCP or unix stream socket.
        Listener = 5 => "listener",
        /// Connection that was accepted here (the peer is a client), TCP or unix.
        Accepted = 6 => "accepted",
        /// Connection made from here to a server, TCP, UDP or unix.
        Upstream = 7 => "upstream",
        /// Unix socket without an address at either end (`socketpair`), datagram, or netlink.
        LocalSocket = 8 => "local_socket",
        /// eventfd.
        Event = 9 => "eventfd",
        /// epoll.
        Epoll = 10 => "epoll",
        /// timerfd.
        Timer = 11 => "timerfd",
        /// pidfd.
        Process = 12 => "pidfd",
    }
}

crate::integer_enum! {
    /// Kinds that bytes are counted by.
    pub enum IoKind: u8 {
        /// The request's own client.
        Client = 0 => "client",
        /// Files.
        Disk = 1 => "disk",
        /// Other connections.
        Upstream = 2 => "upstream",
        /// Pipes, local sockets, eventfd and the rest.
        Ipc = 3 => "ipc",
    }
}
