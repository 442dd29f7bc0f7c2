//! What few servers and clients do, and what must be told right all the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch,
    event::Finished,
    http::{Client, get},
    live,
    script::Script,
};

const GAP: Duration = Duration::from_millis(50);

/// The odd server, agent and watcher, in the order in which they must end.
struct Setting {
    watch: Watch,
    _agent: Agent,
    server: Script,
}

impl Setting {
    fn new(live: &Live) -> Result<Self> {
        let server = Script::start("odd", |_| ())?;
        let agent = Agent::start(live, &[])?;
        Ok(Self {
            watch: Watch::start(&agent)?,
            _agent: agent,
            server,
        })
    }

    fn client(&self) -> Result<Client> {
        Client::open(self.server.address)
    }

    /// One request on a connection of its own, as it was told.
    fn ask(&self, case: &str) -> Result<Finished> {
        let mut client = self.client()?;
        assert_eq!(client.get(&format!("/{case}"), case)?.status, 200);
        self.watch.request(case)
    }
}

/// A response that begins before the body was read: it ends where it ends, and the requests behind the body
/// are requests of their own.
#[test]
fn answered_before_the_body() -> Result<()> {
    let Some(live) = live("odd::answered_before_the_body")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    for size in [3_usize, 100, 20_000] {
        let mut client = setting.client()?;
        let key = format!("early-{size}");
        let head = format!(
            "POST /early HTTP/1.1\r\nHost: odd\r\nX-Request-ID: {key}\r\nContent-Length: {size}\r\n\r\n"
        );
        client.send(head.as_bytes())?;
        assert_eq!(client.response(true)?.status, 200);
        std::thread::sleep(GAP);
        client.send(&vec![b'G'; size])?;
        let early = setting.watch.request(&key)?;
        ensure!(early.wall_ns < 40_000_000, "{early:#?}");
        for number in 0..5 {
            let key = format!("behind-{size}-{number}");
            assert_eq!(client.get("/plain", &key)?.status, 200);
            let behind = setting.watch.request(&key)?;
            assert_eq!((behind.method.as_str(), behind.bytes_out), ("GET", 41));
        }
    }
    Ok(())
}

/// Any method, also behind an empty line.
#[test]
fn methods() -> Result<()> {
    let Some(live) = live("odd::methods")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    for method in ["GET", "MOVE", "PURGE", "QUERY", "UNSUBSCRIBE", "M-SEARCH"] {
        let key = format!("by-{method}");
        let request = format!("\r\n{method} /x HTTP/1.1\r\nX-Request-ID: {key}\r\n\r\n");
        client.send(request.as_bytes())?;
        assert_eq!(client.response(true)?.status, 200);
        let finished = setting.watch.request(&key)?;
        assert_eq!((finished.method.as_str(), finished.status), (method, 200));
    }
    Ok(())
}

/// The head of a pipelined request comes in pieces: it is read whole.
#[test]
fn pipelined_head_in_pieces() -> Result<()> {
    let Some(live) = live("odd::pipelined_head_in_pieces")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    let mut first = get("/one", "one");
    first.extend(b"GET /two/is/");
    client.send(&first)?;
    assert_eq!(client.response(true)?.status, 200);
    std::thread::sleep(GAP);
    client.send(b"longer HTTP/1.1\r\nX-Request-ID: two\r\n\r\n")?;
    assert_eq!(client.response(true)?.status, 200);
    assert_eq!(setting.watch.request("one")?.target, "/one");
    assert_eq!(setting.watch.request("two")?.target, "/two/is/longer");
    Ok(())
}

/// Closing one of two descriptors of a connection ends nothing.
#[test]
fn closed_duplicate() -> Result<()> {
    let Some(live) = live("odd::closed_duplicate")? else {
        return Ok(());
    };
    let finished = Setting::new(&live)?.ask("duplicate")?;
    assert_eq!(finished.status, 200, "{finished:#?}");
    assert!(finished.account("sleep") >= 99_000_000, "{finished:#?}");
    Ok(())
}

/// An interim response in front of the final one, in one write.
#[test]
fn interim_and_final_together() -> Result<()> {
    let Some(live) = live("odd::interim_and_final_together")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    client.send(&get("/hints", "hints"))?;
    assert_eq!(client.head()?.status, 103);
    let finished = setting.watch.request("hints")?;
    assert_eq!((finished.status, finished.bytes_out), (200, 41));
    Ok(())
}

/// After a 101 the connection speaks something else: its messages belong to no response.
#[test]
fn upgraded() -> Result<()> {
    let Some(live) = live("odd::upgraded")? else {
        return Ok(());
    };
    let setting = Setting::new(&live)?;
    let mut client = setting.client()?;
    client.send(&get("/upgrade", "upgrade"))?;
    assert_eq!(client.head()?.status, 101);
    let finished = setting.watch.request("upgrade")?;
    assert_eq!(finished.status, 101, "{finished:#?}");
    assert!(finished.wall_ns < 40_000_000, "{finished:#?}");
    Ok(())
}

/// Events of an epoll instance may carry anything: the wait is for the member that was ready.
#[test]
fn event_with_a_number_of_its_own() -> Result<()> {
    let Some(live) = live("odd::event_with_a_number_of_its_own")? else {
        return Ok(());
    };
    let finished = Setting::new(&live)?.ask("token")?;
    assert!(
        finished.account("net.upstream") >= 150_000_000,
        "{finished:#?}"
    );
    Ok(())
}

/// A child that ends without having written is a child all the same.
#[test]
fn silent_child() -> Result<()> {
    let Some(live) = live("odd::silent_child")? else {
        return Ok(());
    };
    let finished = Setting::new(&live)?.ask("silent")?;
    assert!(finished.account("child") >= 190_000_000, "{finished:#?}");
    assert!(finished.account("ipc") < 10_000_000, "{finished:#?}");
    Ok(())
}
