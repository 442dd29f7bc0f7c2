//! Waits for locks: how long, and who held them, against what the application did.

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
/// Of 100 long waits with one holder, so many are to be blamed rightly.
const NAMED: f64 = 0.93;
/// So many of those that are called certain.
const CERTAIN: f64 = 0.99;
/// A wait is long from here on.
const LONG_NS: u64 = 6_000_000;

/// What came of one kind of lock.
#[derive(Debug, Default)]
struct Tally {
    long: u32,
    right: u32,
    /// Told as a holder; else as who let it go.
    held: u32,
    certain: u32,
    certain_right: u32,
    /// What the ledger says less what the application measured, and that, ms.
    off: Vec<f64>,
    took: Vec<f64>,
    wrong: Vec<String>,
}

/// Who is to be named.
#[derive(Clone, Debug)]
struct Culprit {
    pid: u32,
    /// `None`: any of the process.
    tid: Option<u32>,
    request_id: String,
    comm: String,
}

impl Culprit {
    fn of(request: &Finished) -> Self {
        Self {
            pid: request.pid,
            tid: Some(request.tid),
            request_id: request.request_id.clone(),
            comm: request.comm.clone(),
        }
    }

    fn is(&self, pid: u32, tid: u32, request_id: &str, comm: &str) -> bool {
        let tid = self.tid.unwrap_or(tid) == tid;
        self.pid == pid && tid && self.request_id == request_id && self.comm == comm
    }
}

impl Tally {
    fn judge(&mut self, wait: &Wait, culprit: &Culprit) {
        if wait.ns <= LONG_NS {
            return;
        }
        self.long += 1;
        let right = match (&wait.holder, &wait.waker) {
            (Some(it), _) => {
                self.held += 1;
                it.share > 0.5 && culprit.is(it.pid, it.tid, &it.request_id, &it.comm)
            }
            (None, Some(it)) => culprit.is(it.pid, it.tid, &it.request_id, &it.comm),
            (None, None) => false,
        };
        let certain = wait.holder.as_ref().is_some_and(|holder| holder.certain);
        self.right += u32::from(right);
        self.certain += u32::from(certain);
        self.certain_right += u32::from(certain && right);
        if !right {
            self.wrong.push(format!("{wait:?} is not {culprit:?}"));
        }
    }

    fn time(&mut self, told_ns: u64, took_ns: u64) {
        self.took.push(took_ns as f64 / 1e6);
        self.off.push(told_ns as f64 / 1e6 - took_ns as f64 / 1e6);
    }

    fn check(&self, what: &str) -> Result<()> {
        let off = median(&self.off).context("no trials")?;
        let took = median(&self.took).context("no trials")?;
        let Self {
            long,
            right,
            held,
            certain,
            certain_right,
            ..
        } = self;
        say(&format!(
            "{what}: {took:.1} ms, {off:+.2} ms off; of {long} long waits {right} blamed rightly, {held} as held, \
             of {certain} certain ones {certain_right}"
        ));
        ensure!(
            off.abs() <= (took / 50.0).max(1.0),
            "{off} of {took} ms off"
        );
        // Nearly all are long: else nothing is tested.
        ensure!(*long >= TRIALS / 2, "{self:#?}");
        ensure!(f64::from(*right) >= NAMED * f64::from(*long), "{self:#?}");
        ensure!(*held >= long / 2 && *certain >= long / 2, "{self:#?}");
        ensure!(
            f64::from(*certain_right) >= CERTAIN * f64::from(*certain),
            "{self:#?}"
        );
        Ok(())
    }
}

/// Asks for all of these at once.
fn ask_all(truth: &Truth, asked: &[(String, String)]) -> Result<()> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = asked
            .iter()
            .map(|(target, key)| {
                let address = truth.address();
                scope.spawn(move || get_once(address, target, key))
            })
            .collect();
        for client in clients {
            client.join().ok().context("a client failed")??;
        }
        Ok(())
    })
}

/// The longest of an account.
fn longest<'a>(request: &'a Finished, account: &str) -> Result<&'a Wait> {
    let mut waits = request.waits.iter().filter(|wait| wait.account == account);
    waits
        .next()
        .with_context(|| format!("no wait in {account}: {request:#?}"))
}

/// What the application measured in an account, less what it ran and waited for a CPU, ns.
fn measured(truth: &Truth, key: &str, account: &str) -> Result<u64> {
    let measured = truth.request(key)?;
    let parts = measured.parts.iter().filter(|part| part.account == account);
    Ok(parts
        .map(|part| part.wall_ns.saturating_sub(part.cpu_ns + part.queued_ns))
        .sum())
}

