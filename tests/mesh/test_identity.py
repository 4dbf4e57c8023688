# SPDX-License-Identifier: Apache-2.0
"""Each side names the other's SPIFFE ID; the application sees the client's own address."""

import json

import pytest


def access_lines(node, *words):
    return [line for line in node.log().splitlines() if "connection complete" in line and all(w in line for w in words)]


def test_both_sides_log_both_identities(cluster, eventually):
    cluster.say_secret(cluster.alice, cluster.bob.ip4)
    for node, direction in (("n1", "outbound"), ("n2", "inbound")):
        eventually(lambda n=node, d=direction: access_lines(cluster.mesh[n], f'direction="{d}"', cluster.alice.identity,
                                                            cluster.bob.identity),
                   what=f"{direction} access log line on {node} with both identities")


@pytest.mark.parametrize("family", ["4", "6", "mapped"])
def test_application_sees_the_clients_address(cluster, family):
    host = cluster.bob.ip6 if family == "6" else cluster.bob.ip4
    own = cluster.alice.ip6 if family == "6" else cluster.alice.ip4
    answer = json.loads(cluster.client(cluster.alice, "read", host, "whoami", family=family)["text"])
    for call in ("peer", "getpeername"):
        assert answer[call].rsplit(":", 1)[0].strip("[]") == own, answer


def test_httpd_logs_the_clients_address(cluster, eventually):
    cluster.alice.run("curl", "-sS", "-m", "60", "-A", "for-the-log", "http://httpd.demo.svc.cluster.local/")
    log = cluster.httpd.file("/usr/local/apache2/logs/access_log")
    line = eventually(lambda: next((x for x in log.read_text().splitlines() if "for-the-log" in x), None),
                      what="httpd's access log line")
    assert line.split()[0] in (cluster.alice.ip4, cluster.alice.ip6), line


def test_client_sees_the_address_it_asked_for(cluster):
    code = ("import socket,sys;s=socket.create_connection((sys.argv[1],7000));"
            "print(s.getpeername()[0],s.getpeername()[1],s.getsockname()[0])")
    for host, own in ((cluster.bob.ip4, cluster.alice.ip4), (cluster.bob.ip6, cluster.alice.ip6)):
        out = cluster.alice.run("/usr/bin/python3", "-c", code, host).stdout.split()
        assert out == [host, "7000", own]


def test_every_meshed_pod_has_a_certificate_and_no_other(cluster, eventually):
    for node in cluster.mesh:
        want = {p.identity for p in cluster.meshed() if p.node == node.name}
        eventually(lambda n=node, w=want: {c["identity"] for c in n.config_dump()["certificates"]} == w,
                   what=f"certificates of {want} on {node.name}, and no other")


def test_metrics_count_mutual_tls(cluster, eventually):
    labels = {"source_principal": cluster.alice.identity, "destination_principal": cluster.bob.identity,
              "connection_security_policy": "mutual_tls", "reporter": "destination"}
    before = cluster.mesh["n2"].metric("istio_tcp_connections_opened_total", **labels)
    cluster.say_secret(cluster.alice, cluster.bob.ip4)
    eventually(lambda: cluster.mesh["n2"].metric("istio_tcp_connections_opened_total", **labels) > before,
               what="istio_tcp_connections_opened_total")
