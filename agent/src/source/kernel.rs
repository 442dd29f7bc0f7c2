//! Placeholder of the kernel source for builds without eBPF programs: starting it is refused.

use whyslow_engine::{
    input::Input,
    output::{Command, Query},
};

use super::{Feature, KernelOptions, Source};

/// The kernel, through eBPF.
#[derive(Debug)]
pub struct KernelSource {
    never: std::convert::Infallible,
}

impl KernelSource {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// This build has no eBPF programs.
    pub fn start(_options: KernelOptions) -> anyhow::Result<Self> {
        anyhow::bail!("built without eBPF programs\nhint: cargo xtask build")
    }
}

/// What this kernel and these privileges allow.
#[must_use]
pub fn probe_features() -> Vec<Feature> {
    vec![Feature {
        name: "core".to_owned(),
        available: false,
        reason: "built without eBPF programs; build with: cargo xtask build".to_owned(),
    }]
}

impl Source for KernelSource {
    fn drain(&mut self, _into: &mut Vec<Input>, _limit: usize) -> anyhow::Result<bool> {
        match self.never {}
    }

    fn answer(&mut self, _query: &Query) -> Option<Input> {
        match self.never {}
    }

    fn obey(&mut self, _command: &Command) -> anyhow::Result<()> {
        match self.never {}
    }

    fn sample_thread(&mut self, _tid: u32) -> Option<Input> {
        match self.never {}
    }

    fn losses(&mut self) -> Option<Input> {
        match self.never {}
    }

    fn monotonic_ns(&self) -> u64 {
        match self.never {}
    }

    fn features(&self) -> Vec<Feature> {
        match self.never {}
    }
}
