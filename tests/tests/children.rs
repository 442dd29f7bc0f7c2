//! What requests start: each child with its command, time, CPU, start-up and end, against the clocks of the
//! application and of the child; and the table of programs.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use whyslow_tests::{
    Agent, Live, Watch,
    event::{Child, Finished},
    http::get_once,
    live,
    live::say,
    process::alive,
    stats::median,
    truth::{Measured, Truth},
    wait_for,
};

/// Requests of each case.
const TRIALS: usize = 11;
/// Longest time until something is told.
const LIMIT: Duration = Duration::from_secs(10);

/// The application, and what is told of it.
struct Setting {
    truth: Truth,
    agent: Agent,
    watch: Watch,
    asked: usize,
}

impl Setting {
    fn start(live: &Live, worker_class: &'static str, options: &[&str]) -> Result<Self> {
        let threads = if worker_class == "sync" { 1 } else { 4 };
        let truth = Truth::of(worker_class, 1, threads).start()?;
        let agent = Agent::start(live, options)?;
        let watch = Watch::start(&agent)?;
        Ok(Self {
            truth,
            agent,
            watch,
            asked: 0,
        })
    }

    /// Asks once: what was told, and what was measured.
    fn ask(&mut self, target: &str) -> Result<(Finished, Measured)> {
        self.asked += 1;
        let key = format!("child-{}", self.asked);
        get_once(self.truth.address(), target, &key)?;
        let finished = self.watch.request(&key)?;
        let sum = finished.sum(|_| true);
        ensure!(sum == finished.wall_ns, "{sum} {finished:#?}");
        ensure!(finished.binding == "thread", "{finished:#?}");
        Ok((finished, self.truth.request(&key)?))
    }

    fn programs(&self) -> Result<Vec<Value>> {
        let snapshot = self.snapshot()?;
        let programs = snapshot["programs"]["programs"].as_array();
        Ok(programs.cloned().unwrap_or_default())
    }

    fn snapshot(&self) -> Result<Value> {
        let output = Command::new(self.agent.binary())
            .args(["top", "--once", "--json", "--settle", "0s", "--socket"])
            .arg(self.agent.socket())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        serde_json::from_str(&text).context(text)
    }
}

fn part(measured: &Measured, account: &str) -> Result<f64> {
    let mut parts = measured.parts.iter();
    let part = parts.find(|part| part.account == account);
    Ok(ms(part
        .with_context(|| format!("no part {account}"))?
        .wall_ns))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds")]
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn number(value: &Value) -> u64 {
    // Proto3 JSON leaves zeros out.
    value.as_str().map_or(0, |text| text.parse().unwrap_or(0))
}

/// The child that runs this.
fn child<'a>(finished: &'a Finished, command: &str) -> Result<&'a Child> {
    let found = finished.children.iter().find(|it| it.command == command);
    found.with_context(|| format!("no child {command}: {:#?}", finished.children))
}

/// Figures beside the truth of the same thing, ms.
#[derive(Default)]
struct Compared {
    told: Vec<f64>,
    truth: Vec<f64>,
}

impl Compared {
    fn add(&mut self, told: u64, truth: f64) {
        self.told.push(ms(told));
        self.truth.push(truth);
    }

    /// Within 2 % or 1 ms, in the median.
    fn judge(&self, what: &str) -> Result<()> {
        let pairs = self.told.iter().zip(&self.truth);
        let off: Vec<f64> = pairs.map(|(told, truth)| told - truth).collect();
        let off = median(&off).context("no trials")?;
        let truth = median(&self.truth).context("no trials")?;
        say(&format!("{what}: {truth:.1} ms, {off:+.2} ms off"));
        ensure!(
            off.abs() <= (truth / 50.0).max(1.0),
            "{what}: {off} of {truth} ms off"
        );
        Ok(())
    }
}

