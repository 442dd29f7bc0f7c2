"""Ways to ask memcached: three protocols, with and without answers. `MEMCACHED` says where it is.

    GET /memcached/<way>?n=37   ways: text, noreply, multi, meta, quiet, binary, binary_multi, dead
"""

import os
import socket

import bmemcached
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError

_clients = {}


def text_client():
    if "text" not in _clients:
        host, port = os.environ["MEMCACHED"].split(":")
        _clients["text"] = Client((host, int(port)), default_noreply=False)
    return _clients["text"]


def binary_client():
    if "binary" not in _clients:
        _clients["binary"] = bmemcached.Client((os.environ["MEMCACHED"],))
    return _clients["binary"]


class Meta:
    """The least of a client for meta commands, which pymemcache does not speak."""

    def __init__(self):
        host, port = os.environ["MEMCACHED"].split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.answers = self.socket.makefile("rb")

    def ask(self, line, value=None):
        self.tell(line, value)
        return self.answer()

    def tell(self, line, value=None):
        data = b"" if value is None else value + b"\r\n"
        self.socket.sendall(line.encode() + b"\r\n" + data)

    def answer(self):
        words = self.answers.readline().split()
        if words[:1] == [b"VA"]:
            self.answers.read(int(words[1]) + 2)
        return words[0]


def meta_client():
    if "meta" not in _clients:
        _clients["meta"] = Meta()
    return _clients["meta"]


def text(n, secret):
    client = text_client()
    for number in range(n):
        key = f"key:{secret}:{number % 50}"
        match number % 8:
            case 0:
                client.set(key, secret * 20)
            case 1:
                client.get(f"key:{secret}:{(number - 1) % 50}")
            case 2:
                client.gets(key)
            case 3:
                client.add(f"count:{secret}", "1")
            case 4:
                client.incr(f"count:{secret}", 3)
            case 5:
                client.touch(f"count:{secret}", 100)
            case 6:
                client.decr(f"count:{secret}", 2)
            case 7:
                client.delete(f"key:{secret}:{(number - 7) % 50}")


def noreply(n, secret):
    """`n` commands that nobody answers, and one that is answered, which the server takes behind them."""
    client = text_client()
    for number in range(n):
        match number % 4:
            case 0 | 1:
                client.set(f"key:{secret}:{number % 50}", secret * 20, noreply=True)
            case 2:
                client.touch(f"key:{secret}:{number % 50}", 100, noreply=True)
            case 3:
                client.delete(f"key:{secret}:{number % 50}", noreply=True)
    client.get(f"key:{secret}:0")


def multi(n, secret):
    """One command with `n` keys, which all are there. Values are short: the answer is read at once."""
    client = text_client()
    keys = [f"{secret[:1]}{number}" for number in range(n)]
    client.set_many(dict.fromkeys(keys, "1"), noreply=False)
    assert len(client.get_many(keys)) == n


def meta(n, secret):
    client = meta_client()
    for number in range(n):
        key = f"key:{secret}:{number % 50}"
        match number % 4:
            case 0:
                client.ask(f"ms {key} {len(secret)}", secret.encode())
            case 1:
                client.ask(f"mg key:{secret}:{(number - 1) % 50} v f")
            case 2:
                client.ask(f"ma count:{secret} N0 J7 D2")
            case 3:
                client.ask(f"md key:{secret}:{(number - 3) % 50}")


def quiet(n, secret):
    """`n` commands that are answered only when something is to be said, in one write, and `mn` behind them."""
    client = meta_client()
    lines = []
    for number in range(n):
        key = f"quiet:{secret}:{number % 50}"
        match number % 3:
            case 0:
                lines.append(f"ms {key} {len(secret)} q\r\n{secret}\r\n")
            case 1:
                lines.append(f"mg nowhere:{secret}:{number} v q\r\n")
            case 2:
                lines.append(f"md quiet:{secret}:{(number - 2) % 50} q\r\n")
    client.socket.sendall("".join(lines).encode())
    client.tell("mn")
    while client.answer() != b"MN":
        pass


def binary(n, secret):
    client = binary_client()
    for number in range(n):
        key = f"binary:{secret}:{number % 50}"
        match number % 4:
            case 0:
                client.set(key, secret * 20)
            case 1:
                client.get(f"binary:{secret}:{(number - 1) % 50}")
            case 2:
                client.incr(f"number:{secret}", 1)
            case 3:
                client.delete(f"binary:{secret}:{(number - 3) % 50}")


def binary_multi(n, secret):
    """Quiet requests for `n` keys of which none is there, but for the last."""
    client = binary_client()
    client.set(f"last:{secret}", "1")
    client.get_multi([f"nowhere:{secret}:{number}" for number in range(n - 1)] + [f"last:{secret}"])


def dead(n, secret):
    """The server has gone and come back: the first command finds a dead connection."""
    client = text_client()
    try:
        client.get(f"key:{secret}")
    except (MemcacheError, OSError):
        client.close()
    else:
        raise AssertionError("the connection was not dead")
    text(n, secret)
