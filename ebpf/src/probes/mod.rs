//! One file per probe, each a thin entry: it finds the thread, and calls the module that knows.

pub mod adopt;
pub mod file_lock;
pub mod library_sqlite;
pub mod library_tls;
pub mod process_exec;
pub mod process_exit;
pub mod process_fork;
pub mod reclaim;
pub mod sched_switch;
pub mod sched_waking;
pub mod signal;
pub mod socket_data;
pub mod socket_state;
pub mod sys_exit;
