# SPDX-License-Identifier: Apache-2.0
"""A label enrols running pods: mutual TLS on the wire at once, no restart; policy bites; unlabelling undoes it."""
import json
import re

import pytest
from kubelab.cluster import Canary, culvert, eventually, pod, service

LABEL = "istio.io/dataplane-mode"


@pytest.fixture
def apps(cluster, mesh, namespace):
    """Server on n1, client on n2, running before anything is labelled."""
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    eventually(lambda: cluster.curl(namespace, "client", "http://web"), what="an answer outside the mesh")
    return namespace


def enrol(cluster, namespace, *pods, label=f"{LABEL}=ambient"):
    cluster.run("label", "namespace", namespace, label)
    for name in pods:
        eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")


def is_encrypted(cluster, namespace):
    """One request with a word of its own. Return: whether it was answered, and its word was not on the wire."""
    with Canary(cluster) as canary:
        body = cluster.curl(namespace, "client", f"http://web/{canary.word}")
    return bool(body) and not canary.was_seen() and canary.ports() <= {15008}


@pytest.mark.parametrize("label", ["istio.io/dataplane-mode=ambient", "istio-injection=enabled", "culvert.io/mesh=enabled"])
def test_a_label_meshes_running_pods(cluster, apps, label):
    before = cluster.restarts(apps)
    enrol(cluster, apps, "web", "client", label=label)
    eventually(lambda: is_encrypted(cluster, apps), what="requests cross the link encrypted, to port 15008 only")
    assert cluster.restarts(apps) == before
    cluster.run("label", "namespace", apps, label.split("=", maxsplit=1)[0] + "-")
    eventually(lambda: not cluster.is_captured(apps, "client"), what="the client is released")
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(apps, "client", f"http://web/{canary.word}"), what="an answer without the mesh")
    assert canary.was_seen()


def test_a_namespace_is_made_with_its_label(cluster, mesh, namespace):
    """As manifests have it, and its pods in the same breath: they are of the mesh from their first connection on."""
    made = f"{namespace}-made"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made, "labels": {LABEL: "ambient"}}})
    try:
        eventually(lambda: cluster.run("get", "serviceaccount", "-n", made, "default", check=False), what="the account")
        cluster.apply(pod(made, "web", "nginx", "n1"), service(made, "web"), pod(made, "client", "client", "n2"))
        cluster.wait_ready(made, "web", "client")
        assert cluster.is_captured(made, "web") and cluster.is_captured(made, "client")
        with Canary(cluster) as canary:
            eventually(lambda: cluster.curl(made, "client", f"http://web/{canary.word}"), what="an answer")
        assert not canary.was_seen()
    finally:
        cluster.run("delete", "namespace", made, "--wait=false")


def test_the_server_sees_its_client(cluster, apps):
    enrol(cluster, apps, "web", "client")
    ip = cluster.get("pod", "-n", apps, "client")["status"]["podIP"]
    eventually(lambda: is_encrypted(cluster, apps), what="encryption")
    assert cluster.curl(apps, "client", "http://web") == f"nginx web\nclient {ip}\n"


def test_strict_refuses_plaintext_but_not_probes(cluster, apps):
    enrol(cluster, apps, "web")
    eventually(lambda: cluster.curl(apps, "client", "http://web"), what="PERMISSIVE lets plaintext in")
    cluster.run("label", "pod", "-n", apps, "client", f"{LABEL}=none")
    cluster.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                   "metadata": {"name": "strict", "namespace": apps}, "spec": {"mtls": {"mode": "STRICT"}}})
    eventually(lambda: not cluster.curl(apps, "client", "http://web"), what="plaintext is refused")
    # three probes' time, and the kubelet still finds it well
    began = cluster.probes(apps, "web")
    eventually(lambda: cluster.probes(apps, "web") >= began + 3, what="three probes after STRICT")
    assert cluster.is_ready(apps, "web")


def past(namespace, verdict):
    """What `culvert explain --past` tells of connections from the client to the server, those with this verdict, by direction."""
    told = json.loads(culvert("explain", "--past", f"{namespace}/client", f"web.{namespace}:80", "-o", "json"))
    assert {n["node"] for n in told["nodes"]} == {"n1", "n2"} and all(n["completeSince"] for n in told["nodes"])
    return {c["direction"]: c for c in told["connections"] if c["verdict"] == verdict}


