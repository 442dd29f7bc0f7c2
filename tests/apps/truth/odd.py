"""A server of one thread that does what few servers do, with plain sockets.

Writes its port to the file it is given. `GET /<case>`: see the functions; everything else answers at once.
Connections are kept; a body is read only when the next request is.
"""

import os
import select
import socket
import subprocess
import sys
import threading
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


def late_server():
    """Answers each connection after 0.2 s."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            connection, _ = listener.accept()
            time.sleep(0.2)
            connection.sendall(b"late")
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
    return listener.getsockname()


def case_duplicate(connection):
    """The socket is closed and answered by its duplicate."""
    duplicate = connection.dup()
    connection.close()
    time.sleep(0.1)
    duplicate.sendall(OK)
    return duplicate


def case_hints(connection):
    """An interim and the final response in one write."""
    connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)


def case_upgrade(connection):
    """Another protocol, whose messages are no part of the response."""
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    for _ in range(5):
        time.sleep(0.05)
        connection.sendall(b"message")


def case_token(connection):
    """Waits for a server by an epoll instance whose events carry numbers of our own, among idle clients."""
    idle = [socket.create_connection(LATE) for _ in range(3)]
    server = socket.create_connection(LATE)
    poll = select.epoll()
    for number, one in enumerate([*idle, server]):
        poll.register(one, select.EPOLLIN)
    # Python's own epoll carries descriptors: another number is set by a system call.
    import ctypes
    import struct

    libc = ctypes.CDLL(None)
    event = struct.pack("<IQ", select.EPOLLIN, 0x7F0012345678)
    for one in idle:
        poll.unregister(one)
    libc.epoll_ctl(poll.fileno(), 3, server.fileno(), event)
    events = ctypes.create_string_buffer(12)
    assert libc.epoll_wait(poll.fileno(), events, 1, -1) == 1
    connection.sendall(OK)


def case_silent(connection):
    """A child that ends without a word."""
    subprocess.check_output(["sleep", "0.2"])
    connection.sendall(OK)


def serve(connection):
    buffer = b""
    unread = 0
    while True:
        while b"\r\n\r\n" not in buffer[unread:]:
            piece = connection.recv(65536)
            if not piece:
                return
            buffer += piece
        buffer = buffer[unread:].lstrip(b"\r\n")
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        unread = int(lengths[0].split(b":")[1]) if lengths else 0
        case = globals().get("case_" + head.split(b" ")[1].decode().strip("/"))
        if case is None:
            connection.sendall(OK)
        else:
            connection = case(connection) or connection


LATE = late_server()


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    while True:
        connection, _ = listener.accept()
        try:
            serve(connection)
        except OSError:
            pass


if __name__ == "__main__":
    main()
