//! `whyslow agent`: loads the programs and serves until it is told to stop.

use std::net::SocketAddr;

use clap::Args;
use tracing::info;

use super::{Context, host_args, host_args::HostArgs, runtime, signals::Stop, usage, value};
use crate::{
    host,
    pipeline::{Pipeline, Timing},
    sink::grpc::{self, Endpoints, token::Token},
};

/// Run the agent: watch this host and serve what is seen
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo whyslow agent\n  \
    sudo whyslow agent --port 8000 --exclude-comm nginx\n  \
    sudo whyslow agent --socket-group adm          members of adm may run whyslow top\n  \
    sudo whyslow agent --listen 127.0.0.1:7878 --token-file /etc/whyslow.token\n\n\
    Without a choice, every process that serves HTTP is found and watched. The agent leaves nothing \
    behind: its programs leave the kernel with it, however it ends.")]
pub(super) struct AgentArgs {
    /// Serve on this TCP address as well; needs --token-file
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = value::address)]
    listen: Option<SocketAddr>,
    /// Give the socket to this group, by name or number: its members may connect (mode 0660)
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

pub(super) fn run(context: &Context, args: AgentArgs) -> anyhow::Result<()> {
    host_args::require_privileges("agent")?;
    let options = args.host.kernel_options(context)?;
    let settings = args.host.settings(context);
    let endpoints = Endpoints {
        socket: context.socket(),
        group: group(context, args.socket_group)?,
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

/// The id of the group that may connect.
fn group(context: &Context, named: Option<String>) -> anyhow::Result<Option<u32>> {
    let Some(name) = named.or_else(|| context.config.socket_group.clone()) else {
        return Ok(None);
    };
    match name.parse().ok().or_else(|| host::group_id(&name)) {
        Some(id) => Ok(Some(id)),
        None => Err(usage(format!(
            "this host has no group {name:?}\nhint: --socket-group takes a name or a number; getent group lists them"
        ))),
    }
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
