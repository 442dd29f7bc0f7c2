//! SIGINT and SIGTERM: a clean stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves at the first SIGINT or SIGTERM after its making.
#[derive(Debug)]
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Starts listening: signals from now on no longer end the process.
    pub(super) fn new() -> anyhow::Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                anyhow::anyhow!(
                    "cannot handle signals: {error}\nhint: is a resource limit reached?"
                )
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
