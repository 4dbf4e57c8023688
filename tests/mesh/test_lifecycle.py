# SPDX-License-Identifier: Apache-2.0
"""Pods come, go and take over addresses; what is not to be in the mesh stays out; nothing is left over."""

import json
import subprocess

import pytest

from labkit.lab import Lab
from labkit.mesh import PINS

STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec:
  mtls: {mode: STRICT}
"""

ALLOW_CAROL = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-carol, namespace: demo}
spec:
  selector: {matchLabels: {app: bob}}
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/demo/sa/carol"]
"""


def host_network_pod():
    """A pod in its node's network namespace, in the labelled namespace."""
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "host", "namespace": "demo"},
                       "spec": {"hostNetwork": True, "nodeName": "n1",
                                "containers": [{"name": "c", "image": "pause"}]}})


@pytest.fixture
def manifests(cluster):
    """Bring the lab to other manifests; back again after the test. manifests(change) gets and gives a list of texts."""
    def texts():
        return [m.read_text() if hasattr(m, "read_text") else m for m in cluster.manifests]

    def bring(change):
        Lab.up(change(texts()))
        cluster.refresh()
        cluster.enrol()

    yield bring
    Lab.up(texts())
    cluster.refresh()
    cluster.enrol()


def test_an_address_taken_over_has_the_new_identity(cluster, manifests, manifest, eventually):
    """dave gets carol's address: what carol may, dave may not."""
    old = cluster.carol
    manifest("allow-carol", ALLOW_CAROL)
    cluster.say_secret(cluster.carol, cluster.bob.ip4)
    manifests(lambda texts: [t.replace("carol", "dave") for t in texts])
    dave = cluster.dave
    assert dave.ip4 == old.ip4
    manifest("allow-carol", ALLOW_CAROL)
    eventually(lambda: not cluster.client(dave, "talk", cluster.bob.ip4, "echo", check=False, text=cluster.secret,
                                          timeout=8)["ok"], what="dave to be refused")
    Lab.delete("allow-carol")
    eventually(lambda: cluster.client(dave, "talk", cluster.bob.ip4, "echo", check=False, text=cluster.secret,
                                      timeout=8)["ok"], what="dave to be served without the policy")
    eventually(lambda: any(dave.identity in line and dave.ip4 in line for line in cluster.mesh["n2"].log().splitlines()),
               what="log line with dave's identity")


def test_endpoints_of_a_service_share_and_leave(cluster, manifests, eventually):
    manifests(lambda texts: [t.replace("replicas: 1", "replicas: 2") if "name: bob" in t else t for t in texts])
    bobs = [p for p in cluster.meshed() if p.deployment == "bob"]
    assert len(bobs) == 2

    def answering():  # ValueError, which is waited out: one of them does not listen yet
        return {json.loads(cluster.client(cluster.alice, "read", "bob", 7004, check=False).get("text", ""))["hostname"]
                for _ in range(24)}

    eventually(lambda: answering() == {p.name for p in bobs}, what="both endpoints to answer")


def test_host_network_pods_stay_out(cluster, manifests):
    manifests(lambda texts: texts + [host_network_pod()])
    pods = {p["name"]: p["state"] for p in cluster.mesh["n1"].status("agent")["pods"]}
    assert pods.get("host") != "captured"
    assert "host" not in {w["name"] for w in cluster.mesh["n2"].config_dump()["workloads"] if w["protocol"] == "HBONE"}


@pytest.mark.parametrize("label", ["sidecar.istio.io/inject=false", "istio.io/dataplane-mode=none",
                                   "culvert.io/mesh=disabled"])
def test_a_pod_may_stay_out(cluster, label):
    Lab.label("pod", cluster.carol.key, label)
    try:
        cluster.mesh.wait_released([cluster.carol])
        cluster.client(cluster.carol, "talk", cluster.bob.ip4, "echo", text=cluster.plain)
    finally:
        Lab.label("pod", cluster.carol.key, label.split("=")[0] + "-")
        cluster.mesh.wait_captured([cluster.carol])


def test_strict_closes_a_plaintext_connection_that_was_open(cluster, manifest, eventually):
    holder = cluster.outsider.spawn("/usr/bin/python3", "/opt/peer/peer.py", "hold", cluster.bob.ip4, "7000",
                                    f"--text={cluster.plain}")
    assert '"lines": 1}' in holder.stdout.readline()
    manifest("strict", STRICT)
    eventually(lambda: holder.poll() is not None, what="the plaintext connection to be closed")


def entries(node, name):
    """Number of entries of a map."""
    path = next(PINS.joinpath(node).rglob(name))
    out = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", str(path)], capture_output=True, text=True, check=True)
    return len(json.loads(out.stdout))


@pytest.mark.parametrize("name", ["cv_conns", "cv_vouched"])
def test_no_map_entry_outlives_its_connection(cluster, eventually, name):
    code = ("import socket,sys\n"
            "for _ in range(200):\n s=socket.create_connection((sys.argv[1],7000),60); s.sendall(b'x'); s.recv(1); s.close()\n")
    before = {n: entries(n, name) for n in ("n1", "n2")}
    cluster.alice.run("/usr/bin/python3", "-c", code, cluster.bob.ip4)
    cluster.alice.run("/usr/bin/python3", "-c", code, cluster.carol.ip6)
    for node, had in before.items():
        eventually(lambda n=node, h=had: entries(n, name) <= h + 10, what=f"{name} of {node} to shrink again")
