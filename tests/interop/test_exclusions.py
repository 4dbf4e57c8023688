# SPDX-License-Identifier: Apache-2.0
"""What annotations take out of the capture, and what REGISTRY_ONLY refuses, with real sockets across two nodes."""
import contextlib
import json
import os
import struct
import subprocess

import pytest
import who
from culvert_node import BIN, Nodes, started, wait_for, write_config
from full_map import full
from topology import Topology, remove_stale

PORT, OUTSIDE_PORT = 8080, 9000
STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec: {mtls: {mode: STRICT}}
"""
DENY_CLIENTS = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clients, namespace: demo}
spec: {action: DENY, rules: [{from: [{source: {principals: ["cluster.local/ns/demo/sa/default"]}}]}]}
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
    """A client on node 1, a server and its neighbour on node 2, all enrolled; and a server outside, on the second node itself."""

    def __init__(self, work_dir):
        self.config = os.path.join(work_dir, "config")
        remove_stale("cx")
        self.topology = Topology("cx", 79)
        self.client, self.server = self.topology.pod(1, "c"), self.topology.pod(2, "s")
        self.neighbour = self.topology.pod(2, "n")
        for pod in self.topology.pods:
            pod.namespace, pod.account = "demo", "default"
        self.outside = "172.30.79.2"
        self.processes = [who.start(self.server, "yes", PORT), who.start(self.topology.nodes[1], "yes", OUTSIDE_PORT)]

    def write(self, extra=STRICT, namespace="", without=None, **annotations):
        """The configuration, whole at once; annotations of the pods (client, server, neighbour) and of their namespace as YAML
        text."""

        def edit(text):
            for pod, more in ((getattr(self, name), more) for name, more in annotations.items()):
                text = text.replace(f"{{culvert.io/netns: {pod.path}}}", f"{{culvert.io/netns: {pod.path}{', ' * bool(more)}{more}}}")
            return text.replace("labels: {istio-injection: enabled}",
                                f"labels: {{istio-injection: enabled}}, annotations: {{{namespace}}}")

        write_config(self.config, [pod for pod in self.topology.pods if pod is not without], extra, edit=edit)

    def start(self):
        """Both nodes, both pods captured."""
        self.write()
        self.start_both(self.config, "exclusions", self.topology.pods)
        wait_for(lambda: self.ask() == "yes", 10, "the server")

    def ask(self, host=None, port=PORT):
        """What becomes of a connection of the client."""
        return who.ask(self.client, host or self.server.ip4, port)[0]

    def both(self):
        """The server's answers over IPv4 and IPv6."""
        return [self.ask(), self.ask(self.server.ip6)]

    def both_from_outside(self):
        """The same for the first node itself, which is in no mesh and comes from its address at the switch."""
        return [who.ask(self.topology.nodes[0], host, PORT)[0] for host in (self.server.ip4, self.server.ip6)]

    def explain(self, host, port):
        """The path and the verdict that `culvert explain` gives the client's connection."""
        answer = self.nodes[0].explain(self.client.ip4, f"{host}:{port}")
        assert self.kernel(str(self.told("netns_cookie", self.client, 1)), f"{host}:{port}") == answer["kernel"]
        assert answer["notAsked"] == []
        return answer["kernel"]["path"], answer["verdict"]

    def kernel(self, who, to, number=1, source=()):
        """What explain reads of a node's maps from afar."""
        argv = [f"{BIN}/culvert", "__kernel", self.status(number)["pin_dir"], who, to, *source]
        return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    def status(self, number=1):
        """The agent's, of one node."""
        return self.nodes[number - 1].admin("agent", "/status")

    def said(self, number):
        """The lines of `culvert status` on what is left alone."""
        out = subprocess.run([f"{BIN}/culvert", "status", "--run-dir", self.nodes[number - 1].run_dir], check=False, stdout=subprocess.PIPE,
                             text=True).stdout
        lines = [line.strip() for line in out.splitlines()]
        head = "Left alone, captured alone or rerouted, as annotations ask"
        return lines[lines.index(head) + 1:] if head in lines else []

    def counted(self, reason, number=1):
        """A counter of the BPF programs of one node."""
        return self.status(number)["counters"][reason]

    def told(self, what, pod, number):
        """What the status says of a pod; None: nothing."""
        return next((p[what] for p in self.status(number)["pods"] if p["name"] == pod.name), None)

    def exclusions(self, pod, number):
        """Of a pod."""
        return self.told("exclusions", pod, number)

    def addresses(self, pod):
        """Those that count as a pod's of node 2."""
        return self.told("addresses", pod, 2)


