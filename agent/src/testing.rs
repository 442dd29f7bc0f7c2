//! What several tests share: a finished request, and a source that is a script.

use std::{collections::VecDeque, sync::Arc};

use whyslow_abi::{account::Account, descriptor::IoKind, syscall::SyscallClass};
use whyslow_engine::{
    input::Input,
    output::{
        Binding, Command, EndReason, LedgerEntry, Query, RequestFinished, RequestId,
        RequestStarted, Target, WaitEntry,
    },
};

use crate::source::{Feature, Source};

/// A request with every field set.
pub(crate) fn finished() -> RequestFinished {
    RequestFinished {
        started: Arc::new(RequestStarted {
            id: RequestId(0xab),
            method: "GET".to_owned(),
            target: "/users/7?q=?".to_owned(),
            route: "/users/{id}".to_owned(),
            pid: 100,
            tid: 101,
            comm: "gunicorn".to_owned(),
            start_ns: 2_000_000_000,
            host: "example.org".to_owned(),
            client: "127.0.0.1:4000".to_owned(),
        }),
        status: 200,
        end_reason: EndReason::Complete,
        wall_ns: 5_000_000,
        binding: Binding::Thread,
        binding_reason: "",
        ledger: vec![
            LedgerEntry {
                account: Account::DiskSync,
                ns: 4_000_000,
                count: 2,
            },
            LedgerEntry {
                account: Account::Cpu,
                ns: 1_000_000,
                count: 0,
            },
        ],
        waits: vec![WaitEntry {
            account: Account::DiskSync,
            start_ns: 2_000_500_000,
            ns: 3_000_000,
            target: Target::File {
                path: "/var/lib/app.db".to_owned(),
                inode: 12,
            },
        }],
        bytes_in: 120,
        bytes_out: 4096,
        bytes: vec![(IoKind::Client, 120, 4096)],
        syscalls: vec![(SyscallClass::Read, 3)],
        context_switches: 4,
        minor_faults: 5,
        major_faults: 6,
        head_read_ns: 7,
        first_byte_ns: 8,
        send_ns: 9,
        socket_queue_ns: 10,
        loss: vec!["payload_cut"],
        traceparent: "00-1-2-01".to_owned(),
        x_request_id: "abc".to_owned(),
    }
}

/// Delivers what it was given, then nothing. Its clock stands where it was put.
#[derive(Debug, Default)]
pub(crate) struct ScriptSource {
    pub(crate) inputs: VecDeque<Input>,
    pub(crate) now_ns: u64,
    pub(crate) obeyed: Vec<Command>,
}

impl Source for ScriptSource {
    fn drain(&mut self, into: &mut Vec<Input>, limit: usize) -> anyhow::Result<bool> {
        let count = limit.min(self.inputs.len());
        into.extend(self.inputs.drain(..count));
        Ok(!self.inputs.is_empty())
    }

    fn answer(&mut self, _query: &Query) -> Option<Input> {
        None
    }

    fn obey(&mut self, command: &Command) -> anyhow::Result<()> {
        self.obeyed.push(command.clone());
        Ok(())
    }

    fn sample_thread(&mut self, _tid: u32) -> Option<Input> {
        None
    }

    fn losses(&mut self) -> Option<Input> {
        None
    }

    fn monotonic_ns(&self) -> u64 {
        self.now_ns
    }

    fn features(&self) -> Vec<Feature> {
        vec![Feature {
            name: "core".to_owned(),
            available: true,
            reason: String::new(),
        }]
    }
}

/// A folder that is gone with the test.
#[derive(Debug)]
pub(crate) struct TempDir(std::path::PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("whyslow-test-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
