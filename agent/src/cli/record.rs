//! `whyslow record`: keeps all inputs of an engine in a file.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    Context, duration, host_args, host_args::HostArgs, output_args::OutputArgs, runtime,
    signals::Stop,
};
use crate::{
    host,
    pipeline::{Pipeline, Timing},
    sink::{
        filter::Filter,
        printer::{PrintEnd, PrinterSink},
    },
    source::{
        Source as _,
        recording::{Header, Recorder},
    },
};

/// Record what the kernel says, to replay it elsewhere
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo whyslow record slow.whyslow --duration 30s\n  \
    sudo whyslow record slow.whyslow --port 8000      until Ctrl-C\n  \
    sudo whyslow record slow.whyslow --json           and see the events\n  \
    whyslow replay slow.whyslow\n\n\
    Query values, cookies, authorization headers and bodies are blanked, unless --raw is given. Paths stay.")]
pub(super) struct RecordArgs {
    /// File to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// End after this time [default: at Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    duration: Option<Duration>,
    /// Keep everything, secrets included; the file gets mode 0600
    #[arg(long)]
    raw: bool,
    /// Print the events meanwhile, as `whyslow watch --json` does
    #[arg(long)]
    json: bool,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    host: HostArgs,
}

pub(super) fn run(context: &Context, args: RecordArgs) -> anyhow::Result<()> {
    host_args::require_privileges("record FILE")?;
    anyhow::ensure!(
        !args.raw || host::is_root(),
        "--raw keeps secrets of other users' processes: it needs root\nhint: sudo whyslow record --raw FILE"
    );
    if !args.force && args.file.symlink_metadata().is_ok() {
        anyhow::bail!(
            "{} exists\nhint: --force overwrites it",
            args.file.display()
        );
    }
    let options = args.host.kernel_options(context)?;
    let settings = args.host.settings(context);
    let without_operations = !options.operations;
    runtime()?.block_on(async {
        let mut stop = Stop::new()?;
        let source = host_args::start_kernel(options)?;
        let header = Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: host::kernel_release(),
            raw: args.raw,
            settings: settings.clone(),
            features: source.features(),
        };
        let recorder = Recorder::create(&args.file, &header, args.force)?;
        let mut pipeline =
            Pipeline::new(Box::new(source), settings, Timing::default()).with_recorder(recorder);
        if args.json {
            let output = OutputArgs::json_lines();
            let filter = Filter::try_from(&output.subscription())?;
            let printer = output.printer(io::stdout())?;
            pipeline = pipeline.with_sink(Box::new(PrinterSink::new(filter, printer)));
        }
        let mut running = pipeline.start()?;
        eprintln!("whyslow: recording to {}", args.file.display());
        if without_operations && io::stderr().is_terminal() {
            eprintln!("whyslow: operations are left out: record them with --operations");
        }
        let ended = tokio::select! {
            () = stop.wait() => None,
            () = limit(args.duration) => None,
            ended = &mut running.ended => Some(ended),
        };
        let finished = running.finish();
        let stats = match ended {
            // Whoever read the events has gone: as good as Ctrl-C, the file is whole.
            Some(Ok(Err(error))) if error.is::<PrintEnd>() => return Ok(()),
            Some(Ok(ended)) => ended?,
            _ => finished?,
        };
        eprintln!(
            "whyslow: {} requests finished, {} bytes in {}",
            stats.requests_finished,
            size(&args.file),
            args.file.display()
        );
        Ok(())
    })
}

async fn limit(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}