@pytest.fixture(scope="module", name="mesh")
def fixture_mesh():
    with started(Mesh, "exclusions") as m:
        yield m


@pytest.fixture(autouse=True)
def fixture_plain(mesh):
    """Each test ends as it began: nothing excluded, STRICT."""
    yield
    mesh.write()
    wait_for(lambda: mesh.exclusions(mesh.client, 1) == [] and mesh.exclusions(mesh.server, 2) == [], 10, "no exclusions")
    wait_for(lambda: mesh.both() == ["yes", "yes"] and mesh.ask(mesh.outside, OUTSIDE_PORT) == "yes", 10, "all as before")


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
    assert mesh.explain(mesh.server.ip4, PORT) == ("excluded", "denied")
    assert mesh.both() == ["closed", "closed"]
    assert mesh.counted("excluded") == before + 2


def test_a_listed_port_is_captured_beside_the_listed_ranges(mesh):
    mesh.write(client='traffic.sidecar.istio.io/includeOutboundIPRanges: "192.0.2.0/24", '
                      'traffic.sidecar.istio.io/includeOutboundPorts: "8080"')
    wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
    assert mesh.both() == ["yes", "yes"]
    assert mesh.exclusions(mesh.client, 1) == ["out: port 8080", "out: 192.0.2.0/24", "out: nothing else"]
    assert f"demo/{mesh.client.name}: out: port 8080; out: 192.0.2.0/24; out: nothing else" in mesh.said(1)


@pytest.mark.parametrize("annotation", [
    'traffic.sidecar.istio.io/excludeInboundPorts: "8080"',
    'traffic.sidecar.istio.io/includeInboundPorts: "9090"',
    'ambient.istio.io/bypass-inbound-capture: "true"',
])
def test_what_is_excluded_on_the_way_in_reaches_the_application_as_it_comes(mesh, annotation):
    out = 'traffic.sidecar.istio.io/excludeOutboundPorts: "8080"'
    mesh.write(client=out)
    wait_for(lambda: mesh.both() == ["closed", "closed"], 10, "plaintext refused")
    assert mesh.kernel("in", f"{mesh.server.ip4}:{PORT}", 2) is False
    mesh.write(client=out, server=annotation)
    wait_for(lambda: mesh.both() == ["yes", "yes"], 10, "the application")
    assert mesh.counted("excluded", 2) > 0
    assert mesh.explain(mesh.server.ip4, PORT) == ("excluded", "outside")  # no policy there either
    assert mesh.kernel("in", f"{mesh.server.ip4}:{PORT}", 2) is True
    mesh.write(server=annotation)  # in a tunnel it arrives all the same
    wait_for(lambda: not mesh.exclusions(mesh.client, 1), 10, "the client captured again")
    assert mesh.both() == ["yes", "yes"]
    assert mesh.said(1) == []
    assert f"demo/{mesh.server.name}: {'; '.join(mesh.exclusions(mesh.server, 2))}" in mesh.said(2)


def ranges(text):
    """The annotation."""
    return f'culvert.io/excludeInboundIPRanges: "{text}"'


