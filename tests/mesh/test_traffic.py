# SPDX-License-Identifier: Apache-2.0
"""Streams arrive as they were sent: sizes, families, half-closes, resets, back-pressure, services."""

import json
import os

import pytest

from labkit.lab import culvert

GIB = int(os.environ.get("CULVERT_TEST_BULK", 1 << 30))


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("client,port", [("upload", "sink"), ("download", "source")])
def test_bulk_arrives_whole(cluster, bulk_wire, client, port, family):
    host = cluster.bob.ip6 if family == "6" else cluster.bob.ip4
    size = GIB if family == "4" else GIB // 8
    answer = cluster.client(cluster.alice, client, host, port, bytes=size, timeout=600)
    assert answer["bytes"] == size and answer["sha256"] == answer["seen"]
    pair = {cluster.alice.ip4, cluster.alice.ip6, cluster.bob.ip4, cluster.bob.ip6}
    ports = {(s.sport, s.dport) for s in bulk_wire.segments() if s.src in pair and s.dst in pair and s.payload}
    assert ports and all(15008 in p for p in ports), ports


@pytest.mark.parametrize("size", [0, 1, 2, 1023, 16383, 16384, 16385, 65535, 65536, 524287, 524288, 524289, 3000001])
def test_echo_of_every_size_with_half_close(cluster, bulk_wire, size):
    cluster.client(cluster.alice, "echo", cluster.bob.ip4, "echo", bytes=size)


@pytest.mark.parametrize("chunk", [1, 7, 100000])
@pytest.mark.parametrize("family", ["4", "6", "mapped"])
def test_tiny_and_huge_writes(cluster, bulk_wire, chunk, family):
    host = cluster.bob.ip6 if family == "6" else cluster.bob.ip4
    size = 20000 if chunk < 100 else 5000000
    cluster.client(cluster.alice, "echo", host, "echo", bytes=size, chunk=chunk, family=family)


@pytest.mark.parametrize("family", ["4", "6"])
def test_server_that_speaks_first(cluster, family):
    host = cluster.bob.ip6 if family == "6" else cluster.bob.ip4
    assert cluster.client(cluster.alice, "first", host, "first", text=cluster.secret)["banner"] == "220 ready"


@pytest.mark.parametrize("port,family", [("echo4", "4"), ("echo6", "6")])
def test_server_of_one_family_only(cluster, port, family):
    host = cluster.bob.ip6 if family == "6" else cluster.bob.ip4
    cluster.say_secret(cluster.alice, host, port)


def test_server_that_ends_first_still_reads(cluster):
    cluster.client(cluster.alice, "half", cluster.bob.ip4, "half", bytes=300000)


@pytest.mark.parametrize("when", ["at-once", "after-data"])
def test_reset_by_the_server_is_a_reset_for_the_client(cluster, when):
    answer = cluster.client(cluster.alice, "read", cluster.bob.ip4, "reset", text=when, check=False)
    assert answer.get("error") == "ConnectionResetError", answer


def test_reset_by_the_client_reaches_the_server(cluster, eventually):
    path = f"/run/culvert-lab/pods/{cluster.bob.namespace}_{cluster.bob.name}/log"
    before = open(path).read().count("Connection reset by peer")
    cluster.client(cluster.alice, "reset", cluster.bob.ip4, "echo")
    eventually(lambda: open(path).read().count("Connection reset by peer") > before, what="the reset at the server")


def test_slow_reader_costs_a_bounded_amount(cluster, bulk_wire):
    stuck = cluster.client(cluster.alice, "stuffed", cluster.bob.ip4, "stuck", bytes=1 << 28)
    assert 0 < stuck["bytes"] < 32 << 20, "back-pressure must reach the sender"
    cluster.client(cluster.alice, "echo", cluster.bob.ip4, "echo", bytes=100000)


def test_many_connections_at_once(cluster):
    code = ("import socket,sys\n"
            "s=[socket.create_connection((sys.argv[1],7000),60) for _ in range(300)]\n"
            "[c.sendall(b'%d' % i) for i,c in enumerate(s)]\n"
            "[c.shutdown(1) for c in s]\n"
            "print(all(c.makefile('rb').read()==b'%d' % i for i,c in enumerate(s)))")
    assert cluster.alice.run("/usr/bin/python3", "-c", code, cluster.bob.ip4, timeout=180).stdout.strip() == "True"


def test_same_node(cluster):
    cluster.say_secret(cluster.alice, cluster.carol.ip4)
    cluster.say_secret(cluster.alice, cluster.carol.ip6)


@pytest.mark.parametrize("host", ["alice", "own4", "own6", "127.0.0.1"])
def test_pod_to_itself(cluster, host):
    address = {"own4": cluster.alice.ip4, "own6": cluster.alice.ip6}.get(host, host)
    cluster.say_secret(cluster.alice, address, 80 if host == "alice" else "echo")


