//! Where the engine's inputs come from: the kernel, or a recording.
//!
//! Not here: deciding what inputs mean (the engine) and when they are taken (the pipeline). A source
//! never blocks and has one caller.

use whyslow_abi::settings::{DEFAULT_CONNECTIONS, DEFAULT_RING_BYTES, DEFAULT_THREADS};
use whyslow_engine::{
    input::Input,
    output::{Command, Query},
};

pub mod kernel;
pub mod recording;

/// How much is looked up of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Its state and its ledger: copied from a mapped array.
    State,
    /// What it waits for, too: system calls and readings of `/proc`, for when somebody looks.
    Wait,
}

/// Where inputs come from: the kernel, or a recording.
pub trait Source: Send {
    /// Takes what has arrived, at most `limit` inputs, appended to `into`. Never blocks. Returns
    /// whether more is waiting.
    ///
    /// # Errors
    /// The source is over: it cannot deliver anything more. What was appended before counts.
    fn drain(&mut self, into: &mut Vec<Input>, limit: usize) -> anyhow::Result<bool>;

    /// Answers a query of the engine; `None`: the answer comes with what is drained, or never.
    fn answer(&mut self, query: &Query) -> Option<Input>;

    /// Carries out a command of the engine.
    ///
    /// # Errors
    /// The command failed; the pipeline logs it and goes on.
    fn obey(&mut self, command: &Command) -> anyhow::Result<()>;

    /// Reads a thread's live slot: an [`Input::Thread`].
    fn sample_thread(&mut self, tid: u32, depth: Depth) -> Option<Input>;

    /// The loss counters as they stand: an [`Input::Losses`].
    fn losses(&mut self) -> Option<Input>;

    /// Now, monotonic clock of the host (of the recorded one in a replay), ns.
    fn monotonic_ns(&self) -> u64;

    /// What this source can and cannot do, with reasons.
    fn features(&self) -> Vec<Feature>;

    /// Kernel release of the host that the inputs come from.
    fn kernel(&self) -> String {
        crate::host::kernel_release()
    }

    /// The inputs hold ticks, answers and samples already: the pipeline must not add any.
    fn is_replay(&self) -> bool {
        false
    }

    /// Bytes that requests exchange with servers are among the inputs. Of a recording, the inputs tell.
    fn reads_operations(&self) -> bool {
        false
    }

    /// Nothing will ever arrive any more.
    fn has_ended(&self) -> bool {
        false
    }
}

/// One thing that the kernel or the privileges may or may not allow.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Feature {
    /// Name, from `whyslow_abi::catalogue` where it has a probe.
    pub name: String,
    /// It is on.
    pub available: bool,
    /// Why not, and what mends it; empty when available.
    pub reason: String,
}

/// Which processes are watched. Exclusions win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRules {
    /// Processes by id.
    pub pids: Vec<u32>,
    /// Processes by name of the main thread.
    pub comms: Vec<String>,
    /// Processes that listen on one of these TCP ports.
    pub ports: Vec<u16>,
    /// Processes in these control groups, or below.
    pub cgroups: Vec<String>,
    /// Never these processes.
    pub exclude_pids: Vec<u32>,
    /// Never processes of these names.
    pub exclude_comms: Vec<String>,
    /// Never processes that listen on one of these TCP ports.
    pub exclude_ports: Vec<u16>,
    /// Never processes in these control groups, or below.
    pub exclude_cgroups: Vec<String>,
}

impl WatchRules {
    /// Nothing was chosen: processes that serve HTTP are found by themselves.
    #[must_use]
    pub fn discovers(&self) -> bool {
        self.pids.is_empty()
            && self.comms.is_empty()
            && self.ports.is_empty()
            && self.cgroups.is_empty()
    }

    /// Processes that run by now were chosen, and no others.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.pids.is_empty()
            && self.comms.is_empty()
            && self.ports.is_empty()
            && self.cgroups.is_empty()
    }
}

/// How the kernel side is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelOptions {
    /// Which processes are watched.
    pub rules: WatchRules,
    /// Bytes of the core ring; a power of two, at least one page.
    pub ring_bytes: u32,
    /// Threads watched at the most.
    pub max_threads: u32,
    /// Connections followed at the most.
    pub max_connections: u32,
    /// Shortest wait that is kept with a request, ns.
    pub wait_floor_ns: u64,
    /// Programs that no watched process started are followed too.
    pub all_programs: bool,
    /// An event loop that does not come back to poll for this long is told, ns; 0: none is.
    pub loop_stall_limit_ns: u64,
    /// What requests ask of servers is read.
    pub operations: bool,
    /// For that, functions of libraries that processes have mapped are probed.
    pub library_probes: bool,
}

impl KernelOptions {
    /// Whether functions of libraries are probed.
    #[must_use]
    pub fn probes_libraries(&self) -> bool {
        self.operations && self.library_probes
    }
}

impl Default for KernelOptions {
    fn default() -> Self {
        Self {
            rules: WatchRules::default(),
            ring_bytes: DEFAULT_RING_BYTES,
            max_threads: DEFAULT_THREADS,
            max_connections: DEFAULT_CONNECTIONS,
            wait_floor_ns: 1_000_000,
            all_programs: false,
            loop_stall_limit_ns: 20_000_000,
            operations: false,
            library_probes: false,
        }
    }
}
