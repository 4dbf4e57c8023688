# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests here; each test has a namespace of its own."""
import fcntl
import os
import shutil
import subprocess
import sys
import uuid

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "kube"))
from kubelab import layout, node  # noqa: E402
from kubelab.cluster import Cluster, culvert, eventually, pod, service  # noqa: E402

HELM = "v3.22.0"
CACHE = os.path.expanduser("~/.cache/culvert")
KEEP = bool(os.environ.get("CULVERT_KUBE_KEEP"))


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: part of `make test`, on a cluster with IPv4 and IPv6")


def tool(name):
    return subprocess.run([os.path.join(ROOT, "tools", "kube", name)], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=3000).stdout


def of_istio(what):
    """What tools/kube/build has of Istio's. Return: the file."""
    done = subprocess.run([os.path.join(ROOT, "tools", "kube", "build"), what], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, timeout=3000)
    if done.returncode != 0:
        pytest.skip(f"{what}: {done.stderr[-200:]}")
    return done.stdout.strip()


@pytest.fixture(scope="session")
def crds():
    """Istio's own definitions, a file."""
    return of_istio("--istio-crds")


@pytest.fixture(scope="session")
def istiod_program():
    """Istio's own control plane."""
    return of_istio("--istiod")


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


@pytest.fixture(scope="module")
def bare(cluster):
    """A cluster without the mesh, nor a namespace that is going, of which less is there every moment; the tests that share it
    get theirs back."""
    was_there = "istio-system" in cluster.run("get", "namespaces", "-o", "name")
    if was_there:
        culvert("uninstall", "--purge", "-y")
        cluster.delete_manifests()
    eventually(lambda: all(ns["status"]["phase"] == "Active" for ns in cluster.get("namespaces")["items"]),
               what="the namespaces of earlier tests are gone")
    yield cluster
    if was_there:
        cluster.install()


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


@pytest.fixture(scope="session")
def helm():
    """The program, built from source once: some minutes."""
    folder = os.path.join(CACHE, "helm", HELM)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(f"{folder}/helm"):
            found = [shutil.which(go) for go in ("go", "/usr/local/go/bin/go", f"{CACHE}/go/go/bin/go")]
            if not any(found):
                pytest.skip("no Go to build Helm with")
            done = subprocess.run([next(filter(None, found)), "install", f"helm.sh/helm/v3/cmd/helm@{HELM}"],
                                  env={**os.environ, "GOBIN": folder, "GOFLAGS": "-mod=mod"}, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=1500)
            if done.returncode != 0:
                pytest.skip(f"Helm cannot be built: {done.stderr[-200:]}")
    return f"{folder}/helm"
