//! Which functions that can be probed lie in a file, and where they begin and return.

use std::{collections::HashMap, fs::File};

use anyhow::Context as _;
use object::{
    Architecture, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _,
    ObjectSymbolTable as _, ReadCache, ReadRef, RelocationFlags, RelocationTarget, SymbolKind, elf,
};
use whyslow_abi::{
    catalogue::{Hook, PROBES},
    library::{EndState, Library, Surroundings},
};

use super::returns::{self, Callee, End, Text, Unknown};
use crate::source::kernel::mapped::is_code;

/// Longest table of symbols that is read beside the dynamic one, bytes.
const TABLE_LIMIT: u64 = 8 << 20;

/// What a file has of the libraries that can be probed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Those that are defined there, by symbol.
    pub(super) functions: HashMap<&'static str, Place>,
    /// Libraries of which it uses functions that another file defines.
    pub(super) imports: Vec<Library>,
}

/// Where a function is in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Offset of its begin.
    pub(super) offset: u64,
    /// The code around it.
    pub(super) around: Surroundings,
    /// Its ends, by offset; empty where nobody asks.
    pub(super) ends: Result<Vec<(u64, EndState)>, Unknown>,
    address: u64,
}

/// Functions of other libraries that never return.
const ABORTS: &[&str] = &[
    "__stack_chk_fail",
    "__assert_fail",
    "__longjmp_chk",
    "OPENSSL_die",
    "_Unwind_Resume",
    "_exit",
    "abort",
    "exit",
    "longjmp",
];

/// The functions without which a library is not worth a probe.
fn needed(library: Library) -> &'static [&'static str] {
    match library {
        Library::Sqlite => &["sqlite3_step", "sqlite3_reset"],
        Library::OpenSsl => &["SSL_read", "SSL_write"],
    }
}

impl Content {
    /// Whether the library is in the file, with its symbols.
    pub(super) fn has(&self, library: Library) -> bool {
        needed(library)
            .iter()
            .all(|symbol| self.functions.contains_key(symbol))
    }
}

impl Content {
    /// A function whose ends are wanted and not known.
    pub(super) fn unknown_end(&self) -> Option<(&'static str, &Unknown)> {
        self.functions
            .iter()
            .find_map(|(symbol, place)| Some((*symbol, place.ends.as_ref().err()?)))
    }
}

/// Symbols that are looked for.
fn wanted() -> HashMap<&'static str, Library> {
    PROBES
        .iter()
        .filter_map(|probe| probe.hook.library())
        .flat_map(|(library, functions)| functions.iter().map(move |of| (of.symbol, library)))
        .collect()
}

/// Reads a file.
///
/// # Errors
/// It is no ELF file, or is damaged.
pub(super) fn content(file: &File) -> anyhow::Result<Content> {
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).context("it is no ELF file")?;
    let wanted = wanted();
    let mut content = Content::default();
    note(&elf, elf.dynamic_symbols(), &wanted, &mut content);
    let small = elf
        .section_by_name(".symtab")
        .is_some_and(|table| table.size() <= TABLE_LIMIT);
    if small && !Library::ALL.iter().any(|library| content.has(*library)) {
        note(&elf, elf.symbols(), &wanted, &mut content);
    }
    note_ends(&elf, small, &mut content);
    Ok(content)
}

fn note<'data, R: ReadRef<'data>>(
    elf: &object::File<'data, R>,
    symbols: object::SymbolIterator<'data, '_, R>,
    wanted: &HashMap<&'static str, Library>,
    content: &mut Content,
) {
    for symbol in symbols {
        let Ok(name) = symbol.name() else { continue };
        let Some((name, library)) = wanted.get_key_value(name) else {
            continue;
        };
        if symbol.is_undefined() {
            if !content.imports.contains(library) {
                content.imports.push(*library);
            }
        } else if let Some(offset) = offset(elf, symbol.address()) {
            let place = Place {
                offset,
                around: around(elf, symbol.address()),
                ends: Ok(Vec::new()),
                address: symbol.address(),
            };
            content.functions.insert(name, place);
        }
    }
}

/// Finds the ends of the functions whose returns are probed. `small`: the whole table of symbols
/// may be read.
fn note_ends<'data, R: ReadRef<'data>>(
    elf: &object::File<'data, R>,
    small: bool,
    content: &mut Content,
) {
    let probed = PROBES.iter().filter_map(|probe| match probe.hook {
        Hook::Return(_, functions) => Some(functions),
        _ => None,
    });
    let probed: Vec<&str> = probed.flatten().map(|of| of.symbol).collect();
    let mut places: Vec<_> = content
        .functions
        .iter_mut()
        .filter(|(name, _)| probed.contains(name))
        .map(|(_, place)| place)
        .collect();
    if places.is_empty() {
        return;
    }
    if elf.architecture() != Architecture::X86_64 {
        for place in places {
            place.ends = Err(Unknown::Processor);
        }
        return;
    }
    let read = |address, len| code(elf, address, len).unwrap_or_default();
    let text = Text {
        read: &read,
        lengths: lengths(elf, small),
        pointers: pointers(elf),
        probes_calls: !has_shadow_stacks(),
    };
    for place in &mut places {
        place.ends = returns::ends(&text, place.address).and_then(|ends| {
            let offsets = ends.into_iter().map(|End { address, state }| {
                let offset = offset(elf, address).ok_or(Unknown::Instruction(address))?;
                Ok((offset, state))
            });
            offsets.collect()
        });
    }
}

/// Whether processes may have shadow stacks, or it is not known. Kernels since 6.6 give them; not all of those put the
/// return address there when they emulate a probed call (`branch_emulate_op`, `arch/x86/kernel/uprobes.c`), and its
/// return would end the process.
fn has_shadow_stacks() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").map_or(true, |text| text.contains("user_shstk"))
}

