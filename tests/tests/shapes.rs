//! The shapes that HTTP takes on a connection: each request is one finished request, with its own begin,
//! end and status, whatever the client does.

use std::{os::fd::AsRawFd, time::Duration};

use anyhow::{Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch,
    event::Finished,
    http::{Client, get, get_once},
    live,
    truth::{Overlap, Truth},
    watch::EVENT_LIMIT,
};

/// Gap between the pieces of a request.
const GAP: Duration = Duration::from_millis(50);

/// Server, agent and watcher.
struct Setting {
    // In the order in which they must end.
    watch: Watch,
    agent: Agent,
    truth: Truth,
}

impl Setting {
    fn new(live: &Live) -> Result<Self> {
        Self::of(live, "gthread", 4)
    }

    /// Here one thread reads, works, writes and closes.
    fn of_sync_worker(live: &Live) -> Result<Self> {
        Self::of(live, "sync", 1)
    }

    fn of(live: &Live, class: &'static str, threads: u32) -> Result<Self> {
        let truth = Truth::of(class, 1, threads)
            .argument("--keep-alive=75")
            .start()?;
        let agent = Agent::start(live, &[])?;
        let watch = Watch::start(&agent)?;
        Ok(Self {
            watch,
            agent,
            truth,
        })
    }

    fn client(&self) -> Result<Client> {
        Client::open(self.truth.address())
    }

    /// After anything odd: the agent lives and sees a plain request.
    fn still_works(self, key: &str) -> Result<()> {
        get_once(self.truth.address(), "/empty", key)?;
        ensure!(self.watch.request(key)?.status == 204);
        drop(self.watch);
        self.agent.stop()
    }
}

/// The accounts add up, and one thread served it.
fn assert_booked(finished: &Finished) {
    let sum = finished.sum(|_| true);
    assert_eq!(finished.binding, "thread", "{finished:#?}");
    assert!(
        finished.wall_ns.abs_diff(sum) <= finished.wall_ns / 1000,
        "{sum} in {finished:#?}"
    );
}

/// The connection is reset instead of closed.
fn reset(client: Client) -> Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open, the option is a whole `linger`.
    let set = unsafe {
        libc::setsockopt(
            client.stream().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            u32::try_from(size_of::<libc::linger>())?,
        )
    };
    ensure!(set == 0, "SO_LINGER: {}", std::io::Error::last_os_error());
    drop(client);
    Ok(())
}

/// Three requests on one connection are three finished requests of the same client; idle time between
/// them is in none.
#[test]
fn keep_alive() -> Result<()> {
    let Some(live) = live("shapes::keep_alive")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    let mut seen = Vec::new();
    for key in ["one", "two", "three"] {
        assert_eq!(client.get("/sleep?ms=20", key)?.status, 200);
        let finished = setting.watch.request(key)?;
        assert_booked(&finished);
        assert_eq!(
            (finished.status, finished.end_reason.as_str()),
            (200, "complete")
        );
        seen.push(finished);
        std::thread::sleep(GAP);
    }
    assert_eq!(seen[0].client, seen[2].client);
    assert_ne!(seen[0].request_id, seen[1].request_id);
    for finished in &seen {
        assert!(
            (20_000_000..20_000_000 + 40_000_000).contains(&finished.wall_ns),
            "{finished:#?}"
        );
    }
    Ok(())
}

/// Two requests in one segment to a server that answers them one after the other: two finished requests,
/// each with its own target, key and status.
#[test]
fn pipelined() -> Result<()> {
    let Some(live) = live("shapes::pipelined")? else {
        return Ok(());
    };
    let server = Overlap::start()?;
    let agent = Agent::start(&live, &[])?;
    let watch = Watch::start(&agent)?;
    let mut client = Client::open(server.address)?;
    let both = [get("/wait?ms=50", "first"), get("/missing", "second")].concat();
    client.send(&both)?;
    assert_eq!(client.response(true)?.status, 200);
    assert_eq!(client.response(true)?.status, 404);
    let first = watch.request("first")?;
    let second = watch.request("second")?;
    assert_eq!((first.status, first.target.as_str()), (200, "/wait?ms=?"));
    assert_eq!((second.status, second.target.as_str()), (404, "/missing"));
    assert!(first.wall_ns >= 50_000_000, "{first:#?}");
    assert_ne!(first.request_id, second.request_id);
    Ok(())
}

