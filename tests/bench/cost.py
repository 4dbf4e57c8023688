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


def machine_seconds():
    """Busy CPU time of the whole machine: softirq and kernel work of every role is in it."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(v) for v in f.readline().split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid):
    """CPU time of all threads of a process, to the nanosecond. Threads that have ended are not in it."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total / 1e9


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
    """Between start and read: seconds of the machine, and of `client`, `server`, `proxy-client`, `proxy-server`, `rest`."""

    def __init__(self, contestant):
        pids = contestant.proxy_pids()
        self.roles = {"server": [contestant.processes[0].pid], "proxy-client": pids[:1], "proxy-server": pids[1:]}
        self.before = self._now()

    def _now(self):
        found = {role: sum(map(process_seconds, pids)) for role, pids in self.roles.items()}
        return {"machine": machine_seconds(), "client": children_seconds(), **found}

    def read(self):
        """{role: seconds}; `rest` is interrupts and whatever else ran: tcp in softirq is there."""
        used = {role: value - self.before[role] for role, value in self._now().items()}
        used["rest"] = max(0.0, used["machine"] - sum(v for role, v in used.items() if role != "machine"))
        return used
