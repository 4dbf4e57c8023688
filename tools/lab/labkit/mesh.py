# SPDX-License-Identifier: Apache-2.0
"""The mesh on the lab's nodes: `culvert node` per node, and what its processes tell."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from .lab import CONFIG, CULVERT, LAB_DIR, Lab

RUN = pathlib.Path("/run/culvert")
PINS = pathlib.Path("/sys/fs/bpf/culvert")
CA_DIR = LAB_DIR / "ca"


def wait_until(check, timeout=60, every=0.02, what="condition"):
    """Poll until check() gives something true; it may raise OSError or KeyError meanwhile. Return: what it gave."""
    deadline = time.monotonic() + timeout
    problem = None
    while True:
        try:
            if result := check():
                return result
            problem = None
        except (OSError, KeyError, ValueError, http.client.HTTPException) as e:
            problem = e
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s" + (f" ({problem})" if problem else ""))
        time.sleep(every)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


def admin_get(path, url):
    """GET over an admin socket. Return: text; OSError when it does not answer 200."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", url)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{path}{url}: {answer.status} {text[:200]}")
    return text


class Node:
    """One node's mesh processes."""

    def __init__(self, name):
        self.name = name
        self.run_dir = RUN / name
        self.log_path = LAB_DIR / "nodes" / name / "culvert.log"
        self.process = None

    def start(self, workers=2):
        """Start `culvert node` in the node's namespace."""
        self.run_dir.parent.mkdir(parents=True, exist_ok=True)
        log = open(self.log_path, "ab")
        command = Lab.on_node(self.name, CULVERT, "node", "--config-dir", str(CONFIG), "--node", self.name,
                              "--run-dir", str(self.run_dir), "--pin-dir", str(PINS / self.name),
                              "--ca-dir", str(CA_DIR), "--workers", str(workers))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        start_new_session=True)
        log.close()

    def stop(self):
        """Stop it, as systemd would. Return: exit code."""
        if not self.process:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        return code

    def pid(self, program):
        """Process number of "ztunnel", "agent" or "control" on this node, or None."""
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                argv = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                status = pathlib.Path(f"/proc/{entry}/status").read_bytes()
            except OSError:
                continue
            if argv[0].endswith(f"culvert-{program}".encode()) and str(self.run_dir).encode() in argv:
                if b"State:\tZ" not in status:
                    return int(entry)
        return None

    def status(self, part):
        """The /status of "control" or "agent"."""
        return json.loads(admin_get(self.run_dir / part / "admin.sock", "/status"))

    def config_dump(self):
        """ztunnel's /config_dump."""
        return json.loads(admin_get(self.run_dir / "ztunnel" / "admin.sock", "/config_dump"))

    def metrics(self):
        """ztunnel's metrics as text, over the port that Prometheus would use."""
        done = subprocess.run(Lab.on_node(self.name, "curl", "-sS", "-m", "30", "http://127.0.0.1:15020/metrics"),
                              capture_output=True, text=True, timeout=60, check=False)
        return done.stdout

    def metric(self, name, **labels):
        """Sum of a metric's samples that carry all the labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            found = re.match(r"([a-zA-Z_:]+)(?:\{(.*)\})? ([0-9.eE+-]+)", line)
            if found and found[1] == name:
                have = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                if all(have.get(k) == v for k, v in labels.items()):
                    total += float(found[3])
        return total

    def is_ready(self):
        """Readiness as a kubelet would ask for it."""
        done = subprocess.run(Lab.on_node(self.name, "curl", "-sS", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}",
                                          "http://127.0.0.1:15021/healthz/ready"),
                              capture_output=True, text=True, timeout=60, check=False)
        return done.stdout == "200"

    def log(self):
        """Everything that the node's processes logged."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def captured(self):
        """Names of pods that the agent reports as captured."""
        return {f"{p['namespace']}/{p['name']}" for p in self.status("agent")["pods"] if p["state"] == "captured"}


class Mesh:
    """The mesh on all nodes of the lab."""

    def __init__(self, names=("n1", "n2")):
        self.nodes = {name: Node(name) for name in names}

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(self.nodes.values())

    def start(self, workers=2):
        """Start all nodes and wait until they are ready."""
        for node in self:
            node.start(workers)
        for node in self:
            self.wait_ready(node)

    @staticmethod
    def wait_ready(node, timeout=120):
        """Wait until a node's readiness port says so; tell its log otherwise."""
        try:
            wait_until(node.is_ready, timeout, every=0.1, what=f"readiness of {node.name}")
        except TimeoutError as e:
            raise TimeoutError(f"{e}; its log ends:\n{node.log()[-3000:]}") from e

    def stop(self):
        """Stop all nodes."""
        for node in self:
            node.stop()

    def wait_captured(self, pods, timeout=120):
        """Wait until the agents have enrolled these Pods, and no connection would be refused."""
        for pod in pods:
            node = self.nodes[pod.node]
            wait_until(lambda n=node, p=pod: p.key in n.captured(), timeout, what=f"{pod.key} captured")

    def wait_released(self, pods, timeout=120):
        """Wait until the agents know nothing of these Pods."""
        for pod in pods:
            node = self.nodes[pod.node]
            wait_until(lambda n=node, p=pod: p.key not in n.captured(), timeout, what=f"{pod.key} released")

    def wait_certificates(self, pods, timeout=120):
        """Wait until each pod's ztunnel holds the certificate of its identity."""
        for pod in pods:
            node = self.nodes[pod.node]
            wait_until(lambda n=node, p=pod: any(c["identity"] == p.identity and c["certChain"]
                                                 for c in n.config_dump()["certificates"]),
                       timeout, what=f"certificate of {pod.identity} on {pod.node}")