/// A chunked response ends with its last chunk, and all its bytes are counted.
#[test]
fn chunked() -> Result<()> {
    let Some(live) = live("shapes::chunked")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    let response = client.get("/stream?ms=100", "chunked")?;
    assert_eq!(response.body.len(), 40);
    let finished = setting.watch.request("chunked")?;
    assert_booked(&finished);
    assert_eq!(
        (finished.status, finished.end_reason.as_str()),
        (200, "complete")
    );
    assert!(finished.bytes_out > 40);
    assert!(
        finished.send_ns >= 80_000_000,
        "four sleeps lie between the chunks: {finished:#?}"
    );
    Ok(())
}

/// Eight mebibytes go out as one response; the count of bytes is head and body exactly.
#[test]
fn large_response() -> Result<()> {
    let Some(live) = live("shapes::large_response")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let response = setting.client()?.get("/big", "large")?;
    let finished = setting.watch.request("large")?;
    assert_booked(&finished);
    assert_eq!(
        (finished.status, finished.end_reason.as_str()),
        (200, "complete")
    );
    assert_eq!(
        finished.bytes_out,
        (response.head.len() + response.body.len()) as u64
    );
    Ok(())
}

/// The client is gone before the response: the request ends without a status, and its end says why.
#[test]
fn client_gone_before_the_response() -> Result<()> {
    let Some(live) = live("shapes::client_gone_before_the_response")? else {
        return Ok(());
    };
    gone_before_the_response(Setting::of_sync_worker(&live)?)
}

/// The same where another thread closes the connection than the one that worked: the time is still bound
/// to the one that worked, which found the client gone.
#[test]
fn client_gone_before_the_response_of_a_thread() -> Result<()> {
    let Some(live) = live("shapes::client_gone_before_the_response_of_a_thread")? else {
        return Ok(());
    };
    gone_before_the_response(Setting::new(&live)?)
}

fn gone_before_the_response(setting: Setting) -> Result<()> {
    let mut client = setting.client()?;
    client.send(&get("/sleep?ms=1000", "gone"))?;
    setting
        .watch
        .expect(EVENT_LIMIT, "the request to begin", |event| {
            event
                .request_started
                .as_ref()
                .filter(|s| s.target.starts_with("/sleep"))
                .map(|_| ())
        })?;
    reset(client)?;
    let finished = setting.watch.request("gone")?;
    assert_booked(&finished);
    assert!(finished.account("sleep") >= 900_000_000, "{finished:#?}");
    assert_eq!(finished.status, 0, "{finished:#?}");
    assert!(
        ["client_closed", "client_reset"].contains(&finished.end_reason.as_str()),
        "{finished:#?}"
    );
    setting.still_works("after-gone")
}

/// The client is gone within the response: the status stands, and the end says that it was not whole.
#[test]
fn client_gone_within_the_response() -> Result<()> {
    let Some(live) = live("shapes::client_gone_within_the_response")? else {
        return Ok(());
    };
    let setting = Setting::of_sync_worker(&live)?;
    let mut client = setting.client()?;
    client.send(&get("/big?bytes=33554432", "cut"))?;
    assert_eq!(client.head()?.status, 200);
    reset(client)?;
    let finished = setting.watch.request("cut")?;
    assert_eq!(finished.status, 200, "{finished:#?}");
    assert!(finished.bytes_out < 33_554_432, "{finished:#?}");
    assert!(
        ["client_closed", "client_reset"].contains(&finished.end_reason.as_str()),
        "{finished:#?}"
    );
    setting.still_works("after-cut")
}

