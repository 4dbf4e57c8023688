# SPDX-License-Identifier: Apache-2.0
"""The contestants of the benchmark. Each has a topology of its own (client pod on node 1, server pod on node 2), so that
all of them stand side by side and a round can visit one after the other."""
import contextlib
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import istio_ztunnel
from culvert_node import BIN, CulvertNode, stop, wait_for, write_config
from topology import Topology, run

LOADGEN = os.path.join(BIN, "loadgen")
PORT = 9100
QUIET = {"RUST_LOG": "warn"}  # the same log level for every proxy


def has_tunnel(pod):
    """True while a tunnel of this pod's is open."""
    return bool(pod.run("ss", "-Htn", "state", "established", "dport", "=", "15008").strip())


class Contestant:
    """No mesh; the others add their proxies in start()."""

    name = "none"
    baseline = "none"  # what its ratio_to_none is against
    server_node = 2

    def __init__(self, octet, work_dir):
        self.work_dir = os.path.join(work_dir, self.name)
        os.makedirs(self.work_dir, exist_ok=True)
        self.topology = Topology(f"cb{octet}", octet)
        self.client = self.topology.pod(1, "c")
        self.server = self.topology.pod(self.server_node, "s")
        self.client.sysctl("net.ipv4.ip_local_port_range", "1024 65000")  # TIME_WAIT must not run out of ports
        self.client.sysctl("net.ipv4.tcp_tw_reuse", 1)
        for pod, account in ((self.client, "client"), (self.server, "server")):
            pod.namespace, pod.account = "bench", account
        self.processes = [self.server.popen(LOADGEN, "serve", str(PORT), stdout=subprocess.DEVNULL)]
        time.sleep(0.2)
        try:
            self.start()
        except Exception:
            self.close()
            raise

    def start(self):
        """Nothing to start without a mesh."""

    def target(self, offset):
        """Host and port that the client dials for the server's PORT + offset."""
        return self.server.ip4, PORT + offset

    def proxy_pids(self):
        """Processes whose memory counts as the proxy's, the client's side first."""
        return []

    def rss_kb(self):
        """Resident memory of the client side's proxy."""
        pids = self.proxy_pids()
        if not pids:
            return 0
        with open(f"/proc/{pids[0]}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def load(self, mode, offset, *args, **kwargs):
        """Run the load generator in the client pod."""
        host, port = self.target(offset)
        return self.client.run(LOADGEN, mode, host, str(port), *map(str, args), timeout=30, **kwargs)

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
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
                    os.sched_setaffinity(int(thread), cores)

    def close(self):
        """Stop all and remove the namespaces."""
        for process in reversed(self.processes):
            stop(process)
        self.topology.close()


class Ztunnel(Contestant):
    """Istio's ztunnel pair."""

    name = "ztunnel"

    def start(self):
        workloads = [istio_ztunnel.workload(self.client, "n1"), istio_ztunnel.workload(self.server, "n2")]
        self.pair = []
        for number, pod in ((1, self.client), (2, self.server)):
            z = istio_ztunnel.Ztunnel(istio_ztunnel.binary(), self.topology.nodes[number - 1], f"n{number}", [pod],
                                      workloads, self.work_dir)
            self.pair.append(z)
            self.processes.append(z.process)

    def proxy_pids(self):
        return [z.process.pid for z in self.pair]


HAPROXY = """
global
    nbthread 2
    maxconn 9000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    maxconn 9000
{sections}
"""
HAPROXY_CLIENT = """listen out{offset}
    bind 127.0.0.1:{port}
    server s {server}:{tls} ssl crt {pem} ca-file {ca} verify required verifyhost bench alpn h2
"""
HAPROXY_SERVER = """listen in{offset}
    bind {server}:{tls} ssl crt {pem} ca-file {ca} verify required
    server s {server}:{port}
"""


class Haproxy(Contestant):
    """HAProxy pair, TCP over mutual TLS."""

    name = "haproxy"

    def start(self):
        pem, ca = self._certificate()
        for pod, section in ((self.client, HAPROXY_CLIENT), (self.server, HAPROXY_SERVER)):
            parts = [section.format(offset=i, port=PORT + i, tls=PORT + 1000 + i, server=self.server.ip4, pem=pem, ca=ca)
                     for i in range(3)]
            path = os.path.join(self.work_dir, f"{pod.account}.cfg")
            with open(path, "w", encoding="utf-8") as f:
                f.write(HAPROXY.format(sections="\n".join(parts)))
            self.processes.append(pod.popen("haproxy", "-db", "-f", path, stdout=subprocess.DEVNULL))
        time.sleep(0.5)

    def _certificate(self):
        key, cert, pem = (os.path.join(self.work_dir, name) for name in ("key", "ca.pem", "bench.pem"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", cert, "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:bench")
        with open(pem, "wb") as out:
            for part in (cert, key):
                with open(part, "rb") as f:
                    out.write(f.read())
        return pem, cert

    def target(self, offset):
        return "127.0.0.1", PORT + offset

    def proxy_pids(self):
        return [p.pid for p in self.processes[1:]]


class LocalNone(Contestant):
    """No mesh, both pods on one node."""

    name = baseline = "none-local"
    server_node = 1


class Culvert(Contestant):
    """Culvert on two nodes."""

    name = "culvert-cross"
    env = QUIET

    def start(self):
        config = os.path.join(self.work_dir, "config")
        write_config(config, [self.client, self.server])
        nodes = self.topology.nodes[:self.server_node]
        self.pair = [CulvertNode(node, number, config, self.name, env=self.env) for number, node in enumerate(nodes, 1)]
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
        return [node.pids("culvert-ztunnel")[0] for node in self.pair]

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

        for offset in range(3):
            before = direct()
            self.load("conn", offset, 1, 0.05)
            if direct() == before:
                return False
        return True


def available():
    """(classes that can run here, {name: why not})."""
    missing = {}
    classes = [Contestant, Culvert, LocalNone, LocalCulvert]
    if istio_ztunnel.binary():
        classes.append(Ztunnel)
    else:
        missing["ztunnel"] = "ISTIO_ZTUNNEL names no executable (build istio/ztunnel with --features testing)"
    if shutil.which("haproxy"):
        classes.append(Haproxy)
    else:
        missing["haproxy"] = "haproxy is not installed"
    return classes, missing
