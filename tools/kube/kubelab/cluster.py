# SPDX-License-Identifier: Apache-2.0
"""What tests and the demo do with a cluster that runs: kubectl, commands on nodes, captures of the link."""
import json
import os
import subprocess
import time
import uuid

from . import images, layout, node

READY_S = 60


class Cluster:
    """kubectl, and what goes on on the nodes."""

    def __init__(self):
        with open(f"{layout.STATE}/bin", encoding="utf-8") as f:
            bin_dir = f.read().strip()
        self.kubectl = [f"{bin_dir}/kubectl", "--kubeconfig", layout.ADMIN_CONF]
        self.nodes = layout.nodes(2)

    def run(self, *args, check=True, text=None, timeout=60):
        """kubectl with these words. Return: its standard output."""
        done = subprocess.run([*self.kubectl, *args], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *args):
        return json.loads(self.run("get", *args, "-o", "json"))

    def apply(self, *objects):
        self.run("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def exec(self, namespace, pod, *command, timeout=30):
        """A command in a pod. Return: (exit code, standard output)."""
        done = subprocess.run([*self.kubectl, "exec", "-n", namespace, pod, "--", *command], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False, timeout=timeout)
        return done.returncode, done.stdout

    def curl(self, namespace, pod, url):
        """Return: the body; "" when there was no answer of status 200."""
        code, out = self.exec(namespace, pod, "curl", "-sf", "-m", "5", url)
        return out if code == 0 else ""

    def on_node(self, number, *command, **kw):
        """A command in the namespaces of a node."""
        return subprocess.run([*node.nsenter(self.nodes[number - 1]), *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, **kw)

    def restarts(self, namespace):
        """Per pod: its UID, and how often each container was started again."""
        return {p["metadata"]["uid"]: [c["restartCount"] for c in p["status"]["containerStatuses"]]
                for p in self.get("pods", "-n", namespace)["items"]}

    def is_ready(self, namespace, name):
        conditions = self.get("pod", "-n", namespace, name)["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def probes(self, namespace, name):
        """How often nginx was asked for /healthz, by its own count of connections since it began."""
        _, out = self.exec(namespace, name, "cat", "/tmp/probes")
        return out.count("\n")

    def pids(self, number, process):
        """Of a program in containers of a node, as the node numbers them."""
        out = self.on_node(number, "pgrep", "-f", f"^/usr/local/bin/{process}").stdout
        return [int(n) for n in out.split()]

    def statuses(self, number, process):
        """/proc/PID/status of each of them; the agent's child has a life of its own."""
        return [self.on_node(number, "cat", f"/proc/{pid}/status").stdout for pid in self.pids(number, process)]

    def kill(self, number, process):
        for pid in self.pids(number, process):
            self.on_node(number, "kill", "-9", str(pid))

    def node_pod(self, number):
        """The mesh's pod on a node."""
        items = self.get("pods", "-n", "istio-system", "-l", "app=ztunnel",
                         "--field-selector", f"spec.nodeName=n{number}")["items"]
        return items[0]["metadata"]["name"]

    def is_captured(self, namespace, name):
        """As the agent of its node has it."""
        number = int(self.get("pod", "-n", namespace, name)["spec"]["nodeName"][1:])
        done = self.on_node(number, "bpftool", "-j", "map", "dump", "pinned", "/sys/fs/bpf/culvert/cv_pods")
        return any(e["formatted"]["value"]["name"] == f"{namespace}/{name}" and e["formatted"]["value"]["flags"] & 2
                   for e in json.loads(done.stdout))

    def install(self):
        """As a user would, and wait for it."""
        manifests = subprocess.run([f"{images.BIN}/culvert", "manifest", "generate"], stdout=subprocess.PIPE, text=True,
                                   check=True).stdout
        self.run("apply", "--server-side", "-f", "-", text=manifests)
        self.wait_mesh()

    def wait_mesh(self):
        """Until all of ours is there and well."""
        self.run("rollout", "status", "-n", "istio-system", "deployment/istiod", f"--timeout={READY_S}s", timeout=90)
        self.run("rollout", "status", "-n", "istio-system", "daemonset/ztunnel", f"--timeout={READY_S}s", timeout=90)

    def wait_ready(self, namespace, *pods):
        self.run("wait", "-n", namespace, "--for=condition=Ready", f"--timeout={READY_S}s",
                 *(f"pod/{p}" for p in pods), timeout=READY_S + 10)


def eventually(condition, seconds=30, what="condition"):
    """Wait until condition() gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


class Canary:
    """Watches the link of node n2 while a word of its own is sent over it."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.word = "canary" + uuid.uuid4().hex
        self.file = f"/tmp/{self.word}.pcap"
        self.proc = None

    def __enter__(self):
        self.proc = subprocess.Popen(["tcpdump", "-i", "cvk-n2", "--immediate-mode", "-U", "-w", self.file, "tcp and net 10.241.0.0/16"],
                                     stderr=subprocess.PIPE, text=True)
        assert "listening" in self.proc.stderr.readline(), "tcpdump does not run"
        return self

    def __exit__(self, *_):
        time.sleep(0.2)
        self.proc.terminate()
        self.proc.communicate()
        with open(self.file, "rb") as f:
            self.bytes = f.read()
        out = subprocess.run(["tcpdump", "-nn", "-r", self.file, "tcp[13] & 2 != 0 and tcp[13] & 16 == 0"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
        self.syns = [line.split(" > ")[1].split(":")[0] for line in out.splitlines() if " > " in line]
        os.unlink(self.file)

    def was_seen(self):
        assert len(self.bytes) > 1000, "nothing crossed the link at all: the capture proves nothing"
        return self.word.encode() in self.bytes

    def ports(self):
        """Where new connections between pods went; those to the control plane are not of pods."""
        return {int(to.rsplit(".", 1)[1]) for to in self.syns} - {15012}


def pod(namespace, name, image, at, labels=None, **spec):
    """A Pod of one container on node `at`."""
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}},
            "spec": {"nodeName": at, "terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "main", "image": f"culvert.test/{image}:1", "imagePullPolicy": "Never",
                                     **({"readinessProbe": {"httpGet": {"path": "/healthz", "port": 80},
                                                            "periodSeconds": 1}} if image == "nginx" else {})}],
                     **spec}}


def service(namespace, name, port=80):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port}]}}
