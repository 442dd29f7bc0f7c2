"""A WSGI application that knows where its own time goes.

Each request causes one thing for a known time and writes down what it measured with its own clocks:
`time.monotonic_ns` (the same clock as the kernel's monotonic one) and `time.thread_time_ns`. It is not
a demonstration and uses no framework: what is measured must be the one thing, and little beside it.

    GET /<case>?ms=200      cases: see CASES
    X-Request-ID: <key>     key of the line in the log

One JSON line per request goes to `$TRUTH_DIR/log-<pid>.jsonl`:
    {"key", "case", "pid", "tid", "wall_ns", "thread_ns",
     "parts": [{"account", "wall_ns", "cpu_ns", "queued_ns"}]}
`thread_ns` is the thread's CPU time from the read of the request's head to the last write of its response,
`wall_ns` the time between the same two. `parts` are the intervals that must be found in the ledger under that
account; `queued_ns` is the time within that the thread was runnable and had no CPU, by the kernel's own count.
Waits that need another process are caused by `peer.py`, whose addresses are in `TRUTH_TCP` (host:port) and
`TRUTH_UNIX` (path).
"""

import ctypes
import fcntl
import itertools
import json
import mmap
import os
import socket
import struct
import subprocess
import threading
import time
from urllib.parse import parse_qs

import children
from gunicorn import util
from gunicorn.http.unreader import SocketUnreader
from gunicorn.http.wsgi import Response

DIRECTORY = os.environ["TRUTH_DIR"]
TCP = os.environ.get("TRUTH_TCP", "")
UNIX = os.environ.get("TRUTH_UNIX", "")
F_OFD_SETLKW = 38
COLD_BYTES = 48 << 20
BIG_BYTES = 8 << 20
MEBIBYTE = 1 << 20
kept = []
BLOCK = os.urandom(4 * MEBIBYTE)

libc = ctypes.CDLL(None, use_errno=True)
# Its functions are called with the interpreter lock held.
holding_libc = ctypes.PyDLL(None)


_schedstat = threading.local()


def queued_ns():
    """Time that this thread has waited for a CPU (`/proc/thread-self/schedstat`, second field)."""
    fd = getattr(_schedstat, "fd", None)
    if fd is None:
        fd = _schedstat.fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    return int(os.pread(fd, 128, 0).split()[1])


class Parts:
    """What one request measured."""

    def __init__(self):
        self.items = []

    def measure(self, account, action):
        """Runs `action` and keeps how long it took under `account`."""
        queued = queued_ns()
        cpu = time.thread_time_ns()
        wall = time.monotonic_ns()
        result = action()
        wall = time.monotonic_ns() - wall
        cpu = time.thread_time_ns() - cpu
        queued = queued_ns() - queued
        self.items.append(
            {"account": account, "wall_ns": wall, "cpu_ns": cpu, "queued_ns": queued}
        )
        return result


# --- from the read of a head to the last write ------------------------------------------------------


class Bounds(threading.local):
    """The clocks of this thread's request; monotonic and of the thread, ns."""

    source = None
    begin = None
    end = None
    line = None


bounds = Bounds()


def clocks():
    return time.monotonic_ns(), time.thread_time_ns()


def after(function, note):
    """`function`, and `note` when it has returned."""

    def wrapped(*arguments, **named):
        result = function(*arguments, **named)
        note(arguments[0])
        return result

    return wrapped


def has_read(source):
    # A connection that broke has not told its end.
    if bounds.begin is None or bounds.source is not source:
        bounds.source, bounds.begin = source, clocks()


def has_written(_):
    bounds.end = clocks()


def is_over(_):
    if bounds.line is not None:
        write_line(bounds.line)
    bounds.begin = bounds.end = bounds.line = None


SocketUnreader.chunk = after(SocketUnreader.chunk, has_read)
util.write = after(util.write, has_written)
util.write_chunk = after(util.write_chunk, has_written)
Response.close = after(Response.close, is_over)

# --- the log -------------------------------------------------------------------------------------

_log_fd = None
_log_pid = None


def log(environ, case, parts):
    """Notes the line of a request: it is written when the response is out."""
    bounds.line = {
        "key": environ.get("HTTP_X_REQUEST_ID", ""),
        "case": case,
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "parts": parts.items,
    }


