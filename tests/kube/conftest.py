# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests here; each test has a namespace of its own."""
import json
import os
import subprocess
import sys
import time
import uuid

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "kube"))
from kubelab import layout, node  # noqa: E402  pylint: disable=wrong-import-position

KEEP = bool(os.environ.get("CULVERT_KUBE_KEEP"))
READY_S = 60


class Cluster:
    """kubectl, and what goes on on the nodes."""

    def __init__(self, bin_dir):
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


def tool(name, *args):
    return subprocess.run([os.path.join(ROOT, "tools", "kube", name), *args], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=3000).stdout


@pytest.fixture(scope="session")
def cluster():
    if not (KEEP and os.path.exists(layout.ADMIN_CONF)):
        tool("down")
        tool("up")
    with open(f"{layout.STATE}/bin", encoding="utf-8") as f:
        made = Cluster(f.read().strip())
    yield made
    if not KEEP:
        tool("down")


@pytest.fixture
def namespace(cluster):
    name = f"t{uuid.uuid4().hex[:8]}"
    cluster.run("create", "namespace", name)
    yield name
    cluster.run("delete", "namespace", name, "--wait=false")


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
