"""More ways to ask PostgreSQL: several connections, broken ones, COPY, notifications.

    GET /postgres/<way>?n=37    ways: interleaved, reconnect, terminated, copy, broken_pipeline, listen,
                                automatic, outside, pool, teardown
"""

import os

import psycopg
import sqlalchemy
from app import _connections, cache, database

def second():
    if "second" not in _connections:
        _connections["second"] = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    return _connections["second"]


def interleaved(n, secret):
    """Two connections that wait at the same time, and a cache."""
    for number in range(n):
        one, two = database().pgconn, second().pgconn
        one.send_query(f"select '{secret}' as one, {number}".encode())
        two.send_query(f"select '{secret}' as two, {number}".encode())
        cache().get(f"key:{secret}:{number}")
        for connection in (two, one):
            while connection.get_result() is not None:
                pass


def reconnect(n, secret):
    """The application closes its connection and makes another, half way."""
    for number in range(n):
        database().execute("select %s::text, %s::int as before", (secret, number)).fetchall()
    _connections.pop("postgres").close()
    for number in range(n):
        database().execute("select %s::text, %s::int as after", (secret, number)).fetchall()


def terminated(n, secret):
    """The server ends the connection: the next statement fails, and a new connection takes over."""
    for number in range(n):
        database().execute("select %s::text, %s::int as before", (secret, number)).fetchall()
    pid = database().info.backend_pid
    second().execute("select pg_terminate_backend(%s, 5000)", (pid,)).fetchall()
    try:
        database().execute("select %s::text as terminated", (secret,))
    except psycopg.OperationalError:
        _connections.pop("postgres").close()
    for number in range(n):
        database().execute("select %s::text, %s::int as after", (secret, number)).fetchall()


def copy(n, secret):
    """`n` rows in and out, then a statement that must be told as if nothing had been."""
    connection = database()
    connection.execute("create temporary table if not exists copied (number int, secret text)")
    connection.execute("truncate copied")
    with connection.cursor() as cursor:
        with cursor.copy("copy copied from stdin") as into:
            for number in range(n):
                into.write_row((number, secret * 20))
        with cursor.copy("copy copied to stdout") as out:
            assert sum(1 for _ in out.rows()) == n
        assert cursor.execute("select count(*) from copied").fetchone()[0] == n


def broken_pipeline(n, secret):
    """One of `2n + 1` statements fails; the server skips those behind it."""
    connection = database()
    low = connection.pgconn
    statements = ["select $1::text, $2::int as good"] * n
    statements += ["select $1::text, 1/$2::int as bad"]
    statements += ["select $1::text, $2::int as skipped"] * n
    low.enter_pipeline_mode()
    for statement in statements:
        low.send_query_params(statement.encode(), [secret.encode(), b"0"])
    low.pipeline_sync()
    results = []
    while not results or results[-1] != psycopg.pq.ExecStatus.PIPELINE_SYNC:
        result = low.get_result()
        if result is not None:
            results.append(result.status)
    low.exit_pipeline_mode()
    assert results.count(psycopg.pq.ExecStatus.PIPELINE_ABORTED) == n, results
    connection.execute("select %s::text as behind", (secret,)).fetchall()


def listen(n, secret):
    second().execute("listen news")
    for number in range(n):
        database().execute("select pg_notify('news', %s)", (f"{secret} {number}",)).fetchall()
    heard = sum(1 for _ in second().notifies(timeout=10, stop_after=n))
    assert heard == n, heard
    second().execute("unlisten news")


def automatic(n, secret):
    """As any application: psycopg prepares what it has executed five times."""
    for number in range(n):
        database().execute("select %s::text, %s::int as automatic", (secret, number)).fetchall()


def outside(n, secret):
    """`n` statements in the request, and as many again when it is over (see `application`)."""

    def later():
        for number in range(n):
            database().execute("select %s::text, %s::int as later", (secret, number)).fetchall()
        database().execute("select %s::text as prepared_outside", (secret,), prepare=True).fetchall()

    for number in range(n):
        database().execute("select %s::text, %s::int as now", (secret, number)).fetchall()
    return {"later": later}


def after_outside(n, secret):
    """What [`outside`] left prepared."""
    for _ in range(n):
        database().execute("select %s::text as prepared_outside", (secret,), prepare=True).fetchall()


def _engine():
    """SQLAlchemy's pool: a ping when a connection is taken, a rollback when it is given back."""
    if "pool" not in _connections:
        url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
        _connections["pool"] = sqlalchemy.create_engine(url, pool_pre_ping=True, pool_size=2)
    return _connections["pool"]


_POOLED = sqlalchemy.text("select cast(:secret as text), cast(:number as int) as pooled")


def pool(n, secret):
    for number in range(n):
        with _engine().connect() as connection:
            connection.execute(_POOLED, {"secret": secret, "number": number}).fetchall()
        if number % 2:
            with _engine().begin() as connection:
                connection.execute(_POOLED, {"secret": secret, "number": number}).fetchall()


def teardown(n, secret):
    """As web frameworks have it: the connection is given back, and rolled back, when the response is out."""
    connection = _engine().connect()
    for number in range(n):
        connection.execute(_POOLED, {"secret": secret, "number": number}).fetchall()
    return {"later": connection.close}
