//! What is done in the machine, once, and the evidence that is kept of it. No judgement here:
//! `tests.rs` judges.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    agent::{self, Agent, Watch, wait_until},
    bpf::{self, Inventory, Program},
    client::{Asked, Client},
    machine,
    server::{ADDRESS, HANGING, LOCK_FILE, PAUSE, UPSTREAM},
};

/// Where busybox's server listens. It forks for each connection.
const FORKING: &str = "127.0.0.1:8080";
/// Requests of one kind.
pub(crate) const MANY: usize = 50;
/// Times that each kind of wait is caused.
pub(crate) const TIMES: usize = 3;
/// Longest wait for the servers, for the events, for the kernel to let go.
const PATIENCE: Duration = Duration::from_secs(15);

/// What was seen. `None` is what was not got to.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Answered by the pre-forked server.
    pub(crate) keep_alive: Vec<Asked>,
    /// Answered by the pre-forked server, each on a connection of its own.
    pub(crate) closing: Vec<Asked>,
    /// Answered on a connection that was open before the agent was started.
    pub(crate) held: Vec<Asked>,
    /// Answered by the server that forks for each connection.
    pub(crate) forking: Vec<Asked>,
    /// Answered after a known wait.
    pub(crate) waits: Vec<Asked>,
    /// Worker that was killed while it served `/hang`.
    pub(crate) killed: Option<u32>,
    /// Answered by the worker that came after it.
    pub(crate) replaced: Option<Asked>,
    /// All that watch printed.
    pub(crate) events: Option<Vec<Value>>,
    /// What doctor printed while the agent ran.
    pub(crate) doctor: Option<Value>,
    /// Programs as they were before the agent was stopped.
    pub(crate) programs: Vec<Program>,
    /// What was left after the agent was asked to end.
    pub(crate) left_by_stop: Option<Inventory>,
    /// What was left after the agent was killed.
    pub(crate) left_by_kill: Option<Inventory>,
    /// Bad signs in the kernel log.
    pub(crate) complaints: Option<Vec<String>>,
    /// Where it went wrong; what comes after is missing.
    pub(crate) broken: Option<String>,
}

/// Does everything.
pub(crate) fn play() -> Evidence {
    let mut evidence = Evidence::default();
    if let Err(error) = play_into(&mut evidence) {
        evidence.broken = Some(format!("{error:#}"));
    }
    match machine::kernel_complaints() {
        Ok(lines) => evidence.complaints = Some(lines),
        Err(error) => println!("kernel log: {error}"),
    }
    evidence
}

fn play_into(evidence: &mut Evidence) -> Result<()> {
    let mut servers = start_servers()?;
    let mut held = Client::connect(ADDRESS)?;
    held.ask("/before").context("before the agent")?;
    let before = bpf::inventory()?;

    let agent = Agent::start()?;
    println!("agent is ready");
    let mut watch = Watch::start()?;
    // Doctor loads the programs once more, which takes its time: beside the requests.
    let doctor = thread::spawn(agent::doctor);
    ask_all(evidence, &mut held)?;
    println!("requests are asked");
    kill_a_worker(evidence, &mut held)?;
    println!("a worker is killed and replaced");
    wait_for_events(evidence, &mut watch)?;
    println!("events are there");
    let doctor = doctor
        .join()
        .unwrap_or_else(|_| bail!("doctor's thread panicked"));
    evidence.doctor = Some(doctor?);
    println!("doctor has ended");
    evidence.programs = bpf::programs()?;
    evidence.events = Some(watch.stop()?);
    agent.stop()?;
    evidence.left_by_stop = Some(left(&before)?);
    println!("agent has ended");

    let agent = Agent::start().context("second start")?;
    agent.kill()?;
    evidence.left_by_kill = Some(left(&before)?);
    for server in &mut servers {
        server.kill()?;
        server.wait()?;
    }
    Ok(())
}

/// Starts the servers, and waits until each takes connections.
fn start_servers() -> Result<Vec<Child>> {
    fs::create_dir_all("/tmp/www")?;
    fs::write("/tmp/www/index.html", "<p>static\n")?;
    fs::write(LOCK_FILE, "")?;
    let mut forking = Command::new("/bin/busybox");
    forking.args(["httpd", "-f", "-p", FORKING, "-h", "/tmp/www"]);
    let mut ours = Command::new("/proc/self/exe");
    ours.arg("serve");
    let mut servers = Vec::new();
    for (mut command, address) in [(forking, FORKING), (ours, ADDRESS)] {
        servers.push(
            command
                .stdin(Stdio::null())
                .spawn()
                .context("cannot start a server")?,
        );
        let ready = wait_until(PATIENCE, || Client::connect(address).ok());
        ensure!(ready.is_some(), "no server at {address}");
    }
    let upstream = TcpListener::bind(UPSTREAM)?;
    thread::spawn(move || {
        for mut connection in upstream.incoming().flatten() {
            thread::sleep(PAUSE);
            // A worker that does not wait for it says so itself.
            drop(connection.write_all(b"late\n"));
        }
    });
    Ok(servers)
}

