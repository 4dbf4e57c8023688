# SPDX-License-Identifier: Apache-2.0
"""Rolling restarts under load: of an application, of the mesh's own DaemonSet and control plane."""
import concurrent.futures
import contextlib
import time

import pytest
from kubelab import node
from kubelab.cluster import Canary, Load, eager, eventually, pod, service


def deployment(namespace, name, replicas, goodbye=("sleep", "3"), **spec):
    """nginx that says goodbye in time: no new connection comes once everybody has heard that it ends."""
    container = {"name": "main", "image": "culvert.test/nginx:1", "imagePullPolicy": "Never",
                 "readinessProbe": {"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 1},
                 "lifecycle": {"preStop": {"exec": {"command": [*goodbye]}}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"terminationGracePeriodSeconds": 10, "containers": [container], **spec}}}}


@pytest.fixture
def apps(cluster, mesh, namespace):
    """web on both nodes, and a client on n2, in the mesh."""
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    cluster.apply(deployment(namespace, "web", 2), service(namespace, "web"), pod(namespace, "client", "client", "n2"),
                  pod(namespace, "peer", "client", "n1"))
    cluster.run("rollout", "status", "-n", namespace, "deployment/web", "--timeout=180s", timeout=200)
    cluster.wait_ready(namespace, "client", "peer")
    for name in ("client", "peer"):
        eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
        eventually(lambda n=name: cluster.curl(namespace, n, "http://web"), what="an answer")
    return namespace


def restart(cluster, namespace, what):
    cluster.run("rollout", "restart", "-n", namespace, what)
    cluster.run("rollout", "status", "-n", namespace, what, "--timeout=240s", timeout=260)


@pytest.mark.parametrize("goodbye", [("sleep", "3"), ("/usr/sbin/nginx", "-c", "/etc/nginx.conf", "-s", "quit")],
                         ids=["in-time", "at-once"])
def test_an_application_restarts_without_a_failed_request(cluster, apps, goodbye):
    """At once: it listens no more from the moment that it is told to end, while clients are still sent to it; they try another."""
    cluster.apply(deployment(apps, "web", 2, goodbye))
    cluster.run("rollout", "status", "-n", apps, "deployment/web", "--timeout=180s", timeout=200)
    with Load(cluster, apps, "client", cluster.service_ip(apps, "web")) as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        restart(cluster, apps, "deployment/web")
        eventually(lambda: len(cluster.get("pods", "-n", apps, "-l", "app=web")["items"]) == 2, what="the old pods are gone")
        done = len(load.results)
        eventually(lambda: len(load.results) > done + 50, what="requests after it")
    assert load.failed() == []


@pytest.mark.quick
def test_the_daemon_set_is_upgraded_without_a_refused_connection(cluster, apps):
    """maxSurge: two agents and two ztunnels on a node for a while. Clients on both nodes, so each ztunnel is at both
    ends, and the servers are on either node."""
    spec = cluster.get("daemonset", "-n", "istio-system", "ztunnel")["spec"]
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    ip = cluster.service_ip(apps, "web")
    with Canary(cluster) as canary, Load(cluster, apps, "client", ip, path=f"/{canary.word}") as one, \
            Load(cluster, apps, "peer", ip, path=f"/{canary.word}") as two:
        eventually(lambda: len(one.results) > 20 and len(two.results) > 20, what="requests")
        restart(cluster, "istio-system", "daemonset/ztunnel")
        eventually(lambda: len(cluster.get("pods", "-n", "istio-system", "-l", "app=ztunnel")["items"]) == 2,
                   what="the old pods are gone")
        done = len(one.results)
        eventually(lambda: len(one.results) > done + 50, what="requests after it")
    assert one.failed() + two.failed() == []
    assert not canary.was_seen()
    for name in ("client", "peer"):
        assert cluster.is_captured(apps, name)


def test_pods_that_start_while_the_daemon_set_rolls_say_nothing_plain(cluster, apps):
    """Each node changes its agent, the one that the CNI plugin asks, in the middle of their start."""
    cluster.apply(pod(apps, "server", "nginx", "n1"))
    cluster.wait_ready(apps, "server")
    address = cluster.get("pod", "-n", apps, "server")["status"]["podIP"]
    names = []
    with Canary(cluster) as canary, concurrent.futures.ThreadPoolExecutor() as pool:
        roll = pool.submit(restart, cluster, "istio-system", "daemonset/ztunnel")
        while not roll.done():
            if len(names) < 12:
                names.append(f"eager{len(names)}")
                cluster.apply(eager(apps, names[-1], "n2", address, canary.word))
            time.sleep(0.5)
        roll.result()
        cluster.wait_ready(apps, *names)
        for name in names:
            eventually(lambda n=name: cluster.is_captured(apps, n), what=f"{name} is captured")
            eventually(lambda n=name, w=canary.word: cluster.curl(apps, n, f"http://{address}/{w}"), what="an answer")
    assert len(names) > 3, "hardly one started meanwhile: nothing is proven"
    assert not canary.was_seen(), "plaintext crossed the link"
    assert canary.ports_of(address) <= {"15008"}, "a connection was begun round the mesh"


def test_the_control_plane_restarts_without_a_failed_request(cluster, apps):
    with Load(cluster, apps, "client", cluster.service_ip(apps, "web")) as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        restart(cluster, "istio-system", "deployment/istiod")
        done = len(load.results)
        eventually(lambda: len(load.results) > done + 50, what="requests after it")
    assert load.failed() == []


@contextlib.contextmanager
def stopped_kube_proxy(cluster, number):
    """It hears of nothing for a while, as when it is busy."""
    node.signal_daemon(cluster.nodes[number - 1], "kube-proxy", "STOP")
    try:
        yield
    finally:
        node.signal_daemon(cluster.nodes[number - 1], "kube-proxy", "CONT")


@pytest.mark.quick
def test_a_service_without_endpoints_is_refused_not_plain(cluster, apps):
    """kube-proxy still has the endpoint that the mesh has no more, and the application still answers."""
    cluster.apply(deployment(apps, "solo", 1, nodeName="n1"), service(apps, "solo"),
                  pod(apps, "plain", "client", "n2", {"istio.io/dataplane-mode": "none"}))
    cluster.wait_ready(apps, "plain")
    cluster.run("rollout", "status", "-n", apps, "deployment/solo", "--timeout=180s", timeout=200)
    for name in ("plain", "client"):
        eventually(lambda n=name: cluster.curl(apps, n, "http://solo"), what="an answer, of kube-proxy and of the mesh")
    with stopped_kube_proxy(cluster, 2), Canary(cluster) as canary, \
            Load(cluster, apps, "client", cluster.service_ip(apps, "solo"), path=f"/{canary.word}") as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        cluster.run("scale", "-n", apps, "deployment/solo", "--replicas=0")
        eventually(load.failed, what="refused: there is no endpoint")
        eventually(lambda: not cluster.get("pods", "-n", apps, "-l", "app=solo")["items"], what="the pod is gone")
    assert not canary.was_seen(), "plaintext crossed the link"
    cluster.run("scale", "-n", apps, "deployment/solo", "--replicas=1")
    eventually(lambda: cluster.curl(apps, "client", "http://solo"), what="an answer of the new one")
