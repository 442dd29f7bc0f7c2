//! Time before a request is read, against the clocks of its client and of the server: in the queue of the listener, and in
//! its socket.

use std::{
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use whyslow_tests::{
    Agent, Live, Watch,
    event::Finished,
    http::{Client, get},
    live,
    live::say,
    servers::{Gunicorn, Scratch, app_dir, free_port},
    stats::median,
    wait_for,
};

/// Clients at a time.
const CLIENTS: usize = 16;
/// Requests of each.
const ROUNDS: usize = 3;
/// How far a figure may be off, ms: the median of all requests.
const OFF_MS: f64 = 1.0;
/// Longest wait for what the agent tells.
const EVENT_LIMIT: Duration = Duration::from_secs(10);
/// Time that a client keeps an idle connection before it asks.
const IDLE: Duration = Duration::from_millis(300);

/// What the server tells in its response.
#[derive(Deserialize)]
struct Told {
    accepted_ns: u64,
}

/// A request by the clocks of client and server, monotonic, ns.
struct Asked {
    key: String,
    connected_ns: u64,
    sent_ns: u64,
    accepted_ns: u64,
    first: bool,
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is there on every Linux, and `now` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

struct Setting {
    server: Gunicorn,
    /// The same application on `[::1]`.
    second: SocketAddr,
    agent: Agent,
    watch: Watch,
    _scratch: Scratch,
}

impl Setting {
    fn new(live: &Live, class: &str, threads: u32) -> Result<Self> {
        Self::with_backlog(live, class, threads, 2048)
    }

    fn with_backlog(live: &Live, class: &str, threads: u32, backlog: u32) -> Result<Self> {
        let scratch = Scratch::new("queues")?;
        let folder = app_dir("queues");
        let port = free_port()?;
        let server = Gunicorn::of(&folder, "app:application")
            .worker_class(class)
            .threads(threads)
            .arg(format!("--bind=[::1]:{port}"))
            .arg(format!("--config={}", folder.join("accepts.py").display()))
            .arg("--keep-alive=5")
            .arg(format!("--backlog={backlog}"))
            .start(scratch.path())?;
        let agent = Agent::start(live, &[])?;
        let watch = Watch::start(&agent)?;
        Ok(Self {
            server,
            second: SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)),
            agent,
            watch,
            _scratch: scratch,
        })
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, self.server.port))
    }

    /// What the agent tells of each request.
    fn told(&self, asked: &[Asked]) -> Result<Vec<Finished>> {
        asked
            .iter()
            .map(|asked| self.watch.request(&asked.key))
            .collect()
    }
}

/// What the agent tells of the listener at this address.
fn listener(agent: &Agent, address: SocketAddr) -> Result<Option<serde_json::Value>> {
    let output = Command::new(agent.binary())
        .args(["top", "--once", "--json", "--settle", "0s", "--socket"])
        .arg(agent.socket())
        .output()?;
    let all: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let listeners = all["listeners"]["listeners"].as_array();
    let mut listeners = listeners.into_iter().flatten();
    let found = listeners.find(|one| one["address"] == address.to_string());
    Ok(found.cloned())
}

/// A number of the JSON form; 0 where it is left out.
fn number(value: &serde_json::Value, name: &str) -> u64 {
    match &value[name] {
        serde_json::Value::String(text) => text.parse().unwrap_or_default(),
        value => value.as_u64().unwrap_or_default(),
    }
}

/// `CLIENTS` at once, each with `ROUNDS` requests: on connections of their own, or on one.
fn ask(address: SocketAddr, name: &str, idle: Duration, kept: bool) -> Result<Vec<Asked>> {
    let client = |number: usize| -> Result<Vec<Asked>> {
        let mut asked = Vec::new();
        let mut open: Option<(Client, u64)> = None;
        for round in 0..ROUNDS {
            let first = open.is_none();
            let (mut client, connected_ns) = match open.take() {
                Some(open) => open,
                None => (Client::open(address)?, monotonic_ns()),
            };
            thread::sleep(idle);
            let key = format!("{name}-{number}-{round}");
            let sent_ns = monotonic_ns();
            client.send(&get("/", &key))?;
            let response = client.response(true)?;
            let told: Told = serde_json::from_slice(&response.body)?;
            asked.push(Asked {
                key,
                connected_ns,
                sent_ns,
                accepted_ns: told.accepted_ns,
                first,
            });
            open = kept.then_some((client, connected_ns));
        }
        Ok(asked)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || client(number)))
            .collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().ok().context("a client failed")??);
        }
        Ok(all)
    })
}

fn ms(later_ns: u64, earlier_ns: u64) -> f64 {
    later_ns.saturating_sub(earlier_ns) as f64 / 1e6
}

