//! Loading and attaching: offsets from BTF, file operations by calibration, programs from the
//! catalogue.

use std::{
    io::Read as _,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, bail};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Array,
    programs::{BtfTracePoint, Iter, ProgramError, UProbe},
};
use whyslow_abi::{
    catalogue::{Hook, ObjectFile, PROBES},
    library::Library,
    settings::{CAST_STRUCTURE, FIELDS, LIBRARY_ENTRIES, MARKS_PER_ENTRY, global},
};

use super::{btf::KernelTypes, limits, object};
use crate::source::{Feature, KernelOptions};

/// The loaded and attached core, and what was found on the way.
pub(super) struct Loaded {
    /// The object: dropping it detaches everything.
    pub(super) ebpf: Ebpf,
    /// Per feature: on, or off with a reason.
    pub(super) features: Vec<Feature>,
    /// Libraries whose programs are loaded.
    pub(super) libraries: Vec<Library>,
}

/// Globals by name. `u64::MAX` stands for "this kernel has no such field".
pub(super) type Globals = Vec<(&'static str, u64)>;

/// Programs may have one in so many of the slots.
const PROGRAM_SHARE: u32 = 2;

/// Loads and attaches everything that this kernel allows.
///
/// # Errors
/// The core cannot be had; the reason is in plain words, with a hint.
pub(super) fn load(options: &KernelOptions) -> anyhow::Result<Loaded> {
    let types = KernelTypes::from_running_kernel()?;
    let btf = Btf::from_sys_fs().context("read the kernel's type information")?;
    let mut features = Vec::new();
    let mut globals = offsets(&types, &mut features)?;
    globals.push((global::SELF_TGID, u64::from(std::process::id())));
    globals.push((global::DISCOVER, u64::from(!options.rules.is_closed())));
    globals.push((global::ALL_PROGRAMS, u64::from(options.all_programs)));
    globals.push((global::COPY_DATA, u64::from(options.operations)));
    globals.push((global::WAIT_FLOOR_NS, options.wait_floor_ns));
    let limit = match options.loop_stall_limit_ns {
        0 => u64::MAX,
        limit => limit,
    };
    globals.push((global::LOOP_STALL_NS, limit));
    let references = types.offset("file", "f_ref");
    globals.push((global::FILE_ONE_REFERENCE, u64::from(references.is_none())));
    globals.push((
        global::PREV_STATE_ARGUMENT,
        previous_state_argument(&types)?,
    ));
    limits::find(&types, &mut globals, &mut features);
    let cast = prepare_cast(&types, &mut globals, &btf, &mut features);
    let marks = highest_thread_id()? / MARKS_PER_ENTRY + 1;
    let mut ebpf = load_object(ObjectFile::Core, &globals, cast, |loader| {
        loader
            .map_max_entries("THREADS", options.max_threads)
            .map_max_entries("FREE_SLOTS", options.max_threads)
            .map_max_entries("PROGRAM_LEAVES", program_slots(options))
            .map_max_entries("MARKS", marks)
            .map_max_entries("CONNECTIONS", options.max_connections)
            .map_max_entries("DESCRIPTORS", options.max_connections)
            .map_max_entries("RECORDS", options.ring_bytes);
        if options.probes_libraries() {
            loader
                .map_max_entries("LIBRARY_CALLS", options.max_threads)
                .map_max_entries("EARLY_CALLS", LIBRARY_ENTRIES)
                .map_max_entries("EXECUTIONS", LIBRARY_ENTRIES)
                .map_max_entries("ENCRYPTED", LIBRARY_ENTRIES);
        }
    })?;
    fill_free_slots(&mut ebpf, options.max_threads)?;
    fill_leaves(&mut ebpf, program_slots(options))?;
    attach_all(&mut ebpf, (&types, &btf), &mut features)?;
    let libraries = if options.probes_libraries() {
        load_libraries(&mut ebpf, &btf, &mut features)
    } else {
        Vec::new()
    };
    Ok(Loaded {
        ebpf,
        features,
        libraries,
    })
}

/// Loads the programs for functions of libraries, which are attached where a process has them mapped.
/// Returns the libraries that have all of theirs.
fn load_libraries(ebpf: &mut Ebpf, btf: &Btf, features: &mut Vec<Feature>) -> Vec<Library> {
    let mut loaded = Vec::new();
    for library in Library::ALL {
        let probes = PROBES
            .iter()
            .filter(|probe| probe.hook.library().is_some_and(|(of, _)| of == *library));
        let mut name = library.name();
        let mut failed = uprobes_missing();
        for probe in probes {
            name = probe.feature;
            if failed.is_none()
                && let Err(error) = load_program(ebpf, btf, probe.name, probe.hook)
            {
                failed = Some(format!("program `{}`: {}", probe.name, first_line(&error)));
            }
        }
        match failed {
            Some(reason) => features.push(off(name, &reason)),
            None => {
                features.push(on(name));
                loaded.push(*library);
            }
        }
    }
    loaded
}

/// Why this kernel cannot probe functions of programs; `None`: it can.
fn uprobes_missing() -> Option<String> {
    let unit = "/sys/bus/event_source/devices/uprobe/type";
    (!std::path::Path::new(unit).exists())
        .then(|| format!("{unit} is missing: the kernel was built without CONFIG_UPROBE_EVENTS"))
}

/// Calibrates with the kernel's cast where it has one, else without. Returns the cast's type id.
fn prepare_cast(
    types: &KernelTypes,
    globals: &mut Globals,
    btf: &Btf,
    features: &mut Vec<Feature>,
) -> Option<u32> {
    let known = types
        .function("bpf_rdonly_cast")
        .zip(types.structure(CAST_STRUCTURE));
    let (cast, result) = match known {
        Some((function, structure)) => {
            globals.push((global::CAST_TYPE, u64::from(structure)));
            match calibrate(globals, Some(function), btf) {
                Ok(operations) => (Some(function), Ok(operations)),
                Err(error) => {
                    features.push(off("direct_reads", &first_line(&error)));
                    globals.pop();
                    (None, calibrate(globals, None, btf))
                }
            }
        }
        None => {
            features.push(off(
                "direct_reads",
                "the kernel has no `bpf_rdonly_cast` (Linux 6.2): reads of its memory cost more",
            ));
            (None, calibrate(globals, None, btf))
        }
    };
    if cast.is_some() {
        features.push(on("direct_reads"));
    }
    match result {
        Ok(operations) => {
            features.push(on("descriptors"));
            globals.extend(operations);
        }
        Err(error) => features.push(off("descriptors", &first_line(&error))),
    }
    cast
}

/// The highest id that a thread can get on this host.
fn highest_thread_id() -> anyhow::Result<u32> {
    let path = "/proc/sys/kernel/pid_max";
    std::fs::read_to_string(path)
        .with_context(|| format!("read {path}"))?
        .trim()
        .parse()
        .with_context(|| format!("{path} holds no number"))
}

pub(super) fn on(name: &str) -> Feature {
    Feature {
        name: name.to_owned(),
        available: true,
        reason: String::new(),
    }
}

pub(super) fn off(name: &str, reason: &str) -> Feature {
    Feature {
        name: name.to_owned(),
        available: false,
        reason: reason.to_owned(),
    }
}

/// Looks all fields up. A field that the core needs and the kernel lacks is an error.
fn offsets(types: &KernelTypes, features: &mut Vec<Feature>) -> anyhow::Result<Globals> {
    let mut globals = Globals::new();
    for field in FIELDS {
        let offset = types.offset(field.structure, field.path).or_else(|| {
            // Linux before 5.14 has `state` where later ones have `__state`, before 6.13 `f_count`
            // where later ones have `f_ref`.
            let older = match field.path {
                "__state" => "state",
                "f_ref" => "f_count",
                // Before 6.9 there was no `struct file_lock_core`.
                "c.flc_list" => "fl_list",
                "c.flc_owner" => "fl_owner",
                "c.flc_type" => "fl_type",
                "c.flc_pid" => "fl_pid",
                _ => return None,
            };
            types.offset(field.structure, older)
        });
        match offset {
            Some(offset) => globals.push((field.global, offset)),
            None if field.feature == "core" => bail!(
                "this kernel has no `{}.{}`, which whyslow's ledger needs\n\
                 hint: please report it with the output of `uname -r`",
                field.structure,
                field.path
            ),
            None => {
                globals.push((field.global, u64::MAX));
                features.push(off(
                    field.feature,
                    &format!("the kernel has no `{}.{}`", field.structure, field.path),
                ));
            }
        }
    }
    Ok(globals)
}

/// Which argument of `sched_switch` is the previous state.
fn previous_state_argument(types: &KernelTypes) -> anyhow::Result<u64> {
    match types.tracepoint_arguments("sched_switch").as_deref() {
        Some([false, true, true, false]) => Ok(3),
        Some([false, true, true]) => Ok(u64::MAX),
        other => bail!(
            "the arguments of this kernel's sched_switch tracepoint are not known: {other:?}\n\
             hint: Linux 5.18.0 is the one release with such an order; update to a later 5.18"
        ),
    }
}

/// Loads one object with its globals.
fn load_object(
    object: ObjectFile,
    globals: &Globals,
    cast: Option<u32>,
    prepare: impl FnOnce(&mut EbpfLoader<'_>),
) -> anyhow::Result<Ebpf> {
    let mut bytes = object::bytes(object)?.to_vec();
    if let Some(function) = cast {
        object::bind_cast(&mut bytes, function)?;
    }
    let mut loader = EbpfLoader::new();
    loader.allow_unsupported_maps();
    for (name, value) in globals {
        loader.override_global(name, value, false);
    }
    prepare(&mut loader);
    loader
        .load(&bytes)
        .map_err(|error| explain(anyhow::Error::new(error)))
}

/// Puts what a refusal usually means in front of it.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let refused = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied)
    });
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if refused && !root {
        return anyhow::anyhow!(
            "loading eBPF programs is not permitted to this user\nhint: run it as root: sudo whyslow ..."
        );
    }
    anyhow::anyhow!(
        "the kernel refused an eBPF map or program of whyslow: {}",
        first_line(&error)
    )
}

