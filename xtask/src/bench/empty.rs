//! The cheapest programs possible on the same hooks, to tell what the kernel takes for a hook from what is
//! done in it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use aya::{Btf, Ebpf, programs::BtfTracePoint};

/// Where `cargo xtask build-ebpf` leaves the object.
pub(super) fn object() -> PathBuf {
    crate::place::ebpf_objects().join("whyslow-empty.o")
}

/// Attached until dropped.
#[derive(Debug)]
pub(super) struct Empty {
    _programs: Ebpf,
}

impl Empty {
    /// Loads and attaches every program of the object, each on the tracepoint that its name ends with.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub(super) fn attach() -> Result<Self> {
        let path = object();
        let mut programs =
            Ebpf::load_file(&path).with_context(|| format!("load {}", path.display()))?;
        let btf = Btf::from_sys_fs()?;
        for (name, program) in programs.programs_mut() {
            let hook = ["sys_exit", "sched_switch", "sched_waking"]
                .into_iter()
                .find(|hook| name.ends_with(hook));
            let Some(hook) = hook else {
                bail!("{name} is on no hook known here");
            };
            let program: &mut BtfTracePoint = program.try_into()?;
            program
                .load(hook, &btf)
                .with_context(|| format!("load {name}"))?;
            program.attach().with_context(|| format!("attach {name}"))?;
        }
        Ok(Self {
            _programs: programs,
        })
    }
}
