//! Operations on every surface: the service's figures of shapes, `whyslow top`, the lines of `whyslow watch`,
//! and the options.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use whyslow_tests::{event::Finished, live, process, wait_for};

use crate::setting::{SECRET, Setting, assert_sound, counts};

/// Longest time that one snapshot of `top` or a line of `watch` may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Operations, requests, failures, time, and the slowest, by protocol and shape.
type Sums = BTreeMap<(String, String), [u64; 5]>;

fn once(setting: &Setting, options: &[&str]) -> Result<String> {
    let mut command = Command::new(setting.agent.binary());
    command
        .args(["top", "--once", "--window", "10m", "--socket"])
        .arg(setting.agent.socket())
        .args(options)
        .env_remove("WHYSLOW_SOCKET");
    let output = process::output(&mut command, LIMIT)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

fn snapshot(setting: &Setting) -> Result<Value> {
    let text = once(setting, &["--json", "--settle", "0s"])?;
    serde_json::from_str(&text).context(text)
}

fn integer(value: &Value) -> u64 {
    // Proto3 JSON leaves zeros out.
    value.as_str().map_or(0, |text| text.parse().unwrap_or(0))
}

/// What the service tells of shapes.
fn told(snapshot: &Value) -> Sums {
    let shapes = snapshot["shapes"]["shapes"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    shapes
        .into_iter()
        .flatten()
        .map(|shape| {
            let key = (text(&shape["protocol"]), text(&shape["shape"]));
            let figures = ["count", "requests", "errors", "totalNs", "maxNs"];
            (key, figures.map(|name| integer(&shape[name])))
        })
        .collect()
}

/// The same from finished requests.
fn summed(requests: &[Finished]) -> Sums {
    let mut sums = Sums::new();
    for request in requests {
        let mut seen = Vec::new();
        for operation in &request.operations {
            let key = (operation.protocol.clone(), operation.shape.clone());
            let sum = sums.entry(key.clone()).or_default();
            sum[0] += operation.count;
            sum[1] += u64::from(!seen.contains(&key));
            sum[2] += operation.errors;
            sum[3] += operation.total_ns;
            sum[4] = sum[4].max(operation.slowest_ns);
            seen.push(key);
        }
    }
    sums
}

/// `top --once` has a pane of shapes, and the figures behind it are the sums of what finished requests told.
#[test]
fn the_figures_of_top_are_the_sums_of_the_requests() -> Result<()> {
    let Some(live) =
        live("operations::everywhere::the_figures_of_top_are_the_sums_of_the_requests")?
    else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for (way, n) in [
        ("postgres/simple", 37),
        ("postgres/simple", 2),
        ("redis/plain", 12),
        ("postgres/batch", 10),
    ] {
        assert_sound(&setting.ask(way, n)?);
    }
    // Whatever else is served on this host counts in both, at slightly different moments.
    let agreed = wait_for(LIMIT, "figures that agree with the requests", || {
        let snapshot = snapshot(&setting)?;
        let same = told(&snapshot) == summed(&setting.watch.finished());
        Ok(same.then_some(snapshot))
    });
    let snapshot = agreed.with_context(|| format!("{:#?}", summed(&setting.watch.finished())))?;
    assert_eq!(snapshot["info"]["status"]["operations"], true);
    let simple = told(&snapshot)
        .into_iter()
        .find(|((_, shape), _)| shape.ends_with("as simple"));
    let (_, figures) = simple.context("the statement is told")?;
    assert_eq!(figures[..3], [39, 2, 0]);
    let routes = snapshot["routes"]["routes"].as_array().context("routes")?;
    let plain = routes.iter().find(|route| route["route"] == "/redis/plain");
    let mean = plain.and_then(|route| route["operationsPerRequest"].as_f64());
    let asked = setting.watch.finished();
    let asked = asked.iter().find(|one| one.route == "/redis/plain");
    let asked = asked.map(|one| one.operations.iter().map(|o| o.count).sum::<u64>());
    assert!(asked.is_some_and(|asked| asked >= 12), "{asked:?}");
    assert_eq!(mean, asked.map(|asked| asked as f64), "it was one request");

    let text = once(&setting, &["--settle", "0s"])?;
    let pane = text.find("\nShapes: ").map(|at| &text[at..]);
    let pane = pane.with_context(|| text.clone())?;
    let row = pane.lines().find(|line| line.ends_with("as simple"));
    let row: Vec<&str> = row.context(pane.to_owned())?.split_whitespace().collect();
    assert_eq!(
        row[..3],
        ["39", "2", "1"],
        "count, requests, repeated: {pane}"
    );
    assert!(!text.contains(SECRET), "{text}");
    Ok(())
}

/// A request that asks for the same again and again is seen while it does.
#[test]
fn a_repeated_statement_is_seen_while_it_happens() -> Result<()> {
    let Some(live) = live("operations::everywhere::a_repeated_statement_is_seen_while_it_happens")?
    else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/extended", 1)?;
    std::thread::scope(|scope| {
        let request = scope.spawn(|| setting.ask("postgres/extended", 3_900));
        let seen = wait_for(LIMIT, "a repeated shape in flight", || {
            if request.is_finished() {
                // Too fast to be caught: that is no sight of it.
                return Ok(Some(None));
            }
            let snapshot = snapshot(&setting)?;
            let requests = snapshot["inFlight"]["requests"].as_array();
            let operation = requests
                .into_iter()
                .flatten()
                .filter_map(|request| request["operations"].as_array())
                .flatten()
                .find(|operation| operation["repeated"] == true)
                .cloned();
            Ok(operation.map(Some))
        })?;
        let finished = request
            .join()
            .map_err(|_| anyhow::anyhow!("the asker broke off"))??;
        let seen = seen.context("the request was over before it was looked at")?;
        let count = integer(&seen["count"]);
        let all = counts(&finished, "postgresql").values().sum::<u64>();
        assert!((10..=all).contains(&count), "{count} of {all}");
        assert_eq!(seen["protocol"], "postgresql");
        assert!(!seen.to_string().contains(SECRET), "{seen}");
        Ok(())
    })
}

/// Below the line of a request stand its operations.
#[test]
fn lines_for_people() -> Result<()> {
    let Some(live) = live("operations::everywhere::lines_for_people")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    setting.ask("postgres/simple", 1)?;
    let mut child = Command::new(setting.agent.binary())
        .args([
            "watch",
            "--count",
            "1",
            "--route",
            "/postgres/simple",
            "--socket",
        ])
        .arg(setting.agent.socket())
        .env_remove("WHYSLOW_SOCKET")
        .stdout(Stdio::piped())
        .spawn()?;
    // It does not say when it is there: the first request that it sees is printed.
    wait_for(LIMIT, "the watcher to print a request", || {
        setting.ask("postgres/simple", 11)?;
        Ok(child.try_wait()?)
    })?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("GET /postgres/simple"), "{text}");
    assert!(
        lines[1].starts_with("  postgresql  x11 repeated  ") && lines[1].ends_with("as simple"),
        "{text}"
    );
    assert!(!text.contains(SECRET), "{text}");
    Ok(())
}

/// `--repeated` says when a shape is, `--show-literals` keeps what was sent.
#[test]
fn options() -> Result<()> {
    let Some(live) = live("operations::everywhere::options")? else {
        return Ok(());
    };
    let options = ["--operations", "--repeated", "40", "--show-literals"];
    let setting = Setting::with_options(&live, &options)?;
    setting.ask("postgres/extended", 1)?;
    for n in [39, 40] {
        let finished = setting.ask("postgres/extended", n)?;
        let statement = finished
            .operations
            .iter()
            .find(|o| o.shape.ends_with("as extended"));
        let repeated = statement.map(|o| (o.count, o.repeated));
        assert_eq!(repeated, Some((n, n >= 40)), "{finished:#?}");
    }
    let finished = setting.ask("postgres/simple", 2)?;
    let literals = format!("select '{SECRET}'::text, 1::int as simple");
    let told = finished.operations.iter().any(|o| o.shape == literals);
    assert!(told, "{literals}: {finished:#?}");
    let finished = setting.ask("redis/plain", 1)?;
    let literals = format!("GET key:{SECRET}:0");
    let told = finished.operations.iter().any(|o| o.shape == literals);
    assert!(told, "{literals}: {finished:#?}");
    Ok(())
}
