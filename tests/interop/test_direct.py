# SPDX-License-Identifier: Apache-2.0
"""Two pods of one node with --same-node=direct: plain TCP inside the kernel, with the mesh's identity, policy and
telemetry, and without its processes once a verdict is known."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from culvert_node import CulvertNode, stop, wait_for, write_config
from topology import Topology, remove_stale, run

PORT, OTHER = 9300, 9301

# Tells each client the address that it is seen under, then echoes.
SERVER = f"""
import socket, threading
def talk(conn, peer):
    with conn:
        conn.sendall(peer[0].removeprefix("::ffff:").encode() + b"\\n")
        while data := conn.recv(65536):
            conn.sendall(data)
def serve(port):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=talk, args=s.accept(), daemon=True).start()
threading.Thread(target=serve, args=({OTHER},), daemon=True).start()
serve({PORT})
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
    f = s.makefile("rb")
    seen = f.readline().decode().strip()
    if not seen:
        sys.exit("closed")
    s.sendall(b"x" * 1000)
    assert f.read(1000) == b"x" * 1000
    s.shutdown(socket.SHUT_WR)
    assert f.read() == b""
    print(seen)
"""
HOLDER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
    s.settimeout(20)
    f = s.makefile("rb")
    f.readline()
    print("open", flush=True)
    try:
        print("eof" if not f.read(1) else "data", flush=True)
    except ConnectionError as e:
        print(type(e).__name__, flush=True)
"""
DENY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-port, namespace: direct}
spec:
  action: DENY
  rules: [{to: [{operation: {ports: ["%d"]}}]}]
"""


SERVICE = """---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: direct}
spec: {clusterIP: 10.96.79.1, selector: {app: web}, ports: [{port: 80, targetPort: %d}]}
"""
VIP = "10.96.79.1"


class Direct:
    """Node 1 with the pods `client` and `server`."""

    def __init__(self, mode="direct", labels=""):
        remove_stale("cd")
        self.topology = Topology("cd", 79)
        self.client, self.server = self.topology.pod(1, "c"), self.topology.pod(1, "s")
        self.work_dir = tempfile.mkdtemp(prefix="culvert-direct-")
        os.chmod(self.work_dir, 0o755)  # the control plane reads it as another user
        self.config = os.path.join(self.work_dir, "config")
        for pod in (self.client, self.server):
            pod.namespace, pod.account = "direct", pod.name
        write_config(self.config, [self.client, self.server], SERVICE % PORT)
        self.edit(f"name: {self.server.name}, namespace: direct, annotations",
                  f"name: {self.server.name}, labels: {{app: web}}, namespace: direct, annotations")
        if labels:
            self.label(labels)
        self.process = self.server.popen(sys.executable, "-c", SERVER)
        os.environ["CULVERT_SAME_NODE"] = mode
        try:
            self.node = CulvertNode(self.topology.nodes[0], 1, self.config, "direct")
        finally:
            del os.environ["CULVERT_SAME_NODE"]
        try:
            self.node.wait_captured([self.client.name, self.server.name])
        except RuntimeError:
            self.close()
            raise

    def label(self, more):
        """One more label on the namespace."""
        self.edit("istio-injection: enabled}", "istio-injection: enabled, " + more + "}")

    def edit(self, old, new):
        """Replace what is in the manifests once."""
        path = os.path.join(self.config, "mesh.yaml")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        with open(path + ".new", "w", encoding="utf-8") as f:
            assert old in text
            f.write(text.replace(old, new, 1))
        os.replace(path + ".new", path)

    def counter(self, name):
        """A counter of the programs."""
        return self.node.admin("agent", "/status")["counters"].get(name, 0)

    def talk(self, port=PORT, host=None):
        """One connection; the address that the server saw."""
        return self.client.run(sys.executable, "-c", CLIENT, host or self.server.ip4, str(port)).strip()

    def is_direct(self, port=PORT):
        """Did one more connection go direct?"""
        before = self.counter("direct")
        assert self.talk(port) == self.client.ip4
        return self.counter("direct") > before

    def deny(self, port):
        """A policy that denies a port."""
        with open(os.path.join(self.config, "deny.yaml"), "w", encoding="utf-8") as f:
            f.write(DENY % port)

    def metrics(self):
        """What ztunnel counts."""
        return run("curl", "-sf", "--max-time", "5", "--unix-socket", f"{self.node.run_dir}/ztunnel/admin.sock",
                   "http://localhost/metrics")

    def log(self):
        """What the node has logged."""
        self.node.log.flush()
        with open(self.node.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def kill_node(self):
        """Everything of the node dies at once; nothing is left to restart it."""
        children = [p for name in ("culvert-agent", "culvert-ztunnel", "culvert-control") for p in self.node.pids(name)]
        self.node.process.kill()
        self.node.process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(os.path.exists(f"/proc/{p}/exe") for p in children), 10, "the end of the node")

    def close(self):
        """Remove everything."""
        self.node.close()
        stop(self.process)
        self.topology.close()
        shutil.rmtree(self.work_dir, ignore_errors=True)


@pytest.fixture(name="direct")
def fixture_direct():
    """A node in direct mode."""
    d = Direct()
    yield d
    d.close()


def test_same_source_both_families(direct):
    """The server sees the client's address, through the tunnel as well as without."""
    wait_for(direct.is_direct, 15, "a direct connection")
    assert direct.talk(host=direct.server.ip6) == direct.client.ip6


