# SPDX-License-Identifier: Apache-2.0
"""What annotations take out of the capture, and what REGISTRY_ONLY refuses, with real sockets across two nodes."""
import ctypes
import os
import struct
import sys

import pytest
from culvert_node import CulvertNode, Nodes, started, wait_for, write_config
from topology import Topology, remove_stale

PORT, OUTSIDE_PORT = 8080, 9000
SERVE = """
import socket, sys, threading
def answer(conn):
    with conn:
        while data := conn.recv(100):
            conn.sendall(data)
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as conn:
        conn.sendall(b"hello")
        print("yes" if conn.recv(10) == b"hello" else "closed")
except ConnectionRefusedError:
    print("refused")
except ConnectionError:
    print("closed")
"""
STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec: {mtls: {mode: STRICT}}
"""
REGISTRY_ONLY = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
"""
ENTRY = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside, namespace: demo}}
spec:
  hosts: [outside.example.com]
  addresses: [{addresses}]
  resolution: NONE
  location: MESH_EXTERNAL
  ports: [{{number: {port}, name: tcp, protocol: {protocol}}}]
"""


class Mesh(Nodes):
    """A client on node 1, a server on node 2, both enrolled; and a server outside, on the second node itself."""

    def __init__(self, work_dir):
        self.config, self.draft = os.path.join(work_dir, "config"), os.path.join(work_dir, "draft")
        remove_stale("cx")
        self.topology = Topology("cx", 79)
        self.client, self.server = self.topology.pod(1, "c"), self.topology.pod(2, "s")
        for pod in self.topology.pods:
            pod.namespace, pod.account = "demo", "default"
        outside = self.topology.nodes[1]
        self.outside = "172.30.79.2"
        self.processes = [self.server.popen(sys.executable, "-c", SERVE, str(PORT)),
                          outside.popen(sys.executable, "-c", SERVE, str(OUTSIDE_PORT))]
        self.nodes = []

    def write(self, extra=STRICT, client="", server="", namespace=""):
        """The configuration, whole at once; annotations of the pods and of their namespace as YAML text."""
        write_config(self.draft, self.topology.pods, extra)
        path = os.path.join(self.draft, "mesh.yaml")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for pod, more in ((self.client, client), (self.server, server)):
            text = text.replace(f"{{culvert.io/netns: {pod.path}}}", f"{{culvert.io/netns: {pod.path}{', ' * bool(more)}{more}}}")
        text = text.replace("labels: {istio-injection: enabled}", f"labels: {{istio-injection: enabled}}, annotations: {{{namespace}}}")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.makedirs(self.config, exist_ok=True)
        os.rename(path, os.path.join(self.config, "mesh.yaml"))

    def start(self):
        """Both nodes, both pods captured."""
        self.write()
        for i, node in enumerate(self.topology.nodes, 1):
            self.nodes.append(CulvertNode(node, i, self.config, "exclusions"))
        self.nodes[0].wait_captured([self.client.name])
        self.nodes[1].wait_captured([self.server.name])
        wait_for(lambda: self.ask() == "yes", 10, "the server")

    def ask(self, host=None, port=PORT):
        """What becomes of a connection of the client."""
        return self.client.run(sys.executable, "-c", ASK, host or self.server.ip4, str(port)).strip()

    def both(self):
        """The server's answers over IPv4 and IPv6."""
        return [self.ask(), self.ask(self.server.ip6)]

    def explain(self, host, port):
        """The path and the verdict that `culvert explain` gives the client's connection."""
        answer = self.nodes[0].explain(self.client.ip4, f"{host}:{port}")
        return answer["kernel"]["path"], answer["verdict"]

    def status(self, number=1):
        """The agent's, of one node."""
        return self.nodes[number - 1].admin("agent", "/status")

    def counted(self, reason, number=1):
        """A counter of the BPF programs of one node."""
        return self.status(number)["counters"][reason]

    def exclusions(self, pod, number):
        """What the status says of a pod."""
        return next(p["exclusions"] for p in self.status(number)["pods"] if p["name"] == pod.name)


