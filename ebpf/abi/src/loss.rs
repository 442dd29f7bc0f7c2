//! What the kernel side knows that it did not see, counted by reason in a per-CPU array.

crate::integer_enum! {
    /// Why something is missing. The integer is the index in the per-CPU array `LOSSES`.
    pub enum LossReason: u32 {
        /// The core ring had no room for a record.
        RingFull = 0 => "ring_full",
        /// The ring of signals and process ends had no room.
        SignalRingFull = 1 => "signal_ring_full",
        /// All thread slots were taken: a thread that should be watched is not.
        ThreadSlotsFull = 2 => "thread_slots_full",
        /// The connection table was full: a connection is not followed.
        ConnectionsFull = 3 => "connections_full",
        /// User memory could not be read (not resident, or changed under us).
        UserReadFault = 4 => "user_read_fault",
        /// Task storage could not be made.
        TaskStorageFull = 5 => "task_storage_full",
        /// A watched thread used io_uring: what that does is not seen.
        IoUring = 6 => "io_uring",
        /// A switch was missed (a program could not run): time went to `unexplained`.
        MissedSwitch = 7 => "missed_switch",
        /// A head was longer than is copied: fields at its end are not known.
        PayloadCut = 8 => "payload_cut",
        /// Bytes that a client sent to a watched thread, on a connection without a request, did not
        /// begin one; once per connection.
        NotHttp = 9 => "not_http",
        /// The slots for programs that watched processes start were taken: one is not followed.
        ProgramSlotsFull = 10 => "program_slots_full",
    }
}
