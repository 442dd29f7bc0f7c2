//! Which functions that can be probed lie in a file, and where.

use std::{collections::HashMap, fs::File};

use anyhow::Context as _;
use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, ReadCache, ReadRef,
};
use whyslow_abi::{catalogue::PROBES, library::Library};

/// Longest table of symbols that is read beside the dynamic one, bytes.
const TABLE_LIMIT: u64 = 8 << 20;

/// What a file has of the libraries that can be probed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Offset in the file of each function that is defined there.
    pub(super) functions: HashMap<&'static str, u64>,
    /// Libraries of which it uses functions that another file defines.
    pub(super) imports: Vec<Library>,
}

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
            content.functions.insert(name, offset);
        }
    }
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
    use super::*;

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