def test_who_comes_from_an_excluded_range_reaches_the_application_as_it_comes(mesh):
    """While the annotation has the range, and from nowhere just beside it; a pod of the mesh arrives by its tunnel all the same."""
    outside, target = "172.30.79.1", f"{mesh.server.ip4}:{PORT}"
    assert mesh.both_from_outside() == ["closed", "closed"]
    mesh.write(server=ranges("172.30.79.0/31, fd00:30:79::/64"))
    wait_for(lambda: mesh.both_from_outside() == ["yes", "yes"], 10, "the application")
    assert mesh.exclusions(mesh.server, 2) == ["in: not from 172.30.79.0/31", "in: not from fd00:30:79::/64"]
    assert f"demo/{mesh.server.name}: in: not from 172.30.79.0/31; in: not from fd00:30:79::/64" in mesh.said(2)
    assert mesh.said(1) == []
    before = mesh.counted("excluded", 2)
    assert mesh.both_from_outside() == ["yes", "yes"] == mesh.both()
    assert mesh.counted("excluded", 2) == before + 2
    for of, source, is_excluded in (("none", (), False), ("it", (outside,), True), ("another", ("172.30.79.2",), False)):
        assert mesh.kernel("in", target, 2, source) is is_excluded, of
    answer = mesh.nodes[1].explain(outside, target)
    assert (answer["verdict"], answer["notAsked"]) == ("outside", []) and "leaves it to the application" in answer["sentence"]
    mesh.write(server=ranges("172.30.79.2/31,fd00:30:79::2/127"))
    wait_for(lambda: mesh.both_from_outside() == ["closed", "closed"], 10, "the annotation")
    assert mesh.exclusions(mesh.server, 2) == ["in: not from 172.30.79.2/31", "in: not from fd00:30:79::2/127"]
    assert mesh.nodes[1].explain(outside, target)["verdict"] == "denied"
    mesh.write(server=ranges("172.30.79.1"))
    wait_for(lambda: mesh.both_from_outside() == ["yes", "closed"], 10, "IPv4 alone")
    mesh.write()
    wait_for(lambda: mesh.both_from_outside() == ["closed", "closed"], 10, "captured again")


def test_a_range_of_everybody_leaves_policy_for_who_has_an_identity(mesh):
    """The client has an address in it, too: what it sends by tunnel is judged, in plaintext it is the application's."""
    everybody = ranges("0.0.0.0/0,::/0")
    mesh.write(STRICT + DENY_CLIENTS, namespace=everybody)
    wait_for(lambda: mesh.both_from_outside() == ["yes", "yes"], 10, "the annotation")
    wait_for(lambda: mesh.both() == ["closed", "closed"], 10, "the policy")
    assert mesh.explain(mesh.server.ip4, PORT) == ("tunnel", "denied")
    assert mesh.exclusions(mesh.neighbour, 2) == ["in: not from 0.0.0.0/0", "in: not from ::/0"]
    mesh.write(STRICT + DENY_CLIENTS, namespace=everybody, client='traffic.sidecar.istio.io/excludeOutboundPorts: "8080"')
    wait_for(lambda: mesh.both() == ["yes", "yes"], 10, "the client's plaintext")
    assert mesh.explain(mesh.server.ip4, PORT) == ("excluded", "outside")


def test_an_address_that_a_pod_gives_itself_stays_its_owners(mesh):
    """The neighbour, which lets plaintext in, takes the server's addresses: before the server comes, and while it is there."""
    theirs, other = (mesh.server.ip4, mesh.server.ip6), "10.250.0.7"
    out, bypass = 'traffic.sidecar.istio.io/excludeOutboundPorts: "8080"', 'ambient.istio.io/bypass-inbound-capture: "true"'

    def change(verb, *addresses):
        for address in addresses:
            mesh.neighbour.ip("addr", verb, f"{address}/{128 if ':' in address else 32}", "dev", "lo")

    def is_the_servers():
        mesh.write(neighbour=bypass)
        wait_for(lambda: mesh.both() == ["yes", "yes"], 10, "the server through the mesh")
        mesh.write(neighbour=bypass, client=out)
        wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
        assert mesh.both() == ["closed", "closed"]
        assert not set(theirs) & set(mesh.addresses(mesh.neighbour))

    change("add", *theirs)
    mesh.write(neighbour=bypass, without=mesh.server)
    wait_for(lambda: set(theirs) <= set(mesh.addresses(mesh.neighbour)), 20, "the addresses of nobody else")
    is_the_servers()
    (line,) = [line for line in mesh.log(2).splitlines() if "given itself" in line and f"address={theirs[0]} " in line][-1:]
    assert f"pod=demo/{mesh.neighbour.name} " in line and f"of=demo/{mesh.server.name}" in line
    change("del", *theirs)
    change("add", other)
    wait_for(lambda: other in mesh.addresses(mesh.neighbour), 20, "another look")
    is_the_servers()
    change("add", *theirs)
    change("del", other)
    wait_for(lambda: other not in mesh.addresses(mesh.neighbour), 20, "another look")
    is_the_servers()
    change("del", *theirs)


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


