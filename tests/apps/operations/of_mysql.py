"""What `app.py` asks of MySQL or MariaDB at `MYSQL_URL`, by two drivers.

PyMySQL has the text protocol, mysql-connector the binary one of prepared statements. What takes a known time
gives it, by the application's own clock, in the header `X-Asked-Ns`.
"""

import os
import tempfile
from urllib.parse import urlsplit

from clock import Clock

_connections = {}
_prepared = {}


def _address():
    url = urlsplit(os.environ["MYSQL_URL"])
    return {
        "host": url.hostname,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "database": url.path.strip("/"),
    }


def database():
    """A connection for text, which may send several statements at once, and files."""
    if "text" not in _connections:
        import pymysql

        _connections["text"] = pymysql.connect(
            **_address(),
            autocommit=True,
            local_infile=True,
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        )
    return _connections["text"]


def binary():
    """A connection for prepared statements."""
    if "binary" not in _connections:
        import mysql.connector

        _connections["binary"] = mysql.connector.connect(**_address(), autocommit=True, ssl_disabled=True)
    return _connections["binary"]


def mysql_simple(n, secret):
    with database().cursor() as cursor:
        for number in range(n):
            cursor.execute("select %s as text, %s as simple", (secret, number))
            cursor.fetchall()


def mysql_prepared(n, secret):
    """The statement is prepared once and for all."""
    if "cursor" not in _prepared:
        _prepared["cursor"] = binary().cursor(prepared=True)
    for number in range(n):
        _prepared["cursor"].execute("select ? as text, ? as prepared", (secret, number))
        _prepared["cursor"].fetchall()


def mysql_anew(n, secret):
    """The statement is prepared for each execution."""
    for number in range(n):
        cursor = binary().cursor(prepared=True)
        cursor.execute("select ? as text, ? as anew", (secret, number))
        cursor.fetchall()
        cursor.close()


def mysql_multi(n, secret):
    """Up to ten statements in one text."""
    with database().cursor() as cursor:
        for begin in range(0, n, 10):
            count = min(10, n - begin)
            cursor.execute(f"select 'it\\'s {secret}' as multi;" * count)
            while cursor.nextset():
                pass


def mysql_procedure(n, secret):
    """A statement with several results."""
    with database().cursor() as cursor:
        for number in range(n):
            cursor.execute("call twice(%s)", (secret,))
            while cursor.nextset():
                pass


def mysql_unbuffered(n, secret):
    """Rows that are read one by one, on connections of their own."""
    import pymysql.cursors

    connection = pymysql.connect(**_address(), cursorclass=pymysql.cursors.SSCursor)
    with connection.cursor() as cursor:
        cursor.execute("select seq, repeat('x', 100), %s as unbuffered from seq_1_to_5000", (secret,))
        for _ in cursor:
            pass
        for number in range(n):
            cursor.execute("select %s as behind", (number,))
            cursor.fetchall()
    connection.close()


def mysql_rows(n, secret):
    """`n` rows in one answer, as many written, and one statement that fails."""
    import pymysql

    with database().cursor() as cursor:
        cursor.execute(f"select seq, repeat('x', 100) as many from seq_1_to_{n}")
        cursor.fetchall()
        cursor.execute("create or replace table made (number int, text varchar(50))")
        cursor.executemany("insert into made values (%s, %s)", [(number, secret) for number in range(n)])
        cursor.execute("delete from made where text = %s limit 3", (secret,))
        try:
            cursor.execute("select %s from nowhere", (secret,))
        except pymysql.err.ProgrammingError:
            pass


def mysql_file(n, secret):
    """A file of `n` lines, and a statement behind it."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(f"{number}\t{secret}\n" for number in range(n))
        file.flush()
        with database().cursor() as cursor:
            cursor.execute("create or replace table loaded (number int, text varchar(50))")
            cursor.execute(f"load data local infile '{file.name}' into table loaded")
            cursor.execute("select count(*) from loaded where text = %s", (secret,))
            cursor.fetchall()


def mysql_sleep(n, secret):
    """Statements of 20 ms each; the time that they took here."""
    clock = Clock()
    with database().cursor() as cursor:
        for _ in range(n):
            clock.time(cursor.execute, "select sleep(0.02), %s as slept", (secret,))
    return clock.told()
