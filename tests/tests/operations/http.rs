//! Outgoing HTTP, against what the server has counted itself.

use std::collections::BTreeMap;

use anyhow::Result;
use whyslow_tests::live;

use crate::{
    far::{DELAY, Far, errors},
    setting::{COUNTS, assert_sound, counts},
};

/// Requests are as many, by method and path, as the server has served: on a connection each, on one that is
/// kept, with all kinds of bodies and statuses.
#[test]
fn counts_what_the_server_counts() -> Result<()> {
    let Some(live) = live("operations::http::counts_what_the_server_counts")? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    for way in ["http/urllib", "http/keepalive", "http/statuses"] {
        for n in COUNTS {
            let (finished, _, served) = far.counted(way, n)?;
            assert_sound(&finished);
            assert_eq!(
                counts(&finished, "http"),
                served,
                "{way} {n}: {finished:#?}"
            );
            for operation in &finished.operations {
                assert_eq!(operation.peer, far.http.to_string());
            }
        }
    }
    for n in [6, 37] {
        let (finished, _, served) = far.counted("http/bodies", n)?;
        assert_sound(&finished);
        assert_eq!(counts(&finished, "http"), served, "{n}: {finished:#?}");
        assert_eq!(errors(&finished), BTreeMap::new());
    }
    let (finished, _, served) = far.counted("http/gathered", 37)?;
    assert_sound(&finished);
    assert_eq!(served, [("POST /upload".to_owned(), 37)].into());
    let told = [("POST far.test/upload".to_owned(), 37)].into();
    assert_eq!(counts(&finished, "http"), told, "{finished:#?}");
    let (finished, _, served) = far.counted("http/old", 3)?;
    assert_sound(&finished);
    assert_eq!(counts(&finished, "http"), served, "{finished:#?}");
    let all = (3, "500".to_owned());
    assert_eq!(errors(&finished), [("GET /old".to_owned(), all)].into());
    Ok(())
}

/// Two of the five statuses are errors, the last of them is the one told.
#[test]
fn statuses_are_errors_and_times_are_the_applications() -> Result<()> {
    let name = "operations::http::statuses_are_errors_and_times_are_the_applications";
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    let (finished, _) = far.ask("http/statuses", 50)?;
    let failed = (20, "503".to_owned());
    assert_eq!(
        errors(&finished),
        [("GET /status/{id}".to_owned(), failed)].into()
    );
    let (finished, took) = far.ask("http/slow", 20)?;
    assert_sound(&finished);
    took.assert_is("net.upstream", &finished);
    let slow = finished
        .operations
        .iter()
        .find(|operation| operation.shape == "GET /slow")
        .expect("the operation");
    // Head and body are both waited for, and what is not waited for is little.
    let least = 2 * 20 * DELAY.as_nanos();
    assert!(u128::from(slow.total_ns) >= least, "{slow:?}");
    assert!(u128::from(slow.first_byte_ns) < least, "{slow:?}");
    assert!(slow.total_ns <= finished.wall_ns, "{slow:?}");
    Ok(())
}

/// A server that closes or resets the connection ends the operation there, and it has failed.
#[test]
fn a_connection_that_is_lost_ends_the_operation() -> Result<()> {
    let name = "operations::http::a_connection_that_is_lost_ends_the_operation";
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    let (finished, _) = far.ask("http/lost", 10)?;
    assert_sound(&finished);
    let lost = (5, "connection lost".to_owned());
    let expected =
        ["GET /lost/closed", "GET /lost/reset"].map(|shape| (shape.to_owned(), lost.clone()));
    assert_eq!(errors(&finished), expected.into(), "{finished:#?}");
    // It sleeps after each, and none lasts into that.
    let total_ns: u64 = finished.operations.iter().map(|it| it.total_ns).sum();
    let asleep_ns = finished.account("sleep");
    assert!(
        total_ns + asleep_ns <= finished.wall_ns,
        "{total_ns} and {asleep_ns}: {finished:#?}"
    );
    assert!(
        u128::from(total_ns) >= 10 * DELAY.as_nanos(),
        "{finished:#?}"
    );
    Ok(())
}
