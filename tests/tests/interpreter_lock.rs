//! Waits for the interpreter lock: how long, and who held it, against what the application did.

use anyhow::{Context as _, Result};
use whyslow_tests::{
    Agent, Watch,
    event::{Finished, Wait},
    http::get_once,
    live,
    live::say,
    stats::median,
    truth::Truth,
};

/// Times that a lock is waited for, of each kind of holder.
const TRIALS: u32 = 50;
/// Of 100 long waits with one holder, so many are to be blamed rightly.
const NAMED: f64 = 0.93;
/// So many of those that are called certain.
const CERTAIN: f64 = 0.99;
/// A wait is long from here on.
const LONG_NS: u64 = 6_000_000;

/// What came of one kind of holder.
#[derive(Debug, Default)]
struct Tally {
    long: u32,
    right: u32,
    certain: u32,
    certain_right: u32,
    /// What the ledger says less what the application measured, and that, ms.
    off: Vec<f64>,
    took: Vec<f64>,
    wrong: Vec<(Wait, Finished)>,
}

impl Tally {
    fn judge(&mut self, waiting: &Finished, holding: &Finished) {
        let longest = waiting.waits.iter().find(|wait| wait.account == "lock.gil");
        let Some(wait) = longest.filter(|wait| wait.ns > LONG_NS) else {
            return;
        };
        self.long += 1;
        let holder = wait.holder.as_ref();
        let right = holder.is_some_and(|holder| {
            let who = (holder.pid, holder.tid, &*holder.request_id);
            who == (holding.pid, holding.tid, &*holding.request_id)
                && holder.share > 0.5
                && holder.request == format!("GET {}", holding.route)
        });
        let certain = holder.is_some_and(|holder| holder.samples >= 3 && holder.share >= 0.7);
        self.right += u32::from(right);
        self.certain += u32::from(certain);
        self.certain_right += u32::from(certain && right);
        if !right {
            self.wrong.push((wait.clone(), holding.clone()));
        }
    }
}

/// Another request holds the lock meanwhile, in the way of `holder`.
fn blame(name: &str, holder: &str) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let truth = Truth::of("gthread", 1, 4).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut tally = Tally::default();
    for trial in 0..TRIALS {
        let keys = [format!("{holder}-{trial}"), format!("waits-{trial}")];
        let targets = [format!("/{holder}?ms=60"), "/interpreter".to_owned()];
        std::thread::scope(|scope| -> Result<()> {
            let asked = [0, 1].map(|who| {
                let (target, key) = (&targets[who], &keys[who]);
                let address = truth.address();
                scope.spawn(move || get_once(address, target, key))
            });
            for client in asked {
                client.join().ok().context("a client failed")??;
            }
            Ok(())
        })?;
        let [holding, waiting] = [watch.request(&keys[0])?, watch.request(&keys[1])?];
        tally.judge(&waiting, &holding);
        let measured = truth.request(&keys[1])?;
        let part = measured.parts.first().context("no part")?;
        let took = part.wall_ns.saturating_sub(part.cpu_ns + part.queued_ns);
        let told = waiting.account("lock.gil") + waiting.account("sleep");
        tally.took.push(took as f64 / 1e6);
        tally.off.push(told as f64 / 1e6 - took as f64 / 1e6);
        assert_eq!(waiting.sum(|_| true), waiting.wall_ns, "{waiting:#?}");
    }
    judge(holder, &tally)
}

fn judge(holder: &str, tally: &Tally) -> Result<()> {
    let off = median(&tally.off).context("no trials")?;
    let took = median(&tally.took).context("no trials")?;
    let Tally {
        long,
        right,
        certain,
        certain_right,
        ..
    } = tally;
    say(&format!(
        "{holder}: {took:.1} ms, {off:+.2} ms off; of {long} long waits {right} blamed rightly, \
         of {certain} certain ones {certain_right}"
    ));
    assert!(
        off.abs() <= (took / 50.0).max(1.0),
        "{off} of {took} ms off"
    );
    // Nearly all are long: else nothing is tested.
    assert!(*long >= TRIALS / 2, "{tally:#?}");
    assert!(f64::from(*right) >= NAMED * f64::from(*long), "{tally:#?}");
    assert!(*certain >= long / 2, "{tally:#?}");
    assert!(
        f64::from(*certain_right) >= CERTAIN * f64::from(*certain),
        "{tally:#?}"
    );
    Ok(())
}

/// It sleeps with the lock held, and is on no CPU.
#[test]
fn held_asleep() -> Result<()> {
    blame("interpreter_lock::held_asleep", "hold")
}

/// It computes, and never looks whether somebody waits.
#[test]
fn held_on_the_cpu() -> Result<()> {
    blame("interpreter_lock::held_on_the_cpu", "compute")
}
