//! The live view on a real terminal, with the real agent and a real server.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Result;
use whyslow_tests::{
    Agent, Live,
    bpf::Held,
    http::get_once,
    live,
    load::{self, Plan},
    servers::Scratch,
    terminal::Terminal,
    truth::Truth,
    wait_for,
};

/// Longest time until the view shows what has happened: an agent within starts first, and a lost one is
/// looked for again after some seconds.
const SHOW_LIMIT: Duration = Duration::from_secs(40);
/// Longest time that the kernel may take to drop what a dead process held.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
/// What the view says of a lost agent.
const LOST: &str = "agent lost, reconnecting";

/// `whyslow top` on a terminal; what it leaves in the folder for temporary files can be looked at.
fn top(live: &Live, socket: &Path, temporary: &Path, options: &[&str]) -> Result<Terminal> {
    // In a file, since a view starts no agent of its own when the command line names a socket.
    let config = socket.with_extension("toml");
    fs::write(&config, format!("socket = {socket:?}\n"))?;
    let mut command = Command::new(&live.binary);
    command
        .args(["top", "--interval", "200ms", "--config"])
        .arg(config)
        .args(options)
        .env("TMPDIR", temporary);
    Terminal::start("whyslow top", command)
}

/// The screen has a line with this request.
fn shows(screen: &str, target: &str) -> bool {
    let wanted = format!("GET {target}");
    screen
        .lines()
        .any(|line| line.trim_end().ends_with(&wanted))
}

/// The part of the screen that lists routes.
fn routes(screen: &str) -> &str {
    screen.find(" Routes").map_or("", |at| &screen[at..])
}

/// A little load, that ends by itself.
fn little_load(truth: &Truth, target: &str) -> Plan {
    Plan {
        address: truth.address(),
        connections: 2,
        rate_per_s: 50,
        requests: 150,
        keep_alive: false,
        target: target.to_owned(),
    }
}

/// Under load the screen shows the route, the rate and the keys; `q` ends the view well, the terminal is as
/// it was, and the agent goes on.
#[test]
fn shows_the_route_until_q() -> Result<()> {
    let Some(live) = live("terminal::shows_the_route_until_q")? else {
        return Ok(());
    };
    let scratch = Scratch::new("top")?;
    let truth = Truth::of("gthread", 1, 2).start()?;
    let agent = Agent::start(&live, &["--port", &truth.address().port().to_string()])?;
    let plan = little_load(&truth, "/count");
    let load = std::thread::spawn(move || load::run(&plan));
    let mut top = top(&live, &agent.socket(), scratch.path(), &[])?;
    let screen = top.expect(SHOW_LIMIT, "the route", |s| shows(routes(s), "/count"))?;
    assert!(top.is_taken());
    for word in ["req/s", "In flight", "q quit"] {
        assert!(screen.contains(word), "no {word:?} in\n{screen}");
    }

    top.press("q")?;
    assert_eq!(top.given_back()?.code(), Some(0));
    let report = load
        .join()
        .map_err(|_| anyhow::anyhow!("the load panicked"))??;
    assert_eq!((report.answered, report.failed), (150, 0));
    agent.stop()
}

/// The details of a route show what finishes while they are open; the agent is subscribed to only meanwhile.
#[test]
fn details_show_finished_requests() -> Result<()> {
    let Some(live) = live("terminal::details_show_finished_requests")? else {
        return Ok(());
    };
    let scratch = Scratch::new("top")?;
    let truth = Truth::of("gthread", 1, 2).start()?;
    let agent = Agent::start(&live, &["--port", &truth.address().port().to_string()])?;
    get_once(truth.address(), "/count", "before")?;
    let mut top = top(
        &live,
        &agent.socket(),
        scratch.path(),
        &["--pane", "routes"],
    )?;
    top.expect(SHOW_LIMIT, "the route", |s| shows(routes(s), "/count"))?;
    top.press("j\r")?;
    top.expect(SHOW_LIMIT, "nothing that was before", |s| {
        s.contains("Finished while this is open: none yet")
    })?;
    top.press("i")?;
    top.expect(SHOW_LIMIT, "no subscriber", |s| {
        let mut lines = s.lines();
        lines.any(|line| line.trim_end() == " subscribers  0")
    })?;
    top.press("\x1b")?;
    top.expect(SHOW_LIMIT, "the list", |s| shows(routes(s), "/count"))?;
    top.press("\r")?;
    // The subscription begins after the key.
    wait_for(SHOW_LIMIT, "a finished request", || {
        get_once(truth.address(), "/count?while=open", "while")?;
        top.press("G")?;
        let seen = top.screen().contains("GET /count?while=?");
        Ok(seen.then_some(()))
    })?;
    top.press("q")?;
    assert_eq!(top.given_back()?.code(), Some(0));
    agent.stop()
}

