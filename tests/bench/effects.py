# SPDX-License-Identifier: Apache-2.0
"""How soon connections feel a change: of a policy, of a revocation list, of an endpoint; in meshes of 100 to 100,000 workloads.
What each change is timed to is seen by a pod, from outside."""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import contestants
import curves
import peers
import scale
import served
from certificates import serial_of, write_crl
from culvert_node import CulvertNode, put_file, stop, wait_for, write_config
from leftovers import NAMESPACES, TAG
from topology import Topology

LABELS = {scale.SMALL: "small", scale.MEDIUM: "medium", scale.LARGE: "large"}
PORT = 9300
EFFECTS, QUICK_EFFECTS = 25, 8
CURVES = {"policy_effect": ("cut_p50_ms", "refused_p50_ms"), "endpoint_connection": ("reached_p50_ms",)}  # over the mesh's size
VIP = "10.97.0.1"
SERVICE = f"""---
apiVersion: v1
kind: Service
metadata: {{name: turn, namespace: bench}}
spec: {{clusterIP: {VIP}, selector: {{turn: "now"}}, ports: [{{name: tcp, port: {PORT}}}]}}
"""
# Waits on a connection until it is cut, then tries a new one each millisecond until one is refused; prints both moments.
CUT = """
import socket, sys, time
def open_one():
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
    s.sendall(b"x")
    return s if s.recv(1) == b"x" else None
def attempt():
    try:
        return open_one()
    except OSError:
        return None
for line in sys.stdin:
    s = None
    while s is None:
        s = attempt()
    print("open", flush=True)
    try:
        s.recv(1)
    except OSError:
        pass
    cut = time.monotonic()
    while attempt():
        time.sleep(0.001)
    print(cut, time.monotonic(), flush=True)
"""
# Says its name to whoever connects.
NAMED = """
import socket, sys
s = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
while True:
    with s.accept()[0] as c:
        c.sendall(sys.argv[2].encode())
"""
# Asks for a name each millisecond, from an answer of the old one until AFTER_S behind the first of the new one. Prints when that
# one came, when the last that reached the old one had begun, and how many reached nobody.
AFTER_S = 0.03
TURN = f"""
import socket, sys, time
def ask():
    begin = time.monotonic()
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as s:
            return begin, s.recv(1).decode()
    except OSError:
        return begin, ""
for new in map(str.strip, sys.stdin):
    while (old := ask()[1]) in ("", new):
        time.sleep(0.001)
    print("open", flush=True)
    reached, left, failed = None, time.monotonic(), 0
    while reached is None or begin < reached + {AFTER_S}:
        time.sleep(0.001)
        begin, name = ask()
        if name == old:
            left = begin
        elif name == new:
            reached = reached or time.monotonic()
        else:
            failed += 1
    print(reached, left, failed, flush=True)
"""