/// Compares figures with the truth, and tells both.
fn compare(what: &str, pairs: &[(f64, f64)]) -> Result<f64> {
    let took: Vec<f64> = pairs.iter().map(|(truth, _)| *truth).collect();
    let off: Vec<f64> = pairs.iter().map(|(truth, told)| told - truth).collect();
    let distances: Vec<f64> = off.iter().map(|off| off.abs()).collect();
    let (took, off) = (median(&took), median(&off));
    let (took, off) = (took.context("no requests")?, off.context("no requests")?);
    let distance = median(&distances).context("no requests")?;
    let most = distances.iter().copied().fold(0.0, f64::max);
    say(&format!(
        "{what}: {} requests, {took:.2} ms, {off:+.3} ms off, distance {distance:.3}, at most {most:.2}",
        pairs.len()
    ));
    assert!(distance <= OFF_MS, "{what}: {distance} ms off");
    Ok(took)
}

/// The three figures of first requests; returns the median time in the accept queue by the truth, ms.
fn judge(name: &str, asked: &[Asked], told: &[Finished]) -> Result<f64> {
    let mut queue = Vec::new();
    let mut read = Vec::new();
    let mut socket = Vec::new();
    for (asked, told) in asked.iter().zip(told).filter(|(asked, _)| asked.first) {
        assert_eq!(told.queue_unknown, "", "{told:#?}");
        let arrived_ns = asked.connected_ns.max(asked.sent_ns);
        let accept_queue_ns = told.accept_queue_ns.context("no time in the queue")?;
        let to_read_ns = told.accept_to_read_ns.context("no time until the read")?;
        queue.push((
            ms(asked.accepted_ns, arrived_ns),
            accept_queue_ns as f64 / 1e6,
        ));
        let from_ns = asked.accepted_ns.max(asked.sent_ns);
        read.push((
            ms(told.start_monotonic_ns, from_ns),
            to_read_ns as f64 / 1e6,
        ));
        socket.push((
            ms(told.start_monotonic_ns, arrived_ns),
            told.socket_queue_ns as f64 / 1e6,
        ));
    }
    assert!(queue.len() >= CLIENTS);
    compare(&format!("{name}: accept to read"), &read)?;
    compare(&format!("{name}: unread"), &socket)?;
    compare(&format!("{name}: accept queue"), &queue)
}

/// One worker, and more clients than it can serve.
fn one_worker(name: &str, v6: bool) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let setting = Setting::new(&live, "sync", 1)?;
    let address = if v6 {
        setting.second
    } else {
        setting.address()
    };
    let asked = ask(address, "new", Duration::ZERO, false)?;
    let took = judge(name, &asked, &setting.told(&asked)?)?;
    // All but the first wait for several others: else nothing is tested.
    assert!(took > 100.0, "{took}");
    assert!(setting.agent.is_running());
    Ok(())
}

#[test]
fn one_worker_ipv4() -> Result<()> {
    one_worker("queues::one_worker_ipv4", false)
}

#[test]
fn one_worker_ipv6() -> Result<()> {
    one_worker("queues::one_worker_ipv6", true)
}

/// A connection that is opened long before its request waits from the request on.
#[test]
fn idle_connections() -> Result<()> {
    let Some(live) = live("queues::idle_connections")? else {
        return Ok(());
    };
    let setting = Setting::new(&live, "sync", 1)?;
    for address in [setting.address(), setting.second] {
        let name = format!("idle {address}");
        let asked = ask(address, &name, IDLE, false)?;
        judge(&name, &asked, &setting.told(&asked)?)?;
    }
    // Accepted at once by a server that polls, they wait for nothing.
    drop(setting);
    let setting = Setting::new(&live, "gthread", 8)?;
    let asked = ask(setting.address(), "polled", IDLE, false)?;
    let took = judge("polled", &asked, &setting.told(&asked)?)?;
    assert!(took < 1.0, "{took}");
    Ok(())
}

/// Later requests of a connection lie in its socket; of their time in a queue nothing is said.
#[test]
fn kept_connections() -> Result<()> {
    let Some(live) = live("queues::kept_connections")? else {
        return Ok(());
    };
    let setting = Setting::new(&live, "gthread", 2)?;
    let asked = ask(setting.address(), "kept", Duration::ZERO, true)?;
    let told = setting.told(&asked)?;
    judge("kept", &asked, &told)?;
    let mut socket = Vec::new();
    for (asked, told) in asked.iter().zip(&told).filter(|(asked, _)| !asked.first) {
        assert_eq!(told.accept_queue_ns, None, "{told:#?}");
        assert_eq!(
            told.queue_unknown,
            "not the first request of its connection"
        );
        socket.push((
            ms(told.start_monotonic_ns, asked.sent_ns),
            told.socket_queue_ns as f64 / 1e6,
        ));
    }
    assert!(socket.len() >= CLIENTS);
    let took = compare("kept: unread, later requests", &socket)?;
    // Two threads for sixteen clients: they have to wait.
    assert!(took > 50.0, "{took}");
    Ok(())
}

