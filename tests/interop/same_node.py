# SPDX-License-Identifier: Apache-2.0
"""Two pods of one node that may talk directly: what test_direct.py, test_guard.py and test_streams.py stand on."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from culvert_node import CulvertNode, edit_file, stop, wait_for, write_config
from topology import Topology, remove_stale, run

PORT, OTHER = 9300, 9301
TALK_SIZE = 1000  # what a talk() sends

# Tells each client the address that it is seen under, then echoes; at the word END it has said all, and hears the rest.
END = "end"
SERVER = f"""
import socket, threading
def talk(conn, peer):
    with conn:
        conn.sendall(peer[0].removeprefix("::ffff:").encode() + b"\\n")
        while data := conn.recv(65536):
            if data == {END.encode()!r}:
                conn.shutdown(socket.SHUT_WR)
            else:
                conn.sendall(data)
def serve(port):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=talk, args=s.accept(), daemon=True).start()
threading.Thread(target=serve, args=({OTHER},), daemon=True).start()
serve({PORT})
"""
CLIENT = f"""
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]) if sys.argv[3:] else 30) as s:
    f = s.makefile("rb")
    seen = f.readline().decode().strip()
    if not seen:
        sys.exit("closed")
    s.sendall(b"x" * {TALK_SIZE})
    assert f.read({TALK_SIZE}) == b"x" * {TALK_SIZE}
    s.shutdown(socket.SHUT_WR)
    assert f.read() == b""
    print(seen)
"""
HOLDER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as s:
    s.settimeout(60)
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
OUTSIDE = "172.30.79.2"
LAST = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"the last datagram", (sys.argv[1], 9))
"""


def maps(direct, name):
    """A dump of one of the node's maps."""
    return subprocess.run(["bpftool", "-j", "map", "dump", "pinned", os.path.join(direct.node.pins, name)],
                          stdout=subprocess.PIPE, text=True, check=True).stdout


def ifindex(direct, name):
    """Of an interface of the node's."""
    return json.loads(direct.topology.nodes[0].ip("-j", "link", "show", name))[0]["ifindex"]


def guards(direct):
    """Ifindexes of the links that have their guards: what the agent enters last."""
    return {entry["formatted"]["key"] for entry in json.loads(maps(direct, "cv_links"))}


def eth0(direct):
    """The host's ends of both pods' first links."""
    return [f"h{pod.name}" for pod in (direct.client, direct.server)]


def wait_guarded(direct):
    """Until both pods' first links have their guards: those come after a pod is captured, in a thread of their own."""
    links = {ifindex(direct, name) for name in eth0(direct)}
    wait_for(lambda: links <= guards(direct), 40, "the guards")


def read(path):
    """Bytes of a file."""
    with open(path, "rb") as f:
        return f.read()


@contextlib.contextmanager
def sniffed(direct, link="any"):
    """Everything on the node's links, or on one of them; the file's bytes are in the list afterwards."""
    path, seen = os.path.join(direct.work_dir, "sniffed"), []
    process = direct.topology.nodes[0].popen("tcpdump", "-U", "-Z", "root", "-i", link, "-w", path, stderr=-1, text=True)
    try:
        for line in process.stderr:
            if "listening on" in line:
                break
        yield seen
        # what came before is in the file once this is
        direct.topology.nodes[0].run(sys.executable, "-c", LAST, OUTSIDE)
        wait_for(lambda: b"the last datagram" in read(path), 30, "the end of what was sniffed")
        seen.append(read(path))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stderr.close()