@pytest.mark.parametrize("name, head, annotation, rule", [
    ("cv_outbound_rules", struct.pack("<IHHQ", 224, 0, 0, 1), 'traffic.sidecar.istio.io/excludeOutboundPorts: "8080"',
     "out: not port 8080"),
    ("cv_inbound_rules", b"", 'traffic.sidecar.istio.io/excludeInboundPorts: "8080"', "in: not port 8080"),
    ("cv_inbound_ranges", struct.pack("<I", 256), ranges("192.0.2.0/24"), "in: not from 192.0.2.0/24")],
    ids=["out", "in", "in, by source"])
def test_without_room_for_its_rules_a_pod_is_captured_whole_and_others_go_on(mesh, name, head, annotation, rule):
    with full(f"{mesh.nodes[0].pins}/{name}", head):
        mesh.write(client=annotation)
        wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
        assert "not in force: no room" in mesh.exclusions(mesh.client, 1)[-1]
        before = mesh.counted("excluded")
        assert mesh.both() == ["yes", "yes"]
        assert mesh.counted("excluded") == before
    wait_for(lambda: mesh.exclusions(mesh.client, 1) == [rule], 15, "room again")
    assert mesh.both() == (["closed", "closed"] if rule.startswith("out") else ["yes", "yes"])


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
    wait_for(lambda: "registry_only" in mesh.log(1), 10, "the event in the log")


@pytest.mark.parametrize("addresses,protocol,wanted", [
    ("172.30.79.2", "TCP", "yes"), ("172.30.79.0/24", "TCP", "yes"), ("192.0.2.1", "TCP", "refused"), ("", "TCP", "yes"),
    ("", "TLS", "refused"), ("", "HTTP", "refused")])
def test_a_service_entry_registers_its_addresses(mesh, addresses, protocol, wanted):
    mesh.write(STRICT + REGISTRY_ONLY)
    wait_for(lambda: refused_by_registry(mesh), 10, "REGISTRY_ONLY")
    mesh.write(STRICT + REGISTRY_ONLY + ENTRY.format(addresses=addresses, port=OUTSIDE_PORT, protocol=protocol))
    wait_for(lambda: "outside" in str(mesh.nodes[0].admin_or_none("ztunnel", "/config_dump")), 10, "the entry")
    wait_for(lambda: mesh.ask(mesh.outside, OUTSIDE_PORT) == wanted, 10, wanted)
    assert mesh.ask(mesh.outside, OUTSIDE_PORT + 1) == "refused"
    told = [e for e in mesh.nodes[0].admin("control", "/status")["errors"] if e.get("name") == "outside"]
    assert bool(told) == (not addresses and protocol != "TCP"), told  # that layer 4 cannot look at names


def test_with_a_full_map_ztunnel_answers_for_the_registry(mesh):
    """What finds no room there makes every unknown destination ask ztunnel, which knows all: slower, never another answer."""
    mesh.write(STRICT + REGISTRY_ONLY)
    wait_for(lambda: refused_by_registry(mesh), 10, "REGISTRY_ONLY")
    with full(f"{mesh.nodes[0].pins}/cv_registered"):
        tunnelled = mesh.counted("tunnel")
        mesh.write(STRICT + REGISTRY_ONLY + ENTRY.format(addresses="172.30.79.2", port=OUTSIDE_PORT, protocol="TCP"))
        wait_for(lambda: mesh.ask(mesh.outside, OUTSIDE_PORT) == "yes", 10, "the entry")
        assert mesh.counted("tunnel") > tunnelled
        assert "no room for a destination" in mesh.log(1) and "map=cv_registered" in mesh.log(1)
        assert mesh.both() == ["yes", "yes"]
        assert mesh.ask(mesh.outside, OUTSIDE_PORT + 1) == "closed"  # accepted first: by ztunnel, which refuses
        wait_for(lambda: any("REGISTRY_ONLY" in line and f":{OUTSIDE_PORT + 1} " in line for line in mesh.log(1).splitlines()), 10,
                 "a line that says so")
    mesh.write(STRICT + REGISTRY_ONLY)
    wait_for(lambda: refused_by_registry(mesh), 15, "room again")


def test_an_excluded_port_is_not_the_registrys_to_refuse(mesh):
    mesh.write(STRICT + REGISTRY_ONLY, client=f'traffic.sidecar.istio.io/excludeOutboundPorts: "{OUTSIDE_PORT}"')
    wait_for(lambda: mesh.exclusions(mesh.client, 1), 10, "the annotation")
    assert mesh.ask(mesh.outside, OUTSIDE_PORT) == "yes"