def test_out_of_the_mesh_is_passed_through(cluster):
    answer = json.loads(cluster.client(cluster.alice, "read", cluster.outsider.ip4, "whoami")["text"])
    assert answer["peer"].startswith(cluster.alice.ip4 + ":")
    cluster.client(cluster.alice, "talk", "outsider.outside", 80, text=cluster.plain)


@pytest.mark.parametrize("host", ["bob", "bob.demo", "bob.demo.svc", "bob.demo.svc.cluster.local"])
def test_service_by_every_name(cluster, host):
    cluster.say_secret(cluster.alice, host, 80)


@pytest.mark.parametrize("family", ["4", "6"])
def test_service_ports_lead_to_target_ports(cluster, family):
    assert cluster.client(cluster.alice, "first", "bob", 25, text=cluster.secret, family=family)["ok"]
    seen = json.loads(cluster.client(cluster.alice, "read", "bob", 7004, family=family)["text"])
    assert seen["getsockname"].strip("[]").startswith(cluster.bob.ip6 if family == "6" else cluster.bob.ip4)


NODE_PORT = """
apiVersion: v1
kind: Service
metadata: {name: inlet, namespace: demo}
spec: {type: NodePort, externalTrafficPolicy: %s, selector: {app: bob}, ports: [{port: 80, targetPort: 7000, nodePort: 30070}]}
"""


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_node_ports_are_the_service(cluster, manifest, eventually, policy):
    """At any node's address, in either family, though nothing here does what kube-proxy would. bob is on n2."""
    manifest("node-port.yaml", NODE_PORT % policy)
    for host in ("10.10.0.1", "fd00:10:10::1", "10.10.0.2", "fd00:10:10::2"):
        eventually(lambda h=host: cluster.say_secret(cluster.alice, h, 30070, check=False)["ok"], what=f"{host}, a node port")
    said = culvert("explain", "--node", "n1", "--run-dir", "/run/culvert/n1", cluster.alice.key, "10.10.0.2:30070", "-o", "json")
    answer = json.loads(said.stdout)
    assert answer["to"]["service"] == "demo/inlet.demo.svc.cluster.local" and answer["routes"][0]["kind"] == "tunnel", answer
    assert answer["kernel"] == {"path": "tunnel", "name": "demo/inlet"}, answer


DENY_ECHO = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-echo, namespace: demo}
spec: {selector: {matchLabels: {app: bob}}, action: DENY, rules: [{to: [{operation: {ports: ["7000"]}}]}]}
"""


@pytest.mark.parametrize("node,name", [(1, "carol"), (2, "bob")])
def test_host_ports_are_their_pods(cluster, eventually, node, name):
    """In either family, though nothing here does what a CNI would; carol, beside alice, and bob have the same ports."""
    pod = getattr(cluster, name)
    for host, own, client in ((f"10.10.0.{node}", pod.ip4, cluster.alice.ip4), (f"fd00:10:10::{node}", pod.ip6, cluster.alice.ip6)):
        eventually(lambda h=host: cluster.say_secret(cluster.alice, h, 7070, check=False)["ok"], what=f"{host}, a hostPort")
        seen = json.loads(cluster.client(cluster.alice, "read", host, 7074)["text"])
        assert own in seen["getsockname"] and client in seen["peer"], seen
    at = f"10.10.0.{node}:7070"
    said = culvert("explain", "--node", "n1", "--run-dir", "/run/culvert/n1", cluster.alice.key, at, "-o", "json")
    answer = json.loads(said.stdout)
    assert answer["to"]["workload"]["name"] == pod.name and answer["to"]["service"] is None, answer
    assert [(r["kind"], r["target"]) for r in answer["routes"]] == [("tunnel", f"{pod.ip4}:7000")], answer
    assert answer["kernel"] == {"path": "tunnel", "name": pod.key}, answer


def test_policies_hold_at_host_ports(cluster, manifest, eventually):
    """With the pod's own port; and what no Node has is nobody's."""
    eventually(lambda: cluster.say_secret(cluster.alice, "10.10.0.2", 7070, check=False)["ok"], what="bob's hostPort")
    manifest("deny-echo.yaml", DENY_ECHO)
    eventually(lambda: not cluster.say_secret(cluster.alice, "10.10.0.2", 7070, check=False)["ok"], what="the policy")
    assert cluster.client(cluster.alice, "read", "10.10.0.2", 7074)["ok"]


def test_nginx_and_httpd_fetch_each_other(cluster, eventually):
    for pod, page in ((cluster.nginx, "It works!"), (cluster.httpd, "Welcome to nginx!")):
        log = pod.file("/var/log/curl/curl.log")
        before = log.read_text().count(page)
        eventually(lambda lg=log, p=page, n=before: lg.read_text().count(p) > n, what=f"{page} in {pod.key}'s curl.log")


def test_closed_port_ends_the_connection(cluster):
    answer = cluster.client(cluster.alice, "read", cluster.bob.ip4, 9, check=False)
    assert not answer["ok"] or answer["text"] == ""
