"""What the applications here measure of each request, with their own clocks, and where they write it down.

One JSON line per request goes to `$BINDINGS_DIR/log`:
    {"key", "pid", "tid", "begin_ns", "end_ns", "cpu_ns", "queued_ns"}
`begin_ns` and `end_ns` (monotonic) are the begin and the end of the application's own work in the thread `tid`, `cpu_ns` is
that thread's CPU time in between, `queued_ns` the time that it was runnable there and had no CPU.
"""

import json
import os
import socket
import threading
import time
from urllib.parse import parse_qs

_log = os.open(os.path.join(os.environ["BINDINGS_DIR"], "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
_schedstat = threading.local()


def queued_ns():
    """Time that this thread has waited for a CPU (`/proc/thread-self/schedstat`, second field)."""
    fd = getattr(_schedstat, "fd", None)
    if fd is None:
        fd = _schedstat.fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    return int(os.pread(fd, 128, 0).split()[1])


def number(query, name):
    """A parameter in milliseconds, as seconds."""
    return float(parse_qs(query).get(name, ["0"])[0]) / 1000


def work(key, query):
    """Sleeps for `ms`, computes for `cpu` milliseconds of CPU time."""
    queued, cpu, begin = queued_ns(), time.thread_time_ns(), time.monotonic_ns()
    if seconds := number(query, "ms"):
        time.sleep(seconds)
    until = time.thread_time() + number(query, "cpu")
    while time.thread_time() < until:
        pass
    end, cpu, queued = time.monotonic_ns(), time.thread_time_ns() - cpu, queued_ns() - queued
    note(key, begin, end, cpu, queued)


def note(key, begin, end, cpu=0, queued=0):
    """Writes the line of a request. One write, so lines of several threads do not mix."""
    line = {
        "key": key,
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "begin_ns": begin,
        "end_ns": end,
        "cpu_ns": cpu,
        "queued_ns": queued,
    }
    os.write(_log, json.dumps(line).encode() + b"\n")


def listen():
    """A listening socket, whose port is written to `$BINDINGS_DIR/port`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    path = os.path.join(os.environ["BINDINGS_DIR"], "port")
    with open(path + ".new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(path + ".new", path)
    return listener
