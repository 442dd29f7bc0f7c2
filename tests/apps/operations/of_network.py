"""What `app.py` asks of `far_end.py`: HTTP, names, and an encrypted connection.

`FAR_HTTP`, `FAR_TLS` and `FAR_DNS` say where that is (`host:port`). Names are asked of `FAR_DNS` alone: where
`RESOLV_CONF` is set, this process has that file in place of `/etc/resolv.conf`, in a mount namespace of its own.
What takes a known time gives it in the header `X-Asked-Ns`, by the application's own clock.
"""

import ctypes
import http.client
import os
import select
import socket
import ssl
import struct
import tempfile
import time
import urllib.error
import urllib.request

from clock import Clock

_connections = {}


def own_resolv_conf():
    CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)
    steps = (
        lambda: libc.unshare(CLONE_NEWNS),
        # Before anything is mounted: it must not spread to the namespace that we came from.
        lambda: libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None),
        lambda: libc.mount(os.environ["RESOLV_CONF"].encode(), b"/etc/resolv.conf", None, MS_BIND, None),
    )
    for step in steps:
        if step() != 0:
            raise OSError(ctypes.get_errno(), "an own /etc/resolv.conf")


if "RESOLV_CONF" in os.environ:
    own_resolv_conf()


def place(name):
    host, port = os.environ[name].rsplit(":", 1)
    return host, int(port)


# HTTP


def keep_alive():
    if "http" not in _connections:
        _connections["http"] = http.client.HTTPConnection(*place("FAR_HTTP"))
    return _connections["http"]


def ask(method, target, secret, **more):
    connection = keep_alive()
    connection.request(method, target, headers={"Authorization": f"Bearer {secret}"}, **more)
    response = connection.getresponse()
    return response.status, response.read()


def http_urllib(n, secret):
    """A connection for each, as `urllib` does."""
    for number in range(n):
        url = f"http://{os.environ['FAR_HTTP']}/items/{number}?secret={secret}"
        urllib.request.urlopen(url).read()


def http_keepalive(n, secret):
    for number in range(n):
        ask("GET", f"/items/{number}?secret={secret}", secret)


def http_bodies(n, secret):
    """Small ones, large ones, in chunks and not, both ways; and of HEAD, none."""
    for number in range(n):
        match number % 6:
            case 0:
                ask("POST", "/upload", secret, body=secret.encode())
            case 1:
                ask("POST", "/upload", secret, body=secret.encode() * 30_000)
            case 2:
                pieces = iter([secret.encode() * 200] * 100)
                ask("PUT", "/upload", secret, body=pieces, encode_chunked=True)
            case 3:
                ask("GET", "/large", secret)
            case 4:
                ask("GET", "/chunked", secret)
            case 5:
                ask("HEAD", "/large", secret)


def http_statuses(n, secret):
    for number in range(n):
        ask("GET", f"/status/{(200, 204, 304, 404, 503)[number % 5]}?{secret}", secret)


def http_old(n, secret):
    """Responses that the end of the connection ends."""
    for _ in range(n):
        try:
            urllib.request.urlopen(f"http://{os.environ['FAR_HTTP']}/old?{secret}").read()
        except urllib.error.HTTPError as error:
            error.read()


def http_lost(n, secret):
    """The server ends the connection instead of an answer."""
    for number in range(n):
        connection = http.client.HTTPConnection(*place("FAR_HTTP"))
        connection.request("GET", f"/lost/{('closed', 'reset')[number % 2]}?{secret}")
        try:
            connection.getresponse()
        except ConnectionError:
            connection.close()
        time.sleep(0.05)


def http_gathered(n, secret):
    """A head and a body in several short buffers of one call."""
    keep_alive().close()
    keep_alive().connect()
    for _ in range(n):
        body = secret.encode() * 10
        pieces = [b"POST /upload HTTP/1.1\r\n", b"Host: far.test:80\r\n", b"Content-Length: "]
        pieces += [str(len(body)).encode(), b"\r\n", b"\r\n", body]
        keep_alive().sock.sendmsg(pieces[:4] + [b"".join(pieces[4:])])
        while b"\r\n\r\n" not in keep_alive().sock.recv(4096):
            pass
    _connections.pop("http").close()