def write_line(line):
    """Appends a line. One write, so lines of several threads do not mix."""
    global _log_fd, _log_pid
    if _log_pid != line["pid"]:
        _log_fd = os.open(
            os.path.join(DIRECTORY, f"log-{line['pid']}.jsonl"),
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
            0o644,
        )
        _log_pid = line["pid"]
    wall, thread = (end - begin for begin, end in zip(bounds.begin, bounds.end))
    line |= {"wall_ns": wall, "thread_ns": thread}
    os.write(_log_fd, json.dumps(line).encode() + b"\n")


# --- the count of requests -----------------------------------------------------------------------

SLOTS = 512
_count_lock = threading.Lock()
_count_pid = None
_count_map = None
_count_next = None
_count_slot = threading.local()


def count():
    """Adds one to this thread's cell of `$TRUTH_DIR/count-<pid>`: a shared mapping, so that the number
    outlives the process, and a cell of its own per thread, so that nothing is lost without a lock."""
    global _count_pid, _count_map, _count_next
    pid = os.getpid()
    if _count_pid != pid or getattr(_count_slot, "pid", None) != pid:
        with _count_lock:
            if _count_pid != pid:
                fd = os.open(os.path.join(DIRECTORY, f"count-{pid}"), os.O_RDWR | os.O_CREAT, 0o644)
                os.ftruncate(fd, SLOTS * 8)
                _count_map = mmap.mmap(fd, SLOTS * 8)
                os.close(fd)
                _count_next = itertools.count()
                _count_pid = pid
            _count_slot.offset = next(_count_next) * 8
            _count_slot.value = 0
            _count_slot.pid = pid
    _count_slot.value += 1
    struct.pack_into("<Q", _count_map, _count_slot.offset, _count_slot.value)


# --- the other process ---------------------------------------------------------------------------


def ask(parts, command, address=None):
    """Opens a connection to the peer, sends a command, and waits for its first line."""
    if address == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(UNIX)
    else:
        host, port = TCP.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)))
    connection.sendall(command.encode() + b"\n")
    if not command.startswith("sleep"):
        parts.measure("net.upstream", lambda: read_line(connection))
    return connection


def read_line(connection):
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(64)
        if not piece:
            raise RuntimeError("the peer is gone")
        data += piece
    return data


# --- cases ---------------------------------------------------------------------------------------


def case_sleep(parts, ms, environ):
    parts.measure("sleep", lambda: time.sleep(ms / 1000))


def case_cpu(parts, ms, environ):
    """Burns thread time. The clock is read every few milliseconds only: reading it is a syscall
    (CLOCK_THREAD_CPUTIME_ID is not in the vDSO), and this must not measure syscalls."""

    def burn():
        end = time.thread_time_ns() + ms * 1_000_000
        while time.thread_time_ns() < end:
            total = 0
            for number in range(20_000):
                total += number

    parts.measure("cpu", burn)


def case_flock(parts, ms, environ):
    path = os.path.join(DIRECTORY, f"flock-{threading.get_native_id()}")
    with open(path, "w") as file:
        with ask(parts, f"flock {ms} {path}"):
            parts.measure("lock.file", lambda: fcntl.flock(file, fcntl.LOCK_EX))


def case_fcntl(parts, ms, environ):
    path = os.path.join(DIRECTORY, f"fcntl-{threading.get_native_id()}")
    with open(path, "w") as file:
        with ask(parts, f"fcntl {ms} {path}"):
            parts.measure("lock.file", lambda: fcntl.lockf(file, fcntl.LOCK_EX))


def case_futex(parts, ms, environ):
    """A process-shared pthread mutex held by the peer: a futex wait without the interpreter lock."""
    path = os.path.join(DIRECTORY, f"mutex-{threading.get_native_id()}")
    mutex, keep = shared_mutex(path, create=True)
    with ask(parts, f"mutex {ms} {path}"):
        parts.measure("lock.futex", lambda: libc.pthread_mutex_lock(mutex))
    libc.pthread_mutex_unlock(mutex)
    del mutex, keep


def case_ofd(parts, ms, environ):
    """A lock that belongs to the open file."""
    path = os.path.join(DIRECTORY, f"ofd-{threading.get_native_id()}")
    with open(path, "w") as file:
        whole = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
        with ask(parts, f"ofd {ms} {path}"):
            parts.measure("lock.file", lambda: fcntl.fcntl(file, F_OFD_SETLKW, whole))


# How often a lock was taken, for those that want it.
_kept = threading.Semaphore(0)


