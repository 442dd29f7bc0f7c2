//! Connections whose protocol is not known: that they were answered is told, and that this is all.

use anyhow::Result;
use whyslow_tests::{event::Finished, live};

use crate::far::Far;

#[track_caller]
fn assert_not_understood(finished: &Finished, peer: &str) {
    assert_eq!(finished.operations.len(), 1, "{finished:#?}");
    let operation = &finished.operations[0];
    assert_eq!(operation.protocol, "unknown");
    let shape = format!("not understood ({})", operation.peer);
    assert_eq!(operation.shape, shape);
    assert!(operation.peer.ends_with(peer), "{operation:?}");
    assert_eq!((operation.count, operation.total_ns), (1, 0));
    assert!(operation.sampled, "{operation:?}");
}

/// Of each request that uses the connection, also when it is not looked at any more.
#[test]
fn a_language_of_its_own() -> Result<()> {
    let Some(live) = live("operations::unknown::a_language_of_its_own")? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    for n in 1..=20 {
        let (finished, _) = far.ask("unknown/kept", n)?;
        assert_not_understood(&finished, "/run/nscd/socket.old");
        assert_eq!(finished.round_trips, n, "{finished:#?}");
    }
    let (finished, _, heard) = far.counted("http/keepalive", 5)?;
    assert_eq!(finished.operations.len(), 1, "{finished:#?}");
    assert_eq!(finished.operations[0].count, 5, "{heard:?}");
    Ok(())
}

/// What the kernel sends from a file is in no memory of the application.
#[test]
fn questions_from_a_file() -> Result<()> {
    let Some(live) = live("operations::unknown::questions_from_a_file")? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    for n in [1, 2, 37] {
        let (finished, _, heard) = far.counted("unknown/file", n)?;
        assert_eq!(heard["GET /items/{id}"], n);
        assert_not_understood(&finished, &far.http.to_string());
        assert_eq!(finished.round_trips, n, "{finished:#?}");
    }
    Ok(())
}
