"""A WSGI application that asks a database and a cache a known number of times.

    GET /redis/<way>?n=37       ways: plain, pipeline, transaction
    GET /postgres/<way>?n=37    ways: simple, extended, prepared, pipeline, batch
    GET /mysql/<way>?n=37       ways: see of_mysql.py
    GET /http/<way>?n=37        ways: see of_network.py; so for dns, tls, unknown

More ways are in the modules `<kind>_ways`. What a way returns (figures) goes into the header `X-Measured`,
but for the function `later`, which is called when the response is out; a list is taken for headers.

It uses the drivers as anybody does. Connections live as long as the worker; `DATABASE_URL` and `REDIS_URL`
say where to. The secret in `?secret=` goes into every literal, key and value: it must be told by nobody.
"""

import importlib
import json
import os
from urllib.parse import parse_qs

import psycopg
import redis

# Modules whose ways are functions `<kind>_<way>`, by kind.
SHARED = {"dns": "of_network", "http": "of_network", "mysql": "of_mysql", "tls": "of_network", "unknown": "of_network"}
_connections = {}


def cache():
    if "redis" not in _connections:
        _connections["redis"] = redis.Redis.from_url(os.environ["REDIS_URL"])
    return _connections["redis"]


def database(autocommit=True):
    if "postgres" not in _connections:
        _connections["postgres"] = psycopg.connect(os.environ["DATABASE_URL"], autocommit=autocommit)
    return _connections["postgres"]


def redis_plain(n, secret):
    for number in range(n):
        if number % 2:
            cache().set(f"key:{secret}:{number}", secret * 20)
        else:
            cache().get(f"key:{secret}:{number}")


def redis_pipeline(n, secret):
    pipeline = cache().pipeline(transaction=False)
    for number in range(n):
        pipeline.incr(f"count:{secret}:{number}")
    pipeline.execute()


def redis_transaction(n, secret):
    pipeline = cache().pipeline(transaction=True)
    for number in range(n):
        pipeline.incr(f"count:{secret}:{number}")
    pipeline.execute()


def postgres_simple(n, secret):
    with psycopg.ClientCursor(database()) as cursor:
        for number in range(n):
            cursor.execute("select %s::text, %s::int as simple", (secret, number))
            cursor.fetchall()


def postgres_extended(n, secret):
    for number in range(n):
        database().execute("select %s::text, %s::int as extended", (secret, number), prepare=False).fetchall()


def postgres_prepared(n, secret):
    for number in range(n):
        database().execute("select %s::text, %s::int as prepared", (secret, number), prepare=True).fetchall()


def postgres_pipeline(n, secret):
    with database().pipeline():
        cursors = [
            database().execute("select %s::text, %s::int as pipelined", (secret, number))
            for number in range(n)
        ]
        for cursor in cursors:
            cursor.fetchall()


def postgres_batch(n, secret):
    """`n` rows in one answer, and one statement that fails."""
    database().execute("select repeat('x', 100) from generate_series(1, %s::int) as batch", (n,)).fetchall()
    try:
        database().execute("select %s::text from nowhere", (secret,))
    except psycopg.errors.UndefinedTable:
        pass


class Later:
    """An empty body; what is to be done when it is out is done when the server closes it."""

    def __init__(self, later):
        self.close = later

    def __iter__(self):
        return iter(())


def find(kind, name):
    """The function of a way; `None`: there is none."""
    if not name.isidentifier() or name.startswith("_"):
        return None
    if f"{kind}_{name}" in globals():
        return globals()[f"{kind}_{name}"]
    if kind in SHARED:
        return getattr(importlib.import_module(SHARED[kind]), f"{kind}_{name}", None)
    try:
        return getattr(importlib.import_module(f"{kind}_ways"), name, None)
    except ModuleNotFoundError:
        return None


def application(environ, start_response):
    query = parse_qs(environ.get("QUERY_STRING", ""))
    n = int(query.get("n", ["1"])[0])
    secret = query.get("secret", ["none"])[0]
    kind, _, name = environ["PATH_INFO"].strip("/").partition("/")
    function = find(kind, name)
    found = (function(n, secret) if function is not None else None) or {}
    if isinstance(found, list):
        start_response("204 No Content", found)
        return []
    later = found.pop("later", None)
    start_response("204 No Content", [("X-Measured", json.dumps(found))])
    return Later(later) if later else []
