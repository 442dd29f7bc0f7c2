//! Which processes are watched: what the user picks, and never more than that.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use anyhow::Result;
use whyslow_tests::{
    Agent, Live, Watch,
    cgroup::Cgroup,
    http::{Client, get_once},
    live,
    live::skipped,
    servers::{Redis, Scratch},
    truth::{Overlap, Truth},
    watch::EVENT_LIMIT,
};

/// Two servers: one may be watched, the other not.
struct Servers {
    /// gunicorn.
    truth: Truth,
    /// Another, which calls itself `overlap`.
    overlap: Overlap,
}

/// One of them.
#[derive(Clone, Copy, PartialEq)]
enum Which {
    Truth,
    Overlap,
}

impl Servers {
    fn start() -> Result<Self> {
        let truth = Truth::of("sync", 1, 1).start()?;
        Ok(Self {
            truth,
            overlap: Overlap::start()?,
        })
    }

    fn ask(&self, which: Which, key: &str) -> Result<()> {
        match which {
            Which::Truth => get_once(self.truth.address(), "/empty", key)?,
            Which::Overlap => Client::open(self.overlap.address)?.get("/wait", key)?,
        };
        Ok(())
    }

    /// With these options, only `seen` is watched. The other is always asked first.
    fn assert_only(&self, seen: Which, live: &Live, options: &[&str]) -> Result<()> {
        let agent = Agent::start(live, options)?;
        let watch = Watch::start(&agent)?;
        let unseen = if seen == Which::Truth {
            Which::Overlap
        } else {
            Which::Truth
        };
        for number in 0..3 {
            self.ask(unseen, &format!("unseen-{number}"))?;
            let key = format!("seen-{number}");
            self.ask(seen, &key)?;
            watch.request(&key)?;
        }
        // Discovery may find servers of this host that are not ours; a choice may not.
        let chosen = !options[0].starts_with("--exclude");
        let wrong = watch.finished();
        let wrong: Vec<_> = wrong
            .iter()
            .filter(|finished| {
                let key = &finished.x_request_id;
                key.starts_with("unseen") || chosen && !key.starts_with("seen")
            })
            .collect();
        assert!(wrong.is_empty(), "{options:?}: {wrong:#?}");
        agent.stop()
    }
}

/// `--pid` of the master watches its workers and nobody else.
#[test]
fn by_pid() -> Result<()> {
    let Some(live) = live("selection::by_pid")? else {
        return Ok(());
    };
    let servers = Servers::start()?;
    let master = servers.truth.gunicorn().pid().to_string();
    servers.assert_only(Which::Truth, &live, &["--pid", &master])?;
    let other = servers.overlap.pid().to_string();
    servers.assert_only(Which::Overlap, &live, &["--pid", &other])
}

/// `--port` watches those that listen on it, and nobody else.
#[test]
fn by_port() -> Result<()> {
    let Some(live) = live("selection::by_port")? else {
        return Ok(());
    };
    let servers = Servers::start()?;
    let port = servers.truth.address().port().to_string();
    servers.assert_only(Which::Truth, &live, &["--port", &port])
}

/// `--comm` watches processes of that name, and nobody else.
#[test]
fn by_comm() -> Result<()> {
    let Some(live) = live("selection::by_comm")? else {
        return Ok(());
    };
    let servers = Servers::start()?;
    servers.assert_only(Which::Overlap, &live, &["--comm", "overlap"])
}

/// `--exclude-comm` leaves those out that discovery would have found.
#[test]
fn exclude_by_comm() -> Result<()> {
    let Some(live) = live("selection::exclude_by_comm")? else {
        return Ok(());
    };
    let servers = Servers::start()?;
    servers.assert_only(Which::Truth, &live, &["--exclude-comm", "overlap"])
}

/// A control group of the test, or `None` after saying why this host does not allow one.
fn cgroup(name: &str) -> Option<Cgroup> {
    Cgroup::new("test")
        .map_err(|error| skipped(name, &format!("{error:#}")))
        .ok()
}

/// `--cgroup` watches the processes in a control group, and nobody else.
#[test]
fn by_cgroup() -> Result<()> {
    const NAME: &str = "selection::by_cgroup";
    let Some(live) = live(NAME)? else {
        return Ok(());
    };
    let Some(group) = cgroup(NAME) else {
        return Ok(());
    };
    let servers = Servers::start()?;
    group.take(servers.overlap.pid())?;
    servers.assert_only(Which::Overlap, &live, &["--cgroup", group.path()])
}