fn one_that_sleeps(name: &str, worker_class: &'static str, case: &str) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, worker_class, &[])?;
    let (mut wall, mut waited) = (Compared::default(), Compared::default());
    for _ in 0..TRIALS {
        let (finished, measured) = setting.ask(&format!("/{case}?ms=200"))?;
        let child = child(&finished, "sleep")?;
        let truth = part(&measured, "child")?;
        wall.add(child.wall_ns, truth);
        waited.add(child.waited_ns, ms(finished.account("child")));
        assert_eq!(finished.children.len(), 1, "{finished:#?}");
        assert_eq!((child.parent_pid, child.count), (finished.pid, 1));
        assert_eq!(
            (child.exit_code, child.signal, child.running),
            (0, 0, false)
        );
        let sum: u64 = child.ledger.iter().map(|entry| entry.ns).sum();
        assert!(sum.abs_diff(child.wall_ns) < 1_000_000, "{child:#?}");
        let sleep = child.ledger.first().context("no ledger")?;
        assert_eq!(sleep.account, "sleep", "{child:#?}");
        assert!(
            sleep.ns >= 199_000_000 && child.wall_ns - sleep.ns < 10_000_000,
            "{child:#?}"
        );
        assert_eq!(child.startup_ns, 0, "it writes nothing");
        assert!(child.files_opened > 0, "{child:#?}");
    }
    wall.judge(&format!("{worker_class} {case}: wall"))?;
    waited.judge(&format!("{worker_class} {case}: waited for"))
}

/// A child that sleeps is told with its time, of a worker with one thread.
#[test]
fn sleeping_of_sync() -> Result<()> {
    one_that_sleeps("children::sleeping_of_sync", "sync", "children-sleep")
}

/// And of one with several.
#[test]
fn sleeping_of_gthread() -> Result<()> {
    one_that_sleeps("children::sleeping_of_gthread", "gthread", "children-sleep")
}

/// However it was started.
#[test]
fn spawned() -> Result<()> {
    one_that_sleeps("children::spawned", "sync", "children-spawn")
}

/// A helper that imports a framework: its start-up, CPU and time are those that it measures itself, and its arguments
/// are not told.
#[test]
fn importing() -> Result<()> {
    let Some(live) = live("children::importing")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "gthread", &[])?;
    let [mut wall, mut startup, mut cpu] = [(); 3].map(|()| Compared::default());
    let mut files = 0;
    for trial in 0..TRIALS {
        let (finished, measured) = setting.ask("/children-helper")?;
        let child = finished.children.first().context("no child")?;
        assert!(child.command.ends_with(" helper.py"), "{child:#?}");
        assert_eq!(finished.children.len(), 1, "{finished:#?}");
        // The first has it all read from disk.
        if trial > 0 {
            wall.add(child.wall_ns, part(&measured, "child")?);
            startup.add(child.startup_ns, part(&measured, "startup")?);
            cpu.add(child.cpu_ns, part(&measured, "cpu")?);
        }
        files = child.files_opened;
        assert!(!format!("{finished:?}").contains("hunter2"));
    }
    assert!(files > 100, "{files} files opened");
    wall.judge("import: wall")?;
    startup.judge("import: start-up")?;
    cpu.judge("import: CPU")
}

/// A shell with children: they belong to the request too.
#[test]
fn grandchildren() -> Result<()> {
    let Some(live) = live("children::grandchildren")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "sync", &[])?;
    let mut wall = Compared::default();
    for _ in 0..TRIALS {
        let (finished, measured) = setting.ask("/children-shell?ms=100")?;
        let shell = child(&finished, "sh -c")?;
        wall.add(shell.wall_ns, part(&measured, "child")?);
        assert_eq!(shell.parent_pid, finished.pid);
        let below: Vec<_> = finished
            .children
            .iter()
            .filter(|child| child.parent_pid == shell.pid)
            .map(|child| child.command.as_str())
            .collect();
        assert_eq!(below.len(), finished.children.len() - 1, "{finished:#?}");
        assert_eq!(below, ["sleep", "sleep", "cat"], "{finished:#?}");
        let waited = shell.ledger.iter().find(|entry| entry.account == "child");
        assert!(
            waited.is_some_and(|entry| entry.ns > 90_000_000),
            "{shell:#?}"
        );
        let sleep = child(&finished, "sleep")?;
        assert!(sleep.waited_ns > 90_000_000, "{finished:#?}");
    }
    wall.judge("shell: wall")
}

