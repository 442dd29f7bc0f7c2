"""The application's own clock for what it asks."""

import os
import threading
import time

_schedstat = threading.local()


def _queued_ns():
    """Time that this thread has waited for a CPU, by the kernel's own count."""
    fd = getattr(_schedstat, "fd", None)
    if fd is None:
        fd = _schedstat.fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    return int(os.pread(fd, 128, 0).split()[1])


class Clock:
    """Sum and longest of what it has timed, ns: what of it the thread neither ran nor waited for a CPU, and all of
    it. An operation lasts as long as one of them, or in between."""

    def __init__(self):
        self.asked = 0
        self.total = [0, 0]
        self.slowest = [0, 0]

    def __enter__(self):
        _queued_ns()
        self.wall = time.monotonic_ns()
        self.cpu = time.thread_time_ns()
        self.queued = _queued_ns()
        return self

    def __exit__(self, *_):
        queued = _queued_ns() - self.queued
        cpu = time.thread_time_ns() - self.cpu
        wall = time.monotonic_ns() - self.wall
        spent = [wall - cpu - queued, wall]
        self.asked += 1
        self.total = [sum(both) for both in zip(self.total, spent)]
        self.slowest = [max(both) for both in zip(self.slowest, spent)]

    def time(self, ask, *arguments):
        with self:
            ask(*arguments)

    def measured(self):
        return {"asked": self.asked, "total": self.total, "slowest": self.slowest}

    def told(self):
        """As headers."""
        return [("X-Asked-Ns", f"{self.total[0]} {self.total[1]}")]
