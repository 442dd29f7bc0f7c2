//! A program on a terminal of its own (`pty(7)`), with keys to press and a screen to read.

use std::{
    fs::File,
    io::{self, Read, Write},
    num::NonZero,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::{Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    servers::{Process, StopSignal},
    wait_for,
};

/// Rows of the terminal.
const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
/// Columns of the terminal.
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();
/// Longest time until a program that was asked to end has done so.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Settings of a terminal, as far as they can be compared: the four words of flags, the special
/// characters.
type Modes = ([libc::tcflag_t; 4], [libc::cc_t; libc::NCCS]);

/// A program on its terminal; ended when dropped.
pub struct Terminal {
    process: Process,
    /// The side of the user.
    keyboard: File,
    /// The same, of who reads the screen.
    output: RawFd,
    /// The side of the program; open, so that the terminal stays when the program is gone.
    device: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
    modes_before: Modes,
}

impl Terminal {
    /// Starts a command as leader of a session on a new terminal of 80x24.
    ///
    /// # Errors
    /// When there is no terminal to be had, or the command cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let (keyboard, device) = open()?;
        let modes_before = modes(&device)?;
        command
            .stdin(device.try_clone()?)
            .stdout(device.try_clone()?)
            .stderr(device.try_clone()?)
            .env("TERM", "xterm-256color")
            .env_remove("WHYSLOW_SOCKET");
        // SAFETY: between fork and exec the closure makes only system calls that are async-signal-safe
        // (setsid, ioctl on the standard input set above), and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let read = keyboard.try_clone()?;
        let output = read.as_raw_fd();
        std::thread::spawn({
            let screen = Arc::clone(&screen);
            move || show(read, &screen)
        });
        Ok(Self {
            process: Process::start_in_foreground(name, command, StopSignal::Terminate)?,
            keyboard,
            output,
            device,
            screen,
            modes_before,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Types these characters.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.process.signal(signal)
    }

    /// What the screen shows now.
    #[must_use]
    pub fn screen(&self) -> String {
        self.parser().screen().contents()
    }

    fn parser(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a screen that `wanted` accepts, and gives it.
    ///
    /// # Errors
    /// When `limit` is over or the program has ended; the screen is in the message.
    pub fn expect(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let found = wait_for(limit, what, || {
            let screen = self.screen();
            if wanted(&screen) {
                return Ok(Some(screen));
            }
            let ended = self.process.ended();
            ensure!(ended.is_none(), "the program ended with {ended:?}");
            Ok(None)
        });
        found.with_context(|| format!("the screen:\n{}", self.screen()))
    }

    /// True while a program has the whole screen (the "alternate screen").
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.parser().screen().alternate_screen()
    }

    /// Takes the terminal away, as when a window is closed, and waits for the program's end.
    ///
    /// # Errors
    /// It does not end.
    pub fn hang_up(&self) -> Result<ExitStatus> {
        let nothing = File::open("/dev/null")?;
        for side in [self.keyboard.as_raw_fd(), self.output] {
            // SAFETY: both are open; who reads the second finds its end.
            let result = unsafe { libc::dup2(nothing.as_raw_fd(), side) };
            ensure!(result >= 0, "hang up: {}", io::Error::last_os_error());
        }
        self.process
            .wait(END_LIMIT)
            .context("it lives on without its terminal")
    }

    /// Waits for the program to end, and for the terminal to be as it was before: main screen, cursor
    /// shown, no reports of mouse or pastes, the same modes.
    ///
    /// # Errors
    /// When one of these does not come; the screen is in the message.
    pub fn given_back(&self) -> Result<ExitStatus> {
        let status = self
            .process
            .wait(END_LIMIT)
            .with_context(|| self.screen())?;
        let mut state = String::new();
        let same = wait_for(END_LIMIT, "the terminal to be given back", || {
            let parser = self.parser();
            let screen = parser.screen();
            state = format!(
                "alternate screen {}, cursor hidden {}, mouse {:?}, pastes {}",
                screen.alternate_screen(),
                screen.hide_cursor(),
                screen.mouse_protocol_mode(),
                screen.bracketed_paste()
            );
            let normal = !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
                && !screen.bracketed_paste();
            Ok((normal && modes(&self.device)? == self.modes_before).then_some(()))
        });
        same.with_context(|| format!("ended with {status}; {state}\n{}", self.screen()))?;
        Ok(status)
    }
}

/// A new terminal: the user's side and the program's.
fn open() -> Result<(File, OwnedFd)> {
    let (mut user, mut program) = (-1, -1);
    let size = libc::winsize {
        ws_row: ROWS.get(),
        ws_col: COLUMNS.get(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the first two are places for the results, the name is not asked for, no modes are given
    // (defaults), and the size is whole; all outlive the call.
    let result = unsafe {
        libc::openpty(
            &raw mut user,
            &raw mut program,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    ensure!(result == 0, "openpty: {}", io::Error::last_os_error());
    // SAFETY: the call succeeded, so both are new descriptors that nobody else owns.
    let (user, program) = unsafe { (OwnedFd::from_raw_fd(user), OwnedFd::from_raw_fd(program)) };
    for side in [&user, &program] {
        // A child gets it as its standard streams only.
        // SAFETY: sets a flag of a descriptor that is open.
        let set = unsafe { libc::fcntl(side.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        ensure!(set == 0, "fcntl: {}", io::Error::last_os_error());
    }
    Ok((File::from(user), program))
}

/// Modes of a terminal now.
fn modes(terminal: &OwnedFd) -> Result<Modes> {
    // SAFETY: plain integers, for which zero is a value.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and `modes` is a place for the whole result.
    let result = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut modes) };
    ensure!(result == 0, "tcgetattr: {}", io::Error::last_os_error());
    let flags = [modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag];
    Ok((flags, modes.c_cc))
}

/// Shows what the program writes, until the terminal is gone.
fn show(mut output: File, screen: &Mutex<vt100::Parser>) {
    let mut bytes = [0_u8; 4096];
    while let Ok(n @ 1..) = output.read(&mut bytes) {
        screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .process(&bytes[..n]);
    }
}