/// How children end: with a status, by a signal, or before they ran anything.
#[test]
fn failing() -> Result<()> {
    let Some(live) = live("children::failing")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "sync", &[])?;
    let (finished, _) = setting.ask("/children-failing")?;
    let mut ends: Vec<_> = finished
        .children
        .iter()
        .map(|child| {
            (
                child.start_ns,
                child.exit_code,
                child.signal,
                &*child.command,
            )
        })
        .collect();
    ends.sort_unstable();
    let ends: Vec<_> = ends
        .iter()
        .map(|(_, code, signal, command)| (*code, *signal, *command))
        .collect();
    assert_eq!(
        ends[..2],
        [(3, 0, "sh -c"), (0, 9, "sh -c")],
        "{finished:#?}"
    );
    assert_eq!(ends.len(), 3, "{finished:#?}");
    assert!(ends[2].0 != 0 && ends[2].2.ends_with(" (fork)"), "{ends:?}");
    let programs = setting.programs()?;
    let shell = programs
        .iter()
        .find(|program| program["command"] == "sh -c");
    let shell = shell.context("no shell")?;
    assert_eq!(
        (number(&shell["count"]), number(&shell["failures"])),
        (2, 2),
        "{shell}"
    );
    Ok(())
}

/// A child that outlives its request is told as running, and its end is counted.
#[test]
fn outliving() -> Result<()> {
    let Some(live) = live("children::outliving")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "sync", &[])?;
    let (finished, _) = setting.ask("/children-background?ms=1500")?;
    let child = child(&finished, "sleep")?;
    assert!(
        child.running && child.wall_ns <= finished.wall_ns,
        "{finished:#?}"
    );
    assert_eq!(finished.account("sleep"), 0, "{finished:#?}");
    let row = |setting: &Setting| -> Result<Option<Value>> {
        let programs = setting.programs()?.into_iter();
        Ok(programs
            .into_iter()
            .find(|program| program["command"] == "sleep"))
    };
    let now = row(&setting)?.context("it runs")?;
    assert_eq!(now["running"], 1, "{now}");
    let ended = wait_for(LIMIT, "its end", || {
        Ok(row(&setting)?.filter(|it| number(&it["count"]) == 1))
    })?;
    assert!(
        number(&ended["wallNs"]).abs_diff(1_500_000_000) < 50_000_000,
        "{ended}"
    );
    assert_eq!(
        ended["routes"][0]["route"], "/children-background",
        "{ended}"
    );
    assert!(!alive(child.pid) || ended["running"].is_null(), "{ended}");
    Ok(())
}

/// A fork that runs what its parent runs.
#[test]
fn forked() -> Result<()> {
    let Some(live) = live("children::forked")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "gthread", &[])?;
    let mut wall = Compared::default();
    for _ in 0..TRIALS {
        let (finished, measured) = setting.ask("/children-fork?ms=100")?;
        assert_eq!(finished.children.len(), 1, "{finished:#?}");
        let child = &finished.children[0];
        assert!(child.command.ends_with(" (fork)"), "{child:#?}");
        assert_eq!((child.exit_code, child.running), (7, false), "{child:#?}");
        wall.add(child.wall_ns, part(&measured, "child")?);
    }
    wall.judge("fork: wall")
}

/// Of many, the longest are told, and the sums of the others; all are in the table.
#[test]
fn many() -> Result<()> {
    let Some(live) = live("children::many")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "gthread", &[])?;
    let (finished, _) = setting.ask("/children-many")?;
    let all: u32 = finished.children.iter().map(|child| child.count).sum();
    assert_eq!((all, finished.children.len()), (40, 17), "{finished:#?}");
    assert_eq!(finished.children[16].command, "(others)");
    let programs = setting.programs()?;
    let row = programs.iter().find(|program| program["command"] == "true");
    assert_eq!(number(&row.context("no row")?["count"]), 40);
    Ok(())
}

/// A storm of helpers is the first line of the programs, with the route that starts them.
#[test]
fn a_storm_is_the_first_line() -> Result<()> {
    let Some(live) = live("children::a_storm_is_the_first_line")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "gthread", &[])?;
    for target in [
        "/children-many",
        "/children-sleep?ms=20",
        "/children-shell?ms=20",
    ] {
        setting.ask(target)?;
    }
    for _ in 0..5 {
        setting.ask("/children-helper")?;
    }
    let programs = setting.programs()?;
    let first = programs.first().context("no program")?;
    let command = first["command"].as_str().context("no command")?;
    assert!(command.ends_with(" helper.py"), "{programs:#?}");
    assert_eq!(number(&first["count"]), 5);
    assert_eq!(first["routes"][0]["route"], "/children-helper", "{first}");
    let output = Command::new(setting.agent.binary())
        .args([
            "top", "--once", "--pane", "programs", "--settle", "0s", "--socket",
        ])
        .arg(setting.agent.socket())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("Programs: "));
    let row = lines.nth(2).context(text.clone())?;
    assert!(row.contains("helper.py"), "{text}");
    Ok(())
}

