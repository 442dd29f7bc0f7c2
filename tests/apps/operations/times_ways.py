"""Ways whose time is known: what the application's own clock (`clock.py`) says goes into the header `X-Measured`.

    GET /times/<way>?n=37       ways: slept, script, many, many_scripts, streamed

The clock is read around the calls that write and read, not around the drivers' own work in Python.
"""

import os
import select
import socket
from urllib.parse import urlsplit

from app import _connections, database
from clock import Clock

_SPIN = (
    "local function now() local t = redis.call('TIME') return t[1] * 1000000 + t[2] end "
    "local start = now() repeat until now() - start >= tonumber(ARGV[1]) return 1"
)


def _sleeps(n, seconds):
    connection, clock = database().pgconn, Clock()
    statement = f"select pg_sleep({seconds}) as sleeps".encode()
    for _ in range(n):
        clock.time(connection.exec_, statement)
    return clock.measured()


def slept(n, secret):
    return _sleeps(n, 0.05)


def many(n, secret):
    return _sleeps(n, 0.002)


class Plain:
    """A connection to Redis that does nothing but write and read."""

    def __init__(self):
        address = urlsplit(os.environ["REDIS_URL"])
        self.socket = socket.create_connection((address.hostname, address.port))

    def exchange(self, command, answer):
        self.socket.sendall(command)
        got = b""
        while len(got) < len(answer):
            got += self.socket.recv(4096)
        assert got == answer, got


def _spins(n, microseconds):
    if "plain" not in _connections:
        _connections["plain"] = Plain()
    words = ["EVAL", _SPIN, "0", str(microseconds)]
    command = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    clock = Clock()
    for _ in range(n):
        clock.time(_connections["plain"].exchange, command.encode(), b":1\r\n")
    return clock.measured()


def script(n, secret):
    return _spins(n, 50_000)


def many_scripts(n, secret):
    return _spins(n, 2_000)


def streamed(n, secret):
    """`n` rows of 9 kB, 10 ms from one to the next: the server sends what it has when 8 kB are full."""
    connection = database().pgconn
    statement = (
        "select repeat('x', 9000), pg_sleep(0.01) from "
        f"(select generate_series(1, {n}) as streamed offset 0) as rows"
    )
    clock, first = Clock(), Clock()
    with clock:
        with first:
            connection.send_query(statement.encode())
            connection.set_single_row_mode()
            select.select([connection.socket], [], [])
        while connection.get_result() is not None:
            pass
    return clock.measured() | {"first": first.total}
