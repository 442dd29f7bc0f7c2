//! What a request waited for, and for whom.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use whyslow_abi::account::Account;

use super::{LedgerEntry, RequestStarted};

/// One wait of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitEntry {
    /// Account.
    pub account: Account,
    /// Start, monotonic.
    pub start_ns: u64,
    /// Time blocked.
    pub ns: u64,
    /// What for.
    pub target: Target,
    /// Who kept it waiting; `None`: not known.
    pub holder: Option<Holder>,
    /// Who ended it; `None`: not known.
    pub waker: Option<Waker>,
    /// Of a wait for a server: what that did meanwhile.
    pub served: Option<Served>,
    /// Of a wait for a server: why `served` is not known; empty: it is.
    pub served_unknown: &'static str,
}

/// What a server on this host did while a request waited for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name; empty: not known.
    pub comm: String,
    /// From the question to the answer.
    pub ns: u64,
    /// Where that time went, most first.
    pub ledger: Vec<LedgerEntry>,
    /// Its longest wait that another thread of the server ended: a lock.
    pub blocked: Option<Blocked>,
}

/// A wait of a server's thread for another one of that server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocked {
    /// Start, monotonic.
    pub start_ns: u64,
    /// Time blocked.
    pub ns: u64,
    /// Who ended it, with the request that he did that for.
    pub waker: Waker,
}

/// See `whyslow.v1.WaitObserved`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "documented in proto/whyslow/v1/lock.proto")]
pub struct WaitObserved {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    /// That it served when the wait began.
    pub request: Option<Arc<RequestStarted>>,
    pub wait: WaitEntry,
}

/// The thread that ended a wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waker {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name; empty: not known.
    pub comm: String,
    /// The request that the thread served then; `None`: none, or not known.
    pub request: Option<Arc<RequestStarted>>,
}

/// Who held for most of a wait what was waited for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holder {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name; empty: not known.
    pub comm: String,
    /// How much of the wait, 0 to 1.
    pub share: f64,
    /// Looks that this is known from, whoever they found; of a futex, times that it behaved like a lock.
    pub samples: u64,
    /// It is known, and no likely guess.
    pub certain: bool,
    /// The request that the thread served for most of the wait; `None`: none, or not known.
    pub request: Option<Arc<RequestStarted>>,
    /// What it waited for itself most of that time; `None`: it did not, or that is not known.
    pub waits_for: Option<Box<HolderWait>>,
}

/// What the holder of a lock waited for meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct HolderWait {
    /// Account.
    pub account: Account,
    /// How long of the other's wait.
    pub ns: u64,
    /// What for.
    pub target: Target,
    /// Who held that; its own waits are not told.
    pub holder: Option<Holder>,
}

/// What is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Not known.
    #[default]
    Unknown,
    /// Futex word.
    Lock {
        /// Address in the waiting process.
        address: u64,
    },
    /// File.
    File {
        /// Path, or its last component.
        path: String,
        /// Inode number.
        inode: u64,
    },
    /// Peer address: `127.0.0.1:5432`, `unix:/path`.
    Peer(String),
    /// Process; 0: any child.
    Process(u32),
}