/// What a request waits for now is the child that runs, with its name and what it did so far.
#[test]
fn in_flight() -> Result<()> {
    let Some(live) = live("children::in_flight")? else {
        return Ok(());
    };
    let setting = Setting::start(&live, "gthread", &[])?;
    let address = setting.truth.address();
    let client = std::thread::spawn(move || get_once(address, "/children-sleep?ms=3000", "slow"));
    let request = wait_for(LIMIT, "the child", || {
        let snapshot = setting.snapshot()?;
        let request = snapshot["inFlight"]["requests"][0].clone();
        Ok((request["account"] == "child" && !request["children"].is_null()).then_some(request))
    })?;
    let child = &request["children"][0];
    assert_eq!(
        (&child["command"], &child["running"]),
        (&"sleep".into(), &true.into()),
        "{request}"
    );
    assert_eq!(child["ledger"][0]["account"], "sleep", "{request}");
    assert!(number(&child["cpuNs"]) > 0, "{request}");
    let target = &request["waitTarget"]["process"];
    assert_eq!(
        (&target["pid"], &target["comm"]),
        (&child["pid"], &"sleep".into()),
        "{request}"
    );
    client.join().ok().context("the client failed")??;
    let finished = setting.watch.request("slow")?;
    assert!(!finished.children[0].running, "{finished:#?}");
    Ok(())
}

/// Programs take a share of the slots only: with more of them than that, workers are watched as before, and what was
/// not followed is counted. When they are gone, others are followed again.
#[test]
fn too_many_at_once() -> Result<()> {
    let Some(live) = live("children::too_many_at_once")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "sync", &["--max-threads", "32"])?;
    let (finished, _) = setting.ask("/children-crowd?ms=500")?;
    let sleeping = finished
        .children
        .iter()
        .filter(|child| child.command == "sleep");
    assert_eq!(sleeping.count(), 16, "{finished:#?}");
    assert_eq!(finished.children.len(), 16, "{finished:#?}");
    assert_eq!(finished.loss, ["program_slots_full"]);
    setting.watch.expect(LIMIT, "the loss", |event| {
        let loss = event.loss.as_ref()?;
        (loss.reason == "program_slots_full" && loss.count == 14).then_some(())
    })?;
    let lost: Vec<_> = setting.watch.losses();
    assert_eq!(lost.len(), 1, "{lost:?}");
    let (finished, _) = setting.ask("/children-sleep?ms=20")?;
    assert_eq!(child(&finished, "sleep")?.exit_code, 0);
    Ok(())
}

/// What nobody that is watched starts is followed when it is asked for, with its arguments if those are.
#[test]
fn of_the_whole_host() -> Result<()> {
    let Some(live) = live("children::of_the_whole_host")? else {
        return Ok(());
    };
    let setting = Setting::start(&live, "sync", &["--programs", "--show-arguments"])?;
    let status = Command::new("sleep").arg("0.123").status()?;
    assert!(status.success());
    let row = wait_for(LIMIT, "the program", || {
        let mut programs = setting.programs()?.into_iter();
        Ok(programs.find(|program| program["command"] == "sleep 0.123"))
    })?;
    assert!(
        number(&row["wallNs"]).abs_diff(124_000_000) < 20_000_000,
        "{row}"
    );
    Ok(())
}

/// Without that, it is none of ours.
#[test]
fn of_watched_processes_only() -> Result<()> {
    let Some(live) = live("children::of_watched_processes_only")? else {
        return Ok(());
    };
    let mut setting = Setting::start(&live, "sync", &[])?;
    assert!(Command::new("sleep").arg("0.1").status()?.success());
    setting.ask("/children-many")?;
    let programs = setting.programs()?;
    let names: Vec<_> = programs.iter().map(|it| &it["command"]).collect();
    assert_eq!(names, ["true"], "{programs:#?}");
    Ok(())
}
