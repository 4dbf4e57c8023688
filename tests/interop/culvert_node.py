# SPDX-License-Identifier: Apache-2.0
"""`culvert node` in a namespace of a topology, with a configuration folder made from the topology's pods."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from topology import ROOT, TREE, run

BIN = os.environ.get("CULVERT_BIN", os.path.join(ROOT, "build", "bin"))

MESH = """apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}, labels: {{{label}}}}}
---
apiVersion: v1
kind: Node
metadata: {{name: n1}}
---
apiVersion: v1
kind: Node
metadata: {{name: n2}}
"""
SLOW = int(os.environ.get("CULVERT_TEST_SLOW", "1"))  # deadlines are multiplied by this (sanitizers, emulated processors)
PATIENCE_S = 60 * SLOW  # a wait fails no earlier, however soon a machine with nothing else to do would be ready
ACCOUNT = """---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}, namespace: {namespace}}}
"""
POD = """---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, annotations: {{culvert.io/netns: {netns}}}{more}}}
spec: {{nodeName: {node}, serviceAccountName: {account}}}
status: {{podIP: {ip4}, podIPs: [{ips}]}}
"""


def put_file(path, text):
    """A file, whole at once, readable by the daemons' users."""
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    with open(draft, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(draft, 0o644)
    os.rename(draft, path)


def edit_file(path, old, new):
    """Replace what a file has, once."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert old in text, old
    put_file(path, text.replace(old, new, 1))


def write_config(path, pods, extra="", label="istio-injection: enabled", edit=None):
    """The folder for these pods (topology.Pod with .namespace, .account), on the nodes that hold them. A pod may have .labels,
    .uid and .resolv_conf too, and no .ip6. edit(text) returns what is written instead."""
    os.makedirs(path, exist_ok=True)
    text = MESH.format(namespace=pods[0].namespace, label=label)
    for account in sorted({pod.account for pod in pods}):
        text += ACCOUNT.format(account=account, namespace=pods[0].namespace)
    for pod in pods:
        netns = pod.path + (f", culvert.io/resolv-conf: {pod.resolv_conf}" if hasattr(pod, "resolv_conf") else "")
        labels = f", labels: {{{pod.labels}}}" if hasattr(pod, "labels") else ""
        labels += f", uid: {pod.uid}" if getattr(pod, "uid", None) else ""
        text += POD.format(account=pod.account, namespace=pod.namespace, name=pod.name, netns=netns, more=labels,
                           node=pod.node.name[-2:], ip4=pod.ip4,
                           ips=", ".join(f'{{ip: "{ip}"}}' for ip in (pod.ip4, pod.ip6) if ip))
    put_file(os.path.join(path, "mesh.yaml"), edit(text + extra) if edit else text + extra)


def base_dir(tag):
    """What nodes of this tag keep below /run; another checkout's are elsewhere."""
    return f"/run/culvert-{TREE}-{tag}"


def pin_dir(tag):
    """Where they pin."""
    return f"/sys/fs/bpf/culvert-{TREE}-{tag}"


def clean_pins(path):
    """Nothing of the node that pinned there stays in the kernel."""
    with contextlib.suppress(RuntimeError):
        run(os.path.join(BIN, "culvert-agent"), "--clean", "--pin-dir", path)
    for folder in (path, os.path.dirname(path)):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def stop(process):
    """End a process that we started and wait for it. A `culvert node` gives its own 10 s; killed before, it would leave them."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
    if process.poll() is None:
        process.kill()
        process.wait()


def wait_for(condition, seconds, what):
    """Poll until condition() is true; at least PATIENCE_S, whatever the caller thinks is enough."""
    seconds = max(seconds * SLOW, PATIENCE_S)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise RuntimeError(f"not within {seconds} s: {what}")


class Nodes:
    """What a module's tests share; close() ends its .nodes, its .processes (a list, or by name) and its .topology."""

    topology, nodes, processes = None, (), ()

    def run_in(self, place, *argv, **kwargs):
        """A process in a pod or on a node that ends with us (where .processes is a list)."""
        self.processes.append(place.popen(*argv, **kwargs))
        return self.processes[-1]

    def start_both(self, config, tag, captured, **options):
        """Culvert on both nodes, until these pods are captured."""
        self.nodes = []  # one by one: what has been started is closed whatever becomes of the next
        for number, namespace in enumerate(self.topology.nodes, 1):
            self.nodes.append(CulvertNode(namespace, number, config, tag, **options))
        self.wait_captured(captured)

    def wait_captured(self, pods):
        """Until all of these pods are captured, each by its node."""
        for node, namespace in zip(self.nodes, self.topology.nodes):
            node.wait_captured([pod.name for pod in pods if pod.node is namespace])

    def log(self, number):
        """What node 1 or 2 has logged."""
        with open(self.nodes[number - 1].log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def close(self):
        """End everything."""
        for node in self.nodes:
            node.close()
        for process in self.processes.values() if isinstance(self.processes, dict) else self.processes:
            stop(process)
        self.topology.close()


@contextlib.contextmanager
def started(make, tag):
    """make(a folder of its own), started; closed at the end, with nothing of base_dir(tag) left."""
    with tempfile.TemporaryDirectory(prefix=f"culvert-{tag}-") as work_dir:
        os.chmod(work_dir, 0o755)
        nodes = make(work_dir)
        try:
            nodes.start()
            yield nodes
        finally:
            nodes.close()
            shutil.rmtree(base_dir(tag), ignore_errors=True)


class CulvertNode:
    """The three processes of one node. Run, pin and CA folders lie below base_dir() and pin_dir() and are removed by close()."""

    def __init__(self, namespace, number, config, tag, ca_dir=None, env=None, wrap=(), bin_dir=BIN):
        self.name = f"n{number}"
        self.base = base_dir(tag)
        self.run_dir = f"{self.base}/{self.name}"
        self.pins = f"{pin_dir(tag)}/{self.name}"
        os.makedirs(self.base, exist_ok=True)
        clean_pins(self.pins)  # an earlier run's, which may have had another layout
        self.log_path = f"{self.base}/{self.name}.log"
        self.log = open(self.log_path, "w", encoding="utf-8")
        self.process = namespace.popen(
            *wrap, os.path.join(bin_dir, "culvert"), "node", "--node", self.name, "--config-dir", config, "--run-dir", self.run_dir,
            "--ca-dir", ca_dir or f"{self.base}/ca", "--pin-dir", self.pins, stdout=self.log, stderr=self.log,
            env=dict(os.environ, **(env or {})))

    def admin(self, part, path):
        """GET of a daemon's admin socket, parsed."""
        return json.loads(run("curl", "-sf", "--max-time", str(30 * SLOW), "--unix-socket", f"{self.run_dir}/{part}/admin.sock",
                              f"http://localhost{path}"))

    def admin_or_none(self, part, path):
        """admin(), None while the daemon does not answer."""
        try:
            return self.admin(part, path)
        except (RuntimeError, ValueError):
            return None

    def past(self, *ends):
        """Connections that have ended, newest last."""
        argv = ("explain", "--past", *ends, "-o", "json", "--run-dir", self.run_dir)
        return json.loads(run(os.path.join(BIN, "culvert"), *argv))["connections"]

    def explain(self, source, to):
        """What `culvert explain` says of a connection from a pod."""
        return json.loads(run(os.path.join(BIN, "culvert"), "explain", source, to, "-o", "json", "--run-dir", self.run_dir))

    def connections(self):
        """What `culvert connections` lists."""
        return json.loads(run(os.path.join(BIN, "culvert"), "connections", "-o", "json", "--run-dir", self.run_dir))

    def captured(self):
        """Names of the pods that are captured now."""
        status = self.admin_or_none("agent", "/status")
        return [p["name"] for p in status["pods"] if p["state"] == "captured"] if status else []

    def wait_captured(self, names, seconds=20):
        """Until all of these pods are captured."""
        wait_for(lambda: self.process.poll() is None and set(names) <= set(self.captured()), seconds,
                 f"capture of {names} by {self.name}, see {self.log_path}")

    def pids(self, program):
        """Pids of the children of `culvert node` that run this program."""
        found = []
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            for pid in f.read().split():
                with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as cmd:
                    if cmd.read().split(b"\0")[0].endswith(program.encode()):
                        found.append(int(pid))
        return found

    def guards_uplink(self):
        """Is our XDP program pinned there?"""
        return any(name.startswith("guard_uplink_") for name in os.listdir(self.pins))

    def maps_kb(self):
        """Kernel memory of the BPF maps that this node has pinned."""
        total = 0
        for name in os.listdir(self.pins):
            with contextlib.suppress(RuntimeError, KeyError):  # programs and links are no maps
                total += json.loads(run("bpftool", "-j", "map", "show", "pinned", f"{self.pins}/{name}"))["bytes_memlock"]
        return total // 1024

    def close(self, keep_log=False):
        """Stop the node and remove what it kept."""
        stop(self.process)
        self.log.close()
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            print(f"--- log of {self.name}", "".join(f.readlines()[-60:]), sep="\n")  # pytest shows it when a test failed
        clean_pins(self.pins)
        shutil.rmtree(self.run_dir, ignore_errors=True)
        if keep_log:
            return
        os.unlink(self.log_path)
        if set(os.listdir(self.base)) <= {"ca"}:  # the last of its nodes
            shutil.rmtree(self.base, ignore_errors=True)
