//! Event loops: requests that overlap on one thread are told as shared, not split by a guess.

use anyhow::Result;
use whyslow_tests::{
    Agent, Watch,
    http::{Client, get},
    live,
    truth::Overlap,
    watch::EVENT_LIMIT,
};

/// Two requests overlap on one thread: both are told with binding `shared`, with their own status and wall
/// time, and with no ledger.
#[test]
fn overlapping_requests() -> Result<()> {
    let Some(live) = live("shared::overlapping_requests")? else {
        return Ok(());
    };
    let server = Overlap::start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut slow = Client::open(server.address)?;
    let mut fast = Client::open(server.address)?;

    slow.send(&get("/wait?ms=400", "slow"))?;
    watch.expect(EVENT_LIMIT, "the slow request to begin", |event| {
        event
            .request_started
            .as_ref()
            .filter(|started| started.target.starts_with("/wait"))
            .map(|_| ())
    })?;
    fast.send(&get("/missing?ms=100", "fast"))?;
    assert_eq!(fast.response(true)?.status, 404);
    assert_eq!(slow.response(true)?.status, 200);

    let slow = watch.request("slow")?;
    let fast = watch.request("fast")?;
    assert_eq!((slow.status, fast.status), (200, 404));
    for (finished, least_ns) in [(&slow, 400_000_000), (&fast, 100_000_000)] {
        assert_eq!(finished.binding, "shared", "{finished:#?}");
        assert!(!finished.binding_reason.is_empty(), "{finished:#?}");
        assert!(finished.ledger.is_empty(), "{finished:#?}");
        assert_eq!(finished.pid, server.pid());
        assert!(
            (least_ns..least_ns + 100_000_000).contains(&finished.wall_ns),
            "{finished:#?}"
        );
    }
    agent.stop()
}