/// The segment of code that an address lies in.
fn segment<'data, 'file, R: ReadRef<'data>>(
    elf: &'file object::File<'data, R>,
    address: u64,
) -> Option<object::Segment<'data, 'file, R>> {
    elf.segments().find(|segment| {
        let end = segment.address().saturating_add(segment.size());
        is_code(segment.flags()) && (segment.address()..end).contains(&address)
    })
}

/// How much code lies around an address; 0: not known.
fn around<'data, R: ReadRef<'data>>(elf: &object::File<'data, R>, address: u64) -> Surroundings {
    let bytes = |len: u64| u32::try_from(len).unwrap_or(u32::MAX);
    segment(elf, address).map_or_else(Surroundings::default, |segment| {
        let before = address - segment.address();
        Surroundings {
            before: bytes(before),
            behind: bytes(segment.size() - before),
        }
    })
}

/// At most `len` bytes of code from an address on.
fn code<'data, R: ReadRef<'data>>(
    elf: &object::File<'data, R>,
    address: u64,
    len: u64,
) -> Option<&'data [u8]> {
    let segment = segment(elf, address)?;
    let within = address - segment.address();
    let left = segment.file_range().1.checked_sub(within)?;
    segment.data_range(address, len.min(left)).ok().flatten()
}

/// Length of each function that has a symbol.
fn lengths<'data, R: ReadRef<'data>>(
    elf: &object::File<'data, R>,
    small: bool,
) -> HashMap<u64, u64> {
    let whole = small.then(|| elf.symbols()).into_iter().flatten();
    elf.dynamic_symbols()
        .chain(whole)
        .filter(|symbol| symbol.kind() == SymbolKind::Text && !symbol.is_undefined())
        .map(|symbol| (symbol.address(), symbol.size()))
        .collect()
}

/// Whom the pointers lead to that the dynamic linker fills with addresses of functions.
fn pointers<'data, R: ReadRef<'data>>(elf: &object::File<'data, R>) -> HashMap<u64, Callee> {
    let (Some(relocations), Some(table)) = (elf.dynamic_relocations(), elf.dynamic_symbol_table())
    else {
        return HashMap::new();
    };
    let callee = |target| {
        let RelocationTarget::Symbol(index) = target else {
            return None;
        };
        let symbol = table.symbol_by_index(index).ok()?;
        Some(match symbol.is_undefined() {
            false => Callee::Here(symbol.address()),
            true if ABORTS.contains(&symbol.name().ok()?) => Callee::Abort,
            true => Callee::Elsewhere,
        })
    };
    relocations
        .filter(|(_, relocation)| {
            matches!(
                relocation.flags(),
                RelocationFlags::Elf {
                    r_type: elf::R_X86_64_JUMP_SLOT | elf::R_X86_64_GLOB_DAT,
                    ..
                }
            )
        })
        .filter_map(|(place, relocation)| Some((place, callee(relocation.target())?)))
        .collect()
}

/// Where in the file an address lies.
fn offset<'data, R: ReadRef<'data>>(elf: &object::File<'data, R>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let (start, len) = segment.file_range();
        let within = address.checked_sub(segment.address())?;
        (within < len).then_some(start + within)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// Whether the ends of a function are wanted.
    fn has_ends(symbol: &str) -> bool {
        PROBES.iter().any(|probe| {
            matches!(probe.hook, Hook::Return(_, functions)
                if functions.iter().any(|of| of.symbol == symbol))
        })
    }

    #[test]
    fn libraries_of_this_host_are_read() {
        for (path, library) in [
            ("/usr/lib/x86_64-linux-gnu/libsqlite3.so.0", Library::Sqlite),
            ("/usr/lib/x86_64-linux-gnu/libssl.so.3", Library::OpenSsl),
        ] {
            let Ok(file) = File::open(path) else {
                // Not every host has them there; live tests need them.
                continue;
            };
            let content = content(&file).unwrap();
            assert!(content.has(library), "{path}: {content:?}");
            for (symbol, place) in &content.functions {
                let (around, at) = (place.around, place.address);
                assert!(around.contain(at, at) && !around.contain(at, 0), "{path}");
                let start = at - u64::from(around.before);
                assert!(!around.contain(at, start - 1), "{path}");
                let ends = place.ends.as_ref().unwrap();
                assert_eq!(ends.is_empty(), !has_ends(symbol), "{symbol} in {path}");
                for (offset, state) in ends {
                    let mut first = [0; 2];
                    file.read_exact_at(&mut first, *offset).unwrap();
                    let returns = matches!(first, [0xc3 | 0xc2, _] | [0xf2 | 0xf3, 0xc3]);
                    let emulated = matches!(first, [0xe8 | 0x70..=0x7f, _] | [0x0f, 0x80..=0x8f]);
                    assert!(returns || emulated, "{symbol}: {first:x?}");
                    assert!(emulated || *state == EndState::AT_RETURN, "{symbol}");
                }
            }
            let other = Library::ALL.iter().find(|other| **other != library);
            assert!(!content.has(*other.unwrap()));
        }
    }

    #[test]
    fn files_without_them_and_garbage() {
        let itself = File::open("/proc/self/exe").unwrap();
        assert_eq!(content(&itself).unwrap(), Content::default());
        let garbage = File::open("/proc/self/maps").unwrap();
        assert!(content(&garbage).is_err());
    }

    #[test]
    fn what_is_needed_is_looked_for() {
        let wanted = wanted();
        for library in Library::ALL {
            for symbol in needed(*library) {
                assert_eq!(wanted.get(symbol), Some(library));
            }
        }
    }
}