/// The answer to a HEAD has a Content-Length and no body: it ends with its head, not with the next
/// request or a time-out.
#[test]
fn head() -> Result<()> {
    let Some(live) = live("shapes::head")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    client.send(b"HEAD /sleep?ms=20 HTTP/1.1\r\nHost: truth\r\nX-Request-ID: head\r\n\r\n")?;
    assert_eq!(client.response(false)?.status, 200);
    let finished = setting.watch.request("head")?;
    assert_booked(&finished);
    assert_eq!(finished.method, "HEAD");
    assert_eq!(
        (finished.status, finished.end_reason.as_str()),
        (200, "complete")
    );
    Ok(())
}

/// `Expect: 100-continue`: the interim response is not the response, and the body belongs to the request.
#[test]
fn expect_continue() -> Result<()> {
    let Some(live) = live("shapes::expect_continue")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    client.send(
        b"POST /upload HTTP/1.1\r\nHost: truth\r\nX-Request-ID: expect\r\n\
          Content-Length: 10000\r\nExpect: 100-continue\r\n\r\n",
    )?;
    assert_eq!(client.response(true)?.status, 100);
    client.send(&[b'x'; 10_000])?;
    assert_eq!(client.response(true)?.body, b"10000");
    let finished = setting.watch.request("expect")?;
    assert_booked(&finished);
    assert_eq!((finished.method.as_str(), finished.status), ("POST", 200));
    assert_eq!(finished.end_reason, "complete");
    assert!(finished.bytes_in > 10_000, "{finished:#?}");
    Ok(())
}

