//! Waiting for a condition with a limit. The only sleep in the tests is the one here, between looks.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `look` gives a value.
///
/// # Errors
/// When `limit` is over, with `what` in the message; or the error of `look` itself, at once.
pub fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {:.1} s for: {what}", limit.as_secs_f64());
        }
        std::thread::sleep(PAUSE);
    }
}
