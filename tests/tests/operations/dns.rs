//! Name look-ups: glibc's resolver, and one of the application's own, against a server that counts, and the
//! application's clock.

use std::collections::BTreeMap;

use anyhow::Result;
use whyslow_tests::{event::Finished, live};

use crate::{
    far::{Far, NAME_SERVER, errors},
    setting::{COUNTS, assert_sound, counts},
    took::Took,
};

/// All of the time is that of look-ups, and the application has measured the same.
#[track_caller]
fn assert_time(finished: &Finished, took: Took) {
    took.assert_is("net.dns", finished);
    assert_eq!(finished.account("net.upstream"), 0, "{finished:#?}");
    for operation in &finished.operations {
        assert_eq!(operation.peer, format!("{NAME_SERVER}:53"));
    }
}

fn of(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = pairs
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count));
    owned.collect()
}

/// Questions are as many as the server has heard, both kinds of addresses asked at once and answered in the
/// other order, and their time is the application's.
#[test]
fn counts_and_times_are_those_of_both_ends() -> Result<()> {
    let name = "operations::dns::counts_and_times_are_those_of_both_ends";
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    // The first look-up of a process reads files too, as the resolver is set up.
    far.ask("dns/addresses", 2)?;
    for n in COUNTS {
        let (finished, took, heard) = far.counted("dns/addresses", n)?;
        assert_sound(&finished);
        assert_eq!(counts(&finished, "dns"), heard, "{finished:#?}");
        assert_eq!(heard, of(&[("A db.internal", n), ("AAAA db.internal", n)]));
        assert_time(&finished, took);
        let total = |shape: &str| {
            let mut all = finished.operations.iter();
            all.find(|o| o.shape == shape).map_or(0, |o| o.total_ns)
        };
        // The server answers the one in half the time of the other, which ends the look-up.
        let (v4, v6) = (total("A db.internal"), total("AAAA db.internal"));
        took.assert_holds("A", v4, &finished);
        assert!(v6 < v4, "{finished:#?}");
        assert_eq!(errors(&finished), BTreeMap::new());
    }
    for n in COUNTS {
        let (finished, took, heard) = far.counted("dns/unconnected", n)?;
        assert_sound(&finished);
        assert_eq!(heard, of(&[("A db.internal", n)]));
        assert_eq!(counts(&finished, "dns"), heard, "{finished:#?}");
        assert_time(&finished, took);
    }
    Ok(())
}

/// What fails, what is lost on the way, and what does not fit into a datagram.
#[test]
fn failures_retries_and_streams() -> Result<()> {
    let Some(live) = live("operations::dns::failures_retries_and_streams")? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    far.ask("dns/addresses", 2)?;
    for (way, code) in [("dns/unknown", "NXDOMAIN"), ("dns/broken", "SERVFAIL")] {
        let (finished, took, heard) = far.counted(way, 5)?;
        assert_sound(&finished);
        assert_eq!(counts(&finished, "dns"), heard, "{finished:#?}");
        let failed: BTreeMap<_, _> = heard
            .iter()
            .map(|(shape, count)| (shape.clone(), (*count, code.to_owned())))
            .collect();
        assert_eq!(errors(&finished), failed, "{finished:#?}");
        assert_time(&finished, took);
    }
    // Asked twice, but one operation.
    let (finished, took, heard) = far.counted("dns/lost", 1)?;
    let shapes = ["A lost-a.internal", "AAAA lost-a.internal"];
    assert_eq!(heard, of(&shapes.map(|shape| (shape, 2))));
    assert_eq!(
        counts(&finished, "dns"),
        of(&shapes.map(|shape| (shape, 1)))
    );
    assert!(
        finished
            .operations
            .iter()
            .all(|o| o.total_ns > 1_000_000_000)
    );
    assert_time(&finished, took);
    // A datagram that says it was cut, and the same over TCP.
    let (finished, took, heard) = far.counted("dns/stream", 5)?;
    assert_sound(&finished);
    assert_eq!(counts(&finished, "dns"), heard, "{finished:#?}");
    // glibc asks all anew while its buffer is too small.
    assert!(heard.values().all(|count| *count >= 10), "{heard:?}");
    assert_time(&finished, took);
    Ok(())
}

/// Resolvers of the host are known by where they listen; what listens beside them is none.
#[test]
fn daemons() -> Result<()> {
    let Some(live) = live("operations::dns::daemons")? else {
        return Ok(());
    };
    let far = Far::new(&live)?;
    let (finished, took) = far.ask("dns/daemons", 10)?;
    took.assert_is("net.dns", &finished);
    assert_eq!(finished.account("net.upstream"), 0, "{finished:#?}");
    let (finished, took) = far.ask("dns/no_daemon", 10)?;
    took.assert_is("net.upstream", &finished);
    assert_eq!(finished.account("net.dns"), 0, "{finished:#?}");
    Ok(())
}
