//! `cargo xtask bench`: what watching costs. Not there yet.

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Measures and prints the cost table.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("bench is not built yet")
}