/// A lock of the application is held by another request.
#[test]
fn held_by_another_request() -> Result<()> {
    let Some(live) = live("locks::held_by_another_request")? else {
        return Ok(());
    };
    let truth = Truth::of("gthread", 1, 4).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut tally = Tally::default();
    let mut followed = 0;
    for trial in 0..TRIALS {
        let keys = [format!("keep-{trial}"), format!("want-{trial}")];
        let targets = ["/keep?ms=60", "/want?ms=0"];
        let asked: Vec<_> = targets
            .map(str::to_owned)
            .into_iter()
            .zip(keys.clone())
            .collect();
        ask_all(&truth, &asked)?;
        let [keeps, wants] = [watch.request(&keys[0])?, watch.request(&keys[1])?];
        let wait = longest(&wants, "lock.futex")?;
        tally.judge(wait, &Culprit::of(&keeps));
        let told = wants.account("lock.futex") + wants.account("lock.gil");
        tally.time(told, measured(&truth, &keys[1], "lock.futex")?);
        ensure!(wants.sum(|_| true) == wants.wall_ns, "{wants:#?}");
        let meanwhile = wait.holder.as_ref().and_then(|it| it.waits_for.as_ref());
        followed += u32::from(meanwhile.is_some_and(|it| it["account"] == "sleep"));
    }
    say(&format!(
        "of {} holders {followed} are known to have slept",
        tally.held
    ));
    ensure!(
        f64::from(followed) >= NAMED * f64::from(tally.held),
        "{followed}"
    );
    tally.check("threading.Lock")
}

/// Who lets it go held it for a moment only: the one before him is to blame.
#[test]
fn the_last_holder_is_not_to_blame() -> Result<()> {
    let Some(live) = live("locks::the_last_holder_is_not_to_blame")? else {
        return Ok(());
    };
    let truth = Truth::of("gthread", 1, 6).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut tally = Tally::default();
    let mut woken_by_another = 0;
    for trial in 0..TRIALS {
        let keys = ["keep", "want", "also"].map(|who| format!("{who}-{trial}"));
        let targets = ["/keep?ms=60&wanted=2", "/want?ms=8", "/want?ms=8"];
        let asked: Vec<_> = targets
            .map(str::to_owned)
            .into_iter()
            .zip(keys.clone())
            .collect();
        ask_all(&truth, &asked)?;
        let keeps = watch.request(&keys[0])?;
        let wants = [watch.request(&keys[1])?, watch.request(&keys[2])?];
        let mut waits: Vec<_> = wants
            .iter()
            .zip(&keys[1..])
            .map(|(request, key)| Ok((longest(request, "lock.futex")?, request, key)))
            .collect::<Result<_>>()?;
        waits.sort_by_key(|(wait, ..)| wait.start_ns + wait.ns);
        let (last, request, key) = waits.pop().context("no waits")?;
        tally.judge(last, &Culprit::of(&keeps));
        let waker = last.waker.as_ref();
        woken_by_another += u32::from(waker.is_some_and(|it| it.request_id != keeps.request_id));
        let told = request.account("lock.futex") + request.account("lock.gil");
        tally.time(told, measured(&truth, key, "lock.futex")?);
    }
    // Else nothing is tested.
    ensure!(woken_by_another >= TRIALS / 2, "{woken_by_another}");
    tally.check("threading.Lock, behind another")
}

/// A lock on a file is held by another process, of which nothing is watched, and which lets it go by closing the file.
fn held_by_another_process(name: &str, case: &str) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", truth.peer()))?;
    let peer = Culprit {
        pid: truth.peer(),
        tid: None,
        request_id: String::new(),
        comm: comm.trim_end().to_owned(),
    };
    let mut tally = Tally::default();
    for trial in 0..TRIALS {
        let key = format!("{case}-{trial}");
        get_once(truth.address(), &format!("/{case}?ms=60"), &key)?;
        let request = watch.request(&key)?;
        let wait = longest(&request, "lock.file")?;
        let path = wait.wait_target.as_ref().map(|it| &it["file"]["path"]);
        let path = path.and_then(|it| it.as_str()).unwrap_or_default();
        ensure!(path.contains(&format!("/{case}-")), "{wait:?}");
        tally.judge(wait, &peer);
        tally.time(
            request.account("lock.file"),
            measured(&truth, &key, "lock.file")?,
        );
        ensure!(request.sum(|_| true) == request.wall_ns, "{request:#?}");
    }
    tally.check(case)
}

/// `flock`.
#[test]
fn flock() -> Result<()> {
    held_by_another_process("locks::flock", "flock")
}

/// A record lock: `fcntl(F_SETLKW)`.
#[test]
fn record_lock() -> Result<()> {
    held_by_another_process("locks::record_lock", "fcntl")
}

/// A record lock of an open file: `fcntl(F_OFD_SETLKW)`.
#[test]
fn open_file_lock() -> Result<()> {
    held_by_another_process("locks::open_file_lock", "ofd")
}