def test_a_deny_policy_bites(cluster, apps):
    """And what became of the connections is told afterwards."""
    enrol(cluster, apps, "web", "client")
    eventually(lambda: is_encrypted(cluster, apps), what="encryption")
    eventually(lambda: len(past(apps, "allowed")) == 2, what="both ends of an allowed connection")
    for direction, node in (("outbound", "n2"), ("inbound", "n1")):
        told = past(apps, "allowed")[direction]
        assert (told["node"], told["path"]) == (node, "tunnel")
        assert "was allowed and went through a tunnel (mutual TLS), and ended well" in told["sentence"]
        assert (told["srcName"], told["dstName"]) == ("client", "web") and told["srcIdentity"].endswith(f"/ns/{apps}/sa/default")
    cluster.apply({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                   "metadata": {"name": "deny", "namespace": apps},
                   "spec": {"action": "DENY", "rules": [{"from": [{"source": {"namespaces": [apps]}}]}]}})
    eventually(lambda: not cluster.curl(apps, "client", "http://web"), what="the client is denied")
    eventually(lambda: len(past(apps, "denied")) == 2, what="both ends of a denied connection")
    assert f"{apps}/deny" in past(apps, "denied")["inbound"]["sentence"]
    assert "was denied" in past(apps, "denied")["outbound"]["sentence"]
    cluster.run("delete", "authorizationpolicy", "-n", apps, "deny")
    eventually(lambda: cluster.curl(apps, "client", "http://web"), what="the client is let in again")


@pytest.mark.parametrize("process", ["culvert-agent", "culvert-ztunnel", "culvert-control"])
def test_killed_processes_recover(cluster, apps, process):
    enrol(cluster, apps, "web", "client")
    eventually(lambda: is_encrypted(cluster, apps), what="encryption")
    for number in (1, 2):
        cluster.kill(number, process)
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(apps, "client", f"http://web/{canary.word}"), what="an answer after the kill")
    assert not canary.was_seen(), "plaintext crossed the link"
    cluster.wait_mesh()


def test_new_pods_are_in_the_mesh(cluster, apps):
    enrol(cluster, apps, "web", "client")
    cluster.apply(pod(apps, "late", "client", "n2"))
    cluster.wait_ready(apps, "late")
    eventually(lambda: cluster.is_captured(apps, "late"), what="the new pod is captured")
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(apps, "late", f"http://web/{canary.word}"), what="an answer for the new pod")
    assert not canary.was_seen()


def running(cluster, programs):
    """(program, number of its node, pid there) of each: what an earlier test has killed may be about to be started again."""
    def found():
        all_ = [(p, number, pid) for p in programs for number in (1, 2) for pid in cluster.pids(number, p)]
        return all_ if {p for p, *_ in all_} == set(programs) else None
    return eventually(found, what="all programs run")


def test_capabilities_are_those_of_the_design(cluster, mesh):
    """As /proc says it, not as the manifest does."""
    agents = {21, 19, 12, 38, 39}
    want = {"culvert-agent --kube": agents, "culvert-maker": agents, "culvert-ztunnel": set(), "culvert-control": set()}
    for program, number, pid in running(cluster, want):
        status = cluster.on_node(number, "cat", f"/proc/{pid}/status").stdout
        for field in ("CapEff", "CapPrm", "CapBnd"):
            mask = int(re.search(rf"{field}:\s*(\w+)", status).group(1), 16)
            have = {bit for bit in range(64) if mask & 1 << bit}
            assert have == want[program], f"{program} on n{number}: {field}"
        # the runtime's filter; ztunnel has one of its own besides
        filters = int(re.search(r"Seccomp_filters:\s*(\d+)", status).group(1))
        assert filters == (2 if program == "culvert-ztunnel" else 1), f"{program} on n{number}: {filters} filters"


def test_each_process_has_the_tokens_that_it_needs(cluster, mesh):
    """The API server's is for who asks it: what speaks to strangers has none of it."""
    want = {"culvert-agent --kube": {"istio", "kubernetes.io", "tokens"}, "culvert-ztunnel": {"istio", "tokens"},
            "culvert-control": {"kubernetes.io"}}
    for program, number, pid in running(cluster, want):
        have = cluster.on_node(number, "ls", f"/proc/{pid}/root/var/run/secrets").stdout.split()
        assert set(have) == want[program], f"{program} on n{number}"
