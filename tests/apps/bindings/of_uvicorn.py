"""FastAPI under uvicorn: `/work` is a plain `def` (a thread of the pool works, the loop reads and writes), the others are
coroutines. `$BINDINGS_LOOP`: asyncio or uvloop.

    /work?ms=10&cpu=3   works in the pool
    /wait?ms=10         waits without blocking the loop
    /block?ms=50        blocks the loop
"""

import asyncio
import os
import time

import uvicorn
from fastapi import FastAPI, Request
from measure import listen, note, number, work

app = FastAPI()


@app.get("/work")
def work_in_the_pool(request: Request):
    work(request.headers.get("x-request-id", ""), request.url.query)
    return "done"


@app.get("/wait")
async def wait(request: Request):
    begin = time.monotonic_ns()
    await asyncio.sleep(number(request.url.query, "ms"))
    note(request.headers.get("x-request-id", ""), begin, time.monotonic_ns())
    return "done"


@app.get("/block")
async def block(request: Request):
    work(request.headers.get("x-request-id", ""), request.url.query)
    return "done"


loop = os.environ.get("BINDINGS_LOOP", "asyncio")
config = uvicorn.Config(app, loop=loop, http="h11", log_level="warning", access_log=False)
uvicorn.Server(config).run(sockets=[listen()])