/// All requests that get an answer.
fn ask_all(evidence: &mut Evidence, held: &mut Client) -> Result<()> {
    for number in 0..MANY {
        let target = format!("/held/{number}");
        evidence.held.push(held.ask(&target)?);
    }
    let mut client = Client::connect(ADDRESS)?;
    for number in 0..MANY {
        let target = match number {
            1 => "/missing".to_owned(),
            2 => "/error".to_owned(),
            _ => format!("/keep/{number}"),
        };
        evidence.keep_alive.push(client.ask(&target)?);
    }
    drop(client);
    for number in 0..MANY {
        let target = format!("/close/{number}");
        evidence.closing.push(Client::ask_once(ADDRESS, &target)?);
    }
    for number in 0..MANY / 5 {
        let target = if number == 0 {
            "/none.html"
        } else {
            "/index.html"
        };
        evidence.forking.push(Client::ask_once(FORKING, target)?);
    }
    for _ in 0..TIMES {
        for target in ["/sleep", "/child", "/upstream", "/futex", "/cpu"] {
            evidence.waits.push(Client::ask_once(ADDRESS, target)?);
        }
        evidence.waits.push(ask_for_locked_file()?);
    }
    Ok(())
}

/// A request that has to wait for a file lock that we hold.
fn ask_for_locked_file() -> Result<Asked> {
    let file = fs::File::open(LOCK_FILE)?;
    // SAFETY: an open descriptor; nobody else holds the lock for long.
    let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
    ensure!(locked == 0, "flock: {}", std::io::Error::last_os_error());
    thread::scope(|scope| {
        let asked = scope.spawn(|| Client::ask_once(ADDRESS, "/flock"));
        // An arrow marks who waits for a lock.
        let waits = || {
            fs::read_to_string("/proc/locks")
                .ok()?
                .contains("->")
                .then_some(())
        };
        let waits = wait_until(PATIENCE, waits);
        thread::sleep(PAUSE);
        drop(file);
        ensure!(waits.is_some(), "nobody waits for the lock");
        asked
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the client panicked")))
    })
}

/// Kills a worker that serves a request, and asks its successor one.
fn kill_a_worker(evidence: &mut Evidence, held: &mut Client) -> Result<()> {
    let mut client = Client::connect(ADDRESS)?;
    client.send("/hang", "close")?;
    let pid = wait_until(PATIENCE, || {
        fs::read_to_string(HANGING).ok()?.parse::<u32>().ok()
    });
    let pid = pid.context("no worker hangs")?;
    // SAFETY: a worker that waits; ours to end.
    let sent = unsafe { libc::kill(libc::pid_t::try_from(pid)?, libc::SIGKILL) };
    ensure!(
        sent == 0,
        "cannot kill the worker: {}",
        std::io::Error::last_os_error()
    );
    evidence.killed = Some(pid);
    // One worker is held, so that the others take the next ones in turn: the new one is soon seen.
    let old: Vec<u32> = known_workers(evidence);
    for number in 0..100 {
        let asked = Client::ask_once(ADDRESS, &format!("/after/{number}"))?;
        evidence.closing.push(asked.clone());
        if asked.pid.is_some_and(|pid| !old.contains(&pid)) {
            evidence.replaced = Some(asked);
            break;
        }
    }
    // The held connection still works.
    evidence.held.push(held.ask("/held/last")?);
    Ok(())
}

fn known_workers(evidence: &Evidence) -> Vec<u32> {
    let all = evidence
        .held
        .iter()
        .chain(&evidence.keep_alive)
        .chain(&evidence.closing);
    all.chain(&evidence.waits)
        .filter_map(|asked| asked.pid)
        .collect()
}

/// Waits until as many requests have finished as were asked, and the killed worker's end is told.
/// Whether they are the right ones is judged later.
fn wait_for_events(evidence: &Evidence, watch: &mut Watch) -> Result<()> {
    let asked = evidence.all().count() + 1;
    let enough = watch.collect(PATIENCE, |events| {
        let finished = events
            .iter()
            .filter(|event| !event["requestFinished"].is_null())
            .count();
        let ended = events
            .iter()
            .any(|event| event["workerEnded"]["tid"].as_u64() == evidence.killed.map(u64::from));
        finished >= asked && ended
    })?;
    if !enough {
        println!("not all events came in time");
    }
    Ok(())
}

/// What is loaded and was not before; waits a little, since the kernel frees late.
fn left(before: &Inventory) -> Result<Inventory> {
    let now = || -> Result<Inventory> { Ok(&bpf::inventory()? - before) };
    wait_until(PATIENCE, || now().ok().filter(Inventory::is_empty)).map_or_else(now, Ok)
}

impl Evidence {
    /// All requests that were answered.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Asked> {
        let groups = [
            &self.keep_alive,
            &self.closing,
            &self.held,
            &self.forking,
            &self.waits,
        ];
        groups.into_iter().flatten()
    }
}
