"""A server that measures its own phases: reading the head, reading the body, writing 10 MB.

With poll it serves one connection after the other, without blocking calls but poll itself; with loop all of
them in asyncio's event loop. GET /times gives what was measured, by X-Request-ID: ns, monotonic clock.
"""

import asyncio
import json
import os
import select
import socket
import sys
import time

RESPONSE = b"x" * (10 << 20)
MEASURED = {}
now = time.monotonic_ns


class Poll:
    """Waits by poll."""

    async def wait(self, connection, events):
        poller = select.poll()
        poller.register(connection, events)
        poller.poll()


class Loop:
    """Waits in the event loop."""

    async def wait(self, connection, events):
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        add, remove = {
            select.POLLIN: (loop.add_reader, loop.remove_reader),
            select.POLLOUT: (loop.add_writer, loop.remove_writer),
        }[events]
        add(connection, lambda: ready.done() or ready.set_result(None))
        await ready
        remove(connection)


async def receive(waiter, connection):
    while True:
        try:
            return connection.recv(65536)
        except BlockingIOError:
            await waiter.wait(connection, select.POLLIN)


async def send(waiter, connection, data):
    """When the first and the last bytes were taken."""
    view, first = memoryview(data), 0
    while view:
        try:
            view = view[connection.send(view) :]
            first = first or now()
        except BlockingIOError:
            await waiter.wait(connection, select.POLLOUT)
    return first, now()


def header(head, name):
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""


async def serve(waiter, connection):
    connection.setblocking(False)
    # What the client does not read stays here, and is small.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    with connection:
        data = await receive(waiter, connection)
        begin = now()
        while data and b"\r\n\r\n" not in data:
            data += await receive(waiter, connection)
        headed = now()
        head, _, body = data.partition(b"\r\n\r\n")
        missing = int(header(head, b"content-length") or 0) - len(body)
        while missing > 0:
            missing -= len(await receive(waiter, connection))
        read = now()
        answer = RESPONSE
        if head.startswith(b"GET /times"):
            answer = json.dumps(MEASURED).encode()
        front = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer)
        first, last = await send(waiter, connection, front + answer)
        MEASURED[header(head, b"x-request-id")] = {
            "head_ns": headed - begin,
            "body_ns": read - headed,
            "send_ns": last - first,
            "wall_ns": last - begin,
        }


async def main(way, path):
    listener = socket.create_server(("127.0.0.1", 0))
    with open(path + ".new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(path + ".new", path)
    tasks = set()
    if way == "loop":
        listener.setblocking(False)
    waiter = {"poll": Poll, "loop": Loop}[way]()
    while True:
        if way == "poll":
            await serve(waiter, listener.accept()[0])
            continue
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        task = asyncio.create_task(serve(waiter, connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[2], sys.argv[1]))