def http_slow(n, secret):
    """Each is answered after a while: its head, and after the same again its body, which is long."""
    ask("GET", "/items/0", secret)
    clock = Clock()
    with clock:
        for _ in range(n):
            ask("GET", "/slow", secret)
    return clock.told()


# Names


def look_up(name, clock):
    with clock:
        try:
            socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        except socket.gaierror:
            pass


def dns_addresses(n, secret):
    clock = Clock()
    for _ in range(n):
        look_up("db.internal", clock)
    return clock.told()


def dns_unknown(n, secret):
    clock = Clock()
    for _ in range(n):
        look_up("missing.internal", clock)
    return clock.told()


def dns_broken(n, secret):
    clock = Clock()
    for _ in range(n):
        look_up("broken.internal", clock)
    return clock.told()


def dns_lost(n, secret):
    """The first question is lost, and asked again a second later."""
    clock = Clock()
    for number in range(n):
        look_up(f"lost-{chr(97 + number)}.internal", clock)
    return clock.told()


def dns_stream(n, secret):
    """Answers too long for a datagram, so that it is asked again over TCP."""
    clock = Clock()
    for _ in range(n):
        look_up("long.internal", clock)
    return clock.told()


def dns_unconnected(n, secret):
    """A resolver in the application, on a socket without a peer."""
    clock = Clock()
    question = b"".join(bytes([len(label)]) + label for label in (b"db", b"internal")) + b"\0\0\x01\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        asks.setblocking(False)
        for number in range(n):
            header = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0)
            with clock:
                asks.sendto(header + question, place("FAR_DNS"))
                select.select([asks], [], [], 10)
                asks.recvfrom(512)
    return clock.told()


def dns_daemons(n, secret):
    """As glibc asks nscd or systemd-resolved: by where these listen. And what is none."""
    clock = Clock()
    for path in ("run/nscd/socket", "var/run/nscd/socket", "run/systemd/resolve/io.systemd.Resolve"):
        for _ in range(n):
            ask_daemon(path, secret, clock)
    return clock.told()


def dns_no_daemon(n, secret):
    clock = Clock()
    for _ in range(n):
        ask_daemon("run/nscd/socket.old", secret, clock)
    return clock.told()


def ask_daemon(path, secret, clock):
    with socket.socket(socket.AF_UNIX) as asks, clock:
        # It has a file system of its own there.
        asks.connect(f"/proc/{os.environ['FAR_PID']}/root/{path}")
        asks.send(secret.encode())
        asks.recv(512)


# Not understood


def unknown_kept(n, secret):
    """A connection to what speaks a language of its own."""
    if "unknown" not in _connections:
        _connections["unknown"] = socket.socket(socket.AF_UNIX)
        _connections["unknown"].connect(f"/proc/{os.environ['FAR_PID']}/root/run/nscd/socket.old")
    for _ in range(n):
        _connections["unknown"].send(b"\x01\x02" + secret.encode())
        _connections["unknown"].recv(512)


def unknown_file(n, secret):
    """What is asked is the content of a file."""
    question = f"GET /items/1?{secret} HTTP/1.1\r\nHost: far.test\r\n\r\n".encode()
    with socket.create_connection(place("FAR_HTTP")) as asks, tempfile.TemporaryFile() as file:
        file.write(question)
        file.flush()
        for _ in range(n):
            os.sendfile(asks.fileno(), file.fileno(), 0, len(question))
            while b"an item" not in asks.recv(4096):
                pass


# Encrypted


def encrypted(new):
    if new:
        _connections.pop("tls", None)
    if "tls" not in _connections:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(place("FAR_TLS"))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _connections["tls"] = context.wrap_socket(plain)
    return _connections["tls"]


def _tls(n, secret, new):
    clock = Clock()
    with clock:
        connection = encrypted(new)
        for _ in range(n):
            connection.sendall(secret.encode())
            connection.recv(4096)
    return clock.told()


def tls_new(n, secret):
    return _tls(n, secret, new=True)


def tls_kept(n, secret):
    return _tls(n, secret, new=False)
