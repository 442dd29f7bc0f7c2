//! What the servers count themselves, asked beside the agent.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    event::Finished,
    servers::{Memcached, Postgres, Redis},
};

/// Counts by name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Has the server execute a statement.
pub(crate) fn psql(postgres: &Postgres, statement: &str) -> Result<String> {
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-c", statement, &postgres.url()])
        .output()
        .context("run psql")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Statements that were executed since `pg_stat_statements_reset()`, by their first word, without what the
/// server asks itself to check foreign keys: of deferred ones, at COMMIT, it counts that as asked by a client.
pub(crate) fn statements(postgres: &Postgres) -> Result<Counts> {
    let text = psql(
        postgres,
        "select upper(substring(query from '[A-Za-z]+')), sum(calls) from pg_stat_statements \
         where query not like '%pg_stat_statements%' \
         and query not like 'SELECT % FROM ONLY %FOR KEY SHARE OF x' group by 1",
    )?;
    text.lines()
        .map(|line| {
            let (word, calls) = line.split_once('|').context("two columns")?;
            Ok((word.to_owned(), calls.parse()?))
        })
        .collect()
}

/// What is told of statements that were executed to their end, by their first word.
pub(crate) fn told_statements(finished: &Finished) -> Counts {
    let mut told = Counts::new();
    for operation in &finished.operations {
        let executed = operation.count - operation.errors;
        if operation.protocol == "postgresql" && operation.shape != "(empty)" && executed > 0 {
            let word = operation.shape.split(|c: char| !c.is_ascii_alphabetic());
            let word = word.into_iter().find(|word| !word.is_empty());
            *told
                .entry(word.unwrap_or_default().to_uppercase())
                .or_default() += executed;
        }
    }
    told
}

/// Commands that Redis has run, by name, without the one that asks.
pub(crate) fn commands(redis: &Redis) -> Result<Counts> {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port))?;
    stream.write_all(b"INFO commandstats\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut text = vec![0; line.trim_start_matches('$').trim().parse()?];
    reader.read_exact(&mut text)?;
    let mut commands = Counts::new();
    for line in String::from_utf8(text)?.lines() {
        let Some((name, rest)) = line
            .strip_prefix("cmdstat_")
            .and_then(|l| l.split_once(":calls="))
        else {
            continue;
        };
        let calls = rest.split(',').next().unwrap_or_default().parse()?;
        if name != "info" {
            commands.insert(name.replace('|', " ").to_uppercase(), calls);
        }
    }
    Ok(commands)
}

/// What Redis has run between two looks.
pub(crate) fn ran(before: &Counts, after: Counts) -> Counts {
    let grown = after.into_iter().map(|(name, calls)| {
        let calls = calls - before.get(&name).unwrap_or(&0);
        (name, calls)
    });
    grown.filter(|(_, calls)| *calls > 0).collect()
}

/// What is told of Redis, by name, without what it refused since it does not know it (not in `ran`): that it
/// does not count.
pub(crate) fn told_commands(finished: &Finished, ran: &Counts) -> Counts {
    let mut told = Counts::new();
    for operation in finished.operations.iter().filter(|o| o.protocol == "redis") {
        let name = operation.shape.split(['?', '.']).next();
        let name = name.unwrap_or_default().trim();
        if operation.errors < operation.count || ran.contains_key(name) {
            *told.entry(name.to_owned()).or_default() += operation.count;
        }
    }
    told
}

/// memcached's counters.
pub(crate) fn stats(memcached: &Memcached) -> Result<Counts> {
    let mut stream = TcpStream::connect(("127.0.0.1", memcached.port))?;
    stream.write_all(b"stats\r\n")?;
    let mut stats = Counts::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line == "END" {
            break;
        }
        let mut words = line.split(' ').skip(1);
        let name = words.next().context("a name")?.to_owned();
        // Some are no integers.
        if let Some(value) = words.next().and_then(|value| value.parse().ok()) {
            stats.insert(name, value);
        }
    }
    Ok(stats)
}

/// How memcached counts commands: its counters, and the first words of the shapes that they stand for.
const COUNTERS: &[(&[&str], &[&str])] = &[
    (&["cmd_get"], &["get", "gets", "mg", "gat", "gats"]),
    (
        &["cmd_set"],
        &["set", "add", "replace", "append", "prepend", "cas", "ms"],
    ),
    (&["cmd_touch"], &["touch", "gat", "gats"]),
    (&["delete_hits", "delete_misses"], &["delete", "md"]),
    (
        &["incr_hits", "incr_misses", "decr_hits", "decr_misses"],
        &["incr", "decr", "ma"],
    ),
    (&["cmd_flush"], &["flush_all"]),
];

/// What is told of each kind of memcached's commands is what its counters have grown by.
pub(crate) fn assert_memcached(finished: &Finished, before: &Counts, after: &Counts) {
    let grown = |name: &str| after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
    for (counters, verbs) in COUNTERS {
        let counted: u64 = counters.iter().map(|name| grown(name)).sum();
        let of_memcached = finished.operations.iter();
        let said: u64 = of_memcached
            .filter(|o| o.protocol == "memcached")
            .filter(|o| verbs.contains(&o.shape.split(' ').next().unwrap_or_default()))
            .map(|o| o.count)
            .sum();
        assert_eq!(said, counted, "{counters:?}: {finished:#?}");
    }
}
