# SPDX-License-Identifier: Apache-2.0
"""The mesh is taken away by tools that know nothing of it: `kubectl delete -f`, `kubectl delete namespace`, `helm uninstall`. They
take accounts and roles away while agents run, which then may ask the API server nothing: the nodes are left clean all the same, and
pods go on as on nodes that never had a mesh. After test_rbac.py: here agents are refused."""
import os
import subprocess
import time

import pytest
from kubelab import layout
from kubelab.cluster import Canary, Load, culvert, eventually, manifests, pod, service

SYSTEM = "istio-system"
CHART = os.path.join(layout.ROOT, "tools", "deploy", "chart")


@pytest.fixture
def apps(bare, namespace):
    """Server on n1, client on n2, in a namespace that asks for the mesh."""
    bare.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    bare.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    bare.wait_ready(namespace, "web", "client")
    yield namespace
    bare.delete_manifests()  # what belongs to no namespace, and the definitions, which Helm leaves alone


def is_encrypted(cluster, namespace):
    for name in ("web", "client"):
        eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(namespace, "client", f"http://web/{canary.word}"), what="an answer in the mesh")
    assert not canary.was_seen(), "plaintext crossed the link"


def goes(cluster, namespace, remove):
    """remove() takes the mesh away, while requests are made."""
    uids = cluster.restarts(namespace)
    with Load(cluster, namespace, "client", cluster.service_ip(namespace, "web")) as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        remove()
        eventually(lambda: not cluster.get("pods", "-n", SYSTEM)["items"], what="the mesh's pods are gone")
        eventually(lambda: cluster.pins() == [], what="nothing of it is left in the nodes' kernels")
        for number in (1, 2):
            assert "culvert-cni" not in cluster.plugins(number)
            assert cluster.on_node(number, "ls", "/opt/cni/bin/culvert-cni").returncode
        clean, done = time.time(), len(load.results)
        eventually(lambda: len(load.results) > done + 50, what="requests afterwards")
    assert load.failed() == [], f"of {len(load.results)}; it had gone at {clean}"
    assert cluster.restarts(namespace) == uids
    cluster.apply(pod(namespace, "late", "client", "n2"))
    cluster.wait_ready(namespace, "late")
    eventually(lambda: cluster.curl(namespace, "late", "http://web"), what="an answer to a new pod")


def test_the_manifests_are_deleted(bare, apps):
    """Applied twice before, as kubectl does without further words."""
    for _ in range(2):
        bare.run("apply", "-f", "-", text=manifests())
    bare.wait_mesh()
    is_encrypted(bare, apps)
    goes(bare, apps, bare.delete_manifests)


def test_its_namespace_is_deleted(bare, apps):
    bare.install()
    is_encrypted(bare, apps)
    goes(bare, apps, lambda: bare.run("delete", "namespace", SYSTEM, timeout=300))
    assert "✔ Uninstall complete" in culvert("uninstall", "--purge", "-y"), "what belongs to no namespace is found"
    assert "culvert" not in bare.run("get", "clusterroles,clusterrolebindings", "-o", "name")


def test_helm_installs_upgrades_and_uninstalls(bare, apps, helm):
    def run(*words):
        done = subprocess.run([helm, *words, "-n", SYSTEM, "--kubeconfig", layout.ADMIN_CONF, "--wait", "--timeout=300s"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stdout
    run("install", "culvert", CHART, "--create-namespace")
    is_encrypted(bare, apps)
    before = {bare.node_pod(number) for number in (1, 2)}
    run("upgrade", "culvert", CHART, "--set", "ztunnel.logLevel=debug")
    bare.wait_mesh()
    eventually(lambda: not before & {p["metadata"]["name"] for p in bare.get("pods", "-n", SYSTEM)["items"]}, what="new ones")
    is_encrypted(bare, apps)
    goes(bare, apps, lambda: run("uninstall", "culvert"))
