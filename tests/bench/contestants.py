# SPDX-License-Identifier: Apache-2.0
"""The contestants of the benchmark. Each has a topology of its own (client pod on node 1, server pod on node 1 or 2), so that
all of them stand side by side and a round can visit one after the other. Other people's proxies: peers.py."""
import contextlib
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import cost
from cgroup import Cgroup
from culvert_node import BIN, ROOT, CulvertNode, stop, wait_for, write_config
from leftovers import NAMESPACES, TAG
from topology import Topology

LOADGEN = os.path.join(BIN, "loadgen")
PLAIN_ZTUNNEL = os.path.join(ROOT, "build", "bench", "culvert-ztunnel-plain")
PORT = 9100
OFFSETS = range(4)  # the server's ports: echo, sink, a byte per connection, HTTP
# Of every contestant, pods and proxies alike. Were it the machine's, such as BBR, which puts a timer between any two packets, then
# those that leave it where nothing can be lost would be told from the others by that alone. Every namespace may have this one.
CONGESTION = "reno"
QUIET = {"RUST_LOG": "warn"}  # the same log level for every proxy
# In a quick run, of those that nothing is promised against: what they are slow at and what they take shows in these, too.
OF_OTHERS = ("rss_idle", "idle_cpu", "rr1", "rr32", "bulk16", "conn16", "http1", "http1_half_load")


def has_tunnel(pod):
    """True while a tunnel of this pod's is open."""
    return bool(pod.run("ss", "-Htn", "state", "established", "dport", "=", "15008").strip())


def set_affinity(pid, cores):
    """Of each thread of a process."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
            os.sched_setaffinity(int(thread), cores)


class Contestant:
    """No mesh; the others add their proxies in start()."""

    name = "none"
    baseline = "none"  # what its ratio_to_none is against
    rows = None  # the only ones that it takes part in; None: all
    quick_rows = None  # the same of a quick run
    server_node = 2

    def __init__(self, octet, work_dir):
        self.work_dir = os.path.join(work_dir, self.name)
        os.makedirs(self.work_dir, exist_ok=True)
        self.processes = []
        self.tag = TAG + self.name
        self.topology = Topology(f"{NAMESPACES}{octet}", octet)
        self.cgroup = Cgroup(self.tag)
        try:
            self._serve()
            self.start()
        except BaseException:
            self.close()
            raise

    def _serve(self):
        """The two pods and the server in one of them."""
        self.client = self.topology.pod(1, "c")
        self.server = self.topology.pod(self.server_node, "s")
        for part in self.topology.parts:
            part.sysctl("net.ipv4.tcp_congestion_control", CONGESTION)
        self.client.sysctl("net.ipv4.ip_local_port_range", "1024 65000")  # TIME_WAIT must not run out of ports
        self.client.sysctl("net.ipv4.tcp_tw_reuse", 1)
        for pod, account in ((self.client, "client"), (self.server, "server")):
            pod.namespace, pod.account = "bench", account
        self.processes.append(self.server.popen(*self.cgroup.within(LOADGEN, "serve", str(PORT)), stdout=subprocess.DEVNULL))
        time.sleep(0.2)

    def start(self):
        """Nothing to start without a mesh."""

    def target(self, offset):
        """Host and port that the client dials for the server's PORT + offset."""
        return self.server.ip4, PORT + offset

    def proxy_pids(self):
        """Processes whose memory counts as the proxy's, the client's side first."""
        return []

    def all_pids(self):
        """Every process that the contestant adds to the machine."""
        return self.proxy_pids()

    def maps_kb(self):
        """Kernel memory of the client node's BPF maps, None without such."""
        return None

    def rss_kb(self):
        """Resident memory of the client side's proxy, None without one."""
        pids = self.proxy_pids()
        return cost.memory_kb(pids[0]) if pids else None

    def anonymous_kb(self):
        """What of that is no file's: heap, stacks and what relocations have changed. The code's share comes and goes."""
        return cost.memory_kb(self.proxy_pids()[0], "Anonymous:", "smaps_rollup")

    def load(self, mode, offset, *args, **kwargs):
        """Run the load generator in the client pod."""
        host, port = self.target(offset)
        return self.client.run(*self.cgroup.within(LOADGEN, mode, host, str(port), *map(str, args)), timeout=30, **kwargs)

    @contextlib.contextmanager
    def pinned(self, core=0):
        """Client, server and all proxies on one core: what the work costs, without the wake-ups of other cores."""
        before = os.sched_getaffinity(0)
        try:
            self._set_affinity({core})
            yield
        finally:
            self._set_affinity(before)

    def _set_affinity(self, cores):
        """Of this process (its children inherit it: the client), of the server, and of each thread of the proxies."""
        os.sched_setaffinity(0, cores)
        for pid in [self.processes[0].pid, *self.proxy_pids()]:
            set_affinity(pid, cores)

    def close(self):
        """Stop all and remove the namespaces."""
        for process in reversed(self.processes):
            stop(process)
        self.topology.close()
        self.cgroup.close()


