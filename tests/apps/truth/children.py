"""Cases that start processes. What a child did by other clocks is a part too, under a name of its own: `startup` from
before it was started until just before its first output, `cpu` its CPU time by the kernel's own count."""

import os
import resource
import subprocess
import sys
import time

HELPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "helper.py")


def sleep_child(parts, ms, environ):
    parts.measure("child", lambda: subprocess.run(["sleep", str(ms / 1000)], check=True))


def shell(parts, ms, environ):
    """A shell with two children, one of them in the background."""
    script = f"sleep {ms / 1000} & sleep {ms / 2000}; wait; cat /etc/hostname >/dev/null"
    parts.measure("child", lambda: subprocess.run(["sh", "-c", script], check=True))


def cpu_of_children_ns():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


def helper(parts, ms, environ):
    """A helper that imports Django, and tells when it was ready."""
    begin, used = time.monotonic_ns(), cpu_of_children_ns()
    run = [sys.executable, HELPER, "--password", "hunter2"]
    done = parts.measure("child", lambda: subprocess.run(run, check=True, capture_output=True))
    cpu = cpu_of_children_ns() - used
    for account, ns in ("startup", int(done.stdout) - begin), ("cpu", cpu):
        parts.items.append({"account": account, "wall_ns": ns, "cpu_ns": 0, "queued_ns": 0})


def failing(parts, ms, environ):
    parts.measure("child", lambda: subprocess.run(["sh", "-c", "exit 3"]))
    parts.measure("child", lambda: subprocess.run(["sh", "-c", "kill -9 $$"]))
    try:
        subprocess.run(["/no/such/program"])
    except FileNotFoundError:
        pass


def background(parts, ms, environ):
    """Nobody waits for it."""
    subprocess.Popen(["sleep", str(ms / 1000)])


def spawn(parts, ms, environ):
    def work():
        pid = os.posix_spawnp("sleep", ["sleep", str(ms / 1000)], os.environ)
        os.waitpid(pid, 0)

    parts.measure("child", work)


def fork(parts, ms, environ):
    """A child that runs what its parent runs. It lives from when its parent has copied its memory."""
    pid = os.fork()
    if pid == 0:
        time.sleep(ms / 1000)
        os._exit(7)
    parts.measure("child", lambda: os.waitpid(pid, 0))


def many(parts, ms, environ):
    def work():
        for _ in range(40):
            subprocess.run(["true"], check=True)

    parts.measure("child", work)


def crowd(parts, ms, environ):
    """Thirty at once."""

    def work():
        for child in [subprocess.Popen(["sleep", str(ms / 1000)]) for _ in range(30)]:
            child.wait()

    parts.measure("child", work)


CASES = {
    "children-sleep": sleep_child,
    "children-shell": shell,
    "children-helper": helper,
    "children-failing": failing,
    "children-background": background,
    "children-spawn": spawn,
    "children-fork": fork,
    "children-many": many,
    "children-crowd": crowd,
}