class Field:
    """A client on node 1; on node 2 a server, a client beside it, and two pods that are a service's endpoint in turns."""

    def __init__(self, bench, contestant, size, stack):
        self.size, self.stack, self.turns = size, stack, 0
        self.rounds = QUICK_EFFECTS if bench.options.quick else EFFECTS
        self.work_dir = os.path.join(bench.work_dir, f"effect-{contestant.name}-{size}")
        self.config, self.crl = (os.path.join(self.work_dir, name) for name in ("config", "crl"))
        for path in (self.work_dir, self.config, self.crl):
            os.makedirs(path)
            os.chmod(path, 0o755)
        self.topology = stack.enter_context(Topology(f"{NAMESPACES}60", 60))
        self.client, *others = (self.topology.pod(number, name) for number, name in ((1, "c"), (2, "s"), (2, "l"), (2, "a"), (2, "b")))
        self.server, self.beside, *self.ends = others
        self.pods = [self.client, *others]
        for pod in self.pods:
            pod.namespace, pod.account = "bench", "client" if pod in (self.client, self.beside) else "server"
        self.nodes = []  # Culvert's alone
        self.turn()
        scale.write_mesh(self.config, size)
        stream = os.path.join(os.path.dirname(contestants.__file__), "..", "interop", "stream.py")
        self.popen(self.server, stream, "serve", str(PORT))
        for name, pod in zip("ab", self.ends):
            self.popen(pod, "-c", NAMED, str(PORT), name)

    def popen(self, pod, *argv, **how):
        """A Python program in a pod, ended with us."""
        process = pod.popen(sys.executable, *argv, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **how})
        self.stack.callback(stop, process)
        return process

    def probe(self, pod, program, address):
        """One that is told to begin by a line and prints what it has seen."""
        return self.popen(pod, "-c", program, address, str(PORT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True)

    def turn(self):
        """The other pod is the service's endpoint from now on. Return: its name."""
        self.turns += 1
        for number, pod in enumerate(self.ends):
            pod.labels = f"turn: {'now' if number == self.turns % 2 else 'not'}"
        write_config(self.config, self.pods, SERVICE)
        return "ab"[self.turns % 2]

    def on_node(self, namespace):
        """Names of the pods there."""
        return [pod.name for pod in self.pods if pod.node is namespace]

    def directs(self):
        """Direct connections on node 2 until now."""
        return self.nodes[1].admin("agent", "/status")["counters"].get("direct", 0)


@contextlib.contextmanager
def culvert_pair(field):
    """Culvert on both nodes, with all of the mesh known."""
    env = {**contestants.QUIET, "CULVERT_SAME_NODE": "direct", "CRL_PATH": os.path.join(field.crl, "crl.pem")}
    with contextlib.ExitStack() as stack:
        for number, namespace in enumerate(field.topology.nodes, 1):
            node = CulvertNode(namespace, number, field.config, TAG + os.path.basename(field.work_dir), env=env)
            field.nodes.append(stack.enter_context(contextlib.closing(node)))
        for node, namespace in zip(field.nodes, field.topology.nodes):
            node.wait_captured(field.on_node(namespace), 120)
        scale.wait_settled(field.size, *(node.run_dir for node in field.nodes))
        yield


@contextlib.contextmanager
def ztunnel_pair(field):
    """The same of Istio's, told by our control plane."""
    def knows_all(node):
        return len(json.loads(node.run("curl", "-s", "http://127.0.0.1:15000/config_dump"))["workloads"]) >= field.size

    with served.pair(field.topology, field.pods, field.config, field.work_dir):
        for node in field.topology.nodes:
            wait_for(lambda n=node: knows_all(n), 120, "the whole mesh at Istio's ztunnel")
        yield


def timed(field, probe, word, change, restore):
    """[what the probe saw in each round] of a change, in milliseconds since it; numbers of no time as they are."""
    found = []
    for _ in range(field.rounds):
        print(word(), file=probe.stdin, flush=True)
        assert probe.stdout.readline() == "open\n"
        time.sleep(0.05)
        begin = time.monotonic()
        change()
        moments = probe.stdout.readline().split()
        found.append([(float(at) - begin) * 1e3 if "." in at else int(at) for at in moments])
        restore()
    return found


def note(bench, row, contestant, found, names, size=None):
    """The middle and the slowest of what timed() found: of so few a p99 would be no other."""
    label = f"_{LABELS[size]}" if size else ""
    for index, what in enumerate(names):
        values = [max(one[index], 0) for one in found]
        bench.add(row, contestant, f"{what}_p50_ms{label}", statistics.median(values))
        bench.add(row, contestant, f"{what}_max_ms{label}", max(values))
        bench.by_size.setdefault((row, contestant.name, f"{what}_p50_ms"), {})[size] = values


def policies(bench, field, contestant, probe):
    """A policy that denies the client, and its end."""
    path = os.path.join(field.config, "deny.yaml")
    deny = scale.POLICY.format(name="deny", namespace="bench", selector="", action="action: DENY, ",
                               principal="cluster.local/ns/bench/sa/client")
    found = timed(field, probe, lambda: "go", lambda: put_file(path, deny), lambda: os.unlink(path))
    note(bench, "policy_effect", contestant, found, ("cut", "refused"), field.size)


def endpoints(bench, field, contestant, probe):
    """One pod stops being the service's endpoint and another begins, in one change."""
    found = timed(field, probe, lambda: "ab"[(field.turns + 1) % 2], field.turn, lambda: None)
    note(bench, "endpoint_connection", contestant, found, ("reached", "left"), field.size)
    failed = sum(one[2] for one in found)
    if failed:
        bench.add("endpoint_connection", contestant, "failed", failed)


def revocations(bench, field, contestant, probe, node):
    """The client's certificate comes onto the list that both nodes have, and leaves it. It is another one on each node."""
    ca, lists, live = os.path.join(field.nodes[0].base, "ca"), [], os.path.join(field.crl, "crl.pem")
    for serials in ([serial_of(node, "client")], []):
        write_crl(ca, os.path.join(field.work_dir, "made.pem"), serials)
        with open(os.path.join(field.work_dir, "made.pem"), encoding="ascii") as f:
            lists.append(f.read())
    found = timed(field, probe, lambda: "go", lambda: put_file(live, lists[0]), lambda: put_file(live, lists[1]))
    note(bench, "revocation", contestant, found, ("cut", "refused"))


def measure(bench, field, contestant):
    """All that is wanted of a mesh."""
    rows = bench.options.rows
    far = field.probe(field.client, CUT, field.server.ip4)
    near = field.probe(field.beside, CUT, field.server.ip4) if field.nodes else None
    if "policy_effect" in rows:
        policies(bench, field, contestant, far)
        if near:
            policies(bench, field, contestants.LocalCulvert, near)
    if "endpoint_connection" in rows:
        endpoints(bench, field, contestant, field.probe(field.client, TURN, VIP))
        if near:
            before = field.directs()
            endpoints(bench, field, contestants.LocalCulvert, field.probe(field.beside, TURN, VIP))
            if field.directs() < before + field.rounds:
                raise RuntimeError("connections to a service's endpoint on their own node are not direct")
    if near and field.size == scale.SMALL and "revocation" in rows:
        revocations(bench, field, contestant, far, field.nodes[0])
        revocations(bench, field, contestants.LocalCulvert, near, field.nodes[1])


def fit(bench):
    """The exponents over the mesh's size."""
    for (row, name, metric), rounds in bench.by_size.items():
        if metric in CURVES.get(row, ()):
            bench.curves.append(curves.curve_of_rounds(row, name, metric, rounds))


def effects(bench):
    """Each contestant in turn, beside meshes of growing size."""
    pairs = {contestants.Culvert: culvert_pair}
    if any(isinstance(c, peers.Ztunnel) for c in bench.standing):
        pairs[peers.Ztunnel] = ztunnel_pair
    for size in scale.sizes(bench) if CURVES.keys() & bench.options.rows else (scale.SMALL,):
        for contestant, start in pairs.items():
            bench.at(f"policy_effect {contestant.name} {size}")
            with contextlib.ExitStack() as stack:
                field = Field(bench, contestant, size, stack)
                stack.enter_context(start(field))
                measure(bench, field, contestant)
    fit(bench)


def over_sizes(*names):
    """Metrics of these, the middle and the slowest, in all sizes."""
    return tuple(f"{what}_{p}_ms_{label}" for what in names for p in ("p50", "max") for label in LABELS.values())


ROWS = {
    "policy_effect": (effects, over_sizes("cut", "refused")),
    "endpoint_connection": (effects, over_sizes("reached", "left")),
    "revocation": (effects, tuple(f"{what}_{p}_ms" for what in ("cut", "refused") for p in ("p50", "max"))),
}