@pytest.fixture(scope="module", name="mesh")
def fixture_mesh():
    with started(Mesh, "exclusions") as m:
        yield m


@pytest.fixture(autouse=True)
def fixture_plain(mesh):
    """Each test ends as it began: nothing excluded, STRICT."""
    yield
    mesh.write()
    wait_for(lambda: mesh.both() == ["yes", "yes"] and mesh.ask(mesh.outside, OUTSIDE_PORT) == "yes", 10, "all as before")
    assert mesh.exclusions(mesh.client, 1) == [] and mesh.exclusions(mesh.server, 2) == []


@pytest.mark.parametrize("annotation", [
    'traffic.sidecar.istio.io/excludeOutboundPorts: "8080"',
    'traffic.sidecar.istio.io/excludeOutboundIPRanges: "10.202.79.0/24,fd00:202:79::/64"',
    'traffic.sidecar.istio.io/includeOutboundIPRanges: "192.0.2.0/24"',
    'traffic.sidecar.istio.io/includeOutboundIPRanges: ""',
])
def test_what_is_excluded_on_the_way_out_leaves_in_plaintext_which_strict_refuses(mesh, annotation):
    mesh.write(client=annotation)
    wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
    before = mesh.counted("excluded")
    assert mesh.explain(mesh.server.ip4, PORT) == ("excluded", "outside")
    assert mesh.both() == ["closed", "closed"]
    assert mesh.counted("excluded") == before + 2


def test_a_listed_port_is_captured_beside_the_listed_ranges(mesh):
    mesh.write(client='traffic.sidecar.istio.io/includeOutboundIPRanges: "192.0.2.0/24", '
                      'traffic.sidecar.istio.io/includeOutboundPorts: "8080"')
    wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
    assert mesh.both() == ["yes", "yes"]
    assert mesh.exclusions(mesh.client, 1) == ["out: port 8080", "out: 192.0.2.0/24", "out: nothing else"]


@pytest.mark.parametrize("annotation", [
    'traffic.sidecar.istio.io/excludeInboundPorts: "8080"',
    'traffic.sidecar.istio.io/includeInboundPorts: "9090"',
    'ambient.istio.io/bypass-inbound-capture: "true"',
])
def test_what_is_excluded_on_the_way_in_reaches_the_application_as_it_comes(mesh, annotation):
    out = 'traffic.sidecar.istio.io/excludeOutboundPorts: "8080"'
    mesh.write(client=out)
    wait_for(lambda: mesh.both() == ["closed", "closed"], 10, "plaintext refused")
    mesh.write(client=out, server=annotation)
    wait_for(lambda: mesh.both() == ["yes", "yes"], 10, "the application")
    assert mesh.counted("excluded", 2) > 0
    mesh.write(server=annotation)  # in a tunnel it arrives all the same
    wait_for(lambda: not mesh.exclusions(mesh.client, 1), 10, "the client captured again")
    assert mesh.both() == ["yes", "yes"]


def test_a_namespaces_annotation_holds_for_pods_without_one(mesh):
    mesh.write(namespace='traffic.sidecar.istio.io/excludeOutboundPorts: "8080"',
               server='traffic.sidecar.istio.io/excludeOutboundPorts: ""')
    wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
    assert mesh.exclusions(mesh.client, 1) == ["out: not port 8080"] and mesh.exclusions(mesh.server, 2) == []
    assert mesh.ask() == "closed"


def test_a_wrong_value_is_named_with_its_line_and_the_pod_stays_captured(mesh):
    mesh.write(client='traffic.sidecar.istio.io/excludeOutboundPorts: "8080,web"')
    wait_for(lambda: mesh.status()["errors"], 10, "the mistake")
    (error,) = mesh.status()["errors"]
    assert error.startswith(os.path.join(mesh.config, "mesh.yaml:")) and "excludeOutboundPorts" in error
    assert 'found "web"' in error and "not in force" in error
    before = mesh.counted("excluded")
    assert mesh.both() == ["yes", "yes"]
    assert mesh.counted("excluded") == before


