# SPDX-License-Identifier: Apache-2.0
"""Culvert on both nodes: which endpoint a connection gets, names of single pods, ServiceEntry."""
import os
import socket
import struct
import sys

import pytest
import who
from culvert_node import Nodes, started, stop, wait_for, write_config
from topology import Topology, remove_stale

PORT = 8080
VIP = "10.96.78.1"
HOLD = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as conn:
    for _ in range(2):
        conn.sendall(b"who")
        print(conn.recv(10).decode(), flush=True)
        sys.stdin.readline()
"""
LOOK_UP = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(30)
    s.sendto(bytes.fromhex(sys.argv[1]), ("10.96.0.10", 53))
    print(s.recv(512).hex())
"""
SERVICES = """---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: demo}}
spec: {{clusterIP: {vip}, selector: {{app: web}}, sessionAffinity: {affinity}, ports: [{{port: 80, targetPort: {port}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: db, namespace: demo}}
spec: {{clusterIP: None, selector: {{app: web}}, ports: [{{port: {port}}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api, namespace: demo}}
spec:
  hosts: [api.example.com]
  resolution: STATIC
  location: MESH_INTERNAL
  workloadSelector: {{labels: {{app: web}}}}
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
"""


class Mesh(Nodes):
    """A client on node 1, servers A and B on node 2."""

    def __init__(self, work_dir):
        self.config = os.path.join(work_dir, "config")
        remove_stale("cz")
        self.topology = Topology("cz", 78)
        self.client = self.topology.pod(1, "c")
        self.servers = {name: self.topology.pod(2, name.lower()) for name in "AB"}
        self.processes, self.nodes = {}, []
        for pod in self.topology.pods:
            pod.namespace, pod.account = "demo", "default"
        for name in self.servers:
            self.serve(name)

    def serve(self, name):
        """Start the application of a server."""
        self.processes[name] = who.start(self.servers[name], name, PORT)

    def write(self, affinity="None", leaving=""):
        """The configuration, whole at once."""
        write_config(self.config, self.topology.pods, SERVICES.format(vip=VIP, affinity=affinity, port=PORT),
                     edit=lambda text: self.edit(text, leaving))

    def edit(self, text, leaving):
        """Labels and names for the servers."""
        for name, pod in self.servers.items():
            gone = ", deletionTimestamp: '2026-01-01T00:00:00Z'" if name == leaving else ""
            start = text.index(f"{{name: {pod.name},")
            text = text[:start] + text[start:].replace("{name:", f"{{labels: {{app: web}}{gone}, name:", 1).replace(
                "{nodeName", f"{{hostname: {name.lower()}, subdomain: db, nodeName", 1)
        return text

    def start(self):
        """Both nodes, everything captured."""
        self.write()
        self.start_both(self.config, "endpoints", self.topology.pods)
        wait_for(lambda: set(self.ask()) == {"A", "B"}, 10, "both servers")

    def ask(self, host=VIP, count=20, port=80):
        """Who answered, a letter per connection."""
        return who.letters(self.client, host, port, count)

    def look_up(self, name):
        """The only address of a name."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        query = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
        answer = bytes.fromhex(self.client.run(sys.executable, "-c", LOOK_UP, query.hex()).strip())
        assert struct.unpack("!H", answer[6:8]) == (1,)
        return socket.inet_ntoa(answer[-4:])


@pytest.fixture(scope="module", name="mesh")
def fixture_mesh():
    with started(Mesh, "endpoints") as m:
        yield m


def test_the_next_endpoint_answers_when_an_application_is_not_there(mesh):
    stop(mesh.processes["A"])
    assert mesh.ask(count=40) == "B" * 40
    mesh.serve("A")
    wait_for(lambda: "A" in mesh.ask(), 10, "A again")


def test_a_pod_that_terminates_gets_no_new_connection_and_keeps_its_open_ones(mesh):
    with mesh.client.popen(sys.executable, "-c", HOLD, mesh.servers["A"].ip4, str(PORT), stdin=-1, stdout=-1, text=True) as held:
        assert held.stdout.readline() == "A\n"
        mesh.write(leaving="A")
        wait_for(lambda: mesh.ask() == "B" * 20, 10, "only B")
        assert mesh.ask(count=60) == "B" * 60
        out, _ = held.communicate("go\n", timeout=60)
        assert out == "A\n"
    mesh.write()
    wait_for(lambda: "A" in mesh.ask(), 10, "A again")


def test_session_affinity_keeps_one_endpoint(mesh):
    mesh.write(affinity="ClientIP")
    wait_for(lambda: len(set(mesh.ask())) == 1, 10, "one endpoint")
    assert len(set(mesh.ask(count=60))) == 1
    mesh.write()
    wait_for(lambda: len(set(mesh.ask())) == 2, 10, "both again")


def test_names_of_single_pods(mesh):
    for name, pod in mesh.servers.items():
        assert mesh.look_up(f"{name.lower()}.db.demo.svc.cluster.local") == pod.ip4


def test_a_service_entry_has_an_address_that_leads_to_its_workloads(mesh):
    address = mesh.look_up("api.example.com")
    assert address.startswith("240.240.")
    assert set(mesh.ask(address, 30)) == {"A", "B"}
