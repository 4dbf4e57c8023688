# SPDX-License-Identifier: Apache-2.0
"""Pods that share a bridge with one that is in no mesh and forges ARP: what the host's way leads to it does it no good."""
import json
import os
import subprocess
import sys
import threading

import pytest
from culvert_node import stop, wait_for
from same_node import PORT, VIP, Direct

MEDDLER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "meddler.py")
GATEWAY = "10.201.79.1"
STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: direct}
spec: {mtls: {mode: STRICT}}
"""
IMPOSTOR = f"""
import socket
s = socket.create_server(("", {PORT}))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b"impostor\\n")
    print("got", len(c.recv(65536)), flush=True)
"""


def bridge(direct):
    """Node 1 as a CNI plugin with a bridge leaves it (IPv4), with a third pod on it that is not enrolled."""
    node = direct.topology.nodes[0]
    direct.meddler = direct.topology.pod(1, "m")
    node.ip("link", "add", "br0", "type", "bridge")
    node.ip("link", "set", "br0", "up")
    node.ip("addr", "add", f"{GATEWAY}/24", "dev", "br0")
    for pod in (direct.client, direct.server, direct.meddler):
        node.ip("route", "del", f"{pod.ip4}/32")
        node.ip("link", "set", f"h{pod.name}"[:15], "master", "br0")
        pod.ip("route", "flush", "dev", "eth0")
        pod.ip("addr", "del", f"{pod.ip4}/32", "dev", "eth0")
        pod.ip("addr", "add", f"{pod.ip4}/24", "dev", "eth0")
        pod.ip("route", "add", "default", "via", GATEWAY)
    direct.meddler.sysctl("net.ipv4.ip_forward", 0)  # what it hands on it hands on itself


def mac(pod):
    """The address of its link."""
    return json.loads(pod.ip("-j", "link", "show", "dev", "eth0"))[0]["address"]


def misled(pod, address, by):
    """What forged ARP brings about: `address` is where `by` is."""
    pod.ip("neigh", "replace", address, "lladdr", mac(by), "nud", "permanent", "dev", "eth0")


class Meddler:
    """Runs while it is entered; `lines`: what it has said."""

    def __init__(self, pod, *argv):
        self.process = pod.popen(*argv, stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(map(str.strip, self.process.stdout)), daemon=True)

    def __enter__(self):
        assert self.process.stdout.readline() == "ready\n"
        self.reader.start()
        return self

    def __exit__(self, *exc):
        stop(self.process)
        self.reader.join()
        self.process.stdout.close()

    def data(self):
        """What it has seen of others' data."""
        return [line for line in self.lines if line.startswith(("data", "got"))]


def between(direct, mode):
    """A meddler between the client and the server, in both directions."""
    misled(direct.client, direct.server.ip4, direct.meddler)
    misled(direct.server, direct.client.ip4, direct.meddler)
    return Meddler(direct.meddler, sys.executable, MEDDLER, mode,
                   *(f"{pod.ip4}={mac(pod)}" for pod in (direct.client, direct.server)), str(PORT))


@pytest.fixture(name="direct")
def fixture_direct():
    """A node with a bridge, two pods in direct mode, and the meddler."""
    d = Direct(prepare=bridge)
    with open(os.path.join(d.config, "strict.yaml"), "w", encoding="utf-8") as f:
        f.write(STRICT)
    wait_for(d.is_direct, 40, "a direct connection")
    yield d
    d.close()


def forged(direct):
    """How often the guard has said so."""
    return direct.counter("guard_forged")


def test_direct_connections_work_on_a_bridge(direct):
    """Past it, but for their handshake."""
    assert direct.is_direct()
    assert direct.counter("flow") > 0
    assert forged(direct) == 0


def test_who_answers_in_the_servers_place_gets_nothing(direct):
    """It has the server's address, and the client's SYN."""
    direct.meddler.ip("addr", "add", f"{direct.server.ip4}/32", "dev", "lo")
    misled(direct.client, direct.server.ip4, direct.meddler)
    with Meddler(direct.meddler, sys.executable, "-c", IMPOSTOR) as impostor:
        with pytest.raises(RuntimeError, match="TimeoutError|timed out"):
            direct.talk(limit=5)
        assert not impostor.lines
    assert forged(direct) > 0
    assert "reason=guard_forged pod=direct/" + direct.client.name in direct.log()


def test_who_goes_on_in_the_clients_place_is_not_let_in(direct):
    """It has the client's SYN and what the server answers."""
    with between(direct, "answer") as meddler:
        with pytest.raises(RuntimeError, match="TimeoutError|timed out"):
            direct.talk(limit=5)
        assert "syn-ack" in meddler.lines
        assert not meddler.data()
    assert forged(direct) > 0


def test_who_sends_the_client_away_first_is_not_let_in_either(direct):
    """The server waits for an ACK, a minute long, when the client has long given up."""
    with between(direct, "reset") as meddler:
        with pytest.raises(RuntimeError, match="ConnectionRefusedError"):
            direct.talk(limit=5)
        wait_for(lambda: forged(direct) >= 2, 10, "its ACK, and what it says")
        assert "syn-ack" in meddler.lines
        assert not meddler.data()


def test_a_pod_reaches_itself_by_its_service(direct):
    """No bridge is in the way."""
    def is_direct():
        before = direct.counter("direct")
        assert direct.talk(80, VIP, by=direct.server) == direct.server.ip4
        return direct.counter("direct") > before

    wait_for(is_direct, 40, "a direct connection")
    assert is_direct()


def test_who_hands_on_the_handshake_sees_nothing_of_what_follows(direct):
    """Between the two, until they are connected."""
    with between(direct, "relay") as meddler:
        assert direct.is_direct()
        wait_for(lambda: meddler.lines == ["syn", "syn-ack"], 5, f"the handshake alone: {meddler.lines}")
