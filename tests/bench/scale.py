# SPDX-License-Identifier: Apache-2.0
"""What the size of the mesh costs: loading, memory and changes with up to 100,000 workloads, and how soon a policy takes
effect on open and on new connections."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import contestants
import cost
import peers
import served
from culvert_node import BIN, CulvertNode, put_file, stop, wait_for, write_config
from leftovers import NAMESPACES, TAG
from topology import Topology, run

SMALL, LARGE = 100, 100_000
PER_SERVICE, PER_POLICY, PER_FILE = 10, 100, 1000
PORT = 9300
IDLE_S = 10
EFFECTS = 40
FAR = "far"  # the namespace of the workloads that are only there
POD = """---
apiVersion: v1
kind: Pod
metadata: {{name: app-{app}-7d9f8b6c5d-{i:05x}, namespace: far, labels: {{app: app-{app}}}}}
spec: {{nodeName: node-{node}, serviceAccountName: app-{app}}}
status: {{podIP: 10.{a}.{b}.{c}, podIPs: [{{ip: 10.{a}.{b}.{c}}}, {{ip: "fd00:10:244::{a:x}:{b:x}{c:02x}"}}]}}
"""
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {{name: app-{i}, namespace: far}}
spec: {{clusterIP: 10.96.{b}.{c}, selector: {{app: app-{i}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""
POLICY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{selector}{action}rules: [{{from: [{{source: {{principals: [{principal}]}}}}]}}]}}
"""
# Waits on a connection until it is cut, then tries new ones until one is refused; prints both moments.
PROBE = """
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
        pass
    print(cut, time.monotonic(), flush=True)
"""


def put(folder, name, text):
    """A file of the folder, replaced at once."""
    put_file(os.path.join(folder, name), text)