/// Two mebibytes of upload are counted to the byte.
#[test]
fn upload() -> Result<()> {
    let Some(live) = live("shapes::upload")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    let body = vec![b'x'; 2 << 20];
    let head = format!(
        "PUT /upload HTTP/1.1\r\nHost: truth\r\nX-Request-ID: upload\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head.as_bytes())?;
    client.send(&body)?;
    assert_eq!(client.response(true)?.status, 200);
    let finished = setting.watch.request("upload")?;
    assert_booked(&finished);
    assert_eq!(finished.method, "PUT");
    assert_eq!(finished.bytes_in, (head.len() + body.len()) as u64);
    Ok(())
}

/// A head in three pieces is one request that begins with the first of them.
#[test]
fn split_head() -> Result<()> {
    let Some(live) = live("shapes::split_head")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    let pieces = [
        "GET /emp",
        "ty?a=b HTTP/1.1\r\nHost: tru",
        "th\r\nX-Request-ID: split\r\n\r\n",
    ];
    client.send(pieces[0].as_bytes())?;
    for piece in &pieces[1..] {
        std::thread::sleep(GAP);
        client.send(piece.as_bytes())?;
    }
    assert_eq!(client.response(true)?.status, 204);
    let finished = setting.watch.request("split")?;
    assert_booked(&finished);
    assert_eq!(
        (finished.method.as_str(), finished.target.as_str()),
        ("GET", "/empty?a=?")
    );
    assert_eq!(finished.host, "truth");
    // Both pauses are in it, and but for its own work the worker waited for the client.
    assert!(
        u128::from(finished.head_read_ns) > GAP.as_nanos(),
        "{finished:#?}"
    );
    let worked = finished.account("cpu") + finished.account("run_queue");
    assert!(
        finished.account("net.client_read") + worked >= finished.head_read_ns,
        "{finished:#?}"
    );
    let same = setting
        .watch
        .finished()
        .iter()
        .filter(|other| other.client == finished.client)
        .count();
    assert_eq!(same, 1, "one head, one request");
    Ok(())
}

/// Heads as browsers with many cookies send them, and as applications with long policies answer them, are
/// read to their ends: what stands behind is known, and the response is over when its last byte is.
#[test]
fn long_heads() -> Result<()> {
    let Some(live) = live("shapes::long_heads")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    for (key, cookie) in [("kilobytes", 3000), ("one-more-byte", 1024), ("most", 7000)] {
        let request = format!(
            "GET /big?bytes=9&policy=700 HTTP/1.1\r\nHost: truth\r\nCookie: c={}\r\nX-Request-ID: {key}\r\n\r\n",
            "x".repeat(cookie)
        );
        client.send(request.as_bytes())?;
        assert_eq!(client.response(true)?.status, 200);
        // No other request follows before this one is told.
        let finished = setting.watch.request(key)?;
        assert_booked(&finished);
        assert_eq!(finished.end_reason, "complete", "{finished:#?}");
        assert!(finished.loss.is_empty(), "{finished:#?}");
        assert_eq!(finished.bytes_in, request.len() as u64);
    }
    Ok(())
}

/// A request line of 64 KiB: the server refuses it, the agent copies what it may, says that it cut, and
/// goes on.
#[test]
fn request_line_of_64_kib() -> Result<()> {
    let Some(live) = live("shapes::request_line_of_64_kib")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    client.send(&get(&format!("/long/{}", "a".repeat(65_536)), "long"))?;
    let refused = client.head()?.status;
    assert!((400..500).contains(&refused), "{refused}");
    let finished = setting
        .watch
        .expect(EVENT_LIMIT, "the long request", |event| {
            event
                .request_finished
                .as_ref()
                .filter(|f| f.target.starts_with("/long/"))
                .cloned()
        })?;
    assert_eq!(
        (finished.method.as_str(), finished.status),
        ("GET", u32::from(refused))
    );
    assert!(finished.target.len() < 65_536);
    assert!(!finished.loss.is_empty(), "the cut is told: {finished:#?}");
    setting.still_works("after-long")
}

/// Bytes that are no HTTP on a watched port are a counted oddity, not a request with a made-up method.
#[test]
fn garbage() -> Result<()> {
    let Some(live) = live("shapes::garbage")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let pid = setting.truth.workers()[0];
    get_once(setting.truth.address(), "/empty", "watched")?;
    setting.watch.request("watched")?;
    let mut client = setting.client()?;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(4096)
    .collect();
    client.send(&bytes)?;
    client.send(b"\r\n\r\n")?;
    client.finish_sending()?;
    let _ = client.until_closed()?;
    setting
        .watch
        .expect(EVENT_LIMIT, "a loss of reason not_http", |event| {
            event
                .loss
                .as_ref()
                .filter(|loss| loss.reason == "not_http")
                .map(|_| ())
        })?;
    for finished in setting.watch.finished().iter().filter(|f| f.pid == pid) {
        assert!(
            ["GET", ""].contains(&finished.method.as_str()),
            "{finished:#?}"
        );
    }
    setting.still_works("after-garbage")
}

/// `X-Request-ID`, `traceparent` and `Host` are told as sent; values in the query are not told at all.
#[test]
fn headers_and_secrets() -> Result<()> {
    let Some(live) = live("shapes::headers_and_secrets")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = format!(
        "GET /empty?token=hunter2&page=3 HTTP/1.1\r\nhOsT: shop.example\r\n\
         Cookie: session=hunter2\r\nAuthorization: Bearer hunter2\r\n\
         TraceParent: {trace}\r\nx-request-id: headers\r\n\r\n"
    );
    let mut client = setting.client()?;
    client.send(request.as_bytes())?;
    client.response(true)?;
    let finished = setting.watch.request("headers")?;
    assert_eq!(finished.traceparent, trace);
    assert_eq!(finished.host, "shop.example");
    assert_eq!(finished.target, "/empty?token=?&page=?");
    let told = setting.watch.lines().join("\n") + &setting.agent.log();
    assert!(!told.contains("hunter2"), "a secret was told");
    Ok(())
}
