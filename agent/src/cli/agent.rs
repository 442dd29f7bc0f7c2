//! `whyslow agent`: loads the programs and serves until it is told to stop.

use std::net::SocketAddr;

use clap::Args;
use tracing::info;

use super::{Context, host_args, host_args::HostArgs, runtime, signals::Stop, usage};
use crate::{
    pipeline::{Pipeline, Timing},
    sink::grpc::{self, Endpoints, token::Token},
};

/// Run the agent: watch this host and serve what is seen
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo whyslow agent\n  \
    sudo whyslow agent --port 8000 --exclude-comm nginx\n  \
    sudo whyslow agent --listen 127.0.0.1:7878 --token-file /etc/whyslow.token\n\n\
    Without a choice, every process that serves HTTP is found and watched. The agent leaves nothing \
    behind: its programs leave the kernel with it, however it ends.")]
pub(super) struct AgentArgs {
    /// Serve on this TCP address as well; needs --token-file
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    host: HostArgs,
}

pub(super) fn run(context: &Context, args: AgentArgs) -> anyhow::Result<()> {
    host_args::require_privileges("agent")?;
    let options = args.host.kernel_options(context)?;
    let settings = args.host.settings(context);
    let endpoints = Endpoints {
        socket: context.socket(),
        tcp: tcp(context, args.listen)?,
    };
    runtime()?.block_on(async {
        let mut stop = Stop::new()?;
        let bound = grpc::bind(endpoints).await?;
        let source = host_args::start_kernel(options)?;
        let mut running = Pipeline::new(Box::new(source), settings, Timing::default()).start()?;
        let serving = bound.serve(running.handle.clone())?;
        info!("serving on {}", context.socket().display());
        if let Some(address) = serving.tcp() {
            info!("serving on {address}, with a token");
            if !address.ip().is_loopback() {
                tracing::warn!("connections to {address} are not encrypted");
            }
        }
        let ended = tokio::select! {
            () = stop.wait() => None,
            ended = &mut running.ended => Some(ended),
        };
        info!("stopping");
        let finished = running.finish();
        serving.stop().await;
        match ended {
            Some(Ok(Err(error))) => Err(error),
            _ => finished.map(|_| ()),
        }
    })
}

fn tcp(
    context: &Context,
    listen: Option<SocketAddr>,
) -> anyhow::Result<Option<(SocketAddr, Token)>> {
    let Some(address) = listen.or(context.config.listen) else {
        return Ok(None);
    };
    let Some(path) = context.token_file() else {
        return Err(usage(
            "--listen needs --token-file, on loopback too: every local user can connect there\n\
             hint: (umask 077; head -c 32 /dev/urandom | base64 > FILE), then --token-file FILE",
        ));
    };
    Ok(Some((address, Token::read(&path)?)))
}
