"""A thread that reads requests and hands them to a ThreadPoolExecutor, whose threads work and write."""

import selectors
from concurrent.futures import ThreadPoolExecutor

from measure import listen, work


def serve(connection, head):
    target = head.split(b" ", 2)[1].decode()
    key = next((line[14:].strip() for line in head.decode().split("\r\n") if line.lower().startswith("x-request-id:")), "")
    work(key, target.partition("?")[2])
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n")


listener = listen()
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
with ThreadPoolExecutor(4) as pool:
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                selector.register(connection, selectors.EVENT_READ)
                continue
            head = key.fileobj.recv(65536)
            if head:
                pool.submit(serve, key.fileobj, head)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()
