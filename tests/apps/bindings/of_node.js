// Node: one thread serves everything. `/wait?ms=10` waits, `/block?ms=50` computes for that long. Notes what `measure.py` does.
const fs = require("fs");
const http = require("http");
const path = require("path");

const directory = process.env.BINDINGS_DIR;
const log = fs.openSync(path.join(directory, "log"), "a");
const now = () => process.hrtime.bigint();

function note(request, begin) {
  const line = {
    key: request.headers["x-request-id"] || "",
    pid: process.pid,
    tid: process.pid,
    begin_ns: Number(begin),
    end_ns: Number(now()),
    cpu_ns: 0,
    queued_ns: 0,
  };
  fs.writeSync(log, JSON.stringify(line) + "\n");
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const milliseconds = Number(url.searchParams.get("ms") || 0);
  const begin = now();
  const done = () => {
    note(request, begin);
    response.end("done\n");
  };
  if (url.pathname === "/block") {
    const used = process.cpuUsage();
    const spent = () => process.cpuUsage(used).user + process.cpuUsage(used).system;
    while (spent() < milliseconds * 1e3);
    done();
  } else {
    setTimeout(done, milliseconds);
  }
});

server.listen(0, "127.0.0.1", () => {
  const file = path.join(directory, "port");
  fs.writeFileSync(file + ".new", String(server.address().port));
  fs.renameSync(file + ".new", file);
});
