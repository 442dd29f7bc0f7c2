//! What a scenario file says.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    #[expect(dead_code, reason = "for people")]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) show_query: bool,
    #[serde(default)]
    pub(crate) rules: Vec<String>,
    #[serde(default)]
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) step: Vec<Step>,
    #[serde(default)]
    pub(crate) finished: Vec<Finished>,
    #[serde(default)]
    pub(crate) stalled: Vec<Stalled>,
    #[serde(default)]
    pub(crate) ended: Vec<Ended>,
    #[serde(default)]
    pub(crate) losses: BTreeMap<String, u64>,
    #[serde(default)]
    pub(crate) commands: Vec<String>,
    #[serde(default)]
    pub(crate) in_flight: usize,
}

/// One thing that happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Milliseconds.
    pub(crate) at: f64,
    /// What: see `Run::step`.
    #[serde(rename = "do")]
    pub(crate) action: String,
    #[serde(default = "default_pid")]
    pub(crate) pid: u32,
    /// The process's main thread unless given.
    pub(crate) tid: Option<u32>,
    #[serde(default)]
    pub(crate) connection: u64,
    /// That of the connection unless given.
    pub(crate) fd: Option<i32>,
    #[serde(default)]
    pub(crate) data: String,
    /// Repeats `data`.
    #[serde(default = "one")]
    pub(crate) times: usize,
    /// Of "read", milliseconds: its connection was established, and taken. 0: not seen.
    #[serde(default)]
    pub(crate) connected: f64,
    #[serde(default)]
    pub(crate) accepted: f64,
    /// Of "read", milliseconds: the first of its bytes came. 0: not known.
    #[serde(default)]
    pub(crate) arrived: f64,
    /// Bytes more than `data` that were read or written.
    #[serde(default)]
    pub(crate) more: usize,
    /// Of "ask" and "answer": the socket to the server; its port is the same number.
    #[serde(default)]
    pub(crate) server: u64,
    /// Of "ask" and "answer": bytes behind `data` and `more`.
    #[serde(default)]
    pub(crate) tail: String,
    /// Of "ask" and "answer": the kernel side ships no more for this request.
    #[serde(default)]
    pub(crate) last: bool,
    /// Milliseconds by account since the thread's last step; the rest is cpu.
    #[serde(default)]
    pub(crate) spent: BTreeMap<String, f64>,
    #[serde(default)]
    pub(crate) code: u32,
    #[serde(default)]
    pub(crate) sender: u32,
    /// Of "woken" and "stalls": when the wait or the stall began.
    #[serde(default)]
    pub(crate) since: f64,
    /// Of "read": the thread is an event loop.
    #[serde(default)]
    pub(crate) by_loop: bool,
    /// The records of this step are lost.
    #[serde(default)]
    pub(crate) lost: bool,
    /// The records of this step are sent after those of the next one.
    #[serde(default)]
    pub(crate) late: bool,
    #[serde(default)]
    pub(crate) counters: Vec<u64>,
    /// Of "fork" and "program_fork": the process and the thread that made it; it is its main thread where only one is
    /// given.
    #[serde(default)]
    pub(crate) by: Vec<u32>,
    /// Of "program_exit": milliseconds; 0: nothing was written.
    #[serde(default)]
    pub(crate) first_output: f64,
    /// Of "program_exit".
    #[serde(default)]
    pub(crate) files: u32,
}

/// A child of a request; what is left out is 0 or false.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) command: String,
    pub(crate) parent: u32,
    pub(crate) start_ms: f64,
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) startup_ms: f64,
    pub(crate) waited_ms: f64,
    pub(crate) exit_code: u32,
    pub(crate) signal: u32,
    pub(crate) running: bool,
    pub(crate) files: u32,
    pub(crate) ledger: BTreeMap<String, f64>,
    pub(crate) count: u32,
}

impl Default for Child {
    fn default() -> Self {
        Self {
            pid: 0,
            command: String::new(),
            parent: default_pid(),
            start_ms: 0.0,
            wall_ms: 0.0,
            cpu_ms: 0.0,
            startup_ms: 0.0,
            waited_ms: 0.0,
            exit_code: 0,
            signal: 0,
            running: false,
            files: 0,
            ledger: BTreeMap::new(),
            count: 1,
        }
    }
}

pub(crate) fn default_pid() -> u32 {
    100
}

pub(crate) fn one() -> usize {
    1
}

/// A finished request; what is left out is not looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    pub(crate) method: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) end: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) tid: Option<u32>,
    pub(crate) begin_ms: Option<f64>,
    pub(crate) wall_ms: Option<f64>,
    pub(crate) binding: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) worker: Option<u32>,
    pub(crate) ledger: Option<BTreeMap<String, f64>>,
    pub(crate) bytes_in: Option<u64>,
    pub(crate) bytes_out: Option<u64>,
    pub(crate) head_read_ms: Option<f64>,
    pub(crate) first_byte_ms: Option<f64>,
    pub(crate) send_ms: Option<f64>,
    pub(crate) socket_queue_ms: Option<f64>,
    /// This and the next four: -1 for what is not known.
    pub(crate) accept_queue_ms: Option<f64>,
    pub(crate) accept_to_read_ms: Option<f64>,
    pub(crate) body_read_ms: Option<f64>,
    pub(crate) proxy_queue_ms: Option<f64>,
    pub(crate) queue_unknown: Option<String>,
    pub(crate) loss: Option<Vec<String>>,
    pub(crate) traceparent: Option<String>,
    pub(crate) x_request_id: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) wait_path: Option<String>,
    /// All of them, most time first.
    pub(crate) operations: Option<Vec<Operation>>,
    /// All of them, longest first.
    pub(crate) children: Option<Vec<Child>>,
}

/// Operations of one shape; what is left out is 0, false or empty.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Operation {
    pub(crate) protocol: String,
    pub(crate) peer: String,
    pub(crate) shape: String,
    pub(crate) count: u64,
    pub(crate) total_ms: f64,
    pub(crate) slowest_ms: f64,
    pub(crate) first_byte_ms: f64,
    pub(crate) rows: u64,
    pub(crate) errors: u64,
    pub(crate) last_error: String,
    pub(crate) repeated: bool,
    pub(crate) sampled: bool,
    pub(crate) times_shared: bool,
}

/// A stalled event loop.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stalled {
    pub(crate) tid: u32,
    pub(crate) ms: f64,
    pub(crate) run_queue_ms: f64,
    pub(crate) requests: u64,
    /// Target of the request that began with it; empty: none.
    pub(crate) began_with: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) signal: u32,
    pub(crate) sender: u32,
    pub(crate) process: bool,
    /// It was serving a request.
    pub(crate) request: bool,
}
