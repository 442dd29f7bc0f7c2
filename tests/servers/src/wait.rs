//! Waiting for a condition with a limit, never for an amount of time.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::Process;

/// How long between two looks at a condition.
const STEP: Duration = Duration::from_millis(10);

/// Waits until `condition` holds, at most `limit` long.
///
/// # Errors
/// When the limit passed; `what` (for example "the agent's socket") names it in the message.
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("waited {:.1} s in vain for {what}", limit.as_secs_f64());
        }
        thread::sleep(STEP);
    }
}

/// Waits until `ready` holds for a process that was just started.
///
/// # Errors
/// At once when the process ended meanwhile, else when the limit passed. Both messages carry the
/// end of its log.
pub fn wait_until_ready(
    process: &Process,
    limit: Duration,
    mut ready: impl FnMut() -> bool,
) -> Result<()> {
    let name = process.name().to_owned();
    let mut ended = None;
    let waited = wait_until(limit, &format!("{name} to be ready"), || {
        ended = process.ended();
        ended.is_some() || ready()
    });
    if let Some(status) = ended {
        bail!(
            "{name} ended at start ({status}); it printed:\n{}",
            process.log_tail()
        );
    }
    waited.map_err(|error| anyhow::anyhow!("{error}; it printed:\n{}", process.log_tail()))
}

/// Whether something accepts TCP connections on this loopback port.
pub(crate) fn accepts(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}
