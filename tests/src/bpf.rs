//! What of eBPF a process has in the kernel, by the `bpf(2)` system call alone: a test must not trust the
//! library that the agent uses. Layouts: `include/uapi/linux/bpf.h` (only ever extended at the end).

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::Result;

const PROG_GET_NEXT_ID: libc::c_long = 11;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const ENABLE_STATS: libc::c_long = 32;

/// Maps of one program that are looked at, at the most.
const MAX_MAPS: usize = 64;

/// `struct bpf_prog_info` up to `recursion_misses` (kernel 5.12 and newer).
#[derive(Clone, Debug, Default)]
#[repr(C)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_len: u32,
    xlated_len: u32,
    jited_insns: u64,
    xlated_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    map_count: u32,
    map_ids: u64,
    name: [u8; 16],
    ifindex: u32,
    flags: u32,
    netns: [u64; 2],
    ksym_count: u32,
    func_len_count: u32,
    ksyms: u64,
    func_lens: u64,
    btf_id: u32,
    func_info_size: u32,
    func_info: u64,
    func_info_count: u32,
    line_info_count: u32,
    line_info: u64,
    jited_line_info: u64,
    jited_line_info_count: u32,
    line_info_size: u32,
    jited_line_info_size: u32,
    tag_count: u32,
    tags: u64,
    run_time_ns: u64,
    run_count: u64,
    recursion_misses: u64,
}

const _: () = assert!(std::mem::offset_of!(ProgramInfo, run_time_ns) == 192);

/// Use of one program since it was loaded.
#[derive(Clone, Debug)]
pub struct ProgramUse {
    /// Its name, cut at 15 characters by the kernel.
    pub name: String,
    /// Time spent in it, ns; 0 unless statistics are on.
    pub run_time_ns: u64,
    /// Runs; 0 unless statistics are on.
    pub run_count: u64,
    /// Runs left out because the program was already running on that CPU.
    pub recursion_misses: u64,
    maps: Vec<u32>,
}

/// Programs, maps and links that a process holds: ids are never used again while the host runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Program ids.
    pub programs: BTreeSet<u32>,
    /// Map ids, those of its programs included.
    pub maps: BTreeSet<u32>,
    /// Link ids.
    pub links: BTreeSet<u32>,
}

impl Held {
    /// What a process holds, by its descriptors (`/proc/PID/fdinfo`).
    ///
    /// # Errors
    /// When the process is gone or not ours to look into.
    pub fn of(pid: u32) -> Result<Self> {
        let mut held = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // A descriptor closed between listing and reading is not held.
            let Ok(text) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            for line in text.lines() {
                let Some((key, value)) = line.split_once(':') else {
                    continue;
                };
                let Ok(id) = value.trim().parse::<u32>() else {
                    continue;
                };
                match key {
                    "prog_id" => held.programs.insert(id),
                    "map_id" => held.maps.insert(id),
                    "link_id" => held.links.insert(id),
                    _ => false,
                };
            }
        }
        for program in held.programs.clone() {
            if let Ok(info) = program_use(program) {
                held.maps.extend(info.maps);
            }
        }
        Ok(held)
    }

    /// Those of them that are still in the kernel, for people; empty: all are gone.
    #[must_use]
    pub fn still_loaded(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (what, ids, command) in [
            ("program", &self.programs, PROG_GET_FD_BY_ID),
            ("map", &self.maps, MAP_GET_FD_BY_ID),
            ("link", &self.links, LINK_GET_FD_BY_ID),
        ] {
            for id in ids {
                if open(command, *id).is_ok() {
                    left.push(format!("{what} {id}"));
                }
            }
        }
        left
    }

    /// Nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }

    /// Use of each program.
    ///
    /// # Errors
    /// When one is gone.
    pub fn uses(&self) -> Result<Vec<ProgramUse>> {
        self.programs.iter().map(|id| program_use(*id)).collect()
    }
}

/// Names of the programs in the kernel that `wanted` picks: who else is on a hook.
///
/// # Errors
/// When this process may not ask.
pub fn loaded(wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut attribute = IdAttribute::default();
    loop {
        match bpf(PROG_GET_NEXT_ID, &mut attribute) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(names),
            Err(error) => return Err(error.into()),
        }
        attribute.id = attribute.next;
        // One that went in the meantime is not on a hook.
        if let Ok(found) = program_use(attribute.id)
            && wanted(&found.name)
        {
            names.push(found.name);
        }
    }
}

/// Looks a program up.
///
/// # Errors
/// When it is gone.
pub fn program_use(id: u32) -> Result<ProgramUse> {
    #[repr(C)]
    struct Attribute {
        fd: u32,
        length: u32,
        info: u64,
    }
    let fd = open(PROG_GET_FD_BY_ID, id)?;
    let mut maps = [0_u32; MAX_MAPS];
    let mut info = ProgramInfo {
        map_count: u32::try_from(MAX_MAPS)?,
        map_ids: maps.as_mut_ptr() as u64,
        ..ProgramInfo::default()
    };
    let mut attribute = Attribute {
        fd: u32::try_from(fd.as_raw_fd())?,
        length: u32::try_from(size_of::<ProgramInfo>())?,
        info: (&raw mut info) as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attribute)?;
    let count = (info.map_count as usize).min(MAX_MAPS);
    Ok(ProgramUse {
        name: String::from_utf8_lossy(&info.name)
            .trim_end_matches('\0')
            .to_owned(),
        run_time_ns: info.run_time_ns,
        run_count: info.run_count,
        recursion_misses: info.recursion_misses,
        maps: maps[..count].to_vec(),
    })
}

/// Switches the kernel's statistics of program runs on until dropped (`BPF_ENABLE_STATS`).
///
/// # Errors
/// When this kernel or these privileges do not allow it.
pub fn enable_statistics() -> Result<OwnedFd> {
    #[repr(C)]
    struct Attribute {
        kind: u32,
    }
    let fd = bpf(ENABLE_STATS, &mut Attribute { kind: 0 })?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The part of `union bpf_attr` of the calls by id.
#[derive(Debug, Default)]
#[repr(C)]
struct IdAttribute {
    id: u32,
    next: u32,
    flags: u32,
}

fn open(command: libc::c_long, id: u32) -> std::io::Result<OwnedFd> {
    let mut attribute = IdAttribute {
        id,
        ..IdAttribute::default()
    };
    let fd = bpf(command, &mut attribute)?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_long, attribute: &mut T) -> std::io::Result<i32> {
    // SAFETY: `attribute` is a live, writable prefix of `union bpf_attr` of the given size, and the
    // buffers that it points to outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attribute),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(std::io::Error::last_os_error());
    }
    i32::try_from(result).map_err(std::io::Error::other)
}
