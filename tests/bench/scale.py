# SPDX-License-Identifier: Apache-2.0
"""What the size of the mesh costs: loading, memory and changes with up to 100,000 workloads."""
import contextlib
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import contestants
import cost
from cgroup import Cgroup
from culvert_node import BIN, clean_pins, pin_dir, put_file, stop, wait_for, write_config
from enrol import BarePod
from leftovers import NAMESPACES, TAG
from topology import TREE, Namespace, run

SMALL, MEDIUM, LARGE = 100, 10_000, 100_000
PER_SERVICE, PER_POLICY, PER_FILE = 10, 100, 1000
IDLE_S = 10
DECISIONS = 3  # times that each is measured: their ratio is judged
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
    """Of the meshes to measure with, growing."""
    return (SMALL, MEDIUM) if bench.options.quick else (SMALL, MEDIUM, LARGE)


CHANGE = tuple(f"{what}_change{warm}_us" for what in ("control_pod", "control_policy", "ztunnel") for warm in ("", "_warm"))


def scale_model(bench):
    """mesh-size: CPU time to load what has been parsed, of a change when little and when much is there, memory."""
    for label, pods in (("small", SMALL), ("large", sizes(bench)[-1])):
        found = json.loads(run(os.path.join(BIN, "mesh-size"), str(pods), str(pods // PER_SERVICE), str(pods // PER_POLICY)))
        for metric in CHANGE:
            bench.add("scale_model", contestants.Culvert, f"{metric}_{label}", found[metric])
    for metric in ("control_load_ms", "ztunnel_load_ms", "ztunnel_bytes_per_workload"):
        bench.add("scale_model", contestants.Culvert, metric, found[metric])


def status(run_dir, part):
    """What a node's daemon says of itself; None while it does not answer."""
    try:
        return json.loads(run("curl", "-sf", "--max-time", "5", "--unix-socket", f"{run_dir}/{part}/admin.sock",
                              "http://localhost/status"))
    except RuntimeError:
        return None


def acked(run_dir):
    """Resources that a node's clients have acknowledged, each."""
    found = status(run_dir, "control")
    return [c["acked"] for c in found["clients"]] if found else []


def wait_settled(pods, *run_dirs):
    """Until both clients of each of these nodes, ztunnel and agent, have everything."""
    want = pods + pods // PER_SERVICE
    for run_dir in run_dirs:
        wait_for(lambda at=run_dir: sum(n >= want for n in acked(at)) == 2, 300, f"{want} addresses at both clients of {run_dir}")
    time.sleep(2)


def moment(line):
    """When it was logged."""
    return datetime.datetime.fromisoformat(line.split("\t", 1)[0])


PARTS = ("control", "ztunnel", "agent")


class LoneNode:
    """The processes of a node with one pod and with so many elsewhere, of which all of them know: the agent, as in a cluster, from the
    control plane alone, since its own folder has no pods but the node's."""

    def __init__(self, work_dir, pods):
        self.folder = os.path.join(work_dir, f"scale-{pods}")
        self.run_dir = os.path.join(self.folder, "run")
        with contextlib.ExitStack() as stack:
            self._start(stack, pods)
            self.stack = stack.pop_all()

    def _start(self, stack, pods):
        pins = f"{pin_dir(TAG + 'scale')}/n1"
        config, own, ca = (os.path.join(self.folder, name) for name in ("config", "own", "ca"))
        os.makedirs(self.run_dir)
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        stack.callback(clean_pins, pins)
        self.cgroup = stack.enter_context(contextlib.closing(Cgroup(TAG + "scale")))
        self.namespace = stack.enter_context(contextlib.closing(Namespace(f"{TREE}{NAMESPACES}scale-n1")))
        pod = stack.enter_context(contextlib.closing(BarePod(self.namespace, 1)))
        for path in (config, own):
            write_config(path, [pod])
        if pods:
            write_mesh(config, pods)
        # one after the other: what the first two take is told in their logs
        self.control = self._popen(stack, "control", "--config-dir", config, "--ca-dir", ca)
        wait_for(lambda: self.line("control", "load_ms="), 300, "the control plane to be ready")
        began = datetime.datetime.now(datetime.timezone.utc)
        self.ztunnel = self._popen(stack, "ztunnel", "--user", "root")
        wait_for(lambda: self.line("ztunnel", "\tsynced"), 300, "ztunnel to know the mesh")
        self.ztunnel_load_ms = (moment(self.line("ztunnel", "\tsynced")) - began).total_seconds() * 1e3
        self.agent = self._popen(stack, "agent", "--config-dir", own, "--pin-dir", pins)
        wait_for(self.is_captured, 60, "the pod to be captured")
        wait_settled(pods, self.run_dir)

    def _popen(self, stack, part, *argv):
        with open(self.log(part), "wb") as log:
            process = self.namespace.popen(*self.cgroup.as_root(), os.path.join(BIN, f"culvert-{part}"), "--node", "n1", "--run-dir",
                                           self.run_dir, "--log-level", "info", *argv, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(stop, process)
        return process

    def is_captured(self):
        """The pod is in the mesh."""
        found = status(self.run_dir, "agent")
        return found and [pod["state"] for pod in found["pods"]] == ["captured"]

    def pids(self):
        """{part: pid}."""
        return {part: getattr(self, part).pid for part in PARTS}

    def log(self, part):
        """The file that it logs to."""
        return os.path.join(self.folder, f"{part}.log")

    def line(self, part, text):
        """The first that has the text; None before there is one."""
        with open(self.log(part), encoding="utf-8") as log:
            return next((line for line in log if text in line), None)

    def control_ms(self, key):
        """What the control plane says it took until it served."""
        return int(re.search(rf"\b{key}=(\d+)", self.line("control", "load_ms=")).group(1))

    def close(self):
        """End all of it."""
        self.stack.close()


def decision(bench):
    """CPU time of a decision with few and with many policies of each scope."""
    for line in [line for _ in range(DECISIONS) for line in run(os.path.join(BIN, "decision")).splitlines()]:
        found = json.loads(line)
        if found["policies"] in (10, 10_000):
            bench.add("decision", contestants.Culvert, f"{found['scope']}_us_{found['policies']}", found["decide_us"])


def scale_processes(bench):
    """The real programs: how long the control plane reads and parses, and how long it then loads; how long a ztunnel that is started
    then takes to know the mesh; memory of a ztunnel and of an agent that know everything; CPU of each while nothing changes."""
    def add(metric, value):
        bench.add("scale_processes", contestants.Culvert, metric, value)

    pods = sizes(bench)[-1]
    with contextlib.closing(LoneNode(bench.work_dir, 0)) as empty:
        before = cost.memory_kb(empty.ztunnel.pid)
    with contextlib.closing(LoneNode(bench.work_dir, pods)) as node:
        time.sleep(3)
        pid = node.pids()
        add("ztunnel_rss_bytes_per_workload", (cost.memory_kb(pid["ztunnel"]) - before) * 1024 / pods)
        for part in ("agent", "control"):
            add(f"{part}_rss_kB", cost.memory_kb(pid[part]))
        for key in ("read_ms", "load_ms"):
            add(f"control_{key}", node.control_ms(key))
        add("ztunnel_load_ms", node.ztunnel_load_ms)
        used = {part: cost.process_seconds(pid[part]) for part in PARTS}
        time.sleep(IDLE_S)
        idle = {part: (cost.process_seconds(pid[part]) - used[part]) / IDLE_S * 1e6 for part in PARTS}
        for part in PARTS:
            add(f"{part}_idle_us_per_s", idle[part])
        add("idle_us_per_s", sum(idle.values()))


ROWS = {
    "decision": (decision, tuple(f"{scope}{shape}_us_{n}" for scope in ("global", "namespace", "selector") for shape in ("", "_not")
                                for n in (10, 10_000))),
    "scale_model": (scale_model, ("control_load_ms", "ztunnel_load_ms", "ztunnel_bytes_per_workload",
                                  *(f"{metric}_{label}" for metric in CHANGE for label in ("small", "large")))),
    "scale_processes": (scale_processes, ("ztunnel_rss_bytes_per_workload", "agent_rss_kB", "control_rss_kB", "control_read_ms",
                                          "control_load_ms", "ztunnel_load_ms", *(f"{part}_idle_us_per_s" for part in PARTS),
                                          "idle_us_per_s")),
}
