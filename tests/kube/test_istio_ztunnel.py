# SPDX-License-Identifier: Apache-2.0
"""Istio's own ztunnel, unmodified, with our control plane and in one mesh with our ztunnel: it is node n2's, ours is n1's."""
import json
import os
import subprocess
import sys

import pytest
from kubelab import images, layout
from kubelab.cluster import Canary, eventually, pod, service

sys.path.insert(0, os.path.join(layout.ROOT, "tests", "interop"))
import istio_ztunnel  # noqa: E402  pylint: disable=wrong-import-position

HOST = "istiod.istio-system.svc"
ANCHOR = "ztunnel-of-istio"  # the pod on n2 that Istio's ztunnel's token is bound to


def allow(namespace, app, account):
    """A policy that lets one account of the namespace in, and nobody else."""
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "allow", "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": app}}, "action": "ALLOW",
                     "rules": [{"from": [{"source": {"principals": [f"cluster.local/ns/{namespace}/sa/{account}"]}}]}]}}


class KubePod:
    """A pod's network namespace, as istio_ztunnel.Ztunnel wants it."""

    def __init__(self, cluster, namespace, name):
        got = cluster.get("pod", "-n", namespace, name)
        self.name, self.namespace, self.account = name, namespace, "default"
        self.address = got["status"]["podIP"]
        self.path = cluster.pod_netns(namespace, name)

    def run(self, *command):
        subprocess.run(["nsenter", f"--net={self.path}", *command], check=True, stdout=subprocess.PIPE)

    def ip(self, *words):
        self.run("ip", *words)


class Node:
    """Starts processes in a node's network, in a folder of their own."""

    def __init__(self, node, folder):
        self.netns, self.folder = node.netns, folder

    def popen(self, *command, **kw):
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.netns}", *command], cwd=self.folder, **kw)


@pytest.fixture
def ours_on_n1_only(cluster, mesh):
    def select(value):
        cluster.run("patch", "daemonset", "-n", "istio-system", "ztunnel", "--type=merge", "-p",
                    json.dumps({"spec": {"template": {"spec": {"nodeSelector": value}}}}))
        cluster.wait_mesh()
    select({"kubernetes.io/hostname": "n1"})
    # The DaemonSet is still there: the agent left all as it was for the next one, which does not come to n2.
    eventually(lambda: not cluster.pids(2, "culvert-agent") and not cluster.pids(2, "culvert-ztunnel"), what="ours has left n2")
    done = cluster.on_node(2, f"{images.BIN}/culvert-agent", "--clean", "--cni-bin-dir", "/opt/cni/bin", "--cni-conf-dir",
                           "/etc/cni/net.d")
    assert done.returncode == 0, done.stdout
    yield
    select(None)


@pytest.fixture
def folder(cluster, ours_on_n1_only, tmp_path):
    """With root and token, as they are mounted in Istio's DaemonSet."""
    anchor = pod("istio-system", ANCHOR, "client", "n2", serviceAccountName="ztunnel")
    cluster.apply(anchor)
    cluster.wait_ready("istio-system", ANCHOR)
    token = cluster.run("create", "token", "ztunnel", "-n", "istio-system", "--audience", "istio-ca", "--bound-object-kind",
                        "Pod", "--bound-object-name", ANCHOR, "--duration", "1h")
    root = cluster.get("configmap", "-n", "istio-system", "istio-ca-root-cert")["data"]["root-cert.pem"]
    for name, text in (("tokens/istio-token", token), ("istio/root-cert.pem", root)):
        path = tmp_path / "var/run/secrets" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    yield tmp_path
    cluster.run("delete", "pod", "-n", "istio-system", ANCHOR, "--wait=false")


@pytest.mark.parametrize("on_demand", (False, True))
def test_both_ztunnels_in_one_mesh(cluster, folder, namespace, on_demand):
    binary = istio_ztunnel.binary()
    if not binary:
        pytest.skip("Istio's ztunnel is not there: set ISTIO_ZTUNNEL")
    names = {"ours-web": "n1", "ours-client": "n1", "theirs-web": "n2", "theirs-client": "n2"}
    pods = {name: pod(namespace, name, "nginx" if "web" in name else "client", node) for name, node in names.items()}
    # Istio's agent gives probes an address that its ztunnel lets in; here there is none, and a policy for one account would have
    # the pod unready after three seconds.
    del pods["theirs-web"]["spec"]["containers"][0]["readinessProbe"]
    cluster.apply(*pods.values(), *(service(namespace, name) for name in names if "web" in name))
    cluster.wait_ready(namespace, *names)
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    eventually(lambda: cluster.is_captured(namespace, "ours-web") and cluster.is_captured(namespace, "ours-client"),
               what="our agent has its pods")
    address = cluster.get("service", "-n", "istio-system", "istiod")["spec"]["clusterIP"] + ":15012"
    env = istio_ztunnel.remote(address, HOST, str(folder / "var/run/secrets/istio/root-cert.pem"))
    if on_demand:  # not together with its DNS
        env.update(XDS_ON_DEMAND="true", ISTIO_META_DNS_CAPTURE="false")
    theirs = istio_ztunnel.Ztunnel(binary, Node(cluster.nodes[1], folder), "n2",
                                   [KubePod(cluster, namespace, name) for name in names if "theirs" in name], [],
                                   str(folder), env=env)
    try:
        for client, server in (("theirs-client", "ours-web"), ("ours-client", "theirs-web")):
            with Canary(cluster) as canary:
                body = eventually(lambda c=client, s=server, w=canary.word: cluster.curl(namespace, c, f"http://{s}/{w}"),
                                  what=f"an answer for {client} from {server}")
            assert body.startswith(f"nginx {server}\n"), body
            assert not canary.was_seen(), f"{client} to {server} in plaintext"
        for account, is_let_in in (("another", False), ("default", True)):
            cluster.apply(allow(namespace, "theirs-web", account))
            eventually(lambda let_in=is_let_in: bool(cluster.curl(namespace, "ours-client", "http://theirs-web")) == let_in,
                       what=f"Istio's ztunnel goes by a policy for {account}")
    finally:
        theirs.close()
