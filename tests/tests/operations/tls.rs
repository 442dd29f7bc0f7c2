//! Connections that are encrypted: told as such, with their time.

use anyhow::Result;
use whyslow_tests::{event::Finished, live};

use crate::{far::Far, setting::SECRET, took::Took};

#[track_caller]
fn assert_encrypted(far: &Far, finished: &Finished, count: u64, took: Took) {
    assert_eq!(finished.operations.len(), 1, "{finished:#?}");
    let operation = &finished.operations[0];
    assert_eq!(operation.protocol, "tls");
    assert_eq!(operation.shape, "encrypted");
    assert_eq!(operation.peer, far.tls.to_string());
    assert_eq!((operation.count, operation.errors), (count, 0));
    assert!(operation.sampled, "{operation:?}");
    assert!(!format!("{operation:?}").contains(SECRET));
    let upstream_ns = finished.account("net.upstream");
    took.assert_is("net.upstream", finished);
    // The client's own work between two reads of one answer is in it.
    assert!(operation.total_ns >= upstream_ns, "{finished:#?}");
    assert!(operation.total_ns <= finished.wall_ns, "{finished:#?}");
}

/// An operation for each round trip, and one for the handshake of a new connection.
#[test]
fn round_trips_are_operations() -> Result<()> {
    let Some(live) = live("operations::tls::round_trips_are_operations")? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    let (finished, took, heard) = far.counted("tls/new", 20)?;
    assert_eq!(heard["encrypted"], 20);
    assert_encrypted(&far, &finished, 21, took);
    let (finished, took, _) = far.counted("tls/kept", 37)?;
    assert_encrypted(&far, &finished, 37, took);
    Ok(())
}
