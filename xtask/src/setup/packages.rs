//! Programs that come from the distribution's packages.
//!
//! A need is recognised by what it gives (a program, a compiler that works), not by the name of a
//! package: another distribution names it otherwise, and only the hint is Debian's.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::python;
use crate::ebpf::toolchain::Compiler;
use crate::run::{find_program, is_root, output, run};

/// Something that a package brings.
pub(crate) struct Need {
    /// What it is for a person.
    pub(crate) what: &'static str,
    /// Debian's packages that bring it.
    pub(crate) packages: &'static [&'static str],
    /// Whether it is here.
    present: fn() -> bool,
}

/// All that the distribution must bring.
pub(crate) const NEEDS: &[Need] = &[
    Need {
        what: "a C++ compiler",
        packages: &["g++"],
        present: || {
            find_program("g++")
                .or_else(|| find_program("clang++"))
                .is_some()
        },
    },
    Need {
        what: "a compiler for eBPF",
        packages: &["rustc-web", "libstd-rust-web-dev-bpf"],
        present: || Compiler::find().is_some(),
    },
    Need {
        what: "Python 3.11 or newer with venv",
        packages: &["python3", "python3-venv"],
        present: python::can_make,
    },
    Need {
        what: "PostgreSQL",
        packages: &["postgresql"],
        present: has_postgres,
    },
    Need {
        what: "MariaDB",
        packages: &["mariadb-server"],
        present: || {
            find_program("mariadbd").is_some() && find_program("mariadb-install-db").is_some()
        },
    },
    Need {
        what: "Redis",
        packages: &["redis-server"],
        present: || find_program("redis-server").is_some(),
    },
    Need {
        what: "memcached",
        packages: &["memcached"],
        present: || find_program("memcached").is_some(),
    },
    Need {
        what: "nginx",
        packages: &["nginx-light"],
        present: || find_program("nginx").is_some(),
    },
    Need {
        what: "Puma",
        packages: &["puma"],
        present: || find_program("puma").is_some(),
    },
    Need {
        what: "Node",
        packages: &["nodejs"],
        present: || find_program("node").is_some(),
    },
    Need {
        what: "openssl, for certificates of test servers",
        packages: &["openssl"],
        present: || find_program("openssl").is_some(),
    },
    Need {
        what: "the load generator wrk",
        packages: &["wrk"],
        present: || find_program("wrk").is_some(),
    },
    Need {
        what: "QEMU, for other kernels",
        packages: &["qemu-system-x86"],
        present: || find_program("qemu-system-x86_64").is_some(),
    },
    Need {
        what: "a busybox with a web server, for other kernels",
        packages: &["busybox-static"],
        present: has_busybox,
    },
];

/// The needs that are not met.
pub(crate) fn missing(needs: &[Need]) -> impl Iterator<Item = &Need> {
    needs.iter().filter(|need| !(need.present)())
}

/// Installs the packages of all needs that are not met.
///
/// # Errors
/// When we are not root, when there is no apt-get, or when it fails: each with what to do.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = missing(needs).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.packages)
        .copied()
        .collect();
    eprintln!("missing: {}", what.join(", "));
    install(&packages)?;
    let still: Vec<&str> = missing
        .iter()
        .filter(|need| !(need.present)())
        .map(|need| need.what)
        .collect();
    if !still.is_empty() {
        bail!("still missing after apt-get install: {}", still.join(", "));
    }
    Ok(())
}

/// Installs Debian packages.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!("no apt-get here\nhint: install what Debian calls {list}");
    }
    if !is_root() {
        bail!("packages are missing\nhint: sudo apt-get install {list}");
    }
    if let Err(error) = apt_get(packages) {
        // A fresh machine has no package lists, an old one may have lists of versions gone.
        eprintln!("{error:#}; once more with fresh package lists");
        run(Command::new("apt-get").args(["update", "-q"])).context("read the package lists")?;
        apt_get(packages).with_context(|| format!("hint: apt-get install {list}"))?;
    }
    Ok(())
}

fn apt_get(packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(packages);
    run(command.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn has_postgres() -> bool {
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    debian
        .into_iter()
        .any(|version| version.path().join("bin/initdb").exists())
        || find_program("initdb").is_some()
}

/// Debian's other busybox package has a program of the same name without a web server.
fn has_busybox() -> bool {
    let applets = output(Command::new("/bin/busybox").arg("--list"));
    applets.is_ok_and(|applets| applets.lines().any(|applet| applet == "httpd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unmet_needs_are_missing() {
        let needs = [
            Need {
                what: "here",
                packages: &["a"],
                present: || true,
            },
            Need {
                what: "not here",
                packages: &["b"],
                present: || false,
            },
        ];
        let missing: Vec<&str> = missing(&needs).map(|need| need.what).collect();
        assert_eq!(missing, ["not here"]);
    }

    #[test]
    fn met_needs_ask_for_nothing() -> Result<()> {
        ensure(&[Need {
            what: "here",
            packages: &["no-such-package"],
            present: || true,
        }])
    }
}
