//! `whyslow top`: the live view; with an agent inside when none runs and we may start one.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::PathBuf, time::Duration};

use clap::Args;
use whyslow_top::{Connector, Options, Pane};

use super::{
    Context,
    connect::{self, Absent, Target},
    duration, host_args,
    host_args::HostArgs,
};
use crate::{
    pipeline::{Pipeline, Running, Timing},
    sink::grpc::{self, Endpoints, Serving},
};

/// Told when the agent ends before the view; the live view itself waits for it.
const IF_LOST: &str = "start the agent again; whyslow top without --once waits for it";

/// Show requests in flight, routes, workers, and what requests ask of servers, live
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo whyslow top                      without an agent (and without --socket): one is started within\n  \
    whyslow top --connect http://HOST:7878 --token-file FILE\n  \
    whyslow top --once                    one snapshot as text, as wide as the terminal (or COLUMNS; in a pipe uncut)\n  \
    whyslow top --once --pane shapes\n  \
    whyslow top --once --json | jq .\n\n\
    Keys: ? help, q quit, space pause, j/k move, PgUp/PgDn, g/G first/last, Enter detail, Esc back, \
    Tab or 1 2 3 4 5 7 lists (in flight, routes, workers, shapes, programs, listeners), 0 overview, z zoom, </> sort, I invert, / filter, \
    +/- interval, i agent.\n\n\
    Details of a route: its ledger, the shapes that it asks for, and the slowest and latest requests that finish \
    while they are open; of a shape: the routes that ask for it, and the same. +: at least so many.")]
pub(super) struct TopArgs {
    /// Print one snapshot and leave
    #[arg(long)]
    once: bool,
    /// JSON instead of a screen: one object with --once, else one per interval
    #[arg(long)]
    json: bool,
    /// Time between two updates
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,
    /// With --once: how long to watch before the snapshot
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration::parse)]
    settle: Duration,
    /// What to show first, with --once alone: overview (all), in-flight, routes, workers, shapes, programs or listeners
    #[arg(long, value_name = "PANE", default_value = "overview")]
    pane: Pane,
    /// Window of the figures by route, shape and program, at most 10m
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    window: Duration,
    #[command(flatten)]
    host: HostArgs,
}

impl TopArgs {
    /// The view takes over the terminal.
    pub(super) fn uses_screen(&self) -> bool {
        !self.once && !self.json
    }

    fn options(&self) -> Options {
        Options {
            once: self.once,
            json: self.json,
            interval: self.interval,
            settle: self.settle,
            pane: self.pane,
            window_s: u32::try_from(self.window.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

/// `of_agent`: the options on the command line that are those of an agent.
pub(super) fn run(context: &Context, args: TopArgs, of_agent: &[String]) -> anyhow::Result<()> {
    let target = Target::of(context)?;
    let token = connect::token(context, &target)?;
    // The view must not hold up an agent within.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            anyhow::anyhow!("cannot start: {error}\nhint: is a resource limit reached?")
        })?;
    runtime.block_on(async {
        let (target, embedded) = match target.find() {
            Ok(found) => (found, None),
            // An agent on a named socket is that agent and no other.
            Err(error) if !error.is::<Absent>() || context.global.socket.is_some() => {
                return Err(error);
            }
            Err(error) if !host_args::is_privileged() => {
                let text = format!("{error:#}");
                let (reason, _) = text.split_once("\nhint: ").unwrap_or((&text, ""));
                anyhow::bail!(
                    "{reason}\nhint: sudo whyslow top (starts one within), or sudo whyslow agent"
                );
            }
            Err(_) => {
                eprintln!(
                    "whyslow: no agent answers on {target}: starting one within, for this view"
                );
                let embedded = Embedded::start(context, &args.host).await?;
                (Target::Socket(vec![embedded.socket()]), Some(embedded))
            }
        };
        if embedded.is_none() && !of_agent.is_empty() {
            eprintln!(
                "whyslow: not used: {}: an agent runs already, and has its own",
                of_agent.join(", ")
            );
        }
        let label = if embedded.is_some() {
            "agent within".to_owned()
        } else {
            target.to_string()
        };
        let secret = token.map(|token| token.secret().to_owned());
        let asked = target.clone();
        let connector = Connector::new(label, move || {
            let target = target.clone();
            async move { target.channel().await }
        })
        .with_words(move |status, answered| connect::call_error(&asked, status, answered, IF_LOST))
        .with_token(secret);
        let shown = whyslow_top::run(connector, args.options()).await;
        let ended = match embedded {
            Some(embedded) => embedded.stop().await,
            None => Ok(()),
        };
        shown.and(ended)
    })
}

/// An agent within this process, on a socket that only this user can reach.
struct Embedded {
    folder: PrivateFolder,
    running: Running,
    serving: Serving,
}

impl Embedded {
    async fn start(context: &Context, host: &HostArgs) -> anyhow::Result<Self> {
        let options = host.kernel_options(context)?;
        let settings = host.settings(context);
        let folder = PrivateFolder::new()?;
        let bound = grpc::bind(Endpoints {
            socket: folder.socket(),
            group: None,
            tcp: None,
        })
        .await?;
        let source = host_args::start_kernel(options)?;
        let running = Pipeline::new(Box::new(source), settings, Timing::default()).start()?;
        let serving = bound.serve(running.handle.clone())?;
        Ok(Self {
            folder,
            running,
            serving,
        })
    }

    fn socket(&self) -> PathBuf {
        self.folder.socket()
    }

    async fn stop(self) -> anyhow::Result<()> {
        let finished = self.running.finish();
        self.serving.stop().await;
        drop(self.folder);
        finished.map(|_| ())
    }
}

/// A folder for one process. Dropping it removes it.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("whyslow-top-{}", std::process::id()));
        // What an earlier process of this number left behind; never more than an empty folder.
        let _ = fs::remove_file(path.join("agent.sock"));
        let _ = fs::remove_dir(&path);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| {
                anyhow::anyhow!("cannot make {}: {error}\nhint: set TMPDIR", path.display())
            })?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
