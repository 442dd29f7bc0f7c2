//! SQLite, through the library that the application has mapped, against what the application asked of it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch,
    bpf::Held,
    event::{Event, Finished, Operation},
    http::{find, get_once},
    live,
    process::signal,
    servers::{Gunicorn, Scratch, app_dir, free_port},
    wait_for,
};

use crate::setting::{COUNTS, SECRET, assert_sound, counts};

/// The application on a port; a scratch folder has its database.
fn application(scratch: &Scratch, port: u16, threads: u32) -> Result<Gunicorn> {
    let class = if threads > 1 { "gthread" } else { "sync" };
    Gunicorn::of(&app_dir("operations"), "embedded:application")
        .worker_class(class)
        .workers(1)
        .threads(threads)
        .port(port)
        .env("DATABASE_PATH", scratch.path().join("app.db"))
        .start(scratch.path())
}

fn ask(port: u16, way: &str, n: u64, key: &str) -> Result<u64> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let target = format!("/sqlite/{way}?n={n}&secret={SECRET}");
    let response = get_once(address, &target, key)?;
    Ok(String::from_utf8(response.body)?.parse()?)
}

/// Application, agent and watcher, in the order in which they must end.
struct Embedded {
    watch: Watch,
    agent: Agent,
    gunicorn: Gunicorn,
    scratch: Scratch,
}

impl Embedded {
    fn new(live: &Live, threads: u32, options: &[&str]) -> Result<Self> {
        Self::start(live, threads, &[&["--library-probes"], options].concat())
    }

    /// Nothing is probed.
    fn plain(live: &Live) -> Result<Self> {
        Self::start(live, 1, &["--operations"])
    }

    fn start(live: &Live, threads: u32, options: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("embedded")?;
        let gunicorn = application(&scratch, free_port()?, threads)?;
        let pid = gunicorn.pid().to_string();
        let mut all = vec!["--pid", &pid];
        all.extend(options);
        let agent = Agent::start(live, &all)?;
        Ok(Self {
            watch: Watch::start(&agent)?,
            agent,
            gunicorn,
            scratch,
        })
    }

    /// The request as it was told, and what the application measured.
    fn ask(&self, way: &str, n: u64, key: &str) -> Result<(Finished, u64)> {
        let took = ask(self.gunicorn.port, way, n, key)?;
        Ok((self.watch.request(key)?, took))
    }
}

impl Embedded {
    /// Asks for `n` executions that have one shape and one row each.
    fn same(&self, way: &str, n: u64) -> Result<Finished> {
        let (finished, took) = self.ask(way, n, &format!("{way}-{n}"))?;
        assert_sound(&finished);
        assert_eq!(finished.operations.len(), 1, "{way}: {finished:#?}");
        let operation = &finished.operations[0];
        let told = (operation.count, operation.rows, operation.errors);
        assert_eq!(told, (n, n, 0), "{finished:#?}");
        assert!(operation.total_ns <= took, "{took} ns: {finished:#?}");
        Ok(finished)
    }
}

fn total(finished: &Finished) -> u64 {
    counts(finished, "sqlite").values().sum()
}

/// The one operation whose shape has this part.
fn one<'a>(finished: &'a Finished, part: &str) -> &'a Operation {
    let operations = finished.operations.iter();
    let found: Vec<_> = operations.filter(|o| o.shape.contains(part)).collect();
    assert_eq!(found.len(), 1, "{part}: {finished:#?}");
    found[0]
}

/// Executions are as many as the application made, whether their statements are cached, prepared anew, or were
/// prepared before the agent came; rows are, too.
#[test]
fn counts_what_the_application_asks() -> Result<()> {
    let Some(live) = live("operations::sqlite::counts_what_the_application_asks")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    // The driver keeps statements while there are few others: this one comes first.
    for n in COUNTS {
        let finished = app.same("early", n)?;
        assert_eq!(finished.operations[0].shape, "unknown (prepared earlier)");
    }
    for n in COUNTS {
        for way in ["cached", "fresh"] {
            let finished = app.same(way, n)?;
            assert!(finished.operations[0].shape.contains(way), "{finished:#?}");
        }
        let (finished, _) = app.ask("rows", n, &format!("rows-{n}"))?;
        let operation = one(&finished, "with recursive");
        assert_eq!((operation.count, operation.rows), (1, n), "{finished:#?}");
        let (finished, _) = app.ask("write", n, &format!("write-{n}"))?;
        assert_sound(&finished);
        assert_eq!(one(&finished, "insert into item").count, n);
        assert_eq!(total(&finished), n + 2, "{finished:#?}");
    }
    Ok(())
}

