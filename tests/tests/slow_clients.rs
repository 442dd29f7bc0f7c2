//! Requests of slow clients: reading the head, reading the body and writing the response, against the server's own
//! clocks, within max(2 %, 1 ms) of the median. Of a server that polls, and of an event loop.

use std::{collections::HashMap, net::SocketAddr, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use whyslow_tests::{
    Agent, Watch,
    event::Finished,
    http::{Client, get_once},
    live,
    live::say,
    script::Script,
    stats::median,
    wait_for,
};

/// Requests of each kind.
const REQUESTS: usize = 5;
/// Between two pieces that a client sends or reads.
const PAUSE: Duration = Duration::from_millis(40);
/// Pieces of a head, of a body.
const PIECES: usize = 6;

/// What the server measured, ns.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Measured {
    head_ns: u64,
    body_ns: u64,
    send_ns: u64,
    wall_ns: u64,
}

/// The front of a head: what follows is more of it.
fn front(key: &str, length: usize) -> String {
    format!(
        "POST /slow HTTP/1.1\r\nHost: truth\r\nX-Request-ID: {key}\r\nContent-Length: {length}\r\n"
    )
}

fn read_rest(client: &mut Client) -> Result<()> {
    assert_eq!(client.response(true)?.body.len(), 10 << 20);
    Ok(())
}

/// A head that comes one byte at a time.
fn slow_head(address: SocketAddr, key: &str) -> Result<()> {
    let mut client = Client::open(address)?;
    client.send(front(key, 0).as_bytes())?;
    for byte in b"X: y\r\n\r\n" {
        thread::sleep(PAUSE);
        client.send(&[*byte])?;
    }
    read_rest(&mut client)
}

/// A body that comes in pieces, and is longer than what is looked at.
fn slow_body(address: SocketAddr, key: &str) -> Result<()> {
    let piece = vec![b'b'; 5_000];
    let mut client = Client::open(address)?;
    let mut head = front(key, PIECES * piece.len());
    head.push_str("\r\n");
    client.send(head.as_bytes())?;
    for _ in 0..PIECES {
        thread::sleep(PAUSE);
        client.send(&piece)?;
    }
    read_rest(&mut client)
}

/// A response that is read with pauses.
fn slow_reader(address: SocketAddr, key: &str) -> Result<()> {
    use std::io::Read as _;
    let mut client = Client::open(address)?;
    client.send(format!("{}\r\n", front(key, 0)).as_bytes())?;
    let mut piece = vec![0; 1 << 20];
    let mut read = 0;
    while read < 9 << 20 {
        thread::sleep(PAUSE / 2);
        read += client.stream().read(&mut piece)?;
    }
    while client.stream().read(&mut piece)? > 0 {}
    Ok(())
}

/// A phase of a request: what is told, what was measured.
type Phase = (
    &'static str,
    fn(&Finished) -> Option<u64>,
    fn(&Measured) -> u64,
);

const PHASES: &[Phase] = &[
    ("head", |told| Some(told.head_read_ns), |it| it.head_ns),
    ("body", |told| told.body_read_ns, |it| it.body_ns),
    ("send", |told| Some(told.send_ns), |it| it.send_ns),
    ("wall", |told| Some(told.wall_ns), |it| it.wall_ns),
];

/// A kind of client, its phase that is slow, and how slow at least, ms.
type Kind = (
    &'static str,
    fn(SocketAddr, &str) -> Result<()>,
    &'static str,
    f64,
);

const KINDS: &[Kind] = &[
    ("slow head", slow_head, "head", 300.0),
    ("slow body", slow_body, "body", 200.0),
    ("slow reader", slow_reader, "send", 150.0),
];

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Each phase of a kind of requests, against the truth.
fn judge(
    name: &str,
    (slow, at_least): (&str, f64),
    told: &[Finished],
    measured: &[Measured],
) -> Result<()> {
    for (phase, told_ns, measured_ns) in PHASES {
        let mut took = Vec::new();
        let mut off = Vec::new();
        for (told, measured) in told.iter().zip(measured) {
            let told_ns = told_ns(told).with_context(|| format!("no {phase}: {told:#?}"))?;
            took.push(ms(measured_ns(measured)));
            off.push(ms(told_ns) - ms(measured_ns(measured)));
        }
        let took = median(&took).context("no requests")?;
        let off = median(&off).context("no requests")?;
        say(&format!("{name}: {phase} {took:.2} ms, {off:+.3} ms off"));
        assert!(
            off.abs() <= (took / 50.0).max(1.0),
            "{name}: {phase} is {off} ms off"
        );
        assert!(*phase != slow || took > at_least, "{name}: {took}");
    }
    Ok(())
}

