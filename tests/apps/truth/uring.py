"""A server that can use io_uring: one thread, one connection at a time.

Calls itself "uring" and writes its port to the file it is given.
`GET /uring` makes a ring the first time, enters it, and answers 200; or 501 with the error when the
kernel refuses to make one. Everything else is answered without a ring.
"""

import ctypes
import errno
import os
import socket
import sys

# The same numbers on every architecture (include/uapi/asm-generic/unistd.h).
IO_URING_SETUP, IO_URING_ENTER = 425, 426
# `struct io_uring_params` is 120 bytes, all zero by default.
PARAMS = 120
REFUSALS = (errno.ENOSYS, errno.EPERM, errno.EACCES)

LIBC = ctypes.CDLL(None, use_errno=True)


def call(*arguments):
    result = LIBC.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Ring:
    descriptor = None

    def use(self):
        if self.descriptor is None:
            self.descriptor = call(IO_URING_SETUP, 8, ctypes.create_string_buffer(PARAMS))
        call(IO_URING_ENTER, self.descriptor, 0, 0, 0, None, 0)


def answer(target, ring):
    if target.startswith("/uring"):
        try:
            ring.use()
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            return "501 Not Implemented", error.strerror
    return "200 OK", "done"


def serve(connection, ring):
    while True:
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(65536)
            if not received:
                return
            head += received
        status, text = answer(head.split(b" ", 2)[1].decode(), ring)
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


def main():
    with open("/proc/self/comm", "w") as file:
        file.write("uring")
    server = socket.create_server(("127.0.0.1", 0))
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(server.getsockname()[1]))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    ring = Ring()
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                serve(connection, ring)
            except ConnectionError:
                pass


if __name__ == "__main__":
    main()
