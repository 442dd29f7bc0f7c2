//! The far end of HTTP, DNS and TLS (`far_end.py`), which counts what it is asked; the application, the agent
//! and a watcher of it.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::{
    Agent, Live, Watch,
    event::Finished,
    http::get_once,
    servers::{Gunicorn, Process, Scratch, StopSignal, app_dir, venv_python},
    wait_for,
};

use crate::{setting::SECRET, took::Took};

/// Where names are asked: a loopback address that nothing else on a host uses.
pub(crate) const NAME_SERVER: &str = "127.0.0.153";
/// After which time the far end answers, where it lets wait.
pub(crate) const DELAY: Duration = Duration::from_millis(10);
/// Longest time until the far end has started.
const START_LIMIT: Duration = Duration::from_secs(20);

/// In the order in which they must end.
pub(crate) struct Far {
    watch: Watch,
    _agent: Agent,
    gunicorn: Gunicorn,
    _far_end: Process,
    pub(crate) http: SocketAddr,
    pub(crate) tls: SocketAddr,
    _scratch: Scratch,
}

impl Far {
    pub(crate) fn new(live: &Live) -> Result<Self> {
        let scratch = Scratch::new("far")?;
        let folder = scratch.path();
        let certificate = certificate(folder)?;
        let mut command = Command::new(venv_python()?);
        command
            .arg(app_dir("operations").join("far_end.py"))
            .arg(folder)
            .arg(NAME_SERVER)
            .arg(certificate)
            .arg(DELAY.as_millis().to_string());
        let log = folder.join("far_end.log");
        let far_end = Process::start("far_end", command, StopSignal::Kill, &log)?;
        let ports = wait_for(START_LIMIT, "the far end's ports", || {
            ensure!(far_end.ended().is_none(), "{}", far_end.log_tail());
            Ok(fs::read_to_string(folder.join("ports")).ok())
        })?;
        let (http, tls) = ports.split_once(' ').context("two ports")?;
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, http.parse()?));
        let tls = SocketAddr::from((Ipv4Addr::LOCALHOST, tls.parse()?));
        let resolv_conf = folder.join("resolv.conf");
        fs::write(
            &resolv_conf,
            format!("nameserver {NAME_SERVER}\noptions timeout:1 attempts:2\n"),
        )?;
        let gunicorn = Gunicorn::of(&app_dir("operations"), "app:application")
            .env("FAR_HTTP", http.to_string())
            .env("FAR_TLS", tls.to_string())
            .env("FAR_DNS", format!("{NAME_SERVER}:53"))
            .env("FAR_PID", far_end.pid().to_string())
            .env("RESOLV_CONF", resolv_conf)
            .start(folder)?;
        let agent = Agent::start(live, &["--operations"])?;
        Ok(Self {
            watch: Watch::start(&agent)?,
            _agent: agent,
            gunicorn,
            _far_end: far_end,
            http,
            tls,
            _scratch: scratch,
        })
    }

    /// What came of a request, and how long that took by the application's own clock, where it says.
    pub(crate) fn ask(&self, way: &str, n: u64) -> Result<(Finished, Took)> {
        let key = format!("{way}-{n}").replace('/', "-");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.gunicorn.port));
        let response = get_once(address, &format!("/{way}?n={n}&secret={SECRET}"), &key)?;
        ensure!(
            response.status == 204,
            "{way}: {}",
            self.gunicorn.log_tail()
        );
        let took = Took::of_response(&response.head)?;
        Ok((self.watch.request(&key)?, took))
    }

    /// What the far end has counted.
    pub(crate) fn counts(&self) -> Result<BTreeMap<String, u64>> {
        let body = get_once(self.http, "/counts", "counts")?.body;
        Ok(serde_json::from_slice(&body)?)
    }

    /// As [`Far::ask`], with what the far end has counted meanwhile.
    pub(crate) fn counted(
        &self,
        way: &str,
        n: u64,
    ) -> Result<(Finished, Took, BTreeMap<String, u64>)> {
        let before = self.counts()?;
        let (finished, took) = self.ask(way, n)?;
        let mut counts = self.counts()?;
        for (name, count) in &mut counts {
            *count -= before.get(name).unwrap_or(&0);
        }
        counts.retain(|_, count| *count > 0);
        Ok((finished, took, counts))
    }
}

/// Errors by shape.
pub(crate) fn errors(finished: &Finished) -> BTreeMap<String, (u64, String)> {
    finished
        .operations
        .iter()
        .filter(|operation| operation.errors > 0)
        .map(|operation| {
            let errors = (operation.errors, operation.last_error.clone());
            (operation.shape.clone(), errors)
        })
        .collect()
}

/// A key and a certificate of its own, in one file.
fn certificate(folder: &Path) -> Result<std::path::PathBuf> {
    let file = folder.join("certificate.pem");
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=far", "-keyout"])
        .arg(&file)
        .arg("-out")
        .arg(folder.join("certificate"))
        .output()
        .context("run openssl")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    let mut both = fs::read(&file)?;
    both.extend(fs::read(folder.join("certificate"))?);
    fs::write(&file, both)?;
    Ok(file)
}
