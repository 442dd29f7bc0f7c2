//! CPython: where `_PyRuntime` lies, and in it what tells who holds the interpreter lock (`struct _gil_runtime_state`,
//! `Include/internal/pycore_gil.h`).
//!
//! Where the lock lies within differs between versions. It is searched for: an interval, a pointer to a thread state
//! whose thread there is, and whether it is locked.

use std::{
    fs::{self, File},
    ops::RangeInclusive,
    os::unix::fs::FileExt as _,
    path::Path,
};

use object::{Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol, ReadCache};
use whyslow_abi::interpreter::Interpreter;

use crate::source::kernel::mapped::{Mapped, is_code};

/// Most bytes of `_PyRuntime` that are searched.
const RUNTIME_LIMIT: u64 = 4 << 20;
/// The switch interval, unless the application sets another, us.
const INTERVAL: u64 = 5_000;
/// Those that are taken for one.
const INTERVALS: RangeInclusive<u64> = 100..=10_000_000;

/// The data of an interpreter, in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runtime {
    /// Address and length of `_PyRuntime`.
    address: u64,
    bytes: u64,
    /// Offset in the file and address of the code.
    code: (u64, u64),
    /// Minor version.
    minor: Option<u8>,
}

/// The interpreter in a file; `None`: there is none. `path`: as its process sees it.
pub(super) fn runtime(file: &Path, path: &Path) -> Option<Runtime> {
    let cache = ReadCache::new(File::open(file).ok()?);
    let elf = object::File::parse(&cache).ok()?;
    let (address, bytes) = match defined(elf.dynamic_symbols(), "_PyRuntime") {
        Some(found) => (found.address(), found.size()),
        None => {
            // Since 3.13 it has a section of its own, which stripping leaves.
            let section = elf.section_by_name(".PyRuntime")?;
            (section.address(), section.size())
        }
    };
    let code = elf.segments().find_map(|segment| {
        is_code(segment.flags()).then(|| (segment.file_range().0, segment.address()))
    })?;
    let version = defined(elf.dynamic_symbols(), "Py_Version")
        .or_else(|| defined(elf.symbols(), "Py_Version"));
    let hex = version.and_then(|symbol| {
        let mut segments = elf.segments();
        let data = segments.find_map(|it| it.data_range(symbol.address(), 4).ok().flatten())?;
        Some(u32::from_le_bytes(data.try_into().ok()?))
    });
    Some(Runtime {
        address,
        bytes: bytes.min(RUNTIME_LIMIT),
        code,
        minor: match hex {
            Some(hex) => Some((hex >> 16) as u8),
            None => minor_of(path),
        },
    })
}

/// A symbol that the file defines.
fn defined<'data, S: ObjectSymbol<'data>>(
    symbols: impl IntoIterator<Item = S>,
    name: &str,
) -> Option<S> {
    let mut symbols = symbols.into_iter();
    symbols.find(|it| it.is_definition() && it.name() == Ok(name))
}

/// Minor version by a file's name: `libpython3.11.so.1.0`, `python3.9`.
fn minor_of(path: &Path) -> Option<u8> {
    let name = path.file_name()?.to_str()?;
    let (_, rest) = name.split_once("python3.")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

/// Offset of `native_thread_id` in a thread state; `None`: it has none, or it is not known.
const fn native_id(minor: u8) -> Option<u64> {
    match minor {
        11 | 13 | 14 => Some(160),
        12 => Some(144),
        _ => None,
    }
}

impl Runtime {
    /// In a process that has that file mapped.
    pub(super) fn within(&self, pid: u32, file: &Mapped) -> Option<Interpreter> {
        let (offset, address) = self.code;
        let bias = file
            .start
            .wrapping_sub(address.wrapping_add(file.offset.wrapping_sub(offset)));
        let start = bias.wrapping_add(self.address);
        let found = Interpreter {
            start,
            end: start.wrapping_add(self.bytes),
            ..Interpreter::default()
        };
        let Some(native_id) = self.minor.and_then(native_id) else {
            return Some(found);
        };
        let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
        let mut data = vec![0; usize::try_from(self.bytes).ok()?];
        memory.read_exact_at(&mut data, start).ok()?;
        let threads = threads(pid);
        let is_state = |address: u64| {
            let mut id = [0; 8];
            let read = memory.read_exact_at(&mut id, address.wrapping_add(native_id));
            read.is_ok() && threads.contains(&u64::from_le_bytes(id))
        };
        let last_holder = last_holder(&data, is_state).map_or(0, |offset| start + offset as u64);
        Some(Interpreter {
            last_holder,
            native_id,
            ..found
        })
    }
}

/// Threads of a process.
fn threads(pid: u32) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let names = entries.into_iter().flatten().flatten();
    let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.collect()
}

/// Offset of the pointer to the state of the last holder; `None`: none, or several may be it.
fn last_holder(data: &[u8], is_state: impl Fn(u64) -> bool) -> Option<usize> {
    let word =
        |at: usize| -> Option<u64> { Some(u64::from_le_bytes(*data.get(at..)?.first_chunk()?)) };
    let places = (0..data.len()).step_by(8).filter_map(|at| {
        let (interval, state) = (word(at)?, word(at + 8)?);
        let locked = matches!(word(at + 16)? as u32, 0 | 1);
        let fits = INTERVALS.contains(&interval) && locked && state > 1 << 16 && state % 8 == 0;
        (fits && is_state(state)).then_some((interval, at + 8))
    });
    let places: Vec<_> = places.collect();
    let usual: Vec<_> = places.iter().filter(|(of, _)| *of == INTERVAL).collect();
    match (&usual[..], &places[..]) {
        ([(_, only)], _) | ([], [(_, only)]) => Some(*only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_by_name() {
        for (name, minor) in [
            ("/usr/lib/libpython3.11.so.1.0", Some(11)),
            ("/usr/bin/python3.9", Some(9)),
            ("/opt/python3.14t", Some(14)),
            ("/usr/bin/python3", None),
            ("/usr/bin/python3.", None),
            ("/usr/bin/bash", None),
        ] {
            assert_eq!(minor_of(Path::new(name)), minor, "{name}");
        }
    }

    #[test]
    fn the_lock_is_found_by_its_looks() {
        let mut data = vec![0; 256];
        let mut set = |at: usize, word: u64| data[at..at + 8].copy_from_slice(&word.to_le_bytes());
        // A number before a pointer that is no thread state, and another before one that is.
        set(16, 5_000);
        set(24, 0x7f00_0000);
        set(64, 4_300);
        set(72, 0x7fff_0000);
        set(128, 5_000);
        set(136, 0x7fff_0000);
        set(144, 1);
        let is_state = |state| state == 0x7fff_0000;
        assert_eq!(last_holder(&data, is_state), Some(136));
        assert_eq!(last_holder(&data, |_| true), None, "two");
        assert_eq!(last_holder(&data, |_| false), None);
        assert_eq!(
            last_holder(&data[..130], is_state),
            Some(72),
            "another interval"
        );
        assert_eq!(last_holder(&[], |_| true), None);
    }

    #[test]
    fn other_files_have_none() {
        let itself = Path::new("/proc/self/exe");
        assert_eq!(runtime(itself, itself), None);
        assert_eq!(runtime(Path::new("/proc/self/maps"), itself), None);
    }
}