def bpf(command, *words):
    """bpf(2) with an attribute of 64-bit words. Return: its result, -errno when it failed."""
    libc = ctypes.CDLL(None, use_errno=True)
    attr = (ctypes.c_uint64 * 16)(*words)
    r = libc.syscall(321, command, ctypes.byref(attr), ctypes.sizeof(attr))
    return r if r >= 0 else -ctypes.get_errno()


def test_without_room_for_its_rules_a_pod_is_captured_whole_and_others_go_on(mesh):
    path = ctypes.create_string_buffer(f"{mesh.nodes[0].pins}/cv_outbound_rules".encode())
    fd = bpf(7, ctypes.addressof(path))  # BPF_OBJ_GET
    assert fd >= 0, os.strerror(-fd)
    key, one, filled = ctypes.create_string_buffer(32), ctypes.c_uint32(1), 0
    try:
        while True:  # another namespace's, until it is full
            struct.pack_into("<IHHQ16x", key, 0, 224, 0, 0, 1)
            struct.pack_into("<I", key, 28, filled)
            if bpf(2, fd, ctypes.addressof(key), ctypes.addressof(one), 0) < 0:
                break
            filled += 1
        assert filled > 60000
        mesh.write(client='traffic.sidecar.istio.io/excludeOutboundPorts: "8080"')
        wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
        assert "not in force: no room" in mesh.exclusions(mesh.client, 1)[-1]
        before = mesh.counted("excluded")
        assert mesh.both() == ["yes", "yes"]
        assert mesh.counted("excluded") == before
    finally:
        for i in range(filled):
            struct.pack_into("<I", key, 28, i)
            bpf(3, fd, ctypes.addressof(key))
        os.close(fd)
    wait_for(lambda: mesh.exclusions(mesh.client, 1) == ["out: not port 8080"], 15, "room again")
    assert mesh.both() == ["closed", "closed"]


def refused_by_registry(mesh):
    """Both ways to an outside host, with the reason."""
    before = mesh.counted("registry_only")
    return mesh.ask(mesh.outside, OUTSIDE_PORT) == "refused" and mesh.counted("registry_only") == before + 1


def test_registry_only_refuses_what_nobody_has_registered_and_says_so(mesh):
    mesh.write(STRICT + REGISTRY_ONLY)
    wait_for(lambda: refused_by_registry(mesh), 10, "REGISTRY_ONLY")
    assert mesh.both() == ["yes", "yes"]
    assert mesh.explain(mesh.outside, OUTSIDE_PORT) == ("registry_only", "refused")
    assert mesh.explain(mesh.server.ip4, PORT) == ("tunnel", "allowed")
    with open(mesh.nodes[0].log_path, encoding="utf-8") as log:
        assert "registry_only" in log.read()


@pytest.mark.parametrize("addresses,protocol,wanted", [
    ("172.30.79.2", "TCP", "yes"), ("172.30.79.0/24", "TCP", "yes"), ("192.0.2.1", "TCP", "refused"), ("", "TCP", "yes"),
    ("", "TLS", "refused")])
def test_a_service_entry_registers_its_addresses(mesh, addresses, protocol, wanted):
    mesh.write(STRICT + REGISTRY_ONLY)
    wait_for(lambda: refused_by_registry(mesh), 10, "REGISTRY_ONLY")
    mesh.write(STRICT + REGISTRY_ONLY + ENTRY.format(addresses=addresses, port=OUTSIDE_PORT, protocol=protocol))
    wait_for(lambda: "outside" in str(mesh.nodes[0].admin_or_none("ztunnel", "/config_dump")), 10, "the entry")
    wait_for(lambda: mesh.ask(mesh.outside, OUTSIDE_PORT) == wanted, 10, wanted)
    assert mesh.ask(mesh.outside, OUTSIDE_PORT + 1) == "refused"


def test_an_excluded_port_is_not_the_registrys_to_refuse(mesh):
    mesh.write(STRICT + REGISTRY_ONLY, client=f'traffic.sidecar.istio.io/excludeOutboundPorts: "{OUTSIDE_PORT}"')
    wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
    assert mesh.ask(mesh.outside, OUTSIDE_PORT) == "yes"