def create_file(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def create_link(path):
    os.symlink(f"{socket.gethostname()}:{os.getpid()}", path)


def try_until(create, path):
    """As programs do whose locks are files: whoever creates it has the lock."""
    while True:
        try:
            return create(path)
        except FileExistsError:
            time.sleep(0.005)


def wait_for_created(parts, ms, create, name):
    """The peer creates it, and removes it after so long."""
    path = os.path.join(DIRECTORY, f"{name}-{threading.get_native_id()}.lock")
    with ask(parts, f"{name} {ms} {path}"):
        parts.measure("lock.file", lambda: try_until(create, path))
    os.rmdir(path) if create is os.mkdir else os.unlink(path)


def case_lockfile(parts, ms, environ):
    wait_for_created(parts, ms, create_file, "lockfile")


def case_locklink(parts, ms, environ):
    wait_for_created(parts, ms, create_link, "locklink")


def case_lockdir(parts, ms, environ):
    wait_for_created(parts, ms, os.mkdir, "lockdir")


def case_store(parts, ms, environ):
    """Has a lock that is a file, for so long."""
    path = os.path.join(DIRECTORY, "store.lock")
    create_file(path)
    _kept.release()
    time.sleep(ms / 1000)
    os.unlink(path)


def case_restore(parts, ms, environ):
    """Waits for it."""
    parts.measure("lock.futex", lambda: _kept.acquire(timeout=20))
    path = os.path.join(DIRECTORY, "store.lock")
    parts.measure("lock.file", lambda: try_until(create_file, path))
    os.unlink(path)


def case_existing(parts, ms, environ):
    """Makes sure of a folder, and sleeps; no lock at all."""
    path = os.path.join(DIRECTORY, "folder")
    for _ in range(2):
        os.makedirs(path, exist_ok=True)
        parts.measure("sleep", lambda: time.sleep(ms / 2000))


_shelf = threading.Lock()


def case_keep(parts, ms, environ):
    """Holds a lock for so long; `wanted`: by how many others."""
    wanted = int(parse_qs(environ.get("QUERY_STRING", "")).get("wanted", ["1"])[0])
    with _shelf:
        _kept.release(wanted)
        time.sleep(ms / 1000)


def case_want(parts, ms, environ):
    """Waits for it, and holds it for so long."""
    parts.measure("lock.futex", lambda: _kept.acquire(timeout=20))
    parts.measure("lock.futex", _shelf.acquire)
    try:
        time.sleep(ms / 1000)
    finally:
        _shelf.release()


# Somebody is about to wait for the interpreter lock.
_waits_for_interpreter = threading.Semaphore(0)


def case_interpreter(parts, ms, environ):
    """Sleeps a little, and meanwhile the other request takes the interpreter lock."""
    _waits_for_interpreter.release()
    parts.measure("lock.gil", lambda: time.sleep(0.002))


def case_hold(parts, ms, environ):
    """Holds the interpreter lock for so long, asleep, as a careless extension does."""
    _waits_for_interpreter.acquire(timeout=20)
    holding_libc.usleep(ms * 1000)


def case_compute(parts, ms, environ):
    """Holds it for about so long, on the CPU."""
    _waits_for_interpreter.acquire(timeout=20)
    sum(range(ms * 50_000))


def shared_mutex(path, create):
    """A process-shared mutex in a mapped file: the pointer, and what keeps the mapping alive."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    if create:
        os.ftruncate(fd, 0)
        os.ftruncate(fd, 4096)
    mapping = mmap.mmap(fd, 4096)
    os.close(fd)
    cell = (ctypes.c_char * 4096).from_buffer(mapping)
    pointer = ctypes.c_void_p(ctypes.addressof(cell))
    if create:
        attribute = (ctypes.c_char * 64)()
        libc.pthread_mutexattr_init(attribute)
        libc.pthread_mutexattr_setpshared(attribute, 1)
        libc.pthread_mutex_init(pointer, attribute)
    return pointer, (mapping, cell)


def case_child(parts, ms, environ):
    parts.measure("child", lambda: subprocess.run(["sleep", str(ms / 1000)], check=True))


def case_upstream(parts, ms, environ):
    with ask(parts, f"sleep {ms}") as connection:
        parts.measure("net.upstream", lambda: read_line(connection))


def case_upstream_poll(parts, ms, environ):
    """As psycopg waits: poll with a timeout shorter than the wait, again and again."""
    import select

    with ask(parts, f"sleep {ms}") as connection:
        poll = select.poll()
        poll.register(connection, select.POLLIN)

        def wait():
            while not poll.poll(50):
                pass
            return connection.recv(64)

        parts.measure("net.upstream", wait)


def case_upstream_unix(parts, ms, environ):
    with ask(parts, f"sleep {ms}", "unix") as connection:
        parts.measure("net.upstream", lambda: read_line(connection))


def case_pipe(parts, ms, environ):
    path = os.path.join(DIRECTORY, f"fifo-{threading.get_native_id()}")
    if not os.path.exists(path):
        os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    try:
        with ask(parts, f"fifo {ms} {path}"):
            parts.measure("ipc", lambda: os.read(fd, 1))
    finally:
        os.close(fd)


def case_fsync(parts, ms, environ):
    """Writes and syncs until `ms` of wall time are over: a single fsync is too short to compare."""
    path = os.path.join(DIRECTORY, f"fsync-{threading.get_native_id()}")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)

    def work():
        end = time.monotonic_ns() + ms * 1_000_000
        while time.monotonic_ns() < end:
            os.pwrite(fd, BLOCK, 0)
            os.fsync(fd)

    try:
        parts.measure("disk", work)
    finally:
        os.close(fd)


def cold_file():
    """A file whose pages are not in the page cache."""
    path = os.path.join(DIRECTORY, f"cold-{threading.get_native_id()}")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            for _ in range(COLD_BYTES // MEBIBYTE):
                file.write(os.urandom(MEBIBYTE))
            file.flush()
            os.fsync(file.fileno())
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return fd


def case_coldread(parts, ms, environ):
    fd = cold_file()

    def work():
        for offset in range(0, COLD_BYTES, MEBIBYTE):
            os.pread(fd, MEBIBYTE, offset)

    try:
        parts.measure("disk", work)
    finally:
        os.close(fd)


def case_coldmap(parts, ms, environ):
    """The same through a mapping: page faults instead of system calls."""
    fd = cold_file()
    mapping = mmap.mmap(fd, COLD_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
    os.close(fd)

    def work():
        total = 0
        for offset in range(0, COLD_BYTES, 64 << 10):
            total += mapping[offset]
        return total

    try:
        parts.measure("disk.fault", work)
    finally:
        mapping.close()


def case_reread(parts, ms, environ):
    """Reads a file over and over: with less memory than it has, its pages are read back each time."""
    fd = cold_file()

    def work():
        for offset in list(range(0, COLD_BYTES, MEBIBYTE)) * 3:
            os.pread(fd, MEBIBYTE, offset)

    try:
        parts.measure("memory", work)
    finally:
        os.close(fd)


def case_allocate(parts, ms, environ):
    """Keeps 64 MiB more."""
    kept.append(bytearray(64 * MEBIBYTE))


def case_upload(parts, ms, environ):
    body = parts.measure("net.client_read", lambda: environ["wsgi.input"].read())
    return str(len(body)).encode()


def case_mixed(parts, ms, environ):
    case_sleep(parts, ms // 4, environ)
    case_upstream(parts, ms // 4, environ)
    case_cpu(parts, ms // 4, environ)
    case_flock(parts, ms // 4, environ)


def case_die(parts, ms, environ):
    """Never returns: somebody kills the worker."""
    while True:
        time.sleep(1)


CASES = {
    name[5:].replace("_", "-"): function
    for name, function in list(globals().items())
    if name.startswith("case_")
} | children.CASES


def stream(environ, parts, ms):
    """A chunked response of five pieces with sleeps between them."""
    try:
        for number in range(5):
            parts.measure("sleep", lambda: time.sleep(ms / 5000))
            yield b"piece %d\n" % number
    finally:
        log(environ, "stream", parts)


def application(environ, start_response):
    case = environ["PATH_INFO"].strip("/").split("/")[0]
    query = parse_qs(environ.get("QUERY_STRING", ""))
    ms = int(query.get("ms", ["200"])[0])
    if case == "count":
        count()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
        return [b"ok\n"]
    parts = Parts()
    if case == "stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream(environ, parts, ms)
    if case == "big":
        size = int(query.get("bytes", [str(BIG_BYTES)])[0])
        policy = "p" * int(query.get("policy", ["0"])[0])
        write = start_response(
            "200 OK", [("Content-Security-Policy", policy), ("Content-Length", str(size))]
        )
        body = b"x" * size
        try:
            parts.measure("net.client_write", lambda: write(body))
        finally:
            log(environ, case, parts)
        return []
    if case == "empty":
        log(environ, case, parts)
        start_response("204 No Content", [])
        return []
    function = CASES.get(case)
    if function is None:
        body, status = b"no such case\n", "404 Not Found"
    else:
        body, status = function(parts, ms, environ) or b"done\n", "200 OK"
    log(environ, case, parts)
    start_response(
        status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    )
    return [body]
