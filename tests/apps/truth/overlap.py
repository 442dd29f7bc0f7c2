"""An event loop that serves HTTP/1.1: requests of several connections overlap on its one thread.

Calls itself "overlap" (the thread's name), listens on `OVERLAP_PORT` or any free port, and writes its port to
the file it is given.
`GET /wait?ms=200` answers after that time without blocking the loop.
"""

import asyncio
import os
import sys


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            milliseconds = int(target.rpartition("ms=")[2] or 0) if "ms=" in target else 0
            status = b"404 Not Found" if target.startswith("/missing") else b"200 OK"
            await asyncio.sleep(milliseconds / 1000)
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\ndone\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    with open("/proc/self/comm", "w") as file:
        file.write("overlap")
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ.get("OVERLAP_PORT", "0")))
    port = server.sockets[0].getsockname()[1]
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(port))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
