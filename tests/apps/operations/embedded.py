"""A WSGI application with a database in its own process.

    GET /sqlite/<way>?n=37      ways: cached, fresh, rows, write, slow, errors, open, again, early, nested, searched

It uses Python's sqlite3 as anybody does: one connection per thread, statements cached by the driver.
`DATABASE_PATH` says where the database is. The answer is what the application measured itself, in
nanoseconds. The secret in `?secret=` goes into literals and parameters: it must be told by nobody.
"""

import json
import os
import sqlite3
import threading
import time
from urllib.parse import parse_qs

_local = threading.local()
_kept = []


def database():
    if not hasattr(_local, "connection"):
        _local.connection = sqlite3.connect(os.environ["DATABASE_PATH"], timeout=20, isolation_level=None)
    return _local.connection


with sqlite3.connect(os.environ["DATABASE_PATH"]) as setup:
    setup.execute("create table if not exists item (id integer primary key, name text)")
    setup.execute("delete from item")
setup.close()

EARLY = "select 'early', 'literal' as early"
database().execute(EARLY).fetchall()


def cached(n, secret):
    """One text, prepared once."""
    for number in range(n):
        database().execute("select ?, 'hunter2' as cached", (f"{secret}{number}",)).fetchall()


def fresh(n, secret):
    """As many texts as executions."""
    for number in range(n):
        database().execute(f"select {number}, '{secret}' as fresh").fetchall()


def rows(n, secret):
    """One statement with `n` rows."""
    query = "with recursive r(i) as (select 1 union all select i + 1 from r where i < ?) select i, ? from r"
    assert len(database().execute(query, (n, secret)).fetchall()) == n


def write(n, secret):
    database().execute("begin")
    for number in range(n):
        database().execute("insert into item (name) values (?)", (f"{secret}{number}",))
    database().execute("rollback")


def slow(n, secret):
    """Runs for some 500 ms within one step."""
    query = f"with recursive r(i) as (select 1 union all select i + 1 from r where i < {n}) select max(i) from r"
    database().execute(query).fetchall()


def errors(n, secret):
    """One that cannot be prepared, one that fails when it is executed."""
    for statement in (f"select '{secret}' from nowhere", "insert into item (id) values (4711), (4711)"):
        try:
            database().execute(statement)
        except sqlite3.Error:
            pass


def open(n, secret):
    """A cursor that outlives its request, `n` rows into it."""
    query = "with recursive r(i) as (select 1 union all select i + 1 from r where i < 1000) select i as opened from r"
    cursor = database().execute(query)
    for _ in range(n):
        cursor.fetchone()
    _kept.append(cursor)


def again(n, secret):
    """Ends what `open` has left."""
    _kept.clear()
    database().execute("select 1 as again").fetchall()


def early(n, secret):
    """A statement that was prepared when the application was loaded, where it was."""
    for _ in range(n):
        database().execute(EARLY).fetchall()


def nested(n, secret):
    """Each statement has a function of the application's asked, which asks another connection."""
    inner = sqlite3.connect(":memory:")
    outer = sqlite3.connect(":memory:")
    outer.create_function("ask", 1, lambda value: inner.execute("select ? as inner", (value,)).fetchone()[0])
    for number in range(n):
        outer.execute("select ask(?) as outer", (number,)).fetchall()


def searched(n, secret):
    """Text search asks the database of itself."""
    table = sqlite3.connect(":memory:")
    table.execute("create virtual table text using fts5(body)")
    for number in range(n):
        table.execute("insert into text values (?) -- searched", (f"a {secret} {number}",))
        table.execute("select body as searched from text where text match ?", (str(number),)).fetchall()


WAYS = {way.__name__: way for way in (
    cached, fresh, rows, write, slow, errors, open, again, early, nested, searched
)}


def application(environ, start_response):
    query = parse_qs(environ.get("QUERY_STRING", ""))
    way = WAYS.get(environ["PATH_INFO"].removeprefix("/sqlite/"))
    took = 0
    if way is not None:
        database()
        start = time.perf_counter_ns()
        way(int(query["n"][0]), query["secret"][0])
        took = time.perf_counter_ns() - start
    body = json.dumps(took).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