/// `--exclude-cgroup` leaves those out that discovery would have found.
#[test]
fn exclude_by_cgroup() -> Result<()> {
    const NAME: &str = "selection::exclude_by_cgroup";
    let Some(live) = live(NAME)? else {
        return Ok(());
    };
    let Some(group) = cgroup(NAME) else {
        return Ok(());
    };
    let servers = Servers::start()?;
    group.take(servers.overlap.pid())?;
    servers.assert_only(Which::Truth, &live, &["--exclude-cgroup", group.path()])
}

/// A server that is started later, in a group below the chosen one, is watched; one started later elsewhere
/// is not.
#[test]
fn by_cgroup_after_the_agent() -> Result<()> {
    const NAME: &str = "selection::by_cgroup_after_the_agent";
    let Some(live) = live(NAME)? else {
        return Ok(());
    };
    let Some(group) = cgroup(NAME) else {
        return Ok(());
    };
    let below = group.below("web")?;
    assert_only_later(&live, &["--cgroup", group.path()], Overlap::start, || {
        Overlap::start_with(|command| below.start_within(command))
    })
}

/// The same for the server that will listen on the chosen port.
#[test]
fn by_port_after_the_agent() -> Result<()> {
    let Some(live) = live("selection::by_port_after_the_agent")? else {
        return Ok(());
    };
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let port = port.to_string();
    assert_only_later(&live, &["--port", &port], Overlap::start, || {
        Overlap::start_with(|command| {
            command.env("OVERLAP_PORT", &port);
        })
    })
}

/// One that is started later and excluded is not reported for a moment either.
#[test]
fn exclude_by_port_after_the_agent() -> Result<()> {
    let Some(live) = live("selection::exclude_by_port_after_the_agent")? else {
        return Ok(());
    };
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let port = port.to_string();
    let excluded = || {
        Overlap::start_with(|command| {
            command.env("OVERLAP_PORT", &port);
        })
    };
    let options = ["--exclude-port", &port];
    assert_only_later(&live, &options, excluded, Overlap::start)
}

/// Both servers start after the agent. All requests of the one are reported, from its first; none of the
/// other's is, its first neither.
fn assert_only_later(
    live: &Live,
    options: &[&str],
    outside: impl FnOnce() -> Result<Overlap>,
    inside: impl FnOnce() -> Result<Overlap>,
) -> Result<()> {
    let agent = Agent::start(live, options)?;
    let watch = Watch::start(&agent)?;
    let outside = outside()?;
    Client::open(outside.address)?.get("/wait", "unseen-first")?;
    let inside = inside()?;
    for number in 0..3 {
        let key = format!("seen-{number}");
        Client::open(inside.address)?.get("/wait", &key)?;
        assert_eq!(watch.request(&key)?.pid, inside.pid());
        Client::open(outside.address)?.get("/wait", &format!("unseen-{number}"))?;
    }
    let of_outside = |pid: u32| pid == outside.pid();
    let told = watch.select(|event| {
        let finished = event.request_finished.as_ref().map(|f| f.pid);
        let started = event.request_started.as_ref().map(|s| s.pid);
        let worker = event.worker_started.as_ref().map(|w| w.pid);
        finished
            .or(started)
            .or(worker)
            .filter(|pid| of_outside(*pid))
    });
    assert!(told.is_empty(), "{options:?}: {told:?}");
    agent.stop()
}

/// A server that listens and is asked, but not in HTTP, is not reported; nor is the agent itself, though
/// it listens and answers too.
#[test]
fn neither_redis_nor_the_agent() -> Result<()> {
    let Some(live) = live("selection::neither_redis_nor_the_agent")? else {
        return Ok(());
    };
    let scratch = Scratch::new("redis")?;
    let redis = Redis::start(scratch.path())?;
    let truth = Truth::of("sync", 1, 1).start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut client = TcpStream::connect(("127.0.0.1", redis.port))?;
    client.set_read_timeout(Some(EVENT_LIMIT))?;
    for _ in 0..20 {
        client.write_all(b"*1\r\n$4\r\nPING\r\n")?;
        let mut pong = [0_u8; 7];
        client.read_exact(&mut pong)?;
        assert_eq!(&pong, b"+PONG\r\n");
    }
    drop(Watch::start(&agent)?);
    get_once(truth.address(), "/empty", "barrier")?;
    watch.request("barrier")?;
    let pids = watch.select(|event| {
        let started = event.request_started.as_ref().map(|s| s.pid);
        let finished = event.request_finished.as_ref().map(|f| f.pid);
        let worker = event.worker_started.as_ref().map(|w| w.pid);
        started.or(finished).or(worker)
    });
    assert!(!pids.contains(&redis.pid()), "redis is reported");
    assert!(!pids.contains(&agent.pid()), "the agent reports itself");
    agent.stop()
}
