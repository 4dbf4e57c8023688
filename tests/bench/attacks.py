# SPDX-License-Identifier: Apache-2.0
"""What an attack costs: ztunnel's CPU for each second of the attacker's, and how much longer honest round trips take meanwhile;
what a slow reader costs.

The attacker has a certificate and writes frames that were made beforehand, so that it pays for little but the TLS. Its streams
and the honest client's reach the same application, loadgen, which takes hundreds of connections at once without keeping the
others waiting. An attacker on this machine takes processors from everybody, which one on another machine does not. So it runs
pinned, too: it has the last core, everything else the first one, what the kernel does for a packet that reaches the victim's node
included. `BURN` is no flood: its attacker only keeps its core busy, and what that does to the p99 is the machine's.
"""
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import contestants
import h2raw
import slow
from hostile import RAW, Hostile
from leftovers import NAMESPACES, TAG
from rows import has_percentiles
from topology import run

KEYS = "key updates"
KEY_UPDATES = os.path.join(os.path.dirname(RAW), "key_updates.py")
BURN = "busy core"
FLOODS = (*h2raw.FLOODS, KEYS, BURN)
BURNING = "import sys, time\nend = time.process_time() + float(sys.argv[1])\nwhile time.process_time() < end: pass\n" \
          "print('{\"cpu\": ' + sys.argv[1] + '}')"
# Round trips of 64 bytes a second on the honest connection, which are due whatever the answers do.
HONEST_PER_S = 1000


def cpu_s(pid):
    """CPU time of a process, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def processes_of(pid):
    """What `pid` has started, and what these have."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as f:
                for child in map(int, f.read().split()):
                    found += [child, *processes_of(child)]
    return found


def set_affinity(cores):
    """Of this process and everything that it has started."""
    os.sched_setaffinity(0, cores)
    for pid in processes_of(os.getpid()):
        with contextlib.suppress(FileNotFoundError):
            contestants.set_affinity(pid, cores)


class Stage:
    """The victim, an honest client and the attacker."""

    def __init__(self, work_dir, seconds):
        self.hostile, self.seconds = Hostile(work_dir, f"{NAMESPACES}a", 74, TAG), seconds
        self.attackers_core = None

    def start(self):
        """Culvert, and the application."""
        self.hostile.processes += slow.serve(self.hostile.server)
        self.hostile.start()

    @contextlib.contextmanager
    def pinned(self):
        """The attacker has the last core, everything else the first."""
        before = os.sched_getaffinity(0)
        try:
            set_affinity({min(before)})
            self._receive_on(1 << min(before))
            self.attackers_core = max(before)
            yield
        finally:
            self.attackers_core = None
            self._receive_on(0)
            set_affinity(before)

    def _receive_on(self, mask):
        """Which cores take what reaches the victim's node; 0: the sender's, as always where a link has both ends in one kernel."""
        run("ip", "netns", "exec", self.hostile.server.node.name, "sh", "-c",
            f"echo {mask:x} > /sys/class/net/uplink/queues/rx-0/rps_cpus")

    def beside(self, *argv):
        """Run a command of the attacker's beside the honest client. Return: (its output, ztunnel's CPU, honest p99 or None)."""
        h = self.hostile
        pid = h.ztunnel()
        before = cpu_s(pid)
        attack = subprocess.Popen(h.attacker.enter("taskset", "-c", str(self.attackers_core), *argv), stdout=subprocess.PIPE,
                                  text=True) if argv else None
        honest = json.loads(h.friend.run(slow.LOADGEN, "open", h.server.ip4, str(slow.FAST_PORT), "1", "64",
                                         str(self.seconds), str(HONEST_PER_S)))
        out = attack.communicate()[0] if attack else ""
        return out, cpu_s(pid) - before, honest["p99_us"] if has_percentiles(honest) else None

    def attack(self, name):
        """One flood. Return: as beside()."""
        h = self.hostile
        if name == BURN:
            return self.beside(sys.executable, "-c", BURNING, str(self.seconds))
        argv = (KEY_UPDATES,) if name == KEYS else (RAW, "flood", name)
        port = slow.SOURCE_PORT if name in h2raw.FROM_A_SOURCE else slow.FAST_PORT
        return self.beside(sys.executable, *argv, h.server.ip4, *h.leaf(), f"{h.server.ip4}:{port}", str(self.seconds))

    def attacks(self, names):
        """{flood: {metric: value}}. A quiet moment before each, in which also what the victim holds against the attacker's
        address wears off; the p99 is compared with that of the median quiet moment."""
        found, quiets = {}, []
        with self.pinned():
            for name in names:
                _, quiet_cpu, quiet = self.beside()
                quiets.append(quiet)
                out, cpu, p99 = self.attack(name)
                theirs = max(json.loads(out)["cpu"], 0.01)
                found[name] = {"cpu_per_attacker": max(cpu - quiet_cpu, 0) / theirs, "p99_to_quiet_pinned": p99}
        usual = statistics.median([q for q in quiets if q] or [math.inf])
        for metrics in found.values():
            p99 = metrics.pop("p99_to_quiet_pinned")
            if p99 and usual < math.inf:
                metrics["p99_to_quiet_pinned"] = p99 / usual
        return found


def stage(bench):
    """The run's, made for its first row."""
    if not bench.stage:
        work_dir = os.path.join(bench.work_dir, "attacks")
        os.makedirs(work_dir)
        bench.stage = Stage(work_dir, 0.7 if bench.options.quick else 1.5)
        bench.stack.callback(bench.stage.hostile.close)
        bench.stack.callback(bench.at, "attack_* stop")
        bench.stage.start()
    return bench.stage


def attacks(bench):
    """Every flood that is wanted, in rounds."""
    wanted = [name for name in FLOODS if row_id(name) in bench.options.rows]
    for number in range(1 if bench.options.quick else 3):
        bench.at("attack_*", f"attacks, round {number + 1}")
        for name, metrics in stage(bench).attacks(wanted).items():
            for metric, value in metrics.items():
                bench.add(row_id(name), contestants.Culvert, metric, value)


def slow_reader(bench):
    """Memory, and what the fast connections of the tunnel lose against the same time without it."""
    h = stage(bench).hostile
    pids = [h.ztunnel(0), h.ztunnel(1)]
    seconds = 2 if bench.options.quick else 30
    _, _, alone = slow.run(h.friend, h.server, pids, seconds, has_slow=False)
    growth, _, beside = slow.run(h.friend, h.server, pids, seconds)
    bench.add("slow_reader", contestants.Culvert, "rss_growth_kB", growth)
    bench.add("slow_reader", contestants.Culvert, "fast_loss_percent", 100 * (1 - beside["per_s"] / alone["per_s"]))


def row_id(name):
    """Of a flood."""
    return "attack_" + name.replace(" ", "_")


METRICS = ("cpu_per_attacker", "p99_to_quiet_pinned")
ROWS = {"slow_reader": (slow_reader, ("rss_growth_kB", "fast_loss_percent")),
        **{row_id(name): (attacks, METRICS) for name in FLOODS}}
