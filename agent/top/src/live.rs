//! The terminal: takes it, reads keys, draws, gives it back.
//!
//! What must stay true: however the view ends (key, signal, error, panic), the terminal is as it was
//! before; one task owns the state; the screen is drawn only when something changed or a shown age
//! did.

use std::{
    io::{IsTerminal as _, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, interval},
};

use crate::{
    Connector, Options,
    client::{self, Update},
    finished::{self, Wanted},
    input::{action, perform},
    model::Model,
    palette::Theme,
    signals::Signals,
    view,
};

/// How long the key reader may take to notice that the view has ended.
const KEY_WAIT: Duration = Duration::from_millis(50);
/// How long the reader of keys is waited for at the end.
const READER_LIMIT: Duration = Duration::from_millis(500);
/// How often "reconnecting (N s)" is looked at.
const TICK: Duration = Duration::from_millis(500);

/// A thread of this process panicked: the terminal was given back, so the view must not draw on.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back when dropped.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> anyhow::Result<Self> {
        // Installs a panic hook that gives the terminal back, too.
        let screen = Self(ratatui::try_init().context("take the terminal")?);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, Ordering::Relaxed);
            before(panic);
        }));
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Reads keys on a thread of its own, since reading blocks.
struct Keys {
    events: mpsc::Receiver<std::io::Result<Event>>,
    stop: Arc<AtomicBool>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Keys {
    fn start() -> anyhow::Result<Self> {
        let (sender, events) = mpsc::channel(64);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || read_keys(&sender, &stopped))
            .context("start the key reader")?;
        Ok(Self {
            events,
            stop,
            reader: Some(reader),
        })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A reader in blocking_send must see a closed channel before it is waited for.
        self.events.close();
        while self.events.try_recv().is_ok() {}
        let Some(reader) = self.reader.take() else {
            return;
        };
        let until = Instant::now() + READER_LIMIT;
        while !reader.is_finished() && Instant::now() < until {
            thread::sleep(KEY_WAIT / 10);
        }
        // Where the terminal has gone away, reading it never ends: the process does.
        if reader.is_finished() {
            // It only ends with an error by a panic, which its hook has told already.
            let _ = reader.join();
        }
    }
}

fn read_keys(sender: &mpsc::Sender<std::io::Result<Event>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let event = match event::poll(KEY_WAIT) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let failed = event.is_err();
        if sender.blocking_send(event).is_err() || failed {
            return;
        }
    }
}

/// The tasks that ask the agent, and what they are told. They end when it is dropped.
struct Asking {
    intervals: watch::Sender<Duration>,
    wanted: watch::Sender<Option<Wanted>>,
    updates: mpsc::Receiver<Update>,
    tasks: [JoinHandle<()>; 2],
}

impl Asking {
    fn start(connector: Connector, options: &Options) -> Self {
        let connector = Arc::new(connector);
        let (intervals, interval) = watch::channel(options.interval);
        let (wanted, wanted_now) = watch::channel(None);
        let (sender, updates) = mpsc::channel(2);
        let all = client::follow(
            Arc::clone(&connector),
            options.window_s,
            interval,
            sender.clone(),
        );
        let of_row = finished::follow(connector, wanted_now, sender);
        Self {
            intervals,
            wanted,
            updates,
            tasks: [tokio::spawn(all), tokio::spawn(of_row)],
        }
    }

    /// Tells what the user chose, where that is news.
    fn tell(&self, model: &Model) {
        self.intervals.send_if_modified(|interval| {
            let changed = *interval != model.ui.interval;
            *interval = model.ui.interval;
            changed
        });
        let now = model.wanted();
        self.wanted.send_if_modified(|wanted| {
            // The routes of a shape that is looked at come and go: it stays the same.
            let key = |wanted: &Option<Wanted>| wanted.as_ref().map(|one| one.key.clone());
            let changed = key(wanted) != key(&now);
            if changed {
                *wanted = now;
            }
            changed
        });
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Shows the live view until the user leaves.
pub(crate) async fn run(connector: Connector, options: &Options) -> anyhow::Result<()> {
    if !stdout().is_terminal() {
        anyhow::bail!("standard output is not a terminal\nhint: use --once or --json");
    }
    let mut signals = Signals::new()?;
    let begin = Instant::now();
    let mut model = Model::new(connector.label(), options, Duration::ZERO);
    let mut asking = Asking::start(connector, options);

    let mut screen = Screen::take()?;
    let mut keys = Keys::start()?;
    let theme = Theme::from_environment();
    let mut tick = interval(TICK);
    while !model.ui.quit {
        if PANICKED.load(Ordering::Relaxed) {
            anyhow::bail!(
                "the view has ended: a part of this process failed\nhint: report the message above"
            );
        }
        draw(&mut screen, &mut model, theme, begin.elapsed())?;
        tokio::select! {
            update = asking.updates.recv() => match update {
                Some(update) => model.apply(update, begin.elapsed()),
                None => break,
            },
            event = keys.events.recv() => match event {
                Some(event) => handle(&mut model, &event.context("read the keyboard")?),
                None => break,
            },
            _ = tick.tick() => {}
            () = signals.ended() => break,
        }
        asking.tell(&model);
    }
    Ok(())
}

fn handle(model: &mut Model, event: &Event) {
    if let Event::Key(key) = event
        && let Some(action) = action(*key, model.ui.typing)
    {
        perform(model, action);
    }
}

fn draw(screen: &mut Screen, model: &mut Model, theme: Theme, now: Duration) -> anyhow::Result<()> {
    let mut feedback = view::Feedback::default();
    screen
        .0
        .draw(|frame| feedback = view::draw(model, theme, now, frame.buffer_mut()))
        .context("draw on the terminal")?;
    model.learn(feedback.page, feedback.longest_scroll);
    Ok(())
}
