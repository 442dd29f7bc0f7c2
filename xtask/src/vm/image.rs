//! Puts the initramfs together: the guest program as `/init`, the agent under test with the
//! libraries it is linked to, and busybox for its web server.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::{apt, cpio::Archive};
use crate::run;

/// The only guest architecture so far; the guest program is built for it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where Debian's busybox-static puts its binary.
const BUSYBOX: &str = "/bin/busybox";

/// Makes sure that there is a busybox with a web server; Debian's other busybox has none.
///
/// # Errors
/// There is none.
pub(crate) fn check_busybox() -> Result<()> {
    let applets = apt::run(Command::new(BUSYBOX).arg("--list")).unwrap_or_default();
    ensure!(
        applets.lines().any(|applet| applet == "httpd"),
        "no {BUSYBOX} with httpd; hint: cargo xtask setup"
    );
    Ok(())
}

/// Directories that the guest mounts on, or writes to.
const DIRECTORIES: &[&str] = &["dev", "proc", "sys", "tmp", "run", "etc", "var", "root"];

/// Builds the guest program, statically linked, and returns its path.
///
/// # Errors
/// It does not compile.
pub(crate) fn build_guest(target: &Path) -> Result<PathBuf> {
    let mut cargo = run::cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--package",
            "whyslow-tests",
            "--bin",
            "vm_guest",
        ])
        .args(["--target", TARGET])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    run::run(&mut cargo)?;
    Ok(target.join(TARGET).join("debug/vm_guest"))
}

/// Writes the initramfs to `output`; `work` is a folder for what is made on the way. Returns its
/// size in bytes.
///
/// # Errors
/// A part is missing or cannot be read.
pub(crate) fn write(guest: &Path, whyslow: &Path, work: &Path, output: &Path) -> Result<u64> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    // Without it init starts with no standard input, output and error.
    archive.character_device("dev/console", 5, 1);
    archive.file("init", 0o755, &stripped(guest, work)?);
    archive.file("bin/whyslow", 0o755, &stripped(whyslow, work)?);
    let busybox = Path::new(BUSYBOX);
    archive.file("bin/busybox", 0o755, &read(busybox)?);
    let mut needed = BTreeSet::from_iter(libraries(whyslow)?);
    needed.extend(libraries(busybox)?);
    for library in needed {
        archive.file(&library.to_string_lossy(), 0o755, &read(&library)?);
    }
    let bytes = archive.finish();
    fs::write(output, &bytes).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(bytes.len() as u64)
}

/// The content of a program without its debug sections, which would only fill the guest's memory.
/// Where there is no `strip`, the content as it is.
fn stripped(program: &Path, work: &Path) -> Result<Vec<u8>> {
    let name = program.file_name().unwrap_or(OsStr::new("program"));
    let copy = work.join(name);
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").args([&copy, program]);
    match apt::run(&mut strip) {
        Ok(_) => read(&copy),
        Err(_) => read(program),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The shared libraries of a program, the loader included, as absolute paths.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mode = fs::metadata(program).map(|meta| meta.permissions().mode());
    let mode = mode.with_context(|| format!("cannot read {}", program.display()))?;
    ensure!(mode & 0o111 != 0, "{} is not executable", program.display());
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    libraries_in(&text).with_context(|| format!("libraries of {}", program.display()))
}

/// The same, of what ldd printed.
fn libraries_in(text: &str) -> Result<Vec<PathBuf>> {
    if text.contains("not a dynamic executable") || text.contains("statically linked") {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // "name => path (address)", "path (address)", or "linux-vdso.so.1 (address)".
        let location = line
            .split_once(" => ")
            .map_or(line, |(_, location)| location);
        let path = location.split_once(" (").map_or(location, |(path, _)| path);
        if path.starts_with('/') {
            paths.push(PathBuf::from(path));
        } else if path.contains("not found") {
            bail!("{line}");
        }
    }
    ensure!(!paths.is_empty(), "ldd told nothing of use: {text}");
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_vdso_is_not() {
        let text = "\tlinux-vdso.so.1 (0x00007ffe)\n\
                    \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = libraries_in(text).unwrap();
        let expected = [
            "/lib/x86_64-linux-gnu/libgcc_s.so.1",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }

    #[test]
    fn a_static_program_needs_none_and_a_missing_library_is_an_error() {
        assert_eq!(
            libraries_in("\tstatically linked\n").unwrap(),
            Vec::<PathBuf>::new()
        );
        assert_eq!(
            libraries_in("\tnot a dynamic executable\n").unwrap(),
            Vec::<PathBuf>::new()
        );
        assert!(libraries_in("\tlibx.so => not found\n").is_err());
        assert!(libraries_in("").is_err());
    }

    #[test]
    fn a_real_program_of_this_machine_has_libraries_that_exist() {
        let paths = libraries(&std::env::current_exe().unwrap()).unwrap();
        assert!(paths.iter().all(|path| path.is_file()), "{paths:?}");
    }
}
