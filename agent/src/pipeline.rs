//! The one file that knows all stages: source, recorder, engine, sinks.
//!
//! One OS thread owns all of it. It polls the source on a timer, runs inputs through the engine,
//! answers the engine's queries, obeys its commands, ticks, and gives events to the sinks. Everybody
//! else asks it through a bounded channel ([`Handle`]) and gets an owned answer.
//!
//! What must stay true: nothing outside can make it wait (a full channel refuses the asker, a slow
//! subscriber loses events), and every input goes to the recorder before it goes to the engine.

mod handle;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use handle::Control;
pub use handle::{AskError, At, Handle, Info};
use tokio::sync::oneshot;
use tracing::warn;
use whyslow_engine::{
    Engine, Stats,
    input::{Input, Settings},
    output::{Output, Query},
};
use whyslow_proto::v1::{self, event::Event as Kind};

use crate::{
    host::Anchor,
    sink::{Pending, Sink, filter::Filter, hub, hub::Hub, wire},
    source::{Depth, Feature, Source, recording::Recorder},
};

/// Inputs taken from the source at once.
const BATCH: usize = 512;
/// Batches between two looks at the clock and the control channel.
const BATCHES_PER_TURN: usize = 8;
/// Inputs that answers to one batch may lead to, over all rounds: a query may lead to another.
const ANSWERS_PER_BATCH: usize = 16 * BATCH;
/// Open requests whose connections are looked up for one answer at the most.
const LOOKED_UP_AT_ONCE: usize = 1024;
/// Control requests waiting at the most.
const CONTROL_QUEUE: usize = 64;
/// Threads sampled for one answer at the most.
const SAMPLES: usize = 4096;
/// Processes whose memory is looked at for one answer.
const MEMORY_LOOKS: usize = 8;

/// How the pipeline runs. The defaults are the ones to use outside tests.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Pause between two looks at the source while inputs come.
    pub poll: Duration,
    /// The same while none come.
    pub idle_poll: Duration,
    /// Between two ticks of the engine, ns.
    pub tick_ns: u64,
    /// Between two samples of all workers, ns.
    pub sample_ns: u64,
    /// Events kept for a subscriber.
    pub subscriber_buffer: usize,
    /// Subscribers at the most.
    pub subscribers: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(20),
            idle_poll: Duration::from_millis(50),
            tick_ns: 200_000_000,
            sample_ns: 1_000_000_000,
            subscriber_buffer: 8192,
            subscribers: 64,
        }
    }
}

/// A pipeline on its own thread.
#[derive(Debug)]
pub struct Running {
    /// Asks it.
    pub handle: Handle,
    /// Resolves when it has ended: by itself (error, end of a recording) or by [`Handle::stop`].
    pub ended: oneshot::Receiver<anyhow::Result<Stats>>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    /// Stops it and waits until the source is let go of (programs detached).
    ///
    /// # Errors
    /// What ended the pipeline, if that was an error.
    pub fn finish(mut self) -> anyhow::Result<Stats> {
        self.handle.stop();
        let ended = self.ended.try_recv().ok();
        if self.thread.join().is_err() {
            anyhow::bail!("the engine's thread broke off\nhint: please report this");
        }
        ended
            .or_else(|| self.ended.try_recv().ok())
            .unwrap_or_else(|| Ok(Stats::default()))
    }
}

/// Source, engine and sinks, owned by whoever runs it.
pub struct Pipeline {
    source: Box<dyn Source>,
    engine: Engine,
    recorder: Option<Recorder>,
    hub: Hub,
    sinks: Vec<Box<dyn Sink>>,
    timing: Timing,
    anchor: Anchor,
    kernel: String,
    features: Vec<Feature>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    answers: VecDeque<Input>,
    next_tick_ns: u64,
    next_sample_ns: u64,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Ties a source to a fresh engine.
    #[must_use]
    pub fn new(source: Box<dyn Source>, settings: Settings, timing: Timing) -> Self {
        let anchor = Anchor::of(&settings);
        let features = source.features();
        Self {
            engine: Engine::new(settings),
            recorder: None,
            hub: Hub::new(anchor, timing.subscriber_buffer, timing.subscribers),
            sinks: Vec::new(),
            timing,
            anchor,
            kernel: source.kernel(),
            features,
            inputs: Vec::with_capacity(BATCH),
            outputs: Vec::new(),
            answers: VecDeque::new(),
            next_tick_ns: 0,
            next_sample_ns: 0,
            stop: Arc::new(AtomicBool::new(false)),
            source,
        }
    }