def write_mesh(folder, pods):
    """So many workloads on other nodes, a tenth as many services, a hundredth as many policies."""
    services = max(pods // PER_SERVICE, 1)
    put(folder, "far.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: far, labels: {istio-injection: enabled}}\n")
    for start in range(0, pods, PER_FILE):
        put(folder, f"pods-{start}.yaml", "".join(
            POD.format(app=i % services, i=i, node=i // services, a=128 + (i >> 16), b=i >> 8 & 255, c=i & 255)
            for i in range(start, min(start + PER_FILE, pods))))
    for start in range(0, services, PER_FILE):
        put(folder, f"services-{start}.yaml", "".join(SERVICE.format(i=i, b=i >> 8 & 255, c=i & 255)
                                                      for i in range(start, min(start + PER_FILE, services))))
    put(folder, "policies.yaml", "".join(
        POLICY.format(name=f"allow-{i}", namespace=FAR, selector=f"selector: {{matchLabels: {{app: app-{i}}}}}, ", action="",
                      principal=f"cluster.local/ns/far/sa/app-{i + 1}") for i in range(max(pods // PER_POLICY, 1))))


def sizes(bench):
    """The mesh to measure with."""
    return (SMALL, LARGE // 10) if bench.options.quick else (SMALL, LARGE)


CHANGE = tuple(f"{what}_change{warm}_us" for what in ("control_pod", "control_policy", "ztunnel") for warm in ("", "_warm"))


def scale_model(bench):
    """mesh-size: CPU time to load what has been parsed, of a change when little and when much is there, memory."""
    for label, pods in zip(("small", "large"), sizes(bench)):
        found = json.loads(run(os.path.join(BIN, "mesh-size"), str(pods), str(pods // PER_SERVICE), str(pods // PER_POLICY)))
        for metric in CHANGE:
            bench.add("scale_model", contestants.Culvert, f"{metric}_{label}", found[metric])
    for metric in ("control_load_ms", "ztunnel_load_ms", "ztunnel_bytes_per_workload"):
        bench.add("scale_model", contestants.Culvert, metric, found[metric])


def rss_kb(pid):
    """Resident memory of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def acked(run_dir):
    """Resources that a node's clients have acknowledged, each; empty while the control plane does not answer."""
    try:
        clients = json.loads(run("curl", "-sf", "--max-time", "5", "--unix-socket", f"{run_dir}/control/admin.sock",
                                 "http://localhost/status"))["clients"]
    except RuntimeError:
        return []
    return [c["acked"] for c in clients]


def wait_settled(pods, *run_dirs):
    """Until all clients of these nodes have everything."""
    want = pods + pods // PER_SERVICE
    for run_dir in run_dirs:
        wait_for(lambda at=run_dir: acked(at) and min(acked(at)) >= want, 300, f"{want} addresses at the clients of {run_dir}")
    time.sleep(2)


class Pair:
    """A control plane and a ztunnel without an agent, on a folder of their own."""

    def __init__(self, work_dir, pods):
        self.folder = tempfile.mkdtemp(prefix="scale-", dir=work_dir)
        config, self.run_dir = os.path.join(self.folder, "config"), os.path.join(self.folder, "run")
        os.makedirs(config)
        os.makedirs(self.run_dir)
        put(config, "node.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n")
        if pods:
            write_mesh(config, pods)
        self.log = os.path.join(self.folder, "control.log")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        common = ("--node", "n1", "--run-dir", self.run_dir)
        with open(self.log, "wb") as log:
            self.control = subprocess.Popen([os.path.join(BIN, "culvert-control"), *common, "--config-dir", config, "--ca-dir",
                                             os.path.join(self.folder, "ca"), "--log-level", "info"], stdout=log, stderr=log)
        wait_for(self.ready_line, 300, "the control plane to be ready")  # alone: what it takes is told there
        self.ztunnel = subprocess.Popen([os.path.join(BIN, "culvert-ztunnel"), *common, "--log-level", "error", "--user", "root",
                                         "--admin-port", "0", "--metrics-port", "0", "--ready-port", "0"], **quiet)
        wait_settled(pods, self.run_dir)

    def ready_line(self):
        """What the control plane logged when it began to serve; None before."""
        with open(self.log, encoding="utf-8") as log:
            return next((line for line in log if "load_ms=" in line), None)

    def logged(self, key):
        """A number of that line."""
        return int(re.search(rf"\b{key}=(\d+)", self.ready_line()).group(1))

    def close(self):
        """End both."""
        stop(self.ztunnel)
        stop(self.control)
        shutil.rmtree(self.folder, ignore_errors=True)


def decision(bench):
    """CPU time of a decision with few and with many policies of each scope."""
    for line in run(os.path.join(BIN, "decision")).splitlines():
        found = json.loads(line)
        if found["policies"] in (10, 10_000):
            bench.add("decision", contestants.Culvert, f"{found['scope']}_us_{found['policies']}", found["decide_us"])


def scale_processes(bench):
    """The real programs: how long the control plane reads and parses, and how long it then loads; memory of a ztunnel that holds
    everything; CPU of both while nothing changes."""
    pods = sizes(bench)[1]
    with contextlib.closing(Pair(bench.work_dir, 0)) as empty:
        before = rss_kb(empty.ztunnel.pid)
    with contextlib.closing(Pair(bench.work_dir, pods)) as pair:
        time.sleep(3)
        bench.add("scale_processes", contestants.Culvert, "ztunnel_rss_bytes_per_workload",
                  (rss_kb(pair.ztunnel.pid) - before) * 1024 / pods)
        bench.add("scale_processes", contestants.Culvert, "control_rss_kB", rss_kb(pair.control.pid))
        for key in ("read_ms", "load_ms"):
            bench.add("scale_processes", contestants.Culvert, f"control_{key}", pair.logged(key))
        used = {name: cost.process_seconds(p.pid) for name, p in (("ztunnel", pair.ztunnel), ("control", pair.control))}
        time.sleep(IDLE_S)
        for name, p in (("ztunnel", pair.ztunnel), ("control", pair.control)):
            bench.add("scale_processes", contestants.Culvert, f"{name}_idle_us_per_s",
                      (cost.process_seconds(p.pid) - used[name]) / IDLE_S * 1e6)


def percentile(values, share):
    """Of a short list, the higher neighbour."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


@contextlib.contextmanager
def culvert_pair(topology, pods, config, work_dir, size):
    """Culvert on both nodes, with all of the mesh known."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(contextlib.closing(CulvertNode(node, number, config, TAG + os.path.basename(work_dir),
                                                                    env=contestants.QUIET)))
                 for number, node in enumerate(topology.nodes, 1)]
        for node, pod in zip(nodes, pods):
            node.wait_captured([pod.name], 120)
        wait_settled(size, *(node.run_dir for node in nodes))
        yield


@contextlib.contextmanager
def ztunnel_pair(topology, pods, config, work_dir, size):
    """Istio's, told by our control plane."""
    with served.pair(topology, pods, config, work_dir):
        for node in topology.nodes:
            wait_for(lambda n=node: len(json.loads(n.run("curl", "-s", "http://127.0.0.1:15000/config_dump"))["workloads"]) >= size,
                     120, "the whole mesh at Istio's ztunnel")
        yield


def effects(bench, octet, pods, name, start):
    """[(ms to the cut, ms to the first refusal)] from the moment a policy's file is in place."""
    work_dir = os.path.join(bench.work_dir, f"effect-{name}-{pods}")
    config = os.path.join(work_dir, "config")
    os.makedirs(work_dir)
    os.chmod(work_dir, 0o755)
    with Topology(f"{NAMESPACES}{octet}", octet) as topology, contextlib.ExitStack() as stack:
        client, server = topology.pod(1, "c"), topology.pod(2, "s")
        for pod, account in ((client, "client"), (server, "server")):
            pod.namespace, pod.account = "bench", account
        write_config(config, [client, server])
        write_mesh(config, pods)
        stream = os.path.join(os.path.dirname(contestants.__file__), "..", "interop", "stream.py")
        stack.callback(stop, server.popen(sys.executable, stream, "serve", str(PORT), stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL))
        stack.enter_context(start(topology, (client, server), config, work_dir, pods))
        probe = client.popen(sys.executable, "-c", PROBE, server.ip4, str(PORT), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)
        stack.callback(stop, probe)
        deny = POLICY.format(name="deny", namespace="bench", selector="", action="action: DENY, ",
                             principal="cluster.local/ns/bench/sa/client")
        found = []
        for _ in range(8 if bench.options.quick else EFFECTS):
            print("go", file=probe.stdin, flush=True)
            assert probe.stdout.readline() == "open\n"
            time.sleep(0.05)
            begin = time.monotonic()
            put(config, "deny.yaml", deny)
            found.append([(float(at) - begin) * 1e3 for at in probe.stdout.readline().split()])
            os.unlink(os.path.join(config, "deny.yaml"))
        return found


def policy_effect(bench):
    """From the file of a policy to the end of a connection that it denies, and to the first refusal; over the mesh's size."""
    pairs = {contestants.Culvert: culvert_pair}
    if any(isinstance(c, peers.Ztunnel) for c in bench.standing):
        pairs[peers.Ztunnel] = ztunnel_pair
    for octet, pods, label in zip((60, 61), sizes(bench), ("small", "large")):
        for contestant, start in pairs.items():
            found = effects(bench, octet, pods, contestant.name, start)
            for index, what in enumerate(("cut", "refused")):
                values = [one[index] for one in found]
                bench.add("policy_effect", contestant, f"{what}_p50_ms_{label}", percentile(values, 0.5))
                bench.add("policy_effect", contestant, f"{what}_p99_ms_{label}", percentile(values, 0.99))


ROWS = {
    "decision": (decision, tuple(f"{scope}_us_{n}" for scope in ("global", "namespace", "selector") for n in (10, 10_000))),
    "scale_model": (scale_model, ("control_load_ms", "ztunnel_load_ms", "ztunnel_bytes_per_workload",
                                  *(f"{metric}_{label}" for metric in CHANGE for label in ("small", "large")))),
    "scale_processes": (scale_processes, ("ztunnel_rss_bytes_per_workload", "control_rss_kB", "control_read_ms", "control_load_ms",
                                          "ztunnel_idle_us_per_s", "control_idle_us_per_s")),
    "policy_effect": (policy_effect, tuple(f"{what}_{p}_ms_{label}" for what in ("cut", "refused") for p in ("p50", "p99")
                                           for label in ("small", "large"))),
}
