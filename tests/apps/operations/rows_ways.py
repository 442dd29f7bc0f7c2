"""Ways that wait for PostgreSQL, and what its process does meanwhile.

    GET /rows/<way>?n=400       ways: hold, want, naps, computes

`hold` changes a row and keeps it for `n` ms before it commits; `want` changes the same row.
"""

import os
import time

import psycopg
from app import _connections, database
from clock import Clock

_CHANGE = b"update row_of_all set number = number + 1"


def _connection():
    if "rows" not in _connections:
        _connections["rows"] = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True).pgconn
    return _connections["rows"]


def table(n, secret):
    database().execute("create table row_of_all as select 1 as number")


def hold(n, secret):
    connection = _connection()
    for statement in (b"begin", _CHANGE):
        connection.exec_(statement)
    time.sleep(n / 1000)
    connection.exec_(b"commit")


def want(n, secret):
    clock = Clock()
    clock.time(_connection().exec_, _CHANGE)
    return clock.measured()


def naps(n, secret):
    clock = Clock()
    clock.time(_connection().exec_, f"select pg_sleep({n / 1000})".encode())
    return clock.measured()


def computes(n, secret):
    clock = Clock()
    clock.time(_connection().exec_, f"select count(*) from generate_series(1, {n} * 5000)".encode())
    return clock.measured()
