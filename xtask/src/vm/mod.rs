//! `cargo xtask vm-test`: the programs on other kernels. Not there yet.

/// Options of `cargo xtask vm-test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Boots the kernels and checks every program there.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("vm-test is not built yet")
}
