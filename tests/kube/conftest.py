# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests here; each test has a namespace of its own."""
import os
import subprocess
import sys
import uuid

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "kube"))
from kubelab import layout, node  # noqa: E402
from kubelab.cluster import Cluster, eventually, pod, service  # noqa: E402

KEEP = bool(os.environ.get("CULVERT_KUBE_KEEP"))


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: part of `make test`, on a cluster with IPv4 and IPv6")


def tool(name):
    return subprocess.run([os.path.join(ROOT, "tools", "kube", name)], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=3000).stdout


@pytest.fixture(scope="session")
def cluster():
    mode = os.environ.get("CULVERT_KUBE_PROXY_MODE", "")
    if lacks := node.lacks(mode):
        pytest.skip(f"no kube-proxy in mode {mode}: {lacks}")
    if not (KEEP and os.path.exists(layout.ADMIN_CONF)):
        tool("down")
        tool("up")
    yield Cluster()
    if not KEEP:
        tool("down")


@pytest.fixture(scope="session")
def mesh(cluster):
    """Culvert, installed as a user would."""
    cluster.install()
    return cluster


@pytest.fixture
def namespace(cluster):
    name = f"t{uuid.uuid4().hex[:8]}"
    cluster.run("create", "namespace", name)
    yield name
    cluster.run("delete", "namespace", name, "--wait=false")


@pytest.fixture
def apps(cluster, mesh, namespace):
    """Server on n1, client on n2, enrolled."""
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    for name in ("web", "client"):
        eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
    eventually(lambda: cluster.curl(namespace, "client", "http://web"), what="an answer")
    return namespace
