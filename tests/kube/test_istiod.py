# SPDX-License-Identifier: Apache-2.0
"""Istio's own control plane, unmodified, with our agents and ztunnels: no control plane of ours is there."""
import os
import signal

import pytest
from kubelab import layout, run
from kubelab.cluster import Canary, culvert, eventually, pod, service
from test_enrol import enrol, is_encrypted

NAME = "istiod-of-istio"  # of its process and its log
PORT = 15012
HTTP = {"http": 18080, "monitoring": 18081}
ENV = {"PILOT_ENABLE_AMBIENT": "true", "CA_TRUSTED_NODE_ACCOUNTS": "istio-system/ztunnel", "POD_NAMESPACE": "istio-system",
       "POD_NAME": NAME, "CLUSTER_ID": "Kubernetes", "REVISION": "default", "INJECTION_WEBHOOK_CONFIG_NAME": "",
       "VALIDATION_WEBHOOK_CONFIG_NAME": "", "PILOT_ENABLE_GATEWAY_API": "false"}


class Istiod:
    """A process beside the nodes; Service istiod leads to it."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def start(self):
        host = layout.in_url(layout.host_ip())
        words = [f"--secureGRPCAddr={host}:{PORT}", "--grpcAddr=", "--httpsAddr=", f"--httpAddr={host}:{HTTP['http']}",
                 f"--monitoringAddr={host}:{HTTP['monitoring']}", "--ctrlz_port=0", "--kubeconfig", layout.ADMIN_CONF]
        return run.start(NAME, ["/usr/bin/env", "-C", self.folder, self.binary, "discovery", *words], env=ENV)

    def kill(self):
        """As a crash."""
        os.killpg(run.recorded(NAME), signal.SIGKILL)
        run.end(NAME)

    def log(self):
        with open(f"{layout.LOGS}/{NAME}.log", encoding="utf-8", errors="replace") as f:
            return f.read()


def service_of_istio():
    """Service istiod, without pods: the process is beside the cluster."""
    ip, name = layout.host_ip(), {"name": "istiod", "namespace": "istio-system"}
    port = {"name": "https-dns", "port": PORT}
    return [{"apiVersion": "v1", "kind": "Service", "metadata": name, "spec": {"ports": [port]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6" if ":" in ip else "IPv4",
             "metadata": {**name, "labels": {"kubernetes.io/service-name": "istiod"}},
             "endpoints": [{"addresses": [ip]}], "ports": [port]}]


@pytest.fixture(scope="module")
def istiod(bare, istiod_program, crds, tmp_path_factory):
    """With the nodes' part of ours, as a user would install it, and Istio's own definitions."""
    nodes = culvert("manifest", "generate", "--set", "values.pilot.enabled=false", "--set", "components.base.enabled=false")
    process = Istiod(istiod_program, str(tmp_path_factory.mktemp("istiod")))
    bare.run("apply", "--server-side", "-f", crds)
    bare.run("apply", "--server-side", "-f", "-", text=nodes)
    bare.apply(*service_of_istio())
    process.start()
    try:
        bare.run("rollout", "status", "-n", "istio-system", "daemonset/ztunnel", "--timeout=180s", timeout=200)
        yield process
    finally:
        bare.run("delete", "--ignore-not-found=true", "-f", "-", text=nodes, timeout=300)
        run.end(NAME)
        bare.run("delete", "--ignore-not-found=true", "-f", crds, timeout=300)
        for name in ("istio-ca-root-cert", "istio-ca-crl"):  # in every namespace
            bare.run("delete", "configmap", "-A", "--field-selector", f"metadata.name={name}")


@pytest.fixture
def apps(cluster, istiod, namespace):
    """Server on n1, client on n2, enrolled, and their connections are tunnelled."""
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    eventually(lambda: cluster.curl(namespace, "client", "http://web"), what="an answer outside the mesh")
    enrol(cluster, namespace, "web", "client")
    eventually(lambda: is_encrypted(cluster, namespace), what="requests cross the link encrypted, to port 15008 only")
    return namespace


def policy(namespace, action, **source):
    rules = [{"from": [{"source": source}]}] if source else []
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "who", "namespace": namespace},
            "spec": {"action": action, "rules": rules}}


def test_pods_are_in_the_mesh_and_policies_hold(cluster, istiod, apps):
    cluster.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                   "metadata": {"name": "strict", "namespace": apps}, "spec": {"mtls": {"mode": "STRICT"}}})
    cluster.apply(pod(apps, "stranger", "client", "n2", labels={"istio.io/dataplane-mode": "none"}),
                  pod(apps, "near", "client", "n1"))
    cluster.wait_ready(apps, "stranger", "near")
    eventually(lambda: cluster.is_captured(apps, "near"), what="the pod of the server's node is captured")
    eventually(lambda: not cluster.curl(apps, "stranger", "http://web"), what="plaintext is refused")
    assert is_encrypted(cluster, apps)
    eventually(lambda: cluster.curl(apps, "near", "http://web"), what="an answer inside the node")
    me, other = f"cluster.local/ns/{apps}/sa/default", f"cluster.local/ns/{apps}/sa/other"
    for action, source, is_let_in in (("DENY", {"principals": [me]}, False), ("DENY", {"principals": [other]}, True),
                                      ("ALLOW", {"principals": [other]}, False), ("ALLOW", {"namespaces": [apps]}, True),
                                      ("ALLOW", {}, False), ("DENY", {"notNamespaces": [apps]}, True)):
        cluster.apply(policy(apps, action, **source))
        for client in ("client", "near"):
            eventually(lambda c=client, w=is_let_in: bool(cluster.curl(apps, c, "http://web")) == w,
                       what=f"{action} {source}: {client} is {'let in' if is_let_in else 'refused'}")
    assert not cluster.curl(apps, "stranger", "http://web")


def test_istiod_is_asked_for_what_it_knows(cluster, istiod, apps):
    log = istiod.log()
    assert "new delta connection for node:ztunnel-n1.istio-system" in log and "node:culvert-agent-n2.istio-system" in log
    for word in ("culvert.node", "Unknown watched", "ACK ERROR", "Subscribed resources check mismatch"):
        assert word not in log, [line for line in log.splitlines() if word in line][:3]


def test_istiod_goes_and_comes(cluster, istiod, apps):
    """What it said stays in force; what changed meanwhile comes."""
    istiod.kill()
    try:
        assert is_encrypted(cluster, apps)
        cluster.apply(policy(apps, "ALLOW"))
        assert is_encrypted(cluster, apps)
    finally:
        istiod.start()
    eventually(lambda: not cluster.curl(apps, "client", "http://web"), what="what came meanwhile is in force")
    cluster.run("delete", "authorizationpolicy", "-n", apps, "who")
    eventually(lambda: is_encrypted(cluster, apps), what="and goes again")


def test_agent_and_ztunnel_are_killed(cluster, istiod, apps):
    for process in ("culvert-agent", "culvert-ztunnel"):
        for number in (1, 2):
            cluster.kill(number, process)
        with Canary(cluster) as canary:
            eventually(lambda w=canary.word: cluster.curl(apps, "client", f"http://web/{w}"), what="an answer after the kill")
        assert not canary.was_seen(), "plaintext crossed the link"


def test_a_host_outside_has_a_name(cluster, istiod, apps):
    """A ServiceEntry without an address: istiod gives it one, ztunnel answers for its name."""
    host = f"far.{apps}.test"
    cluster.apply({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "far", "namespace": apps},
                   "spec": {"hosts": [host], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "resolution": "STATIC",
                            "endpoints": [{"address": layout.host_ip(), "ports": {"http": HTTP["monitoring"]}}]}})
    eventually(lambda: "pilot_xds" in cluster.curl(apps, "client", f"http://{host}/metrics"), what="an answer of the host")


def test_an_entrys_endpoint_may_be_a_pod(cluster, istiod, apps):
    """istiod gives it as an endpoint of its own, without a tunnel, at the pod's address."""
    host, ip = f"alias.{apps}.test", cluster.get("pod", "-n", apps, "web")["status"]["podIP"]
    cluster.apply({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "alias", "namespace": apps},
                   "spec": {"hosts": [host], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "resolution": "STATIC",
                            "endpoints": [{"address": ip}]}})
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(apps, "client", f"http://{host}/{canary.word}"), what="an answer of the pod")
    assert not canary.was_seen(), "plaintext crossed the link"


def test_pods_leave_the_mesh(cluster, istiod, apps):
    cluster.run("label", "namespace", apps, "istio.io/dataplane-mode-")
    eventually(lambda: not cluster.is_captured(apps, "client") and not cluster.is_captured(apps, "web"), what="both are released")
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(apps, "client", f"http://web/{canary.word}"), what="an answer without the mesh")
    assert canary.was_seen()
