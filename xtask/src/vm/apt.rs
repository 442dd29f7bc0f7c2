//! The few questions to the package manager: what is there, which version, fetch it.
//!
//! Mirrors, suites and keys are those that the machine's apt is configured with. Only `update`
//! changes anything outside the given folders. Output is read with `LC_ALL=C`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Newest package whose name is `prefix` + version + `suffix`.
///
/// # Errors
/// apt is not there, or knows none.
pub(crate) fn newest(prefix: &str, suffix: &str) -> Result<String> {
    let pattern = format!(
        "^{}.*{}$",
        prefix.replace('.', "\\."),
        suffix.replace('.', "\\.")
    );
    let listing = run(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    newest_in(&listing, prefix, suffix)
        .with_context(|| format!("apt knows no package {prefix}*{suffix}"))
}

/// The same, of what `apt-cache search` printed: `name - description` lines.
fn newest_in(listing: &str, prefix: &str, suffix: &str) -> Option<String> {
    let names = listing
        .lines()
        .filter_map(|line| line.split_once(" - ").map(|(name, _)| name));
    let ours = names.filter(|name| name.starts_with(prefix) && name.ends_with(suffix));
    ours.max_by_key(|name| version_key(name)).map(str::to_owned)
}

/// Sort key of a package name: its numbers, so that `-9` comes before `-10`. Good for names of one
/// series; not Debian's whole version order.
pub(crate) fn version_key(name: &str) -> Vec<u64> {
    let digits = name
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty());
    digits
        .map(|part| part.parse().unwrap_or(u64::MAX))
        .collect()
}

/// Version of `package` that apt would install.
///
/// # Errors
/// apt has no candidate.
pub(crate) fn candidate(package: &str) -> Result<String> {
    let policy = run(Command::new("apt-cache").args(["policy", package]))?;
    candidate_in(&policy).with_context(|| format!("apt has no candidate for {package}"))
}

/// The same, of what `apt-cache policy` printed.
fn candidate_in(policy: &str) -> Option<String> {
    let line = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))?;
    let version = line.trim();
    (!version.is_empty() && version != "(none)").then(|| version.to_owned())
}

/// Downloads and verifies one package into `folder`, which must be empty, and returns its path.
///
/// # Errors
/// No network, or the archive has dropped that version.
pub(crate) fn download(package: &str, version: &str, folder: &Path) -> Result<PathBuf> {
    let wanted = format!("{package}={version}");
    run(Command::new("apt-get")
        .args(["--quiet", "download", &wanted])
        .current_dir(folder))?;
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut archives = files.filter(|path| path.extension().is_some_and(|ext| ext == "deb"));
    archives
        .next()
        .with_context(|| format!("apt-get download {wanted} left no package"))
}

/// Unpacks `archive` below `root`.
///
/// # Errors
/// A damaged archive, a full disk.
pub(crate) fn extract(archive: &Path, root: &Path) -> Result<()> {
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .args([archive, root]))
    .map(drop)
}

/// Fetches the package lists anew.
///
/// # Errors
/// No network, or no right to.
pub(crate) fn update() -> Result<()> {
    // Without this option apt-get only warns of a list that it could not fetch.
    let strict = "APT::Update::Error-Mode=any";
    run(Command::new("apt-get").args(["--quiet", "update", "--option", strict])).map(drop)
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = stderr
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("nothing");
        bail!("{program} failed ({}): {said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-50-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-50-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
linux-image-6.1.0-51-cloud-arm64 - Linux 6.1 for arm64 cloud (signed)
linux-image-6.12.95+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
";

    #[test]
    fn the_newest_of_one_series_is_picked_by_number() {
        let newest = newest_in(LISTING, "linux-image-6.1.", "-cloud-amd64");
        assert_eq!(newest.as_deref(), Some("linux-image-6.1.0-50-cloud-amd64"));
        let newest = newest_in(LISTING, "linux-image-6.12.", "-cloud-amd64");
        assert_eq!(
            newest.as_deref(),
            Some("linux-image-6.12.95+deb12-cloud-amd64")
        );
    }

    #[test]
    fn no_match_is_none() {
        assert_eq!(
            newest_in(LISTING, "linux-image-5.10.", "-cloud-amd64"),
            None
        );
        assert_eq!(newest_in("", "linux-image-6.1.", "-cloud-amd64"), None);
    }

    #[test]
    fn the_candidate_is_read_and_none_is_none() {
        let policy = "linux-image-6.1.0-50-cloud-amd64:\n  Installed: (none)\n  Candidate: 6.1.176-1\n  \
                      Version table:\n     6.1.176-1 500\n";
        assert_eq!(candidate_in(policy).as_deref(), Some("6.1.176-1"));
        assert_eq!(
            candidate_in("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(candidate_in(""), None);
    }

    #[test]
    fn a_failing_command_tells_its_last_words() {
        let mut command = Command::new("sh");
        let error = run(command.args(["-c", "echo first >&2; echo last >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("last") && !text.contains("first"), "{text}");
        let error = run(&mut Command::new("/nonexistent/apt-cache")).unwrap_err();
        assert!(format!("{error:#}").contains("cannot run"), "{error:#}");
    }
}
