# SPDX-License-Identifier: Apache-2.0
"""Start, remember, await and end processes."""
import os
import signal
import subprocess
import time

from . import layout


def sh(*argv, check=True, **kw):
    """Run a program to its end. Return: its standard output."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **kw)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv[:6])}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def start(name, argv, env=None):
    """Start a daemon in a session of its own; `end_all` ends it. Return: its Popen."""
    os.makedirs(layout.PIDS, exist_ok=True)
    os.makedirs(layout.LOGS, exist_ok=True)
    with open(f"{layout.LOGS}/{name}.log", "ab") as log:
        proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                env={**os.environ, **(env or {})})
    with open(f"{layout.PIDS}/{name}", "w", encoding="ascii") as f:
        f.write(f"{proc.pid} {start_time(proc.pid)}\n")
    return proc


def start_time(pid):
    """What tells a process from a later one with the same number. Return: "" when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def recorded(name):
    """Return: the pid of the daemon, 0 when it does not run."""
    try:
        with open(f"{layout.PIDS}/{name}", encoding="ascii") as f:
            pid, began = f.read().split()
    except (OSError, ValueError):
        return 0
    return int(pid) if start_time(pid) == began and began else 0


def end(name, deadline_s=2):
    """End a daemon and all that is in its session's group."""
    pid = recorded(name)
    if pid:
        for signo, patience in ((signal.SIGTERM, deadline_s), (signal.SIGKILL, 5)):
            try:
                os.killpg(pid, signo)
            except ProcessLookupError:
                break
            if wait(lambda: not recorded(name) or is_zombie(pid), patience, fail=False):
                break
    try:
        os.unlink(f"{layout.PIDS}/{name}")
    except FileNotFoundError:
        pass


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait(condition, seconds, what="", fail=True):
    """Wait until condition() is true. Return: whether it is."""
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() > deadline:
            if fail:
                raise RuntimeError(f"not within {seconds} s: {what}")
            return False
        time.sleep(0.1)