def test_service(direct):
    """A service whose only endpoint is on this node needs no tunnel; its counters name it."""
    def is_direct():
        before = direct.counter("direct")
        assert direct.talk(80, VIP) == direct.client.ip4
        return direct.counter("direct") > before

    wait_for(is_direct, 15, "a direct connection to the service")
    wait_for(lambda: any("istio_tcp_connections_closed" in line and 'destination_service_name="web"' in line
                         for line in direct.metrics().splitlines()), 10, "metrics of the service")


def test_telemetry(direct):
    """A direct connection is counted and logged at both ends, with its bytes."""
    wait_for(direct.is_direct, 15, "a direct connection")
    before = direct.metrics()
    assert direct.is_direct()

    def total(text, name, reporter):
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith(name) and f'reporter="{reporter}"' in line and direct.server.name in line)

    def grown():
        now = direct.metrics()
        return all(total(now, f"istio_tcp_{name}_total", r) - total(before, f"istio_tcp_{name}_total", r) >= by
                   for name, by in (("connections_opened", 1), ("connections_closed", 1), ("sent_bytes", 1000),
                                    ("received_bytes", 1000)) for r in ("source", "destination"))

    wait_for(grown, 10, "metrics of the direct connection")
    size = 1000 + len(direct.client.ip4) + 1
    assert direct.log().count(f"bytes_sent={size}") + direct.log().count("bytes_sent=1000") >= 2, direct.log()


def test_policy_closes_and_refuses(direct):
    """A new denial closes a live direct connection, refuses the next at connect(2), and ends with its policy."""
    wait_for(direct.is_direct, 15, "a direct connection")
    holder = direct.client.popen(sys.executable, "-c", HOLDER, direct.server.ip4, str(PORT), stdout=subprocess.PIPE,
                                 text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        before = time.monotonic()
        direct.deny(PORT)
        assert holder.stdout.readline().strip() in ("ConnectionResetError", "ConnectionAbortedError", "eof")
        assert time.monotonic() - before < 10
    finally:
        stop(holder)

    def refused():
        with pytest.raises(RuntimeError) as e:
            direct.talk()
        return "ConnectionRefusedError" in str(e.value)

    wait_for(refused, 10, "ECONNREFUSED")
    wait_for(lambda: direct.counter("policy") > 0, 5, "the drop's counter")
    assert direct.talk(OTHER) == direct.client.ip4
    os.unlink(os.path.join(direct.config, "deny.yaml"))

    def works():
        with contextlib.suppress(RuntimeError):
            return direct.is_direct()
        return False

    wait_for(works, 15, "the end of the denial")


def test_without_the_mesh_processes(direct):
    """All of them dead: what is known is served, what is not known is refused, never plain."""
    wait_for(direct.is_direct, 15, "a direct connection")
    direct.kill_node()
    assert direct.talk() == direct.client.ip4
    with pytest.raises(RuntimeError, match="ConnectionRefusedError"):
        direct.talk(OTHER)


def test_label_encrypt():
    """culvert.io/same-node: encrypt opts a namespace out."""
    d = Direct(labels="culvert.io/same-node: encrypt")
    try:
        for _ in range(4):
            assert not d.is_direct()
        assert d.counter("verdict_miss") == 0
    finally:
        d.close()


def test_label_comes_later(direct):
    """The label takes effect on a running pod."""
    wait_for(direct.is_direct, 15, "a direct connection")
    direct.label("culvert.io/same-node: encrypt")
    wait_for(lambda: not direct.is_direct(), 15, "the end of direct connections")
    assert not direct.is_direct()


def test_default_is_encrypt():
    """Nothing is direct unless it is asked for."""
    d = Direct(mode="encrypt")
    try:
        for _ in range(4):
            assert not d.is_direct()
    finally:
        d.close()