/// Time is that within the library; a database that is opened while the agent runs has its name.
#[test]
fn times_and_names() -> Result<()> {
    let Some(live) = live("operations::sqlite::times_and_names")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 4, &[])?;
    let mut named = false;
    for round in 0..8 {
        let (finished, took) = app.ask("slow", 4_000_000, &format!("slow-{round}"))?;
        assert_sound(&finished);
        let operation = one(&finished, "with recursive");
        let allowed = (took / 50).max(1_000_000);
        // The application's clock runs on while its thread waits for a CPU or the GIL behind the library.
        let waited = finished.account("run_queue") + finished.account("lock.futex");
        assert!(
            took > 200_000_000,
            "the statement is too fast for this test: {took} ns"
        );
        let within = operation.total_ns..=operation.total_ns + allowed + waited;
        assert!(within.contains(&took), "{took} ns: {finished:#?}");
        named |= Path::new(&operation.peer) == app.scratch.path().join("app.db");
    }
    assert!(named, "{:#?}", app.watch.finished());
    Ok(())
}

/// Statements that fail are told, with their code, when they cannot be prepared and when they cannot be executed.
#[test]
fn errors() -> Result<()> {
    let Some(live) = live("operations::sqlite::errors")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    let (finished, _) = app.ask("errors", 1, "errors")?;
    assert_sound(&finished);
    for (part, code) in [
        ("nowhere", "SQLITE_ERROR"),
        ("insert into", "SQLITE_CONSTRAINT"),
    ] {
        let operation = one(&finished, part);
        assert_eq!((operation.count, operation.errors), (1, 1), "{finished:#?}");
        assert_eq!(operation.last_error, code);
    }
    Ok(())
}

/// A cursor that is open when its request ends is told with it, and not with the request that ends it.
#[test]
fn a_cursor_left_open() -> Result<()> {
    let Some(live) = live("operations::sqlite::a_cursor_left_open")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    let (finished, _) = app.ask("open", 20, "open")?;
    assert_sound(&finished);
    let operation = one(&finished, "opened");
    assert_eq!(operation.count, 1, "{finished:#?}");
    // At the last power of two at least.
    assert!((16..=21).contains(&operation.rows), "{finished:#?}");
    assert!(operation.answers_sampled, "{finished:#?}");
    let (finished, _) = app.ask("again", 1, "again")?;
    assert_eq!(total(&finished), 1, "{finished:#?}");
    one(&finished, "again");
    Ok(())
}

/// What a function of the application's asks within a statement is missing, and that is told; what the library asks
/// itself is nobody's.
#[test]
fn statements_within_statements() -> Result<()> {
    let Some(live) = live("operations::sqlite::statements_within_statements")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    for n in [1, 20] {
        let (finished, _) = app.ask("nested", n, &format!("nested-{n}"))?;
        let outer = one(&finished, "outer");
        assert!(outer.count == n && outer.sampled, "{finished:#?}");
        assert!(total(&finished) <= 2 * n, "{finished:#?}");
        let (finished, _) = app.ask("searched", n, &format!("searched-{n}"))?;
        assert_sound(&finished);
        let searched = one(&finished, "searched");
        assert_eq!((searched.count, searched.rows), (n, n), "{finished:#?}");
    }
    Ok(())
}

/// Threads that execute at the same time keep their statements apart.
#[test]
fn threads() -> Result<()> {
    let Some(live) = live("operations::sqlite::threads")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 4, &[])?;
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|client| {
                let app = &app;
                scope.spawn(move || -> Result<()> {
                    for round in 0..10 {
                        let n = 20 + client;
                        let way = if round % 2 == 0 { "cached" } else { "fresh" };
                        let (finished, _) = app.ask(way, n, &format!("{client}-{round}"))?;
                        assert_eq!(total(&finished), n, "{finished:#?}");
                        assert!(finished.operations.iter().all(|o| o.shape.contains(way)));
                    }
                    Ok(())
                })
            })
            .collect();
        for client in asked {
            client.join().ok().context("a client failed")??;
        }
        Ok(())
    })
}

/// Without probes nothing is told of it, and the library is as its file has it.
#[test]
fn only_where_wanted() -> Result<()> {
    let Some(live) = live("operations::sqlite::only_where_wanted")? else {
        return Ok(());
    };
    let app = Embedded::plain(&live)?;
    let (finished, _) = app.ask("cached", 5, "unprobed")?;
    assert_eq!(total(&finished), 0, "{finished:#?}");
    assert_eq!(breakpoints(app.worker()?)?, 0);
    Ok(())
}

impl Embedded {
    fn worker(&self) -> Result<u32> {
        let workers = self.gunicorn.worker_pids();
        workers.first().copied().context("there is no worker")
    }
}

/// Bytes of the library's code that differ from its file in a process.
fn breakpoints(pid: u32) -> Result<usize> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut different = 0;
    let mut mapped = 0;
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [range, permissions, offset, _, _, path] = fields.as_slice() else {
            continue;
        };
        if *permissions != "r-xp" || !path.contains("libsqlite3") {
            continue;
        }
        let (start, end) = range.split_once('-').context("no range")?;
        let (start, end) = (
            u64::from_str_radix(start, 16)?,
            u64::from_str_radix(end, 16)?,
        );
        let mut code = vec![0; usize::try_from(end - start)?];
        memory.read_exact_at(&mut code, start)?;
        let mut file = vec![0; code.len()];
        let read = File::open(path)?.read_at(&mut file, u64::from_str_radix(offset, 16)?)?;
        mapped += read;
        different += (0..read).filter(|at| code[*at] != file[*at]).count();
    }
    ensure!(mapped > 0, "process {pid} has no SQLite mapped");
    Ok(different)
}