/// SIGTERM ends the view as well as `q` does.
#[test]
fn sigterm_gives_the_terminal_back() -> Result<()> {
    let Some(live) = live("terminal::sigterm_gives_the_terminal_back")? else {
        return Ok(());
    };
    let scratch = Scratch::new("top")?;
    let agent = Agent::start(&live, &[])?;
    let top = top(&live, &agent.socket(), scratch.path(), &[])?;
    top.expect(SHOW_LIMIT, "figures", |screen| screen.contains("req/s"))?;
    assert!(top.is_taken());
    top.signal(libc::SIGTERM)?;
    assert_eq!(top.given_back()?.code(), Some(0));
    agent.stop()
}

/// A terminal that goes away ends the view, which would else read from nothing for ever.
#[test]
fn a_lost_terminal_ends_it() -> Result<()> {
    let Some(live) = live("terminal::a_lost_terminal_ends_it")? else {
        return Ok(());
    };
    let scratch = Scratch::new("top")?;
    let agent = Agent::start(&live, &[])?;
    let top = top(&live, &agent.socket(), scratch.path(), &[])?;
    top.expect(SHOW_LIMIT, "figures", |screen| screen.contains("req/s"))?;
    top.hang_up()?;
    agent.stop()
}

/// Where no agent answers, the view starts one within: it shows the route, holds programs in the kernel, and
/// after `q` neither these nor its folder are left.
#[test]
fn starts_an_agent_within() -> Result<()> {
    let Some(live) = live("terminal::starts_an_agent_within")? else {
        return Ok(());
    };
    let scratch = Scratch::new("top")?;
    let nobody = scratch.path().join("nobody");
    let temporary = scratch.path().join("temporary");
    fs::create_dir(&temporary)?;
    let truth = Truth::of("gthread", 1, 2).start()?;
    let port = truth.address().port().to_string();
    let mut top = top(&live, &nobody, &temporary, &["--port", &port])?;
    top.expect(SHOW_LIMIT, "the agent within", |screen| {
        screen.contains("agent within") && screen.contains("req/s")
    })?;
    load::run(&little_load(&truth, "/count"))?;
    top.expect(SHOW_LIMIT, "the route", |s| shows(routes(s), "/count"))?;
    let held = Held::of(top.pid())?;
    assert!(!held.programs.is_empty());

    top.press("q")?;
    assert_eq!(top.given_back()?.code(), Some(0));
    wait_for(RELEASE_LIMIT, "the kernel to be empty", || {
        Ok(held.still_loaded().is_empty().then_some(()))
    })?;
    let left: Vec<_> = temporary.read_dir()?.flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

/// When the agent is killed the view says that it is lost, and keeps what it had; when there is one again
/// the view shows what that one sees, and `q` still works.
#[test]
fn recovers_from_a_lost_agent() -> Result<()> {
    let Some(live) = live("terminal::recovers_from_a_lost_agent")? else {
        return Ok(());
    };
    let scratch = Scratch::new("top")?;
    let socket = scratch.path().join("socket");
    let truth = Truth::of("sync", 1, 1).start()?;
    let port = truth.address().port().to_string();
    let first = Agent::start_at(&live.binary, &socket, &["--port", &port])?;
    let mut top = top(&live, &socket, scratch.path(), &[])?;
    get_once(truth.address(), "/empty", "before")?;
    top.expect(SHOW_LIMIT, "a route", |s| shows(routes(s), "/empty"))?;

    first.kill()?;
    let screen = top.expect(SHOW_LIMIT, "the loss", |s| s.contains(LOST))?;
    assert!(shows(routes(&screen), "/empty"), "{screen}");

    let second = Agent::start_at(&live.binary, &socket, &["--port", &port])?;
    get_once(truth.address(), "/sleep", "after")?;
    let screen = top.expect(SHOW_LIMIT, "the new agent's route", |s| {
        shows(routes(s), "/sleep") && !s.contains(LOST)
    })?;
    assert!(!shows(routes(&screen), "/empty"), "{screen}");
    top.press("q")?;
    assert_eq!(top.given_back()?.code(), Some(0));
    second.stop()
}
