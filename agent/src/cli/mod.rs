//! The command line: one file per subcommand. It reads arguments, starts the parts, and turns errors
//! into one line, a hint and an exit code: 0 done, 1 failed, 2 wrong usage.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::sink::grpc::socket;

mod agent;
mod connect;
mod doctor;
mod duration;
mod host_args;
mod output_args;
mod record;
mod replay;
mod signals;
mod top;
mod value;
mod watch;
mod watched;

/// whyslow tells why a request is slow, while it is still slow.
#[derive(Debug, Parser)]
#[command(
    name = "whyslow",
    version,
    about = "Tells why this request is slow, while it is still slow",
    long_about = "whyslow watches the processes of this host that serve HTTP, from the kernel, and says \
        for each request where its time went: CPU, run queue, locks, disk, network, children.\n\
        Nothing in the observed applications is changed.",
    after_help = "Examples:\n  \
        sudo whyslow top                 live view; starts an agent within itself when none runs\n  \
        sudo whyslow agent               the agent, for many viewers\n  \
        whyslow watch --min-duration 1s  one line per request of a second or more\n  \
        whyslow doctor                   what this kernel and these privileges allow"
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Taken by every subcommand.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
struct GlobalArgs {
    /// Unix socket of the agent [default: /run/whyslow/agent.sock as root, else
    /// $XDG_RUNTIME_DIR/whyslow/agent.sock (/tmp/whyslow-UID/agent.sock without that variable);
    /// when no agent answers there, clients ask the one on /run/whyslow/agent.sock]
    #[arg(long, global = true, value_name = "PATH", env = "WHYSLOW_SOCKET")]
    socket: Option<PathBuf>,
    /// Agent to ask over TCP instead of a socket
    #[arg(long, global = true, value_name = "http://HOST:PORT")]
    connect: Option<String>,
    /// File with the token for TCP; readable by its owner (and group) only
    #[arg(long, global = true, value_name = "FILE", env = "WHYSLOW_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Configuration file [default: /etc/whyslow.toml when it is there]
    #[arg(long, global = true, value_name = "FILE", env = "WHYSLOW_CONFIG")]
    config: Option<PathBuf>,
    /// Log filter for standard error: error, warn, info, debug, trace, or as in RUST_LOG
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Agent(agent::AgentArgs),
    Top(top::TopArgs),
    Watch(watch::WatchArgs),
    Record(record::RecordArgs),
    Replay(replay::ReplayArgs),
    Doctor(doctor::DoctorArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = Cli::command()
        .try_get_matches()
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // A closed pipe is no failure of `--help`.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", report(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// The command line asks for something that makes no sense: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// A [`Usage`] error; `text` may end in a hint.
fn usage(text: impl std::fmt::Display) -> anyhow::Error {
    Usage(text.to_string()).into()
}

fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let config = crate::config::Config::load(cli.global.config.as_deref())?;
    let log = cli.global.log.clone().or_else(|| config.log.clone());
    start_log(log.as_deref(), &cli.command)?;
    let context = Context {
        global: cli.global,
        config,
    };
    match cli.command {
        Command::Agent(args) => agent::run(&context, args),
        Command::Top(args) => {
            let of_agent = matches
                .subcommand()
                .map(|(_, matches)| host_args::given(matches));
            top::run(&context, args, &of_agent.unwrap_or_default())
        }
        Command::Watch(args) => watch::run(&context, args),
        Command::Record(args) => record::run(&context, args),
        Command::Replay(args) => replay::run(&context, args),
        Command::Doctor(args) => doctor::run(&context, args),
    }
}

/// What every subcommand gets.
#[derive(Debug)]
struct Context {
    global: GlobalArgs,
    config: crate::config::Config,
}

impl Context {
    /// Where to serve: flag or environment, file, default.
    fn socket(&self) -> PathBuf {
        self.chosen_socket().unwrap_or_else(socket::default_path)
    }

    /// Where to look for an agent, in this order.
    fn sockets(&self) -> Vec<PathBuf> {
        match self.chosen_socket() {
            Some(path) => vec![path],
            None => socket::default_paths(),
        }
    }

    fn chosen_socket(&self) -> Option<PathBuf> {
        self.global
            .socket
            .clone()
            .or_else(|| self.config.socket.clone())
    }

    /// The file with the token: flag or environment, file.
    fn token_file(&self) -> Option<PathBuf> {
        self.global
            .token_file
            .clone()
            .or_else(|| self.config.token_file.clone())
    }
}

/// The error in one line, and what to do about it in another.
fn report(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let (message, hint) = match text.split_once("\nhint: ") {
        Some((message, hint)) => (message, hint),
        None => (
            text.as_str(),
            "`whyslow doctor` shows what this host allows",
        ),
    };
    let one_line = |text: &str| {
        text.split('\n')
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!("whyslow: {}\nhint: {}", one_line(message), one_line(hint))
}

/// The agent's own log goes to standard error. The live view owns the terminal, so nothing is logged
/// there unless standard error goes elsewhere.
fn start_log(filter: Option<&str>, command: &Command) -> anyhow::Result<()> {
    let screen = matches!(command, Command::Top(args) if args.uses_screen())
        && std::io::stderr().is_terminal();
    let default = match command {
        _ if screen => "off",
        Command::Agent(_) => "info",
        _ => "warn",
    };
    let environment = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let chosen = match filter {
        _ if screen => default,
        Some(filter) => filter,
        None => environment.as_deref().unwrap_or(default),
    };
    let filter = EnvFilter::try_new(chosen).map_err(|error| {
        anyhow::anyhow!(
            "{chosen:?} is no log filter: {error}\nhint: --log info, --log whyslow=debug"
        )
    })?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    Ok(())
}

/// A runtime for a subcommand: one thread is enough beside the engine's.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            anyhow::anyhow!("cannot start: {error}\nhint: is a resource limit reached?")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_error_ends_with_one_hint() {
        let plain = anyhow::anyhow!("inner").context("outer");
        assert_eq!(
            report(&plain),
            "whyslow: outer: inner\nhint: `whyslow doctor` shows what this host allows"
        );
        let hinted = anyhow::anyhow!("a\nb\nhint: do this").context("outer");
        assert_eq!(report(&hinted), "whyslow: outer: a b\nhint: do this");
    }

    #[test]
    fn every_subcommand_teaches_by_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|text| text.contains(&format!("whyslow {name}"))),
                "{name} has no example"
            );
            assert!(command.get_about().is_some(), "{name} has no description");
        }
    }

    #[test]
    fn the_options_of_the_agent_are_told_apart() {
        let line = "whyslow top --once --port 8000,8001 --socket /a --max-threads 9 --show-query";
        let matches = Cli::command().get_matches_from(line.split(' '));
        let (_, top) = matches.subcommand().unwrap();
        assert_eq!(
            host_args::given(top),
            ["--port", "--show-query", "--max-threads"]
        );
    }

    #[test]
    fn global_options_go_before_and_after() {
        for order in [
            ["whyslow", "--socket", "/a", "watch"],
            ["whyslow", "watch", "--socket", "/a"],
        ] {
            let cli = Cli::try_parse_from(order).unwrap();
            assert_eq!(
                cli.global.socket.as_deref(),
                Some(std::path::Path::new("/a"))
            );
        }
    }
}