/// Probes are in the pages of the library while the agent runs, and are gone after it was killed; the
/// application goes on.
#[test]
fn a_kill_leaves_no_breakpoint() -> Result<()> {
    let Some(live) = live("operations::sqlite::a_kill_leaves_no_breakpoint")? else {
        return Ok(());
    };
    let app = Embedded::new(&live, 1, &[])?;
    app.ask("cached", 5, "probed")?;
    let worker = app.worker()?;
    assert!(breakpoints(worker)? > 0, "{}", app.agent.log());
    let held = Held::of(app.agent.pid())?;
    assert!(held.links.len() > 20, "{held:?}");
    app.agent.kill()?;
    let limit = Duration::from_secs(20);
    wait_for(limit, "the pages to be as they were", || {
        Ok((breakpoints(worker)? == 0).then_some(()))
    })?;
    wait_for(limit, "programs, maps and links to go", || {
        Ok(held.still_loaded().is_empty().then_some(()))
    })?;
    ask(app.gunicorn.port, "cached", 5, "after")?;
    assert_eq!(app.worker()?, worker, "the worker was replaced");
    Ok(())
}

/// An application that starts after the agent is probed before it serves, and so is a worker that replaces
/// another: what that one prepares while it loads the application is known.
#[test]
fn an_application_that_starts_later() -> Result<()> {
    let Some(live) = live("operations::sqlite::an_application_that_starts_later")? else {
        return Ok(());
    };
    let scratch = Scratch::new("later")?;
    let port = free_port()?;
    let agent = Agent::start(&live, &["--library-probes", "--port", &port.to_string()])?;
    let watch = Watch::start(&agent)?;
    let gunicorn = application(&scratch, port, 1)?;
    let limit = Duration::from_secs(20);
    wait_for(limit, "the library to be probed", || {
        Ok(agent.log().contains("sqlite are probed").then_some(()))
    })?;
    ask(port, "cached", 37, "first")?;
    let finished = watch.request("first")?;
    assert_eq!(total(&finished), 37, "{finished:#?}");
    let before = gunicorn.worker_pids();
    for pid in &before {
        ensure!(signal(*pid, libc::SIGKILL), "there is no worker {pid}");
    }
    wait_for(limit, "another worker", || {
        let now = gunicorn.worker_pids();
        Ok((!now.is_empty() && now.iter().all(|pid| !before.contains(pid))).then_some(()))
    })?;
    ask(port, "early", 5, "second")?;
    let finished = watch.request("second")?;
    let operation = one(&finished, "select ?, ? as early");
    assert_eq!((operation.count, operation.rows), (5, 5), "{finished:#?}");
    Ok(())
}

/// A recording has no literal of a statement, and its replay tells the same operations.
#[test]
fn recorded_and_replayed() -> Result<()> {
    let Some(live) = live("operations::sqlite::recorded_and_replayed")? else {
        return Ok(());
    };
    let scratch = Scratch::new("recorded")?;
    let gunicorn = application(&scratch, free_port()?, 1)?;
    let file = scratch.path().join("recording");
    let mut command = Command::new(&live.binary);
    command
        .arg("record")
        .arg(&file)
        .args(["--json", "--library-probes", "--pid"]);
    command.arg(gunicorn.pid().to_string());
    let recorder = Watch::spawn(command)?;
    let limit = Duration::from_secs(30);
    wait_for(limit, "the recorder to start", || {
        Ok(recorder.stderr().contains("recording to").then_some(()))
    })
    .with_context(|| recorder.stderr())?;
    for way in ["cached", "fresh", "write", "errors", "open"] {
        ask(gunicorn.port, way, 20, way)?;
        let told = recorder.request(way)?;
        assert!(total(&told) >= 1, "{told:#?}");
    }
    let told = operations(&recorder.interrupt(limit)?);
    let mut command = Command::new(&live.binary);
    command.arg("replay").arg(&file).arg("--json");
    let again = operations(&Watch::spawn(command)?.finish(limit)?);
    assert_eq!(told, again);
    let bytes = fs::read(&file)?;
    assert!(
        find(&bytes, b"insert into item").is_some(),
        "shapes are in the file"
    );
    assert!(
        find(&bytes, SECRET.as_bytes()).is_none(),
        "a secret is in the file"
    );
    Ok(())
}

fn operations(events: &[Event]) -> BTreeMap<String, Vec<Operation>> {
    let finished = events
        .iter()
        .filter_map(|event| event.request_finished.as_ref());
    finished
        .map(|finished| (finished.x_request_id.clone(), finished.operations.clone()))
        .collect()
}
