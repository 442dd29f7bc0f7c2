"""waitress: its main thread reads and queues, four threads work and write."""

import waitress
from measure import listen, work


def application(environ, start_response):
    work(environ.get("HTTP_X_REQUEST_ID", ""), environ["QUERY_STRING"])
    body = b"done\n" * 2
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


waitress.serve(application, sockets=[listen()], threads=4)
