//! `whyslow replay`: runs a recording through the engine, prints what comes out, or serves it.

use std::{io, path::PathBuf};

use clap::Args;

use super::{Context, output_args::OutputArgs, runtime, signals::Stop, usage};
use crate::{
    pipeline::{Pipeline, Timing},
    sink::{
        filter::Filter,
        grpc::{self, Endpoints},
        printer::{PrintEnd, PrinterSink},
    },
    source::recording::{Reader, ReplaySource},
};

/// Replay a recording; needs no root
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    whyslow replay slow.whyslow --min-duration 1s\n  \
    whyslow replay slow.whyslow --json\n  \
    whyslow replay slow.whyslow --serve --socket /tmp/replay.sock\n  \
    whyslow top --socket /tmp/replay.sock      in another terminal")]
pub(super) struct ReplayArgs {
    /// Recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Serve it like an agent, on --socket, until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// With --serve: recorded seconds per second
    #[arg(long, value_name = "FACTOR", default_value = "1", requires = "serve",
        value_parser = speed)]
    speed: f64,
    #[command(flatten)]
    output: OutputArgs,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if speed > 0.0 && speed <= 1e6 => Ok(speed),
        _ => Err(format!("{text:?} is no speed: write 1, 0.5 or 10")),
    }
}

pub(super) fn run(context: &Context, args: ReplayArgs) -> anyhow::Result<()> {
    let reader = Reader::open(&args.file)?;
    if args.serve {
        return serve(context, ReplaySource::new(reader, Some(args.speed)), &args);
    }
    let settings = reader.header().settings.clone();
    let filter = Filter::try_from(&args.output.subscription()).map_err(|error| {
        usage(format!(
            "{error}\nhint: whyslow replay --help shows the values"
        ))
    })?;
    let printer = args.output.printer(io::stdout())?;
    let source = ReplaySource::new(reader, None);
    let ended = Pipeline::new(Box::new(source), settings, Timing::default())
        .with_sink(Box::new(PrinterSink::new(filter, printer)))
        .run_to_end();
    match ended {
        Err(error) if error.is::<PrintEnd>() => Ok(()),
        ended => ended.map(|_| ()),
    }
}

fn serve(context: &Context, source: ReplaySource, args: &ReplayArgs) -> anyhow::Result<()> {
    let settings = source.settings().clone();
    runtime()?.block_on(async {
        let mut stop = Stop::new()?;
        let bound = grpc::bind(Endpoints {
            socket: context.socket(),
            group: None,
            tcp: None,
        })
        .await?;
        let mut running = Pipeline::new(Box::new(source), settings, Timing::default()).start()?;
        let serving = bound.serve(running.handle.clone())?;
        eprintln!(
            "whyslow: replaying {} on {}",
            args.file.display(),
            context.socket().display()
        );
        let ended = tokio::select! {
            () = stop.wait() => None,
            ended = &mut running.ended => Some(ended),
        };
        let finished = running.finish();
        serving.stop().await;
        match ended {
            Some(Ok(Err(error))) => Err(error),
            _ => finished.map(|_| ()),
        }
    })
}
