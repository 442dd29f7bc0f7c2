//! The kernel, through eBPF: loads the programs, reads their rings and maps, carries out orders.
//!
//! Dropping the source detaches everything: nothing is pinned, so nothing outlives the process
//! either way.

mod admission;
mod btf;
mod interpreters;
mod libraries;
mod limits;
mod listeners;
mod live;
mod load;
mod lock_files;
mod mapped;
mod object;
mod process;
mod rules;
mod slots;
mod sockets;

pub(crate) use sockets::listening_ports;

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{HashMap as KernelHash, MapData, PerCpuArray, RingBuf},
};
use aya_log::EbpfLogger;
use whyslow_abi::{
    connection::{ConnectionState, SERVER_IGNORED, SocketPlace},
    handover::{HANDS_OVER, MAY_HAND_OVER},
    library::Library,
    loss::LossReason,
    plain_bytes, read_plain,
    record::{
        LifecycleKind, LifecycleRecord, ProgramEvent, ProgramRecord, RecordHeader, RecordKind,
    },
    thread::Adoption,
};
use whyslow_engine::{
    input::Input,
    output::{Command, Query},
};

use self::{
    admission::Admission, interpreters::Interpreters, libraries::Libraries, listeners::Listeners,
    lock_files::LockFiles, rules::Verdict, slots::SlotMap, sockets::SocketTables,
};
use super::{Depth, Feature, KernelOptions, Source, WatchRules};

/// A socket behind a descriptor as a map value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PlaceValue(SocketPlace);

// SAFETY: plain integers (`whyslow_abi::Plain`).
unsafe impl aya::Pod for PlaceValue {}

/// A connection's state as a map value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct ConnectionValue(ConnectionState);

// SAFETY: plain integers (`whyslow_abi::Plain`).
unsafe impl aya::Pod for ConnectionValue {}

/// The kernel side, running.
pub struct KernelSource {
    // Declared first: programs are detached before maps are unmapped.
    libraries: Libraries,
    interpreters: Interpreters,
    ebpf: Ebpf,
    records: RingBuf<MapData>,
    signals: RingBuf<MapData>,
    connections: KernelHash<MapData, u64, ConnectionValue>,
    descriptors: KernelHash<MapData, u64, PlaceValue>,
    targets: KernelHash<MapData, u32, u32>,
    servers: KernelHash<MapData, u64, u32>,
    handovers: KernelHash<MapData, u32, u32>,
    losses: PerCpuArray<MapData, u64>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    slots: SlotMap,
    /// Signals and ends that wait for older records.
    held: Vec<Vec<u8>>,
    /// States of connections, and when they were looked up: they tell of what the ring may still hold.
    looked_up: Vec<(u64, Input)>,
    /// Slot of each watched thread.
    threads: HashMap<u32, u32>,
    /// Processes whose threads are all watched.
    families: HashSet<u32>,
    sockets: SocketTables,
    listeners: Listeners,
    lock_files: LockFiles,
    rules: WatchRules,
    admission: Admission,
    features: Vec<Feature>,
    operations: bool,
}

impl KernelSource {
    /// Loads and attaches the programs, and takes stock of what runs.
    ///
    /// # Errors
    /// The kernel or the privileges do not allow it, or a process named by the rules is not there.
    pub fn start(options: KernelOptions) -> anyhow::Result<Self> {
        rules::check(&options.rules)?;
        let load::Loaded {
            mut ebpf,
            features,
            libraries,
        } = load::load(&options)?;
        let threads = take(&mut ebpf, "THREADS")?;
        let aya::maps::Map::Array(threads) = threads else {
            anyhow::bail!("map THREADS is not an array");
        };
        let mut this = Self {
            libraries: Libraries::new(libraries),
            interpreters: Interpreters::new(take(&mut ebpf, "INTERPRETERS")?.try_into()?),
            slots: SlotMap::new(&threads, options.max_threads)?,
            records: take(&mut ebpf, "RECORDS")?.try_into()?,
            signals: take(&mut ebpf, "SIGNALS")?.try_into()?,
            connections: take(&mut ebpf, "CONNECTIONS")?.try_into()?,
            descriptors: take(&mut ebpf, "DESCRIPTORS")?.try_into()?,
            targets: take(&mut ebpf, "TARGETS")?.try_into()?,
            servers: take(&mut ebpf, "SERVERS")?.try_into()?,
            handovers: take(&mut ebpf, "HANDOVERS")?.try_into()?,
            losses: take(&mut ebpf, "LOSSES")?.try_into()?,
            logger: EbpfLogger::init(&mut ebpf)
                .inspect_err(|error| tracing::debug!("no log lines from the programs: {error}"))
                .ok(),
            held: Vec::new(),
            looked_up: Vec::new(),
            threads: HashMap::new(),
            families: HashSet::new(),
            sockets: SocketTables::default(),
            listeners: Listeners::default(),
            lock_files: LockFiles::default(),
            rules: options.rules,
            admission: Admission::default(),
            features,
            operations: options.operations,
            ebpf,
        };
        // Only now: what starts to listen after this look is seen by the programs. Twice: a child
        // forked between the first look and the adoption is found by the second, and those forked
        // later inherit.
        for _ in 0..2 {
            let stock = rules::take_stock(&this.rules);
            this.carry_out(&stock)?;
        }
        this.look();
        Ok(this)
    }

