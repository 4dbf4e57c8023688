# SPDX-License-Identifier: Apache-2.0
"""Bytes that no friend would send, and certificates: nothing crashes, nothing is served."""

import base64
import subprocess

import pytest

THROW = r"""
import os, socket, ssl, sys
host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for i in range(40):
    try:
        s = socket.create_connection((host, port), 5)
        s.settimeout(2 if kind == 'no-certificate' else 0.2)
        if kind == "random": s.sendall(os.urandom(1 + i * 400))
        elif kind == "http": s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        elif kind == "preface": s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        elif kind == "half-hello": s.sendall(bytes.fromhex("16030100ff010000fb0303") + os.urandom(i))
        elif kind == "huge-record": s.sendall(bytes.fromhex("160301ffff") + bytes(65535))
        elif kind == "no-certificate":
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
            c.set_alpn_protocols(["h2"]); s = c.wrap_socket(s)
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
            if len(s.recv(100)) > 0 and i == 0: print("answered")
        elif kind == "nothing": pass
        if kind != "nothing": s.recv(100)
        s.close()
    except OSError:
        pass
print("done")
"""


@pytest.mark.parametrize("kind", ["random", "http", "preface", "half-hello", "huge-record", "no-certificate", "nothing"])
def test_hostile_bytes_on_15008(cluster, kind):
    pid = cluster.mesh["n2"].pid("ztunnel")
    out = cluster.outsider.run("/usr/bin/python3", "-c", THROW, cluster.bob.ip4, "15008", kind, timeout=300).stdout
    assert out.strip() == "done", out
    assert cluster.mesh["n2"].pid("ztunnel") == pid
    cluster.say_secret(cluster.alice, cluster.bob.ip4)


def test_ztunnels_listeners_cannot_be_reached_from_outside(cluster):
    """Its plaintext and outbound listeners sit in the pod's namespace: from outside, every port leads to the application."""
    ports = [p["outbound_ports"] for p in agent_pods(cluster, "n2")]
    for port in {q for some in ports for q in some}:
        answer = cluster.client(cluster.outsider, "read", cluster.bob.ip4, port, check=False, timeout=10)
        assert not answer["ok"] or answer["text"] == ""
    cluster.say_secret(cluster.alice, cluster.bob.ip4)


ASK_OUTSIDE = r"""
import socket, sys
name = "bob.demo.svc.cluster.local"
q = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0\0\1\0\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in sys.argv[2:]:
    for _ in range(10):
        s.sendto(q, (sys.argv[1], int(port)))
"""


def test_ztunnels_dns_hears_nobody_from_outside(cluster, eventually):
    """Its UDP sockets are in the pod's namespace, at every address: who finds the port may not use the pod's nameservers."""
    ztunnel = cluster.mesh["n2"]
    ports = {q for p in agent_pods(cluster, "n2") for q in p["dns_udp_ports"]}

    def asked():  # in bob's name: other pods of the node ask whenever they like
        return ztunnel.metric("istio_dns_requests_total", source_canonical_service="bob")

    cluster.bob.run("getent", "ahostsv4", "alice")
    eventually(lambda: asked() > 0, what="a question of bob's own to be counted")
    before, dropped = asked(), ztunnel.metric("culvert_dns_dropped_total")
    cluster.outsider.run("/usr/bin/python3", "-c", ASK_OUTSIDE, cluster.bob.ip4, *map(str, ports))
    eventually(lambda: ztunnel.metric("culvert_dns_dropped_total") >= dropped + 30, what="what comes from outside to be dropped")
    assert asked() == before


def agent_pods(cluster, node):
    """Values of cv_pods."""
    import json
    from labkit.mesh import PINS
    path = next(PINS.joinpath(node).rglob("cv_pods"))
    out = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", str(path)], capture_output=True, text=True, check=True)
    return [e["formatted"]["value"] if "formatted" in e else e["value"] for e in json.loads(out.stdout)]


def test_leaf_certificate_is_what_the_design_says(cluster):
    found = next(c for c in cluster.mesh["n1"].config_dump()["certificates"] if c["identity"] == cluster.alice.identity)
    pem = base64.b64decode(found["certChain"][0]["pem"])
    text = subprocess.run(["openssl", "x509", "-noout", "-text"], input=pem, capture_output=True, check=True).stdout.decode()
    assert f"URI:{cluster.alice.identity}" in text
    assert "prime256v1" in text
    assert "TLS Web Server Authentication" in text and "TLS Web Client Authentication" in text
    assert "CA:FALSE" in text
    check = subprocess.run(["openssl", "x509", "-noout", "-checkend", str(23 * 3600)], input=pem, check=False)
    assert check.returncode == 0
    check = subprocess.run(["openssl", "x509", "-noout", "-checkend", str(24 * 3600 + 60)], input=pem,
                           stdout=subprocess.DEVNULL, check=False)
    assert check.returncode == 1, "24 hours, no more"


def test_no_key_on_disk_but_the_cas(cluster):
    done = subprocess.run(["grep", "-rlsI", "PRIVATE KEY", "/run/culvert", "/run/culvert-lab/config", "/run/culvert-lab/ca"],
                          capture_output=True, text=True, check=False)
    assert [p for p in done.stdout.split() if not p.startswith("/run/culvert-lab/ca/")] == []