fn clients(name: &str, way: &str) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let server = Script::start("phases", |command| {
        command.arg(way);
    })?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    for (kind, ask, slow, at_least) in KINDS {
        let keys: Vec<String> = (0..REQUESTS).map(|n| format!("{kind}-{n}")).collect();
        for key in &keys {
            ask(server.address, key)?;
        }
        let told: Vec<Finished> = keys
            .iter()
            .map(|key| watch.request(key))
            .collect::<Result<_>>()?;
        let times = get_once(server.address, "/times", "times")?;
        let all: HashMap<String, Measured> = serde_json::from_slice(&times.body)?;
        let measured: Vec<Measured> = keys
            .iter()
            .map(|key| all.get(key).copied().context("not measured"))
            .collect::<Result<_>>()?;
        judge(
            &format!("{way}, {kind}"),
            (slow, *at_least),
            &told,
            &measured,
        )?;
        for told in told.iter().filter(|_| way == "poll") {
            // What is slow is the client: its worker waited, and did little else.
            let waited = told.sum(|account| account.starts_with("net.client_"));
            let wanted =
                told.wall_ns - told.sum(|account| account == "cpu" || account == "run_queue");
            assert!(ms(wanted.abs_diff(waited)) < 1.0, "{told:#?}");
        }
    }
    Ok(())
}

#[test]
fn of_a_server_that_polls() -> Result<()> {
    clients("slow_clients::of_a_server_that_polls", "poll")
}

#[test]
fn of_an_event_loop() -> Result<()> {
    clients("slow_clients::of_an_event_loop", "loop")
}

/// Waits until the only request in flight is in this phase and waits in this account, as `top` tells it.
fn seen_in_flight(agent: &Agent, phase: &str, account: &str) -> Result<()> {
    let mut last = serde_json::Value::Null;
    let seen = wait_for(Duration::from_secs(10), "the request in flight", || {
        let output = Command::new(agent.binary())
            .args(["top", "--once", "--json", "--settle", "0s", "--socket"])
            .arg(agent.socket())
            .output()?;
        last = serde_json::from_slice(&output.stdout)?;
        let now = &last["inFlight"]["requests"][0];
        Ok((now["phase"] == phase && now["account"] == account).then_some(()))
    });
    seen.with_context(|| format!("{phase}, {account}: {}", last["inFlight"]))
}

/// A worker that is held by a client is seen as that while it is.
fn in_flight(name: &str, way: &str) -> Result<()> {
    let Some(live) = live(name)? else {
        return Ok(());
    };
    let server = Script::start("phases", |command| {
        command.arg(way);
    })?;
    let agent = Agent::start(&live, &[])?;
    let mut client = Client::open(server.address)?;
    client.send(front("held", 9_000).as_bytes())?;
    seen_in_flight(&agent, "reading", "net.client_read")?;
    client.send(b"\r\n")?;
    client.send(&[b'b'; 8_999])?;
    seen_in_flight(&agent, "reading", "net.client_read")?;
    client.send(b"b")?;
    if way == "poll" {
        // Of an event loop it is not known for whom it waits.
        seen_in_flight(&agent, "responding", "net.client_write")?;
    }
    read_rest(&mut client)
}

#[test]
fn in_flight_of_a_server_that_polls() -> Result<()> {
    in_flight("slow_clients::in_flight_of_a_server_that_polls", "poll")
}

#[test]
fn in_flight_of_an_event_loop() -> Result<()> {
    in_flight("slow_clients::in_flight_of_an_event_loop", "loop")
}