    /// Looks at what processes have mapped, where that is due.
    fn look(&mut self) {
        let now_ns = crate::host::monotonic_ns();
        self.libraries.look(&mut self.ebpf, now_ns);
        self.interpreters.look(now_ns);
    }

    /// Takes out, from `start` on, the records of processes that nobody wants; keeps track of the others.
    fn admit(&mut self, into: &mut Vec<Input>, start: usize) -> anyhow::Result<()> {
        let refused = |input: &mut Input| match input {
            Input::Record(bytes) if self.admission.admits(bytes, &self.rules) => {
                note(&mut self.threads, &mut self.families, bytes);
                note_process(&mut self.libraries, &mut self.interpreters, bytes);
                false
            }
            Input::Record(_) => true,
            _ => false,
        };
        into.extract_if(start.., refused).for_each(drop);
        let drop = self.admission.take_dropped();
        if drop.is_empty() {
            return Ok(());
        }
        self.carry_out(&Verdict {
            drop,
            ..Verdict::default()
        })
    }

    /// Runs the adoption pass for a verdict.
    fn carry_out(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        let wanted = [
            (Adoption::Watch, &verdict.watch),
            (Adoption::Follow, &verdict.follow),
            (Adoption::Candidate, &verdict.candidates),
            (Adoption::Drop, &verdict.drop),
        ];
        tracing::debug!(?verdict, "adoption");
        for pid in verdict.watch.iter().chain(&verdict.candidates) {
            self.libraries.watch(*pid);
            self.interpreters.watch(*pid);
        }
        let mut set = Vec::new();
        for (action, pids) in wanted {
            for pid in pids {
                self.targets
                    .insert(*pid, action as u32, 0)
                    .with_context(|| format!("choose process {pid}"))?;
                set.push(*pid);
            }
        }
        if set.is_empty() {
            return Ok(());
        }
        let result = load::run_iterator(&mut self.ebpf, "adopt");
        for pid in set {
            // Each was inserted above; one that is gone does no harm.
            let _ = self.targets.remove(&pid);
        }
        result
    }
}

/// When a record was made; 0 for what is no record.
fn time_of(bytes: &[u8]) -> u64 {
    read_plain::<RecordHeader>(bytes).map_or(0, |header| header.time_ns)
}

/// Keeps track of which slot a thread has, and of processes that end.
fn note(threads: &mut HashMap<u32, u32>, families: &mut HashSet<u32>, bytes: &[u8]) {
    let Some(header) = read_plain::<RecordHeader>(bytes) else {
        return;
    };
    if header.kind == RecordKind::Program as u32 {
        return note_program(threads, bytes);
    }
    if header.kind != RecordKind::Lifecycle as u32 {
        return;
    }
    let Some(record) = read_plain::<LifecycleRecord>(bytes) else {
        return;
    };
    match LifecycleKind::try_from(record.event) {
        Ok(LifecycleKind::Exit | LifecycleKind::Exec) => {
            threads.remove(&header.tid);
            if record.last != 0 || record.event == LifecycleKind::Exec as u32 {
                families.remove(&header.tgid);
            }
        }
        Ok(_) if record.slot != u32::MAX => {
            threads.insert(header.tid, record.slot);
        }
        _ => {}
    }
}

