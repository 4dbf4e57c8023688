# SPDX-License-Identifier: Apache-2.0
"""Who is told what at port 15012: tokens of the real TokenRequest, reviewed by the real API server. An application has its own
identity, a ztunnel those of its node's pods, and nobody else any; the mesh's own namespace alone is told of the mesh."""
import pytest
from kubelab.cluster import eventually, pod
from stranger import DENIED, INVALID, OK, UNAUTHENTICATED, Stranger, expired, minted, tampered, token_for

SYSTEM = "istio-system"
NODES = ("n1", "n2")
TOLD_S = 3  # a stream that is let in has been sent everything by then


class Town:
    """A namespace with an account and a pod of it on each node, an account without a pod, and one called `ztunnel`."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace
        for account in (*NODES, "idle", "ztunnel"):
            cluster.run("create", "serviceaccount", "-n", namespace, account)
        cluster.apply(*(pod(namespace, at, "client", at, serviceAccountName=at) for at in NODES),
                      pod(namespace, "ztunnel", "client", "n1", serviceAccountName="ztunnel"))
        cluster.wait_ready(namespace, *NODES, "ztunnel")

    def identity(self, account):
        return f"spiffe://cluster.local/ns/{self.namespace}/sa/{account}"

    def token(self, account, **how):
        return token_for(self.cluster, self.namespace, account, **how)

    def make_node(self, name, at, account="ztunnel"):
        """A pod as a ztunnel is one to the control plane: of its account, in its namespace. Return: its token."""
        self.cluster.apply(pod(SYSTEM, name, "client", at, serviceAccountName=account))
        self.cluster.wait_ready(SYSTEM, name)
        return token_for(self.cluster, SYSTEM, account, pod=name)

    def delete_node(self, name):
        self.cluster.run("delete", "pod", "-n", SYSTEM, name, "--ignore-not-found", "--grace-period=1")


@pytest.fixture(scope="module")
def town(cluster, mesh):
    namespace = "gate-town"
    cluster.run("create", "namespace", namespace)
    yield Town(cluster, namespace)
    cluster.run("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def stranger(cluster, mesh):
    def addresses():
        pods = cluster.get("pods", "-n", SYSTEM, "-l", "app=istiod")["items"]
        return [p["status"]["podIP"] for p in pods if not p["metadata"].get("deletionTimestamp") and p["status"].get("podIP")]
    eventually(lambda: len(addresses()) == 1, what="one control plane")
    return Stranger(cluster, addresses()[0])


@pytest.fixture
def node_pod(town, request):
    """Makes pods as Town.make_node does; they go with the test."""
    names = []

    def make(at, account="ztunnel"):
        names.append(f"gate-{at}")
        return town.make_node(names[-1], at, account)
    yield make
    for name in names:
        town.delete_node(name)


def granted(answer, identity):
    assert (answer.status, answer.identities()) == (OK, [identity]), answer


def refused(answer, status):
    assert (answer.status, answer.body) == (status, b""), answer


def test_an_application_has_its_own_identity(town, stranger):
    """Its token alone says which: bound to a pod or not. It is asked for by naming nobody, as Istio has it."""
    for token in (town.token("n1", pod="n1"), town.token("n1")):
        granted(stranger.certificate(token), town.identity("n1"))


@pytest.mark.parametrize("wanted", ("n1", "n2", "idle"))
def test_an_application_speaks_for_nobody(town, stranger, wanted):
    """Neither for a pod of its own node, nor for itself: who names one impersonates it."""
    refused(stranger.certificate(town.token("n1", pod="n1"), town.identity(wanted)), DENIED)


def test_an_account_called_ztunnel_elsewhere_speaks_for_nobody(town, stranger):
    refused(stranger.certificate(town.token("ztunnel", pod="ztunnel"), town.identity("n1")), DENIED)


def test_another_account_of_the_meshs_namespace_speaks_for_nobody(town, stranger, node_pod):
    refused(stranger.certificate(node_pod("n1", account="default"), town.identity("n1")), DENIED)


def test_a_ztunnels_token_without_a_pod_speaks_for_nobody(town, stranger):
    refused(stranger.certificate(token_for(town.cluster, SYSTEM, "ztunnel"), town.identity("n1")), DENIED)


@pytest.mark.parametrize("at,elsewhere", (NODES, NODES[::-1]))
def test_a_ztunnel_speaks_for_its_own_node(town, stranger, node_pod, at, elsewhere):
    token = node_pod(at)
    granted(stranger.certificate(token, town.identity(at)), town.identity(at))
    for wanted in (elsewhere, "idle", "nobody"):
        refused(stranger.certificate(token, town.identity(wanted)), DENIED)
    refused(stranger.certificate(token, town.identity(at).replace("cluster.local", "other.example")), DENIED)
    for wanted in ("nonsense", "spiffe://cluster.local/ns//sa/x", town.identity(at) + "/more"):
        refused(stranger.certificate(token, wanted), INVALID)


def test_a_ztunnels_pod_that_is_gone_speaks_for_nobody(town, stranger, node_pod):
    """Its token was good a moment ago and is remembered: the pod is looked for all the same, and one of its name elsewhere, or
    there again, is another."""
    token = node_pod("n1")
    granted(stranger.certificate(token, town.identity("n1")), town.identity("n1"))
    town.delete_node("gate-n1")
    eventually(lambda: stranger.certificate(token, town.identity("n1")).status != OK, what="the control plane has heard of it")
    town.make_node("gate-n1", "n1")
    again = token_for(town.cluster, SYSTEM, "ztunnel", pod="gate-n1")
    granted(stranger.certificate(again, town.identity("n1")), town.identity("n1"))
    answer = stranger.certificate(token, town.identity("n1"))
    assert answer.status in (DENIED, UNAUTHENTICATED) and not answer.body, answer


def of_a_pod_that_is_gone(town):
    town.cluster.apply(pod(town.namespace, "gone", "client", "n2", serviceAccountName="n2"))
    town.cluster.wait_ready(town.namespace, "gone")
    token = town.token("n2", pod="gone")
    town.cluster.run("delete", "pod", "-n", town.namespace, "gone", "--grace-period=1")
    return token


BAD = {
    "none": lambda town: None,
    "garbage": lambda town: "garbage",
    "looks like one": lambda town: "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl",
    "another audience": lambda town: town.token("n1", pod="n1", audience="vault"),
    "the API server's audience": lambda town: town.token("n1", pod="n1", audience=None),
    "a pod that is gone": of_a_pod_that_is_gone,
    "expired": lambda town: expired(town.token("n1", pod="n1")),
    "another's name under its signature": lambda town: tampered(town.token("n1", pod="n1"),
                                                                 sub=f"system:serviceaccount:{SYSTEM}:ztunnel"),
}


@pytest.mark.parametrize("kind", BAD)
def test_who_has_no_good_token_is_nobody(town, stranger, kind):
    token = BAD[kind](town)
    refused(stranger.certificate(token), UNAUTHENTICATED)
    refused(stranger.certificate(token, town.identity("n1")), UNAUTHENTICATED)
    refused(stranger.stream(token), UNAUTHENTICATED)


def test_a_token_made_here_is_good_while_it_lasts(town, stranger):
    """Else those that are to have expired prove nothing."""
    granted(stranger.certificate(minted(town.token("n1", pod="n1"), 60)), town.identity("n1"))


def test_only_the_meshs_namespace_is_told_of_the_mesh(town, stranger, node_pod):
    for account in ("n1", "ztunnel"):
        refused(stranger.stream(town.token(account, pod=account)), UNAUTHENTICATED)
    told = stranger.stream(node_pod("n1"), TOLD_S)
    assert told.status == OK and town.namespace.encode() in told.body, told
