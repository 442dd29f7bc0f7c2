//! Waits for a database on this host: what its process did meanwhile, and whose request held the row.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    event::{Finished, Wait},
    live,
    live::say,
    stats::median,
    wait_for,
};

use crate::setting::Setting;

/// Times that a row is waited for.
const TRIALS: u32 = 20;
/// Longest time until the server is followed, and until a row is held.
const LIMIT: Duration = Duration::from_secs(20);

fn longest(finished: &Finished) -> Result<&Wait> {
    let wait = finished.waits.first().context("no wait")?;
    ensure!(wait.account == "net.upstream", "{finished:#?}");
    Ok(wait)
}

/// Asks until what the server does is seen: it is followed once somebody has waited for it for long.
fn followed(setting: &Setting) -> Result<()> {
    setting.ask("rows/table", 1)?;
    wait_for(LIMIT, "the server to be followed", || {
        let finished = setting.ask("rows/naps", 20)?;
        let wait = longest(&finished)?;
        let known = wait.served.is_some();
        assert_eq!(known, wait.served_unknown.is_empty(), "{finished:#?}");
        Ok(known.then_some(()))
    })
}

/// A row that another request of the application has changed, and not committed yet.
#[test]
fn a_row_lock_is_blamed_on_the_request_that_held_it() -> Result<()> {
    let Some(live) = live("operations::rows::a_row_lock_is_blamed_on_the_request_that_held_it")?
    else {
        return Ok(());
    };
    let setting = Setting::with_workers(&live, 2)?;
    followed(&setting)?;
    let (mut off, mut blamed) = (Vec::new(), 0);
    for trial in 0..TRIALS {
        let held = std::thread::scope(|scope| -> Result<Finished> {
            let holding = scope.spawn(|| setting.ask("rows/hold", u64::from(100 + trial)));
            wait_for(LIMIT, "the row to be held", || {
                let held = setting.psql(
                    "select count(*) from pg_locks where relation = 'row_of_all'::regclass \
                     and mode = 'RowExclusiveLock'",
                )?;
                Ok((held.trim() != "0").then_some(()))
            })?;
            let (finished, measured) = setting.measured("rows/want", 1)?;
            let holding = holding.join().ok().context("a client failed")??;
            let wait = longest(&finished)?;
            let took = measured["total"][0].as_f64().context("no time")?;
            off.push((wait.ns as f64 - took) / 1e6);
            let served = wait.served.clone().unwrap_or_default();
            let right = served.blocked.as_ref().is_some_and(|it| {
                it.waker.request == format!("GET {}", holding.route)
                    && it.waker.request_id == holding.request_id
                    && it.ns <= served.ns
                    && it.ns * 2 > served.ns
            });
            if !right {
                say(&format!("not {}: {wait:#?}", holding.request_id));
            }
            blamed += u32::from(right);
            Ok(finished)
        })?;
        assert_eq!(held.sum(|_| true), held.wall_ns);
    }
    let off = median(&off).context("no trials")?;
    say(&format!(
        "{blamed} of {TRIALS} blamed on the holder, {off:+.2} ms off"
    ));
    assert!(f64::from(blamed) >= 0.93 * f64::from(TRIALS), "{blamed}");
    assert!(off.abs() <= 2.0, "{off} ms");
    Ok(())
}

/// What the server's process does is told by account.
#[test]
fn what_the_server_did_meanwhile() -> Result<()> {
    let Some(live) = live("operations::rows::what_the_server_did_meanwhile")? else {
        return Ok(());
    };
    let setting = Setting::with_workers(&live, 1)?;
    followed(&setting)?;
    for (way, n, accounts) in [
        ("rows/naps", 200, &["sleep", "ipc", "unexplained"][..]),
        ("rows/computes", 200, &["cpu", "run_queue"][..]),
    ] {
        let finished = setting.ask(way, n)?;
        let wait = longest(&finished)?;
        let served = wait
            .served
            .as_ref()
            .with_context(|| format!("{finished:#?}"))?;
        let all: u64 = served.ledger.iter().map(|it| it.ns).sum();
        assert_eq!(all, served.ns, "{served:#?}");
        let spent = served.ledger.iter();
        let spent = spent.filter(|it| accounts.contains(&&*it.account));
        let spent: u64 = spent.map(|it| it.ns).sum();
        assert!(spent * 10 >= served.ns * 9, "{way}: {served:#?}");
        assert_eq!(served.comm, "postgres");
    }
    Ok(())
}
