# Puma: a worker reads the head itself where it is there at once, else its reactor does. Notes what `measure.py` does.
require "json"

LOG = File.open(File.join(ENV.fetch("BINDINGS_DIR"), "log"), "a")
LOG.sync = true

def clock(name) = Process.clock_gettime(name, :nanosecond)

run lambda { |env|
  query = env["QUERY_STRING"].split("&").to_h { |pair| pair.split("=", 2) }
  cpu, from = clock(Process::CLOCK_THREAD_CPUTIME_ID), clock(Process::CLOCK_MONOTONIC)
  sleep(query["ms"].to_f / 1000) if query["ms"]
  until_cpu = clock(Process::CLOCK_THREAD_CPUTIME_ID) + (query["cpu"].to_f * 1e6).to_i
  nil while clock(Process::CLOCK_THREAD_CPUTIME_ID) < until_cpu
  line = {
    key: env["HTTP_X_REQUEST_ID"] || "", pid: Process.pid, tid: Thread.current.native_thread_id,
    begin_ns: from, end_ns: clock(Process::CLOCK_MONOTONIC),
    cpu_ns: clock(Process::CLOCK_THREAD_CPUTIME_ID) - cpu, queued_ns: 0
  }
  LOG.syswrite(JSON.generate(line) + "\n")
  [200, { "Content-Length" => "5" }, ["done\n"]]
}
