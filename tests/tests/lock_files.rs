//! Locks that are files: created where they do not exist, tried again after a sleep where they do.

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    Agent, Watch,
    event::{Finished, Wait},
    http::get_once,
    live,
    live::say,
    stats::median,
    truth::Truth,
};

/// Times that a lock is waited for, of each kind.
const TRIALS: u32 = 50;
/// Of 100 waits, so many are to be blamed rightly.
const NAMED: f64 = 0.93;

/// The wait for a lock file.
fn wait(request: &Finished) -> Result<&Wait> {
    let mut waits = request.waits.iter().filter(|it| it.account == "lock.file");
    waits
        .next()
        .with_context(|| format!("no wait in lock.file: {request:#?}"))
}

/// Where it is.
fn path(wait: &Wait) -> &str {
    let path = wait.wait_target.as_ref().map(|it| &it["file"]["path"]);
    path.and_then(|it| it.as_str()).unwrap_or_default()
}

#[derive(Debug, Default)]
struct Tally {
    right: u32,
    off: Vec<f64>,
    took: Vec<f64>,
    wrong: Vec<String>,
}

impl Tally {
    fn add(
        &mut self,
        (truth, key): (&Truth, &str),
        request: &Finished,
        is: impl Fn(&Wait) -> bool,
    ) -> Result<()> {
        let found = wait(request)?;
        ensure!(path(found).ends_with(".lock"), "{found:?}");
        ensure!(request.sum(|_| true) == request.wall_ns, "{request:#?}");
        if is(found) {
            self.right += 1;
        } else {
            self.wrong.push(format!("{found:?}"));
        }
        let measured = truth.request(key)?;
        let mut parts = measured.parts.iter();
        let part = parts.find(|it| it.account == "lock.file");
        let part = part.context("nothing measured")?;
        let took = part.wall_ns.saturating_sub(part.cpu_ns + part.queued_ns) as f64 / 1e6;
        self.took.push(took);
        self.off
            .push(request.account("lock.file") as f64 / 1e6 - took);
        ensure!(request.account("sleep") < 1_000_000, "{request:#?}");
        Ok(())
    }

    fn check(&self, what: &str) -> Result<()> {
        let off = median(&self.off).context("no trials")?;
        let took = median(&self.took).context("no trials")?;
        let right = self.right;
        say(&format!(
            "{what}: {took:.1} ms, {off:+.2} ms off; {right} of {TRIALS} blamed rightly"
        ));
        ensure!(
            off.abs() <= (took / 50.0).max(1.0),
            "{off} of {took} ms off"
        );
        ensure!(
            f64::from(right) >= NAMED * f64::from(TRIALS),
            "{:#?}",
            self.wrong
        );
        Ok(())
    }
}

/// Another process, of which nothing is watched, has it.
fn of_another_process(name: &str, case: &str, named: bool) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut tally = Tally::default();
    for trial in 0..TRIALS {
        let key = format!("{case}-{trial}");
        get_once(truth.address(), &format!("/{case}?ms=100"), &key)?;
        let request = watch.request(&key)?;
        let peer = truth.peer();
        tally.add((&truth, &key), &request, |wait| match &wait.holder {
            Some(holder) => named && holder.pid == peer && !holder.comm.is_empty(),
            // Better nobody than somebody else.
            None => !named,
        })?;
    }
    tally.check(case)
}

/// A file, which its creator has open.
#[test]
fn file() -> Result<()> {
    of_another_process("lock_files::file", "lockfile", true)
}

/// A link that names its creator, as Mercurial has them.
#[test]
fn link() -> Result<()> {
    of_another_process("lock_files::link", "locklink", true)
}

/// A directory: nobody knows who created it.
#[test]
fn directory() -> Result<()> {
    of_another_process("lock_files::directory", "lockdir", false)
}

/// Another request has it.
#[test]
fn of_another_request() -> Result<()> {
    let Some(live) = live("lock_files::of_another_request")? else {
        return Ok(());
    };
    let truth = Truth::of("gthread", 1, 4).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut tally = Tally::default();
    for trial in 0..TRIALS {
        let keys = [format!("store-{trial}"), format!("restore-{trial}")];
        std::thread::scope(|scope| -> Result<()> {
            let asked = ["/store?ms=60", "/restore"].into_iter().zip(&keys);
            let clients: Vec<_> = asked
                .map(|(target, key)| {
                    let address = truth.address();
                    scope.spawn(move || get_once(address, target, key))
                })
                .collect();
            for client in clients {
                client.join().ok().context("a client failed")??;
            }
            Ok(())
        })?;
        let [stores, restores] = [watch.request(&keys[0])?, watch.request(&keys[1])?];
        tally.add((&truth, &keys[1]), &restores, |wait| {
            wait.holder.as_ref().is_some_and(|it| {
                let who = (it.pid, it.tid, &*it.request_id);
                who == (stores.pid, stores.tid, &*stores.request_id)
            })
        })?;
    }
    tally.check("by another request")
}

/// To make sure of a folder, and to sleep, is no wait for a lock.
#[test]
fn a_folder_that_exists() -> Result<()> {
    let Some(live) = live("lock_files::a_folder_that_exists")? else {
        return Ok(());
    };
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    for trial in 0..3 {
        let key = format!("existing-{trial}");
        get_once(truth.address(), "/existing?ms=40", &key)?;
        let request = watch.request(&key)?;
        ensure!(request.account("lock.file") == 0, "{request:#?}");
        ensure!(request.account("sleep") >= 40_000_000, "{request:#?}");
    }
    Ok(())
}