    /// Keeps all inputs in a recording.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Gives all events to `sink`, on the engine's thread.
    #[must_use]
    pub fn with_sink(mut self, sink: Box<dyn Sink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Runs it on a thread of its own.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(self) -> anyhow::Result<Running> {
        let (control, requests) = sync_channel(CONTROL_QUEUE);
        let (sender, ended) = oneshot::channel();
        let handle = Handle {
            control,
            stop: self.stop.clone(),
            anchor: self.anchor,
        };
        let thread = thread::Builder::new()
            .name("whyslow-engine".to_owned())
            .spawn(move || {
                let _ = sender.send(self.run(&requests));
            })
            .context("cannot start the engine's thread")?;
        Ok(Running {
            handle,
            ended,
            thread,
        })
    }

    /// Runs a source that has an end (a recording) to it, as fast as it delivers.
    ///
    /// # Errors
    /// The source, the recorder or a sink failed. Events up to there were delivered.
    pub fn run_to_end(mut self) -> anyhow::Result<Stats> {
        let result = self.turns_to_end();
        self.close(result)
    }

    fn turns_to_end(&mut self) -> anyhow::Result<()> {
        while !self.source.has_ended() {
            self.turn()?;
        }
        Ok(())
    }

    fn run(mut self, requests: &Receiver<Control>) -> anyhow::Result<Stats> {
        let result = self.turns(requests);
        self.close(result)
    }

    fn turns(&mut self, requests: &Receiver<Control>) -> anyhow::Result<()> {
        let mut pause = self.timing.poll;
        while !self.stop.load(Ordering::Acquire) {
            let (taken, more) = self.turn()?;
            pause = if more {
                Duration::ZERO
            } else if taken {
                self.timing.poll
            } else {
                (pause + self.timing.poll / 2).min(self.timing.idle_poll)
            };
            match requests.recv_timeout(pause) {
                Ok(request) => self.serve(request)?,
                Err(RecvTimeoutError::Timeout) => continue,
                // Nobody is left who could stop it.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(request) = requests.try_recv() {
                self.serve(request)?;
            }
        }
        // What arrived before the stop counts.
        self.turn().map(|_| ())
    }

    /// Ends: what is open in the engine is given up, sinks and the recording are completed.
    fn close(mut self, result: anyhow::Result<()>) -> anyhow::Result<Stats> {
        // A replay is at its end, so what is open stays open for ever; a live agent's requests go on.
        let finished = if self.source.is_replay() {
            self.engine.finish(&mut self.outputs);
            self.emit().and_then(|()| self.flush())
        } else {
            Ok(())
        };
        let recorded = match self.recorder.take() {
            // Its own failure ended the pipeline: it has closed its file.
            Some(recorder) => recorder.finish(),
            None => Ok(()),
        };
        result.and(finished).and(recorded)?;
        Ok(self.engine.stats())
    }

    /// Takes what has arrived. Returns whether anything had, and whether more waits.
    fn turn(&mut self) -> anyhow::Result<(bool, bool)> {
        let mut taken = false;
        let mut more = true;
        for _ in 0..BATCHES_PER_TURN {
            let mut inputs = std::mem::take(&mut self.inputs);
            let drained = self.source.drain(&mut inputs, BATCH);
            taken |= !inputs.is_empty();
            let fed = inputs.drain(..).try_for_each(|input| self.feed(input));
            self.inputs = inputs;
            fed?;
            self.settle()?;
            more = drained?;
            if !more {
                break;
            }
        }
        if !self.source.is_replay() {
            self.tick()?;
        }
        self.flush()?;
        Ok((taken, more))
    }

    /// One input, to the recorder and the engine.
    fn feed(&mut self, input: Input) -> anyhow::Result<()> {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&input)?;
        }
        self.engine.step(input, &mut self.outputs);
        Ok(())
    }

    /// Acts on outputs until there are none: answers may lead to more of them.
    fn settle(&mut self) -> anyhow::Result<()> {
        let mut budget = ANSWERS_PER_BATCH;
        loop {
            self.emit()?;
            let Some(answer) = self.answers.pop_front() else {
                return Ok(());
            };
            if budget == 0 {
                // Unanswered queries do no harm.
                self.answers.clear();
                return Ok(());
            }
            budget -= 1;
            self.feed(answer)?;
        }
    }

    /// Gives outputs to whom they concern; answers to queries wait in `answers`.
    fn emit(&mut self) -> anyhow::Result<()> {
        let replay = self.source.is_replay();
        for output in self.outputs.drain(..) {
            match output {
                Output::Event(event) => {
                    let mut pending = Pending::new(&event, self.anchor);
                    self.hub.event(&mut pending)?;
                    for sink in &mut self.sinks {
                        sink.event(&mut pending)?;
                    }
                }
                // The answers are in the recording.
                Output::Query(_) | Output::Command(_) if replay => {}
                Output::Query(query) => self.answers.extend(self.source.answer(&query)),
                Output::Command(command) => {
                    if let Err(error) = self.source.obey(&command) {
                        warn!("{command:?}: {error:#}");
                    }
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let now_ns = self.source.monotonic_ns();
        self.hub.flush(now_ns)?;
        for sink in &mut self.sinks {
            sink.flush(now_ns)?;
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.flush_if_due(now_ns)?;
        }
        Ok(())
    }

    /// Time for the engine, with fresh loss counters, and from time to time all workers' slots.
    fn tick(&mut self) -> anyhow::Result<()> {
        let now_ns = self.source.monotonic_ns();
        if now_ns < self.next_tick_ns {
            return Ok(());
        }
        self.next_tick_ns = now_ns + self.timing.tick_ns;
        if let Some(losses) = self.source.losses() {
            self.feed(losses)?;
        }
        if now_ns >= self.next_sample_ns {
            self.next_sample_ns = now_ns + self.timing.sample_ns;
            let threads = self.engine.worker_threads();
            // A recording is looked at later.
            let depth = match self.recorder {
                Some(_) => Depth::Wait,
                None => Depth::State,
            };
            self.sample(&threads, depth)?;
        }
        self.feed(Input::Tick { now_ns })?;
        self.settle()
    }

    /// Reads the slots of threads, so that the engine's next answer is fresh.
    fn sample(&mut self, threads: &[u32], depth: Depth) -> anyhow::Result<()> {
        if self.source.is_replay() {
            return Ok(());
        }
        for tid in threads.iter().take(SAMPLES) {
            if let Some(input) = self.source.sample_thread(*tid, depth) {
                self.feed(input)?;
            }
        }
        self.settle()
    }

    fn serve(&mut self, request: Control) -> anyhow::Result<()> {
        // An asker that has gone away needs no answer, so a failed `send` is none.
        match request {
            Control::Subscribe {
                filter,
                in_flight_first,
                reply,
            } => {
                let first = self.first_events(&filter, in_flight_first);
                let _ = reply.send(self.hub.subscribe(filter, first));
            }
            Control::InFlight { min_age_ns, reply } => {
                self.look_up_open()?;
                let threads = self.engine.in_flight_threads();
                self.sample(&threads, Depth::Wait)?;
                let now_ns = self.source.monotonic_ns();
                let mut value = self.engine.in_flight(now_ns);
                value.retain(|request| request.age_ns >= min_age_ns);
                let _ = reply.send(At { now_ns, value });
            }
            Control::Routes { window_s, reply } => {
                let now_ns = self.source.monotonic_ns();
                let value = self.engine.routes(now_ns, window_s);
                let _ = reply.send(At { now_ns, value });
            }
            Control::Shapes { window_s, reply } => {
                let now_ns = self.source.monotonic_ns();
                let value = self.engine.shapes(now_ns, window_s);
                let _ = reply.send(At { now_ns, value });
            }
            Control::Listeners { window_s, reply } => {
                self.look_up_listeners()?;
                let now_ns = self.source.monotonic_ns();
                let value = self.engine.listeners(now_ns, window_s);
                let _ = reply.send(At { now_ns, value });
            }
            Control::Programs { window_s, reply } => {
                let now_ns = self.source.monotonic_ns();
                let value = self.engine.programs(now_ns, window_s);
                let _ = reply.send(At { now_ns, value });
            }
            Control::Workers { reply } => {
                self.look_up_open()?;
                let threads = self.engine.worker_threads();
                self.sample(&threads, Depth::Wait)?;
                self.look_at_memory()?;
                let now_ns = self.source.monotonic_ns();
                let value = self.engine.workers(now_ns);
                let _ = reply.send(At { now_ns, value });
            }
            Control::Info { reply } => {
                let _ = reply.send(self.info());
            }
        }
        Ok(())
    }

    /// Has the engine know which open requests are over by now.
    fn look_up_open(&mut self) -> anyhow::Result<()> {
        if self.source.is_replay() {
            return Ok(());
        }
        for id in self.engine.in_flight_connections(LOOKED_UP_AT_ONCE) {
            self.answers
                .extend(self.source.answer(&Query::Connection { id }));
        }
        self.turn().map(|_| ())
    }

    /// Looks at the memory of a few workers.
    fn look_at_memory(&mut self) -> anyhow::Result<()> {
        if self.source.is_replay() {
            return Ok(());
        }
        let now_ns = self.source.monotonic_ns();
        for pid in self.engine.memory_due(now_ns, MEMORY_LOOKS) {
            self.answers
                .extend(self.source.answer(&Query::Memory { pid }));
        }
        self.settle()
    }

    /// Has the engine know how long the queues of listeners are.
    fn look_up_listeners(&mut self) -> anyhow::Result<()> {
        if self.source.is_replay() {
            return Ok(());
        }
        for pid in self.engine.listening_processes() {
            self.answers
                .extend(self.source.answer(&Query::Listeners { pid }));
        }
        self.settle()
    }

    /// What a subscriber gets before anything else.
    fn first_events(&self, filter: &Filter, in_flight_first: bool) -> Vec<v1::Event> {
        let now_ns = self.source.monotonic_ns();
        let status = Kind::AgentStatus(self.status());
        let mut first = vec![wire::wrap(status, now_ns, self.anchor)];
        if in_flight_first {
            let requests = self.engine.in_flight(now_ns);
            first.extend(
                requests
                    .iter()
                    // Without a method its head is not complete: it will be told as an event.
                    .filter(|request| !request.started.method.is_empty())
                    .filter(|request| filter.admits_in_flight(&request.started, request.age_ns))
                    .map(|request| {
                        let started = wire::request_started(&request.started, self.anchor);
                        wire::wrap(
                            Kind::RequestStarted(started),
                            request.started.start_ns,
                            self.anchor,
                        )
                    }),
            );
        }
        first
    }

    fn status(&self) -> v1::AgentStatus {
        let stats = self.engine.stats();
        v1::AgentStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: self.kernel.clone(),
            started: Some(self.anchor.timestamp(self.anchor.monotonic_ns)),
            processes: stats.processes,
            threads: stats.threads,
            requests_finished: stats.requests_finished,
            requests_in_flight: stats.in_flight,
            replay: self.source.is_replay(),
            operations: stats.operations || self.source.reads_operations(),
        }
    }

    fn info(&self) -> Info {
        let mut losses = self.engine.losses();
        if self.hub.dropped() > 0 {
            losses.push((hub::SUBSCRIBER_SLOW, self.hub.dropped()));
        }
        Info {
            status: self.status(),
            features: self.features.clone(),
            losses,
            subscribers: u32::try_from(self.hub.len()).unwrap_or(u32::MAX),
        }
    }
}
