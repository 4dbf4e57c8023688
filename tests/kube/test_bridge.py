# SPDX-License-Identifier: Apache-2.0
"""The reference plugins put a node's pods on a bridge: one that is in no mesh and forges ARP there. What tests/interop/test_bridge.py
cannot show: the node itself as the one in whose name it comes."""
import json
import os
import subprocess
import sys

import pytest
from kubelab import layout
from kubelab.cluster import eventually, pod

MEDDLER = os.path.join(layout.ROOT, "tests", "interop", "meddler.py")
BRIDGE = "cni0"


def link(argv, name):
    """(MAC, IPv4 address) of a link, by `ip` behind these words."""
    out = subprocess.run([*argv, "ip", "-j", "addr", "show", "dev", name], stdout=subprocess.PIPE, check=True).stdout
    found = json.loads(out)[0]
    return found["address"], next(a["local"] for a in found["addr_info"] if a["family"] == "inet")


def vouched(cluster, ip):
    """What the node's programs keep of dials to a pod of its own: probes come and go."""
    dump = cluster.on_node(1, "bpftool", "-j", "map", "dump", "pinned", "/sys/fs/bpf/culvert/cv_vouched").stdout
    keys = [e["formatted"]["key"] for e in json.loads(dump) if "formatted" in e]
    return [k for k in keys if f"{[int(part) for part in ip.split('.')]}"[1:] in json.dumps(k["remote"])]


@pytest.fixture(name="places")
def fixture_places(cluster, apps):
    """Of the server and of a third pod beside it: how to enter its network, and its link."""
    cluster.apply(pod(apps, "meddler", "client", "n1", labels={"istio.io/dataplane-mode": "none"}))
    cluster.wait_ready(apps, "meddler")
    cluster.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                   "metadata": {"name": "strict", "namespace": apps}, "spec": {"mtls": {"mode": "STRICT"}}})
    enter = {name: ["nsenter", f"--net={cluster.pod_netns(apps, name)}"] for name in ("web", "meddler")}
    places = {name: (argv, *link(argv, "eth0")) for name, argv in enter.items()}
    yield places
    cluster.on_node(1, "ip", "neigh", "del", places["web"][2], "dev", BRIDGE)


@pytest.mark.parametrize("has_syn", [True, False], ids=["has-the-syn", "has-the-answer"])
def test_who_takes_up_what_the_node_dials_is_not_let_in(cluster, apps, places, has_syn):
    """The node may look after its pods, past their policy (the kubelet's probes do); a pod that has its SYN, or what is answered,
    may not."""
    (web, web_mac, web_ip), (meddler, meddler_mac, meddler_ip) = places["web"], places["meddler"]
    node_mac, node_ip = link(["nsenter", f"--net=/run/netns/{cluster.nodes[0].netns}"], BRIDGE)
    ask = ("curl", "-s", "-m", "4", f"http://{web_ip}/")
    eventually(lambda: subprocess.run([*meddler, *ask], check=False).returncode != 0, what="plaintext is refused")
    assert cluster.on_node(1, *ask).stdout.startswith("nginx")
    # what it hands on it hands on itself
    subprocess.run([*meddler, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"], check=True)
    eventually(lambda: vouched(cluster, web_ip) == [], what="nothing is left of what the node has dialled")
    misled = ("ip", "neigh", "replace", "nud", "permanent", "lladdr", meddler_mac)
    subprocess.run([*web, *misled, node_ip, "dev", "eth0"], check=True)
    if has_syn:
        cluster.on_node(1, *misled, web_ip, "dev", BRIDGE)
    with subprocess.Popen([*meddler, sys.executable, MEDDLER, "answer", f"{node_ip}={node_mac}", f"{web_ip}={web_mac}", "80"],
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        assert cluster.on_node(1, *ask).returncode != 0
        process.terminate()
        lines = process.stdout.read().split("\n")
    assert ("syn" if has_syn else "syn-ack") in lines
    assert not [line for line in lines if line.startswith("data")], f"the server has answered {meddler_ip}"
    agent = cluster.run("logs", "-n", "istio-system", cluster.node_pod(1), "-c", "agent")
    assert f"reason=guard_forged pod={apps}/web" in agent
