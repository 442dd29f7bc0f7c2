"""Configuration of gunicorn: notes when each connection was accepted, by its client's address. Monotonic clock, ns."""

import socket
import time

TIMES = {}


def _noted(accept):
    def accept_and_note(listener):
        connection, address = accept(listener)
        TIMES[address[:2]] = time.monotonic_ns()
        return connection, address

    return accept_and_note


socket.socket.accept = _noted(socket.socket.accept)
