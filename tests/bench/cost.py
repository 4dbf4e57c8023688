# SPDX-License-Identifier: Apache-2.0
"""What a load costs: CPU time of the whole machine and of each role in it."""
import contextlib
import os
import resource


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
