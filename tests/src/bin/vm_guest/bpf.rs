//! What is loaded in the kernel, asked by bpf(2) itself and not by the agent under test.
//!
//! Numbers and layouts are those of `include/uapi/linux/bpf.h`, Linux 6.1. Structures grow at
//! their end only, and the kernel takes shorter ones.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result};

const PROG_GET_NEXT_ID: libc::c_int = 11;
const MAP_GET_NEXT_ID: libc::c_int = 12;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const LINK_GET_NEXT_ID: libc::c_int = 31;

/// Longest program name: `BPF_OBJ_NAME_LEN` without the final NUL.
pub(crate) const NAME_LENGTH: usize = 15;

/// Start of `union bpf_attr` for the commands used here: all take an id first.
#[repr(C)]
#[derive(Default)]
struct IdAttribute {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttribute {
    fd: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to `verified_insns` (Linux 5.16).
#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    /// From `tag` to `map_ids`.
    head: [u64; 7],
    name: [u8; 16],
    /// From `ifindex` to `prog_tags`.
    middle: [u64; 14],
    run_time_ns: u64,
    run_count: u64,
    recursion_misses: u64,
    verified: u32,
    reserved: u32,
}

const _: () = assert!(std::mem::offset_of!(ProgramInfo, name) == 64);
const _: () = assert!(std::mem::offset_of!(ProgramInfo, run_time_ns) == 192);

/// A loaded program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Name, cut to `NAME_LENGTH` by the kernel.
    pub(crate) name: String,
    /// Runs since `kernel.bpf_stats_enabled` was set.
    pub(crate) runs: u64,
    /// Times it did not run because it was running on that CPU already.
    pub(crate) misses: u64,
    /// Instructions that the verifier went through; it gives up at a million.
    pub(crate) verified: u32,
}

/// Everything that is loaded: kind and id.
pub(crate) type Inventory = BTreeSet<(&'static str, u32)>;

/// Programs, maps and links that exist now.
///
/// # Errors
/// No right to ask.
pub(crate) fn inventory() -> Result<Inventory> {
    let mut all = Inventory::new();
    for (kind, command) in [
        ("program", PROG_GET_NEXT_ID),
        ("map", MAP_GET_NEXT_ID),
        ("link", LINK_GET_NEXT_ID),
    ] {
        all.extend(ids(command)?.into_iter().map(|id| (kind, id)));
    }
    Ok(all)
}

/// All loaded programs.
///
/// # Errors
/// No right to ask.
pub(crate) fn programs() -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for id in ids(PROG_GET_NEXT_ID)? {
        match program(id) {
            Ok(program) => programs.push(program),
            // It was unloaded since the id was told.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("cannot ask for a program"),
        }
    }
    Ok(programs)
}

fn ids(command: libc::c_int) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut attribute = IdAttribute::default();
    loop {
        match call(command, &raw mut attribute) {
            Ok(_) => ids.push(attribute.next_id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ids),
            Err(error) => return Err(error).context("cannot list what is loaded"),
        }
        attribute.id = attribute.next_id;
    }
}

fn program(id: u32) -> io::Result<Program> {
    let mut by_id = IdAttribute {
        id,
        ..IdAttribute::default()
    };
    let fd = call(PROG_GET_FD_BY_ID, &raw mut by_id)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: plain integers; the kernel reads pointers in it, which zero switches off.
    let mut info: ProgramInfo = unsafe { std::mem::zeroed() };
    let mut attribute = InfoAttribute {
        fd: fd.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<ProgramInfo>()).unwrap_or_default(),
        info: (&raw mut info).expose_provenance() as u64,
    };
    call(OBJ_GET_INFO_BY_FD, &raw mut attribute)?;
    let name = info
        .name
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    Ok(Program {
        name: String::from_utf8_lossy(name).into_owned(),
        runs: info.run_count,
        misses: info.recursion_misses,
        verified: info.verified,
    })
}

/// bpf(2).
fn call<A>(command: libc::c_int, attribute: *mut A) -> io::Result<libc::c_int> {
    // SAFETY: the attribute is one of the two above, lives over the call, and has its own size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute, size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}