/// The same of programs, which are told after what they were before.
fn note_program(threads: &mut HashMap<u32, u32>, bytes: &[u8]) {
    let Some(record) = read_plain::<ProgramRecord>(bytes) else {
        return;
    };
    if record.event == ProgramEvent::Exit as u32 {
        threads.remove(&record.header.tid);
    } else {
        threads.insert(record.header.tid, record.slot);
    }
}

/// Keeps track of processes whose libraries and interpreters are looked at.
fn note_process(libraries: &mut Libraries, interpreters: &mut Interpreters, bytes: &[u8]) {
    let Some(record) = read_plain::<LifecycleRecord>(bytes) else {
        return;
    };
    if record.header.kind != RecordKind::Lifecycle as u32 {
        return;
    }
    match LifecycleKind::try_from(record.event) {
        Ok(LifecycleKind::Exit) if record.last == 0 => {}
        Ok(LifecycleKind::Exit | LifecycleKind::Exec) => {
            libraries.ended(record.header.tgid);
            interpreters.ended(record.header.tgid);
        }
        _ if record.slot != u32::MAX => {
            libraries.watch(record.header.tgid);
            interpreters.watch(record.header.tgid);
        }
        _ => {}
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<aya::maps::Map> {
    ebpf.take_map(name)
        .with_context(|| format!("map {name} is missing"))
}

/// What this kernel and these privileges allow: loads everything for a moment.
#[must_use]
pub fn probe_features() -> Vec<Feature> {
    let options = KernelOptions {
        max_threads: 16,
        max_connections: 16,
        ring_bytes: 4096,
        operations: true,
        library_probes: true,
        ..KernelOptions::default()
    };
    match load::load(&options) {
        Ok(loaded) => {
            let mut features = loaded.features;
            features.push(library_probes(&loaded.libraries));
            features
        }
        Err(error) => vec![Feature {
            name: "core".to_owned(),
            available: false,
            reason: format!("{error:#}"),
        }],
    }
}

/// Which libraries an agent would probe now, if it was to.
fn library_probes(ready: &[Library]) -> Feature {
    let serving = rules::take_stock(&WatchRules::default()).candidates;
    let found = libraries::survey(&serving);
    let reason = if ready.is_empty() {
        "see the features of the libraries".to_owned()
    } else if found.is_empty() {
        "no process that listens has SQLite or OpenSSL mapped; off without --library-probes"
            .to_owned()
    } else {
        let list = found.join(", ");
        format!(
            "off unless asked for: --operations --library-probes puts breakpoints on functions of {list}"
        )
    };
    Feature {
        name: "library_probes".to_owned(),
        available: !ready.is_empty(),
        reason,
    }
}

impl Source for KernelSource {
    fn drain(&mut self, into: &mut Vec<Input>, limit: usize) -> anyhow::Result<bool> {
        // Signals and ends first: whatever led to one of them is then in the other ring already.
        while let Some(item) = self.signals.next() {
            self.held.push(item.to_vec());
        }
        let looked_up = std::mem::take(&mut self.looked_up);
        let start = into.len();
        let mut newest = 0;
        let mut more = false;
        while let Some(item) = self.records.next() {
            newest = time_of(&item);
            into.push(Input::Record(item.to_vec()));
            more = into.len() - start >= limit;
            if more {
                break;
            }
        }
        // What is newer than the last record taken waits for the records before it.
        let ready = |bytes: &mut Vec<u8>| !more || time_of(bytes) <= newest;
        into.extend(self.held.extract_if(.., ready).map(Input::Record));
        into[start..].sort_by_key(|input| match input {
            Input::Record(bytes) => time_of(bytes),
            _ => 0,
        });
        self.admit(into, start)?;
        for (asked_ns, state) in looked_up {
            if more && asked_ns > newest {
                self.looked_up.push((asked_ns, state));
            } else {
                into.push(state);
            }
        }
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        self.look();
        let probed = self.libraries.take_probed().into_iter();
        into.extend(probed.map(|probed| Input::Probed {
            pid: probed.pid,
            since_ns: probed.since_ns,
        }));
        Ok(more)
    }

    fn answer(&mut self, query: &Query) -> Option<Input> {
        match query {
            Query::Connection { id } => {
                let state = self.connections.get(id, 0).ok();
                let state = state.map(|state| plain_bytes(&state.0).to_vec());
                let state = Input::Connection { id: *id, state };
                self.looked_up.push((crate::host::monotonic_ns(), state));
                None
            }
            Query::Thread { tid } => self.sample_thread(*tid, Depth::Wait),
            Query::Process { pid } => Some(Input::Process {
                pid: *pid,
                fact: process::fact(*pid),
            }),
            Query::Memory { pid } => Some(Input::Memory {
                pid: *pid,
                fact: process::memory_of(*pid),
            }),
            Query::Listeners { pid } => Some(Input::Listeners {
                pid: *pid,
                fact: self.listeners.of(*pid),
            }),
            Query::LockFile { pid, path } => Some(Input::LockFile {
                pid: *pid,
                path: path.clone(),
                fact: self.lock_files.holder(*pid, path),
            }),
            Query::Path { pid, fd, inode } => {
                let same = process::descriptor_inode(*pid, *fd) == Some(*inode);
                let path = same.then(|| process::descriptor(*pid, *fd)).flatten();
                Some(Input::Path {
                    pid: *pid,
                    fd: *fd,
                    inode: *inode,
                    path,
                })
            }
        }
    }

    fn reads_operations(&self) -> bool {
        self.operations
    }

    fn obey(&mut self, command: &Command) -> anyhow::Result<()> {
        match command {
            Command::ForgetConnection { id, pid, fd } => {
                let _ = self.connections.remove(id);
                let key = u64::from(*pid) << 32 | u64::from(fd.cast_unsigned());
                // The descriptor may have been used anew.
                if self.descriptors.get(&key, 0).is_ok_and(|of| of.0.id == *id) {
                    let _ = self.descriptors.remove(&key);
                }
                Ok(())
            }
            // Each thread that reads its first request asks; once is enough.
            Command::WatchFamily { pid } if self.families.contains(pid) => Ok(()),
            Command::WatchFamily { pid } => {
                let family = rules::family(*pid, &self.rules);
                self.families.extend(&family.watch);
                self.carry_out(&family)
            }
            Command::IgnoreServer { id } => self
                .servers
                .insert(*id, SERVER_IGNORED, 0)
                .with_context(|| format!("leave socket {id} alone")),
            Command::ForgetServer { id } => {
                // The kernel may have dropped it already.
                let _ = self.servers.remove(id);
                Ok(())
            }
            Command::LookForLibraries { pid } => {
                self.libraries.hurry(*pid);
                Ok(())
            }
            Command::FollowServer { pid, peer } => {
                self.carry_out(&rules::server(*pid, peer, &self.rules))
            }
            Command::TellMarks { pid, certain } => self
                .handovers
                .insert(*pid, if *certain { HANDS_OVER } else { MAY_HAND_OVER }, 0)
                .with_context(|| format!("look at how process {pid} hands over")),
            Command::Judge { pid } => self.carry_out(&rules::judge(*pid, &self.rules)),
        }
    }

    fn sample_thread(&mut self, tid: u32, depth: Depth) -> Option<Input> {
        let slot = self
            .threads
            .get(&tid)
            .and_then(|index| self.slots.read(*index));
        let slot = slot.filter(|slot| slot.tid == tid);
        let wait = slot
            .as_ref()
            .filter(|_| depth == Depth::Wait)
            .and_then(|slot| {
                let is_lock = |pid, word| self.interpreters.has_lock(pid, word);
                live::current_wait(slot, &mut self.sockets, &is_lock)
            });
        let slot = slot.as_ref().map(|slot| plain_bytes(slot).to_vec());
        Some(Input::Thread { tid, slot, wait })
    }

    fn losses(&mut self) -> Option<Input> {
        let counters = (0..LossReason::COUNT)
            .map(|reason| {
                let values = self.losses.get(&u32::try_from(reason).ok()?, 0).ok()?;
                Some(values.iter().sum())
            })
            .collect::<Option<Vec<u64>>>()?;
        Some(Input::Losses(counters))
    }

    fn monotonic_ns(&self) -> u64 {
        crate::host::monotonic_ns()
    }

    fn features(&self) -> Vec<Feature> {
        self.features.clone()
    }
}
