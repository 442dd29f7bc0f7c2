//! Writes an initramfs: a `newc` cpio archive, uncompressed.
//!
//! Only what the kernel's unpacker needs (Linux 6.1, `init/initramfs.c` and
//! `Documentation/driver-api/early-userspace/buffer-format.rst`): directories, regular files and
//! character devices, all owned by root, time stamp 0. The same input gives the same bytes.
//! A parent directory must be added before what lies in it: the kernel makes none by itself.

use std::collections::BTreeSet;

/// File type bits of `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// Name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// One archive under construction.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    /// Inode number of the last entry; each has its own, so that none counts as a hard link.
    inode: u32,
}

impl Archive {
    /// Adds a directory of mode 0755, and its parents, unless they are there. A leading slash is
    /// dropped.
    pub(crate) fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let parent = &path[..end];
            if !parent.is_empty() && self.directories.insert(parent.to_owned()) {
                self.entry(parent, DIRECTORY | 0o755, (0, 0), &[]);
            }
        }
    }

    /// Adds a regular file with its parents.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.parents(path);
        self.entry(
            path.trim_start_matches('/'),
            REGULAR | permissions,
            (0, 0),
            content,
        );
    }

    /// Adds a character device of mode 0600 with its parents.
    pub(crate) fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.entry(
            path.trim_start_matches('/'),
            CHARACTER | 0o600,
            (major, minor),
            &[],
        );
    }

    /// Ends the archive and returns its bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.inode = 0;
        self.header(TRAILER, 0, (0, 0), 0);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.trim_matches('/').rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inode += 1;
        self.header(path, mode, device, content.len());
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// The 110-byte header and the name. A file over 4 GiB would not fit the field; its size is
    /// then written wrong by design of the format, so it is capped, and the kernel refuses it.
    fn header(&mut self, name: &str, mode: u32, device: (u32, u32), size: usize) {
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let fields = [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// Header with name, and content, each end on a multiple of four bytes.
    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode, device, content.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    /// Reads an archive back.
    fn read(bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701", "at {at}");
            let field = |i: usize| {
                let start = at + 6 + i * 8;
                let text = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (name_size, size) = (field(11) as usize, field(6) as usize);
            let name = String::from_utf8(bytes[at + 110..at + 110 + name_size - 1].to_vec());
            let content = (at + 110 + name_size).next_multiple_of(4);
            if name.as_deref() == Ok(TRAILER) {
                assert_eq!(content, bytes.len());
                return entries;
            }
            let data = bytes[content..content + size].to_vec();
            entries.push((name.unwrap(), field(1), (field(9), field(10)), data));
            at = (content + size).next_multiple_of(4);
        }
    }

    #[test]
    fn every_entry_reads_back_after_its_parents() {
        let mut archive = Archive::default();
        archive.file("/lib/x86_64/libc.so.6", 0o755, b"12345");
        archive.file("init", 0o755, b"");
        archive.character_device("/dev/console", 5, 1);
        archive.directory("/dev");
        let entries = read(&archive.finish());
        let names: Vec<&str> = entries.iter().map(|e| e.0.as_str()).collect();
        assert_eq!(
            names,
            [
                "lib",
                "lib/x86_64",
                "lib/x86_64/libc.so.6",
                "init",
                "dev",
                "dev/console"
            ]
        );
        assert_eq!(entries[0].1, 0o040_755);
        assert_eq!(
            (entries[2].1, entries[2].3.as_slice()),
            (0o100_755, b"12345".as_slice())
        );
        assert_eq!((entries[5].1, entries[5].2), (0o020_600, (5, 1)));
    }

    #[test]
    fn an_empty_archive_is_a_trailer() {
        let bytes = Archive::default().finish();
        assert!(bytes.len().is_multiple_of(4));
        assert_eq!(read(&bytes), []);
    }

    #[test]
    fn inode_numbers_differ_so_that_nothing_is_a_hard_link() {
        let mut archive = Archive::default();
        archive.file("a", 0o644, b"x");
        archive.file("b", 0o644, b"y");
        let bytes = archive.finish();
        assert_eq!(&bytes[6..14], b"00000001");
        assert_eq!(read(&bytes).len(), 2);
    }
}
