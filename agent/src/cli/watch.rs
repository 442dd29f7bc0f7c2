//! `whyslow watch`: prints an agent's events until enough, Ctrl-C, or a closed pipe.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use clap::Args;
use tokio::io::{Interest, unix::AsyncFd};
use whyslow_proto::v1;

use super::{
    Context,
    connect::{self, Client, Target},
    output_args::OutputArgs,
    runtime,
    signals::Stop,
    usage,
};
use crate::sink::{
    filter::Filter,
    printer::{PrintEnd, Printer},
};

/// Pause between two attempts to reach a lost agent.
const RETRY: Duration = Duration::from_secs(1);

/// Told when the agent ends before the command.
const IF_LOST: &str = "whyslow watch --reconnect waits for it to come back";

/// Print requests as they finish
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    whyslow watch --min-duration 500ms\n  \
    whyslow watch --status 5xx,none --route '/api/*'\n  \
    whyslow watch --fields startTime,route,wallNs,ledger.account\n  \
    whyslow watch --json | jq 'select(.requestFinished.status == 500)'\n  \
    whyslow watch --json | jq '.requestFinished.operations[]? | select(.repeated and .roundTrips == .count) | .shape'\n\n\
    It begins with what is in flight (not with --status, which only the end tells). Columns: time of the begin, wall time, status (--- for none), \
    method and route, the accounts with most time, process/thread and its name. Below: the processes that it started (\"waited for\": how much of its waits for children they \
    lived through; \"first output after\": since exec), five of them; and when the agent reads operations: what the request asked \
    of servers, most time first: protocol, how often (\"repeated\": a shape that one request asks for again and again, one by one; \"in N round trips\": \
    pipelined; \"or more\": not all was seen), time (\"together with others\": they were answered at once, and the first has the time \
    of all), failures, and the statement or command without its literals. Five shapes; --json has all.")]
pub(super) struct WatchArgs {
    #[command(flatten)]
    output: OutputArgs,
    /// Wait for the agent when it is not there or goes away
    #[arg(long)]
    reconnect: bool,
}

pub(super) fn run(context: &Context, args: WatchArgs) -> anyhow::Result<()> {
    let request = args.output.subscription();
    // What is wrong with the filter is said even when no agent is there to say it.
    Filter::try_from(&request).map_err(|error| {
        usage(format!(
            "{error}\nhint: whyslow watch --help shows the values"
        ))
    })?;
    let mut printer = args.output.printer(io::stdout())?;
    let target = Target::of(context)?;
    let token = connect::token(context, &target)?;
    runtime()?.block_on(async {
        let mut stop = Stop::new()?;
        let mut hint = io::stderr().is_terminal();
        tokio::select! {
            () = stop.wait() => Ok(()),
            () = output_closed() => Ok(()),
            ended = async {
                loop {
                    let attempt = async {
                        let target = target.find()?;
                        let mut client = connect::client(&target, token.as_ref()).await?;
                        if std::mem::take(&mut hint) {
                            hint_at_operations(&mut client).await;
                        }
                        follow(client, &target, &request, &mut printer).await
                    };
                    let ended = attempt.await;
                    match ended {
                        Err(error) if args.reconnect && !error.is::<PrintEnd>() => {
                            let text = format!("{error:#}");
                            let line = text.lines().next().unwrap_or_default();
                            eprintln!("whyslow: {line}; trying again");
                            tokio::time::sleep(RETRY).await;
                        }
                        ended => break ended,
                    }
                }
            } => match ended {
                Err(error) if error.is::<PrintEnd>() => Ok(()),
                ended => ended,
            },
        }
    })
}

/// Says that the agent does not read operations, if that is so.
async fn hint_at_operations(client: &mut Client) {
    let info = client.info(v1::InfoRequest {}).await;
    let status = info.ok().and_then(|info| info.into_inner().status);
    if status.is_some_and(|status| !status.operations) {
        eprintln!("whyslow: this agent does not read operations: start it with --operations");
    }
}

/// Prints one subscription until it ends, which is an error: the agent went away.
async fn follow<W: io::Write>(
    mut client: Client,
    target: &Target,
    request: &v1::SubscribeRequest,
    printer: &mut Printer<W>,
) -> anyhow::Result<()> {
    let mut events = client
        .subscribe(request.clone())
        .await
        .map_err(|status| connect::call_error(target, &status, false, IF_LOST))?
        .into_inner();
    loop {
        // Whatever is there is printed at once; when there is nothing more, it is flushed.
        let next = tokio::select! {
            biased;
            next = events.message() => next,
            () = std::future::ready(()) => {
                printer.flush()?;
                events.message().await
            }
        };
        match next.map_err(|status| connect::call_error(target, &status, true, IF_LOST))? {
            Some(event) => printer.print(&event)?,
            None => {
                printer.flush()?;
                anyhow::bail!("the agent at {target} has stopped\nhint: {IF_LOST}");
            }
        }
    }
}

/// Resolves when standard output is a pipe that nobody reads any more. Without it, that would be
/// noticed at the next line only, which may never come.
async fn output_closed() {
    let closed = async {
        // SAFETY: the descriptor of standard output is always 1, and nothing here closes it.
        let output =
            unsafe { AsyncFd::register_with_interest(io::stdout(), Interest::ERROR) }.ok()?;
        output.ready(Interest::ERROR).await.ok().map(|_| ())
    };
    // A file or a terminal cannot be polled, and is not closed by others.
    if closed.await.is_none() {
        std::future::pending().await
    }
}
