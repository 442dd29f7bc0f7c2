//! The demo application answers on every path, and leaves nothing when it ends. Needs no root and
//! no agent, but the servers and the Python environment of `cargo xtask setup`.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use whyslow_servers::{Demo, Scratch, http, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

/// Every path, and a part of the body that shows that the work was done.
const PATHS: &[(&str, &str)] = &[
    ("/", "welcome"),
    ("/products", "Product 49"),
    ("/users/7", "Customer 6 of Kraków"),
    ("/report", "Product"),
    ("/checkout", "paid"),
    ("/thumbnail", "\n"),
    ("/partner", "no answer yet"),
    ("/export", "280000"),
    ("/upload", "\"bytes\": 0"),
    ("/archive", "bytes"),
    ("/bench", "Customer 0 of Lisbon"),
];

#[test]
fn every_path_answers_and_nothing_is_left() -> Result<()> {
    let scratch = Scratch::new("demo-test")?;
    let demo = Demo::start(scratch.path(), |options| options.workers(2).threads(2))?;
    for (path, expected) in PATHS {
        let response = http::get(demo.gunicorn.port, path, LIMIT)?;
        assert_eq!(response.status, 200, "{path}: {}", demo.gunicorn.log_tail());
        assert!(
            response.body.contains(expected),
            "{path}: {}",
            response.body
        );
    }
    let missing = http::get(demo.gunicorn.port, "/users/100000", LIMIT)?;
    assert_eq!(missing.status, 404);

    let mut pids = demo.gunicorn.worker_pids();
    assert_eq!(pids.len(), 2);
    pids.extend([demo.gunicorn.pid(), demo.redis.pid(), demo.postgres.pid()]);
    drop(demo);
    wait_until(LIMIT, "all servers to be gone", || {
        pids.iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    })
}
