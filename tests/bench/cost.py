# SPDX-License-Identifier: Apache-2.0
"""What a load costs: CPU time of the whole machine and of each role in it."""
import contextlib
import json
import os
import resource
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from cgroup import root


STAT = "/proc/stat"
STEAL_SHARE = 0.02  # of a run's CPU time: from which on what it says is the host's doing


def machine_seconds():
    """CPU time of the whole machine. Return: (busy, with softirq and kernel work of every role; what its host kept; all of it)."""
    with open(STAT, encoding="ascii") as f:
        user, nice, system, idle, iowait, irq, softirq, steal = (int(v) / os.sysconf("SC_CLK_TCK") for v in f.readline().split()[1:9])
    busy = user + nice + system + irq + softirq
    return busy, steal, busy + steal + idle + iowait


def process_seconds(pid):
    """CPU time of all threads of a process, to the nanosecond. Threads that have ended are not in it."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total / 1e9


def memory_kb(pid, key="VmRSS", file="status"):
    """What a file of /proc says of a process's memory."""
    with open(f"/proc/{pid}/{file}", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key))


def children_seconds():
    """CPU time of this process's children that have ended: the load generator."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def strangers():
    """TCP programs (sockops) at the root of the cgroup tree, where none of the benchmark's own are: the kernel runs them for what
    happens to a socket for which any program wants to know it, so for Culvert's connections more often than for those of no mesh."""
    shown = subprocess.run(["bpftool", "-j", "cgroup", "show", root()], stdout=subprocess.PIPE, text=True, check=True).stdout
    return sum(p["attach_type"].endswith("sock_ops") for p in json.loads(shown.strip() or "[]"))


class Meter:
    """Between start and read: seconds of the machine, and of `client`, `server`, `proxy-client`, `proxy-server`, `rest`.
    `steal`, once read: the share of the machine's CPU time that its host gave to others."""

    def __init__(self, contestant):
        pids = contestant.proxy_pids()
        self.roles = {"server": [contestant.processes[0].pid], "proxy-client": pids[:1], "proxy-server": pids[1:]}
        self.steal = 0.0
        self.machine = machine_seconds()
        self.before = self._now()

    def _now(self):
        found = {role: sum(map(process_seconds, pids)) for role, pids in self.roles.items()}
        return {"machine": machine_seconds()[0], "client": children_seconds(), **found}

    def read(self):
        """{role: seconds}; `rest` is interrupts and whatever else ran: tcp in softirq is there."""
        used = {role: value - self.before[role] for role, value in self._now().items()}
        _, stolen, whole = (now - before for now, before in zip(machine_seconds(), self.machine))
        self.steal = stolen / whole if whole else 0.0
        used["rest"] = max(0.0, used["machine"] - sum(v for role, v in used.items() if role != "machine"))
        return used