fn fill_free_slots(ebpf: &mut Ebpf, count: u32) -> anyhow::Result<()> {
    let map = ebpf
        .map_mut("FREE_SLOTS")
        .context("map FREE_SLOTS is missing")?;
    let mut free = aya::maps::Queue::<_, u32>::try_from(map)?;
    for index in 0..count {
        free.push(index, 0).context("fill the list of free slots")?;
    }
    Ok(())
}

/// Features that are programs of the core.
const OF_PROBES: [&str; 7] = [
    "core",
    "signals",
    "reclaim",
    "group_reclaim",
    "accept_queue",
    "first_data",
    "file_locks",
];

/// Slots that programs may have.
fn program_slots(options: &KernelOptions) -> u32 {
    (options.max_threads / PROGRAM_SHARE).max(1)
}

fn fill_leaves(ebpf: &mut Ebpf, count: u32) -> anyhow::Result<()> {
    let map = ebpf
        .map_mut("PROGRAM_LEAVES")
        .context("map PROGRAM_LEAVES is missing")?;
    let mut leaves = aya::maps::Queue::<_, u8>::try_from(map)?;
    for _ in 0..count {
        leaves
            .push(0, 0)
            .context("fill the list of slots for programs")?;
    }
    Ok(())
}

/// Loads and attaches the core's programs, the core feature first of all.
fn attach_all(
    ebpf: &mut Ebpf,
    (types, btf): (&KernelTypes, &Btf),
    features: &mut Vec<Feature>,
) -> anyhow::Result<()> {
    // Everything is loaded before anything is attached: no half-measured moment.
    let mut failed: Vec<(&str, String)> = Vec::new();
    for probe in PROBES
        .iter()
        .filter(|probe| probe.object == ObjectFile::Core && probe.hook.library().is_none())
    {
        if let Err(error) = load_program(ebpf, btf, probe.name, probe.hook) {
            let reason = match probe.hook {
                Hook::Tracepoint(name) if types.tracepoint_arguments(name).is_none() => {
                    format!("the kernel has no tracepoint `{name}`")
                }
                _ => format!("program `{}`: {}", probe.name, first_line(&error)),
            };
            if probe.feature == "core" {
                return Err(explain(error).context(format!(
                    "whyslow's program `{}` cannot be loaded",
                    probe.name
                )));
            }
            failed.push((probe.feature, reason));
        }
    }
    // The switch hook last: it is the one that starts clocks.
    let order = |name: &str| u8::from(name == "sched_switch" || name == "sys_exit");
    let mut probes: Vec<_> = PROBES
        .iter()
        .filter(|probe| probe.object == ObjectFile::Core)
        .collect();
    probes.sort_by_key(|probe| order(probe.name));
    for probe in probes {
        if !matches!(probe.hook, Hook::Tracepoint(_))
            || failed.iter().any(|(feature, _)| *feature == probe.feature)
        {
            continue;
        }
        let program: &mut BtfTracePoint = program(ebpf, probe.name)?;
        if let Err(error) = program.attach() {
            let error = anyhow::Error::new(error);
            if probe.feature == "core" {
                return Err(
                    explain(error).context(format!("program `{}` cannot be attached", probe.name))
                );
            }
            failed.push((probe.feature, first_line(&error)));
        }
    }
    for feature in OF_PROBES {
        // A field may be missing, which is told already.
        if features.iter().any(|it| it.name == feature) {
            continue;
        }
        match failed.iter().find(|(name, _)| *name == feature) {
            Some((_, reason)) => features.push(off(feature, reason)),
            None => features.push(on(feature)),
        }
    }
    Ok(())
}

