"""The other process of the truth application: holds locks and answers late, for a known time.

Listens on TCP and on a unix socket in the folder that it is given, and writes both addresses to the file
`peer.address` there. One command per connection:
    sleep MS        answers "done" after MS
    flock MS PATH   takes the lock, answers "held", releases after MS; so do `fcntl`, `ofd` and `mutex`;
                    `lockfile`, `locklink` and `lockdir` create PATH and remove it
    fifo MS PATH    answers "held", writes one byte after MS
"""

import ctypes
import fcntl
import mmap
import os
import socket
import struct
import sys
import threading
import time

F_OFD_SETLKW = 38
libc = ctypes.CDLL(None, use_errno=True)


def hold(connection, seconds):
    connection.sendall(b"held\n")
    time.sleep(seconds)


def do_sleep(connection, seconds, path):
    time.sleep(seconds)
    connection.sendall(b"done\n")


def do_flock(connection, seconds, path):
    with open(path, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        hold(connection, seconds)


def do_fcntl(connection, seconds, path):
    with open(path, "r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        hold(connection, seconds)


def do_ofd(connection, seconds, path):
    with open(path, "r+") as file:
        whole = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
        fcntl.fcntl(file, F_OFD_SETLKW, whole)
        hold(connection, seconds)


def do_lockfile(connection, seconds, path):
    with open(path, "x"):
        hold(connection, seconds)
        os.unlink(path)


def do_locklink(connection, seconds, path):
    os.symlink(f"{socket.gethostname()}:{os.getpid()}", path)
    hold(connection, seconds)
    os.unlink(path)


def do_lockdir(connection, seconds, path):
    os.mkdir(path)
    hold(connection, seconds)
    os.rmdir(path)


def do_mutex(connection, seconds, path):
    fd = os.open(path, os.O_RDWR)
    mapping = mmap.mmap(fd, 4096)
    os.close(fd)
    cell = (ctypes.c_char * 4096).from_buffer(mapping)
    pointer = ctypes.c_void_p(ctypes.addressof(cell))
    libc.pthread_mutex_lock(pointer)
    hold(connection, seconds)
    libc.pthread_mutex_unlock(pointer)


def do_fifo(connection, seconds, path):
    fd = os.open(path, os.O_WRONLY)
    hold(connection, seconds)
    os.write(fd, b"x")
    os.close(fd)


def serve(connection):
    with connection:
        line = b""
        while not line.endswith(b"\n"):
            piece = connection.recv(4096)
            if not piece:
                return
            line += piece
        command, milliseconds, *path = line.decode().split()
        globals()["do_" + command](connection, int(milliseconds) / 1000, path[0] if path else None)


def accept(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def main():
    unix_path = os.path.join(sys.argv[1], "peer.sock")
    tcp = socket.create_server(("127.0.0.1", 0), backlog=64)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.bind(unix_path)
    unix.listen(64)
    for listener in (tcp, unix):
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
    address = os.path.join(sys.argv[1], "peer.address")
    with open(address + ".new", "w") as file:
        file.write(f"127.0.0.1:{tcp.getsockname()[1]} {unix_path}")
    os.rename(address + ".new", address)
    threading.Event().wait()


if __name__ == "__main__":
    main()