class LocalNone(Contestant):
    """No mesh, both pods on one node."""

    name = baseline = "none-local"
    server_node = 1


class Culvert(Contestant):
    """Culvert on two nodes."""

    name = "culvert-cross"
    env = QUIET
    bin_dir = BIN

    def start(self):
        config = os.path.join(self.work_dir, "config")
        write_config(config, [self.client, self.server])
        self.pair = []
        for number, node in enumerate(self.topology.nodes[:self.server_node], 1):
            self.pair.append(CulvertNode(node, number, config, self.tag, env=self.env, bin_dir=self.bin_dir,
                                         wrap=self.cgroup.as_root()))
        self.pair[0].wait_captured([self.client.name])
        self.pair[-1].wait_captured([self.server.name])
        wait_for(self._is_ready, 20, f"a first {self.name} connection, see {config}")

    def _is_ready(self):
        """Does a connection take the path that is to be measured?"""
        with contextlib.suppress(RuntimeError):
            self.load("rr", 0, 1, 64, 0.1)
            return self.is_on_path()
        return False

    def is_on_path(self):
        """Has the last connection gone through a tunnel?"""
        return has_tunnel(self.client)

    def proxy_pids(self):
        return [pid for node in self.pair for pid in node.pids("culvert-ztunnel")]

    def all_pids(self):
        return [pid for node in self.pair for part in ("ztunnel", "agent", "control") for pid in node.pids(f"culvert-{part}")]

    def maps_kb(self):
        return self.pair[0].maps_kb()

    def close(self):
        for node in getattr(self, "pair", []):
            node.close()
        super().close()


class LocalCulvert(Culvert):
    """Culvert, both pods on one node, connected inside the kernel."""

    name = "culvert-local"
    baseline = "none-local"
    server_node = 1
    env = {**QUIET, "CULVERT_SAME_NODE": "direct"}

    def is_on_path(self):
        """Is each port that will be dialled direct by now? The first connection of each asks for its verdict."""
        def direct():
            return self.pair[0].admin("agent", "/status")["counters"].get("direct", 0)

        for offset in OFFSETS:
            before = direct()
            self.load("conn", offset, 1, 0.05)
            if direct() == before:
                return False
        return True


class BypassCulvert(LocalCulvert):
    """The same where nothing in the host filters pods: the handshake skips the host's stack, too."""

    name = "culvert-bypass"
    rows = ("conn1", "conn16")  # what it does about all that follows is culvert-local's
    env = {**LocalCulvert.env, "CULVERT_HOST_BYPASS": "full"}


class PlainCulvert(Culvert):
    """Culvert on two nodes with a ztunnel that is made for this benchmark and does not encrypt."""

    name = "culvert-plain"
    quick_rows = OF_OTHERS

    def start(self):
        self.bin_dir = os.path.join(self.work_dir, "bin")
        os.makedirs(self.bin_dir, exist_ok=True)
        for name in ("culvert", "culvert-agent", "culvert-control"):
            shutil.copy(os.path.join(BIN, name), self.bin_dir)
        shutil.copy(PLAIN_ZTUNNEL, os.path.join(self.bin_dir, "culvert-ztunnel"))
        super().start()
        if not self._is_plain_on_the_wire():
            raise RuntimeError("culvert-plain encrypts: its wrappers of OpenSSL's functions are not called any more")

    def _is_plain_on_the_wire(self):
        """loadgen sends zeros, which do not stay zeros in a cipher. Whole packets would not fit into the pipe that is read last."""
        sniffer = self.topology.nodes[0].popen("timeout", "10", "tcpdump", "-i", "uplink", "-c", "20", "-x", "-n", "-s", "256",
                                               "greater 1000 and tcp port 15008", stdout=subprocess.PIPE,
                                               stderr=subprocess.DEVNULL, text=True)
        end = time.monotonic() + 10
        while sniffer.poll() is None and time.monotonic() < end:
            self.load("rr", 0, 1, 4096, 0.3)
        return "0000 0000 0000 0000 0000 0000 0000 0000" in sniffer.communicate()[0]


def available():
    """(classes that can run here, {name: why not}): ours and no mesh; the others are in peers.py."""
    missing = {"culvert-shortcut": "left out, see bpf/README.md"}
    classes = [Contestant, LocalNone, LocalCulvert, BypassCulvert, Culvert]
    if os.access(PLAIN_ZTUNNEL, os.X_OK):
        classes.append(PlainCulvert)
    else:
        missing["culvert-plain"] = f"{PLAIN_ZTUNNEL} is not built: `make bench-plain`"
    return classes, missing