/// The causes in one line, without a verifier's log: that may have thousands of lines, and goes to
/// our own log.
fn first_line(error: &anyhow::Error) -> String {
    tracing::debug!("{error:#}");
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // The words of aya's errors for programs and for type information.
        let words = text.split("Verifier output:").next().unwrap_or_default();
        let words = words.lines().next().unwrap_or_default();
        let words = words.trim_end_matches(['.', ' ']);
        // Many an error says its cause itself.
        if !line.contains(words) {
            line += if line.is_empty() { "" } else { ": " };
            line += words;
        }
    }
    line
}

/// A program of the object.
///
/// # Errors
/// It is not there, or is of another type.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("program `{name}` is missing"))?;
    Ok(program.try_into()?)
}

fn load_program(ebpf: &mut Ebpf, btf: &Btf, name: &str, hook: Hook) -> anyhow::Result<()> {
    match hook {
        Hook::Tracepoint(tracepoint) => {
            program::<BtfTracePoint>(ebpf, name)?.load(tracepoint, btf)?;
        }
        Hook::TaskIterator => program::<Iter>(ebpf, name)?.load("task", btf)?,
        Hook::Call(..) | Hook::Return(..) => program::<UProbe>(ebpf, name)?.load()?,
    }
    Ok(())
}

/// Runs a loaded task iterator once, over all threads of the host.
///
/// # Errors
/// It cannot be attached or read.
pub(super) fn run_iterator(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<()> {
    let iterator: &mut Iter = program(ebpf, name)?;
    let link = iterator.attach()?;
    let mut file = iterator.take_link(link)?.into_file()?;
    let mut nothing = Vec::new();
    file.read_to_end(&mut nothing)
        .with_context(|| format!("run the iterator `{name}`"))?;
    Ok(())
}

/// Opens one of each anonymous kind and lets the kernel tell their file operations.
fn calibrate(globals: &Globals, cast: Option<u32>, btf: &Btf) -> anyhow::Result<Globals> {
    let pid = libc::c_long::from(i32::try_from(std::process::id())?);
    // SAFETY: plain system calls that return a new descriptor or an error.
    let raw: [(&'static str, i32); 4] = unsafe {
        [
            (global::OPS_EVENT, libc::eventfd(0, libc::EFD_CLOEXEC)),
            (global::OPS_EPOLL, libc::epoll_create1(libc::EPOLL_CLOEXEC)),
            (
                global::OPS_TIMER,
                libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC),
            ),
            (
                global::OPS_PIDFD,
                i32::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).unwrap_or(-1),
            ),
        ]
    };
    // SAFETY: each descriptor was just made and has no other owner.
    let descriptors: Vec<(&'static str, OwnedFd)> = raw
        .into_iter()
        .filter(|(_, fd)| *fd >= 0)
        .map(|(name, fd)| (name, unsafe { OwnedFd::from_raw_fd(fd) }))
        .collect();
    let mut ebpf = load_object(ObjectFile::Calibrate, globals, cast, |_| {})?;
    load_program(&mut ebpf, btf, "calibrate", Hook::TaskIterator)?;
    let map = ebpf
        .map_mut("DESCRIPTORS")
        .context("map DESCRIPTORS is missing")?;
    let mut wanted = Array::<_, u32>::try_from(map)?;
    for (index, (_, fd)) in descriptors.iter().enumerate() {
        wanted.set(u32::try_from(index)?, u32::try_from(fd.as_raw_fd())?, 0)?;
    }
    run_iterator(&mut ebpf, "calibrate")?;
    let map = ebpf
        .map("OPERATIONS")
        .context("map OPERATIONS is missing")?;
    let found = Array::<_, u64>::try_from(map)?;
    let mut operations = Globals::new();
    for (index, (name, _)) in descriptors.iter().enumerate() {
        let address = found.get(&u32::try_from(index)?, 0)?;
        if address == 0 {
            bail!("the kernel's file operations could not be learned");
        }
        operations.push((name, address));
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As aya's error for a program that the verifier refuses.
    #[derive(Debug, thiserror::Error)]
    #[error("the BPF_PROG_LOAD syscall returned {error}. Verifier output: {log}")]
    struct Refused {
        #[source]
        error: std::io::Error,
        log: &'static str,
    }

    #[test]
    fn a_verifier_s_log_is_never_part_of_a_reason() {
        let refused = |number| {
            let error = std::io::Error::from_raw_os_error(number);
            let log = "Func#1 is global\n0: R1=ctx()\nprocessed 1000001 insns";
            anyhow::Error::new(Refused { error, log }).context("load it")
        };
        assert_eq!(
            first_line(&refused(libc::E2BIG)),
            "load it: the BPF_PROG_LOAD syscall returned Argument list too long (os error 7)"
        );
        for number in [libc::E2BIG, libc::EPERM, libc::EINVAL] {
            let text = format!("{:#}", explain(refused(number)));
            assert!(
                !text.contains("Func#1") && !text.contains("insns"),
                "{text}"
            );
            // A refusal for want of root has a hint.
            assert!(text.lines().count() <= 2, "{text}");
        }
    }
}
