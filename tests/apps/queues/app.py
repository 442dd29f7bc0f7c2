"""Tells when its connection was accepted, by its own clock. Each request takes 50 ms."""

import json
import time

import accepts


def application(environ, start_response):
    time.sleep(0.05)
    key = (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"]))
    body = json.dumps({"accepted_ns": accepts.TIMES.get(key, 0)}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
