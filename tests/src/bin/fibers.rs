//! A server that changes stacks within a call of SQLite, as green threads do.
//!
//! `/back`: a statement runs on a stack of its own; its function goes to the thread's stack, where ten statements
//! are executed, and comes back. `/left`: as `/back`, but the function never comes back: its call is left.
//! `/plain`: ten statements on the thread's stack. The argument is the file that gets the port.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    io::{Read as _, Write as _},
    net::TcpListener,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

use anyhow::{Context as _, Result, ensure};
use libc::ucontext_t;

const STACK_BYTES: usize = 1 << 20;
const READWRITE_CREATE: c_int = 6;
const UTF8: c_int = 1;
const ROW: c_int = 100;

type Function = extern "C" fn(*mut c_void, c_int, *mut *mut c_void);

type Open = unsafe extern "C" fn(*const c_char, *mut *mut c_void, c_int, *const c_char) -> c_int;
type Prepare = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    c_int,
    *mut *mut c_void,
    *mut *const c_char,
) -> c_int;
type OfStatement = unsafe extern "C" fn(*mut c_void) -> c_int;
type CreateFunction = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    c_int,
    c_int,
    *mut c_void,
    Option<Function>,
    *mut c_void,
    *mut c_void,
) -> c_int;

/// The functions of the library.
struct Sqlite {
    open: Open,
    prepare: Prepare,
    step: OfStatement,
    finalize: OfStatement,
    create_function: CreateFunction,
}

impl Sqlite {
    fn load() -> Result<Self> {
        // SAFETY: a library without constructors that could do harm.
        let library = unsafe { libc::dlopen(c"libsqlite3.so.0".as_ptr(), libc::RTLD_NOW) };
        ensure!(!library.is_null(), "libsqlite3.so.0 is not there");
        let find = |name: &CStr| {
            // SAFETY: a live handle and a name.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            ensure!(!found.is_null(), "{name:?} is not there");
            Ok(found)
        };
        // SAFETY: the types are those of sqlite3.h.
        unsafe {
            Ok(Self {
                open: std::mem::transmute::<*mut c_void, Open>(find(c"sqlite3_open_v2")?),
                prepare: std::mem::transmute::<*mut c_void, Prepare>(find(c"sqlite3_prepare_v2")?),
                step: std::mem::transmute::<*mut c_void, OfStatement>(find(c"sqlite3_step")?),
                finalize: std::mem::transmute::<*mut c_void, OfStatement>(find(
                    c"sqlite3_finalize",
                )?),
                create_function: std::mem::transmute::<*mut c_void, CreateFunction>(find(
                    c"sqlite3_create_function",
                )?),
            })
        }
    }

    fn database(&self) -> Result<*mut c_void> {
        let mut database = null_mut();
        // SAFETY: live locals; the function that is made takes what it is given.
        let (opened, made) = unsafe {
            let opened = (self.open)(
                c":memory:".as_ptr(),
                &raw mut database,
                READWRITE_CREATE,
                null_mut(),
            );
            let made = (self.create_function)(
                database,
                c"away".as_ptr(),
                0,
                UTF8,
                null_mut(),
                Some(away),
                null_mut(),
                null_mut(),
            );
            (opened, made)
        };
        ensure!(opened == 0 && made == 0, "no database");
        Ok(database)
    }

    /// Errors are not looked at: this runs where nobody takes them.
    fn execute(&self, database: *mut c_void, text: &CStr) {
        let mut statement = null_mut();
        // SAFETY: a live database, text and local; the statement is not used after its end.
        unsafe {
            (self.prepare)(database, text.as_ptr(), -1, &raw mut statement, null_mut());
            while (self.step)(statement) == ROW {}
            (self.finalize)(statement);
        }
    }
}

/// The thread's stack, and the other.
static HOME: AtomicPtr<ucontext_t> = AtomicPtr::new(null_mut());
static AWAY: AtomicPtr<ucontext_t> = AtomicPtr::new(null_mut());
static SQLITE: AtomicPtr<Sqlite> = AtomicPtr::new(null_mut());

/// SQLite's function: goes to the thread's stack.
extern "C" fn away(_: *mut c_void, _: c_int, _: *mut *mut c_void) {
    // SAFETY: contexts that `leave` has made, of this thread.
    unsafe { libc::swapcontext(AWAY.load(Relaxed), HOME.load(Relaxed)) };
}

/// What runs on the other stack.
extern "C" fn begin() {
    // SAFETY: `main` has set it for good.
    let sqlite = unsafe { &*SQLITE.load(Relaxed) };
    if let Ok(database) = sqlite.database() {
        sqlite.execute(database, c"select away() as outer");
    }
}

/// Begins a stack, and returns when its call of SQLite goes to this one. It lies below the thread's: of the
/// kernel's return probes those die whose stack pointer is below that of another call. It is never freed.
fn leave() {
    let stack: &'static mut [u8] = vec![0; STACK_BYTES].leak();
    // SAFETY: integers and pointers, for which 0 is a value.
    let contexts: &'static mut [ucontext_t; 2] = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
    let [home, other] = contexts;
    HOME.store(home, Relaxed);
    // SAFETY: contexts and a stack that live as long as the process.
    unsafe {
        libc::getcontext(other);
        other.uc_link = home;
        other.uc_stack.ss_sp = stack.as_mut_ptr().cast();
        other.uc_stack.ss_size = STACK_BYTES;
        libc::makecontext(other, begin, 0);
        AWAY.store(other, Relaxed);
        libc::swapcontext(home, other);
    }
}

fn come_back() {
    // SAFETY: as in `away`.
    unsafe { libc::swapcontext(HOME.load(Relaxed), AWAY.load(Relaxed)) };
}

fn main() -> Result<()> {
    let file = std::env::args().nth(1).context("which file?")?;
    let sqlite: &'static Sqlite = Box::leak(Box::new(Sqlite::load()?));
    SQLITE.store(std::ptr::from_ref(sqlite).cast_mut(), Relaxed);
    let database = sqlite.database()?;
    let plain = || {
        for _ in 0..10 {
            sqlite.execute(database, c"select 1 as inner");
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let new = format!("{file}.new");
    std::fs::write(&new, listener.local_addr()?.port().to_string())?;
    std::fs::rename(&new, &file)?;
    for connection in listener.incoming() {
        let mut connection = connection?;
        let mut head = [0; 4096];
        let len = connection.read(&mut head)?;
        let head = String::from_utf8_lossy(&head[..len]);
        match head.split(' ').nth(1) {
            Some("/back") => {
                leave();
                plain();
                come_back();
            }
            Some("/left") => {
                leave();
                plain();
            }
            _ => plain(),
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}
