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
    """Sum and longest of what it has timed, ns: the least and the most that the thread can have spent neither on a
    CPU nor waiting for one, and all of it. The first two differ where the thread lost its CPU while clocks were read.
    An operation lasts as long as the first or the last, or in between."""

    def __init__(self):
        self.asked = 0
        self.total = [0, 0, 0]
        self.slowest = [0, 0, 0]

    def __enter__(self):
        self.queued = [_queued_ns()]
        self.wall = time.monotonic_ns()
        self.cpu = time.thread_time_ns()
        self.queued.append(_queued_ns())
        return self

    def __exit__(self, *_):
        self.queued.append(_queued_ns())
        cpu = time.thread_time_ns() - self.cpu
        wall = time.monotonic_ns() - self.wall
        self.queued.append(_queued_ns())
        before, begin, end, after = self.queued
        spent = [wall - cpu - (after - before), wall - cpu - (end - begin), wall]
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
        return [("X-Asked-Ns", " ".join(map(str, self.total)))]
