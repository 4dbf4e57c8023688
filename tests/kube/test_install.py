# SPDX-License-Identifier: Apache-2.0
"""`culvert install` to `uninstall --purge` on a cluster with running pods: nothing is cut on the way in, up or out, and nothing
stays behind."""
import json
import subprocess

import pytest
from kubelab import images
from kubelab.cluster import Canary, Load, culvert, eventually, pod, service

INCIDENTAL = ("events", "leases.coordination.k8s.io", "endpoints", "endpointslices.discovery.k8s.io")


def everything(cluster):
    """Names of all objects of all kinds, but of those that come and go by themselves, and every label of namespaces."""
    kinds = cluster.run("api-resources", "--verbs=list", "-o", "name").split()
    found = set()
    for kind in kinds:
        if kind.startswith(INCIDENTAL):
            continue
        out = cluster.run("get", kind, "-A", "--ignore-not-found", "-o",
                          "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}", check=False)
        found |= {f"{kind} {name}" for name in out.split()}
    for ns in cluster.get("namespaces")["items"]:
        found.add(f"labels {ns['metadata']['name']} {sorted(ns['metadata'].get('labels', {}).items())} "
                  f"{ns['spec'].get('finalizers')}")
    return found


def on_nodes(cluster):
    """What the mesh has pinned in the kernel of the nodes."""
    return [line for n in (1, 2) for line in cluster.on_node(n, "find", "/sys/fs/bpf/culvert").stdout.splitlines()
            if "No such file" not in line]


@pytest.fixture
def bare(cluster):
    """A cluster without the mesh; other tests that share it get theirs back."""
    manifests = subprocess.run([f"{images.BIN}/culvert", "manifest", "generate"], stdout=subprocess.PIPE, text=True, check=True).stdout
    was_there = "istio-system" in cluster.run("get", "namespaces", "-o", "name")
    if was_there:
        culvert("uninstall", "--purge", "-y")
        cluster.run("delete", "--ignore-not-found=true", "-f", "-", text=manifests, timeout=120)
    yield cluster
    if was_there:
        cluster.install()


def test_in_up_and_out_without_a_failed_request(bare, namespace):
    cluster = bare
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    uids = cluster.restarts(namespace)
    before = everything(cluster)
    assert "no ready Culvert pods" in culvert("version")
    assert "safe to install or upgrade" in culvert("x", "precheck")
    ip = cluster.service_ip(namespace, "web")
    with Load(cluster, namespace, "client", ip) as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        said = culvert("install", "--set", "profile=demo", "-y")
        assert [line.split()[1] for line in said.splitlines() if line.startswith("✔")] == ["Core", "Istiod", "Ztunnel", "Installation"]
        cluster.run("label", "namespace", namespace, "istio-injection=enabled")
        for name in ("web", "client"):
            eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
        looks_at_it(cluster, namespace)
        upgrade(cluster, load)
        assert "✔ Uninstall complete" in culvert("uninstall", "--purge", "-y")
        done = len(load.results)
        eventually(lambda: len(load.results) > done + 20, what="requests afterwards")
    assert load.failed() == []
    assert cluster.restarts(namespace) == uids
    assert on_nodes(cluster) == []
    cluster.run("label", "namespace", namespace, "istio-injection-")
    assert everything(cluster) ^ before == set()


def looks_at_it(cluster, namespace):
    """The words that ask, on a mesh that works."""
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(namespace, "client", f"http://web/{canary.word}"), what="an answer")
    said = culvert("version")
    assert "(1 replicas)" in said and "(2 nodes)" in said
    assert "HBONE" in culvert("ztunnel-config", "workload", "--node", "n1")
    assert {c["node"] for c in json.loads(culvert("proxy-status", "-o", "json"))} == {"n1", "n2"}
    status = json.loads(culvert("status", "-o", "json"))
    assert status["namespaces"][namespace]["captured"] == 2 and not status["problems"]
    assert "captured" in culvert("describe", "pod", f"web.{namespace}")
    assert json.loads(culvert("explain", f"{namespace}/client", f"web.{namespace}:80", "-o", "json"))["verdict"] == "allowed"
    assert "✔ No validation issues" in culvert("analyze", "-n", namespace)
    assert "0 objects made, 0 changed" in culvert("install", "--set", "profile=demo", "-y")


def upgrade(cluster, load):
    """Every node's pod is another one afterwards."""
    old = {cluster.node_pod(n) for n in (1, 2)}
    done = len(load.results)
    culvert("upgrade", "--set", "values.ztunnel.logLevel=debug", "-y")
    eventually(lambda: not old & {p["metadata"]["name"] for p in cluster.get("pods", "-n", "istio-system", "-l", "app=ztunnel")["items"]},
               what="the old pods are gone")
    eventually(lambda: len(load.results) > done + 20, what="requests after the upgrade")