class Direct:
    """Node 1 with the pods `client` and `server`; options: bypass, uplink, outsider (a plain pod on node 2), crl (True:
    revocation lists are read from `crl`), env (of the node's processes), prepare (called with this before anything runs on node 1)."""

    def __init__(self, mode="direct", labels="", **options):
        remove_stale("cd")
        self.topology = Topology("cd", 79)
        self.client, self.server = self.topology.pod(1, "c"), self.topology.pod(1, "s")
        self.outsider = self.topology.pod(2, "o") if options.get("outsider") else None  # of no mesh
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
        self.talks = 0
        self.process = self.server.popen(sys.executable, "-c", SERVER)
        self.others = []  # processes that end with us
        env = {"CULVERT_SAME_NODE": mode} if mode else {}
        env.update(options.get("env", {}))
        for name, variable in (("bypass", "CULVERT_HOST_BYPASS"), ("uplink", "CULVERT_UPLINK")):
            if options.get(name):
                env[variable] = options[name]
        self.crl = os.path.join(self.work_dir, "crl.pem")
        if options.get("crl"):
            env["CRL_PATH"] = self.crl
        if options.get("prepare"):
            options["prepare"](self)
        self.node = CulvertNode(self.topology.nodes[0], 1, self.config, "direct", env=env)
        try:
            self.node.wait_captured([self.client.name, self.server.name])
            wait_for(lambda: self.server.run("ss", "-Hltn", "sport", "=", f":{PORT}"), 10, "the server")
        except RuntimeError:
            self.close()
            raise

    def label(self, more):
        """One more label on the namespace."""
        self.edit("istio-injection: enabled}", "istio-injection: enabled, " + more + "}")

    def edit(self, old, new):
        """Replace what is in the manifests once."""
        edit_file(os.path.join(self.config, "mesh.yaml"), old, new)

    def counter(self, name):
        """A counter of the programs."""
        return self.node.admin("agent", "/status")["counters"].get(name, 0)

    def talk(self, port=PORT, host=None, limit=30, by=None):
        """One connection, of the client unless another pod is named; the address that the server saw. Each step of it may take
        so many seconds."""
        seen = (by or self.client).run(sys.executable, "-c", CLIENT, host or self.server.ip4, str(port), str(limit)).strip()
        self.talks += 1
        return seen

    def talk_from(self, pod, limit=30):
        """The same from another pod."""
        return pod.run(sys.executable, "-c", CLIENT, self.server.ip4, str(PORT), str(limit)).strip()

    def works_from(self, pod):
        """Does it work?"""
        with contextlib.suppress(RuntimeError):
            return self.talk_from(pod, 3) == pod.ip4
        return False

    def works(self, port=PORT):
        """Does it, for the client?"""
        with contextlib.suppress(RuntimeError):
            return self.talk(port, limit=3) == self.client.ip4
        return False

    def is_direct(self, port=PORT, host=None):
        """Did one more connection go direct?"""
        before = self.counter("direct")
        assert self.talk(port, host) == (self.client.ip6 if host == self.server.ip6 else self.client.ip4)
        return self.counter("direct") > before

    def deny(self, port):
        """A policy that denies a port."""
        with open(os.path.join(self.config, "deny.yaml"), "w", encoding="utf-8") as f:
            f.write(DENY % port)

    def metrics(self):
        """What ztunnel counts."""
        return run("curl", "-sf", "--max-time", "30", "--unix-socket", f"{self.node.run_dir}/ztunnel/admin.sock",
                   "http://localhost/metrics")

    def bytes_received(self, way="received"):
        """What the server has got, or (`sent`) has said, by reporter."""
        sums = {"source": 0, "destination": 0}
        for line in self.metrics().splitlines():
            if line.startswith(f"istio_tcp_{way}_bytes_total{{"):
                sums["source" if 'reporter="source"' in line else "destination"] += int(line.rsplit(" ", 1)[1])
        return sums

    def bytes_received_at_rest(self):
        """The same, once each talk() before is over and counted: ends of direct connections are told in batches."""
        whole = dict.fromkeys(("source", "destination"), TALK_SIZE * self.talks)
        wait_for(lambda: self.bytes_received() == whole and not self.node.connections(), 10, "the end of the connections before")
        return whole

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
        for process in (self.process, *self.others):
            stop(process)
        self.topology.close()
        shutil.rmtree(self.work_dir, ignore_errors=True)