/// What a proxy says of when it took a request is told beside, with the header's name, whatever else is known.
#[test]
fn a_proxy_that_tells_when() -> Result<()> {
    let Some(live) = live("queues::a_proxy_that_tells_when")? else {
        return Ok(());
    };
    let setting = Setting::new(&live, "sync", 1)?;
    let held_ns = 250_000_000_u64;
    let headers = [
        ("X-Request-Start", "t=", 1_000_000),
        ("X-Request-Start", "", 1_000),
        ("X-Queue-Start", "t=", 1),
    ];
    for (header, front, units_per_us) in headers {
        let key = format!("{header}-{units_per_us}");
        let mut client = Client::open(setting.address())?;
        let taken_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)?
            .as_nanos()
            .saturating_sub(u128::from(held_ns));
        let now_ns = monotonic_ns();
        // Microseconds, milliseconds, or seconds with a fraction.
        let taken = match units_per_us {
            1 => format!("{}", taken_ns / 1_000),
            1_000 => format!("{}", taken_ns / 1_000_000),
            _ => format!(
                "{}.{:06}",
                taken_ns / 1_000_000_000,
                taken_ns / 1_000 % 1_000_000
            ),
        };
        let request = format!(
            "GET / HTTP/1.1\r\nHost: truth\r\n{header}: {front}{taken}\r\nX-Request-ID: {key}\r\n\r\n"
        );
        client.send(request.as_bytes())?;
        assert_eq!(client.response(true)?.status, 200);
        let told = setting.watch.request(&key)?;
        let proxy_ns = told.proxy_queue_ns.context("no time of the proxy")?;
        let held_ms = ms(told.start_monotonic_ns, now_ns) + held_ns as f64 / 1e6;
        let off_ms = proxy_ns as f64 / 1e6 - held_ms;
        // One form has no more than milliseconds.
        assert!(off_ms.abs() < 2.0, "{key}: {off_ms} ms off");
        assert!(
            told.accept_queue_ns.is_some_and(|ns| ns < 50_000_000),
            "{told:#?}"
        );
        let started = setting.watch.select(|event| {
            let started = event.request_started.clone()?;
            (started.request_id == told.request_id).then_some(started.proxy_queue_header)
        });
        assert_eq!(started, [header]);
    }
    Ok(())
}

/// How long a queue is, was and may be; and that a full one turns connections away.
#[test]
fn a_queue_that_overflows() -> Result<()> {
    let Some(live) = live("queues::a_queue_that_overflows")? else {
        return Ok(());
    };
    let setting = Setting::with_backlog(&live, "sync", 1, 2)?;
    let address = setting.address();
    // The agent learns of the listener.
    let first = ask_once(address, "first")?;
    setting.watch.request("first")?;
    assert_eq!(first, 200);
    let before = wait_for(EVENT_LIMIT, "the listener", || {
        listener(&setting.agent, address)
    })?;
    assert_eq!(number(&before, "limit"), 2, "{before}");
    assert_eq!(number(&before, "length"), 0, "{before}");
    assert_eq!(number(&before, "overflows"), 0, "{before}");
    // One that says nothing holds the worker; three more fill the queue, the fifth is turned away at first.
    let held = Client::open(address)?;
    wait_for(EVENT_LIMIT, "the worker to take the first", || {
        let now = listener(&setting.agent, address)?;
        Ok(now.filter(|now| number(now, "length") == 0))
    })?;
    let waiting = [
        Client::open(address)?,
        Client::open(address)?,
        Client::open(address)?,
    ];
    let full = wait_for(EVENT_LIMIT, "a full queue", || {
        let now = listener(&setting.agent, address)?;
        Ok(now.filter(|now| number(now, "length") == 3))
    })?;
    assert_eq!(number(&full, "overflows"), 0, "{full}");
    let turned_away = thread::spawn(move || ask_once(address, "turned-away"));
    let over = wait_for(EVENT_LIMIT, "an overflow", || {
        let now = listener(&setting.agent, address)?;
        Ok(now.filter(|now| number(now, "overflows") > 0))
    })?;
    assert!(number(&over, "maxLength") >= 3, "{over}");
    drop((held, waiting));
    assert_eq!(turned_away.join().ok().context("a client failed")??, 200);
    // What it waited for the server to take its connection is no time in the queue.
    let told = setting.watch.request("turned-away")?;
    assert!(
        told.accept_queue_ns.is_some_and(|ns| ns < 500_000_000),
        "{told:#?}"
    );
    Ok(())
}

/// Status of a GET on a connection of its own.
fn ask_once(address: SocketAddr, key: &str) -> Result<u16> {
    let mut client = Client::open(address)?;
    Ok(client.get("/", key)?.status)
}
