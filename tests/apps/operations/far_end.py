"""The other end of what `of_network.py` asks: HTTP, DNS and TLS servers that count what they were asked.

    far_end.py FOLDER DNS_ADDRESS CERTIFICATE DELAY_MS

Writes the HTTP and the TLS port to `FOLDER/ports`. `GET /counts` answers with all counts, and is not counted.
"""

import asyncio
import ctypes
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

folder, dns_address, certificate, delay_ms = sys.argv[1:]
DELAY = int(delay_ms) / 1000
counts = Counter()
LARGE = b"x" * 3_000_000
DAEMONS = (
    "/run/nscd/socket",
    "/var/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/nscd/socket.old",
)
TYPES = {1: "A", 28: "AAAA"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go out as they are written.
    wbufsize = 0
    disable_nagle_algorithm = True

    def do(self):
        path = self.path.split("?")[0].strip("/")
        self.take_body()
        if path == "counts":
            return self.answer(200, json.dumps(counts).encode())
        route, _, rest = path.partition("/")
        counts[f"{self.command} /{route}" + ("/{id}" if rest else "")] += 1
        return getattr(self, "of_" + route)(rest)

    do_GET = do_HEAD = do_POST = do_PUT = do

    def take_body(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        while "chunked" in self.headers.get("Transfer-Encoding", ""):
            length = int(self.rfile.readline(), 16)
            self.rfile.read(length + 2)
            if length == 0:
                break

    def answer(self, status, body=b""):
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def of_items(self, rest):
        self.answer(200, b"an item")

    def of_upload(self, rest):
        self.answer(201)

    def of_large(self, rest):
        self.answer(200, LARGE)

    def of_status(self, rest):
        status = int(rest)
        self.answer(status, b"" if status in (204, 304) else b"so")

    def of_chunked(self, rest):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"3e8\r\n" + b"y" * 1000 + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def of_old(self, rest):
        self.protocol_version = "HTTP/1.0"
        self.close_connection = True
        self.send_response(500)
        self.end_headers()
        self.wfile.write(LARGE)

    def of_lost(self, rest):
        """No answer: the connection is closed, or reset."""
        time.sleep(DELAY)
        if rest == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
        self.close_connection = True

    def of_slow(self, rest):
        time.sleep(DELAY)
        self.send_response(200)
        self.send_header("Content-Length", str(len(LARGE)))
        self.end_headers()
        time.sleep(DELAY)
        self.wfile.write(LARGE)

    def log_message(self, *_):
        pass


class Names(asyncio.DatagramProtocol):
    lost = set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, question, sender):
        name, kind = counted(question)
        if name.startswith("lost") and (name, kind) not in self.lost:
            self.lost.add((name, kind))
            return
        reply = answered(question, name, kind, datagram=True)
        # Those for IPv6 overtake those for IPv4.
        delay = DELAY if kind == 1 else DELAY / 2
        asyncio.get_running_loop().call_later(delay, self.transport.sendto, reply, sender)


def counted(question):
    at, labels = 12, []
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    name, kind = ".".join(labels), struct.unpack_from("!H", question, at + 1)[0]
    counts[f"{TYPES[kind]} {name}"] += 1
    return name, kind


def answered(question, name, kind, datagram):
    end = question.index(b"\0", 12) + 5
    number = struct.unpack_from("!H", question)[0]
    code = {"missing": 3, "broken": 2}.get(name.split(".")[0], 0)
    long = name.startswith("long")
    records = 0 if code or (long and datagram) else 50 if long else 1
    truncated = 0x0200 if long and datagram else 0
    header = struct.pack("!6H", number, 0x8180 | truncated | code, 1, records, 0, 0)
    data = b""
    for last in range(1, records + 1):
        address = bytes([127, 0, 0, last]) if kind == 1 else b"\0" * 15 + bytes([last])
        data += struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(address)) + address
    return header + question[12:end] + data


async def stream(reader, writer):
    try:
        while True:
            length = struct.unpack("!H", await reader.readexactly(2))[0]
            question = await reader.readexactly(length)
            reply = answered(question, *counted(question), datagram=False)
            await asyncio.sleep(DELAY)
            writer.write(struct.pack("!H", len(reply)) + reply)
    except asyncio.IncompleteReadError:
        writer.close()


def own_run():
    """Empty folders for the sockets of resolvers, in a mount namespace of our own."""
    CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 16384, 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "a mount namespace")
    # The second may be a link to the first: it must not be one here.
    for base in (b"/var", b"/run"):
        if libc.mount(b"none", base, b"tmpfs", 0, None):
            raise OSError(ctypes.get_errno(), "an empty folder")
    for folder in ("/run/nscd", "/var/run/nscd", "/run/systemd/resolve"):
        os.makedirs(folder)


async def daemon(reader, writer):
    while await reader.read(512):
        await asyncio.sleep(DELAY)
        writer.write(b"told")
    writer.close()


async def encrypted(reader, writer):
    while await reader.read(4096):
        counts["encrypted"] += 1
        await asyncio.sleep(DELAY)
        writer.write(b"told")
    writer.close()


async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Names, (dns_address, 53))
    await asyncio.start_server(stream, dns_address, 53)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    tls = await asyncio.start_server(encrypted, "127.0.0.1", 0, ssl=context)
    for server in tls.sockets:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    own_run()
    for path in DAEMONS:
        await asyncio.start_unix_server(daemon, path)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    with open(f"{folder}/ports.new", "w") as file:
        file.write(f"{http.server_port} {tls.sockets[0].getsockname()[1]}")
    os.rename(f"{folder}/ports.new", f"{folder}/ports")
    await asyncio.Event().wait()


asyncio.run(main())
