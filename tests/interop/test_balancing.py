# SPDX-License-Identifier: Apache-2.0
"""Which endpoint a Service leads to: ports, readiness, slices by hand, and what is near."""
import os

import pytest
import who
from culvert_node import Nodes, started, stop, wait_for, write_config
from topology import Topology, remove_stale

VIP, OUTSIDE = "10.96.81.1", "172.30.81.2"
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: demo}}
spec:
  clusterIP: {vip}
  {selector}
  ports: [{{name: http, port: 80, targetPort: 8080}}, {{name: adm, port: 81, targetPort: admin}}]
  {more}
"""
SLICE = """---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: demo, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{endpoints}]
ports: [{{name: http, port: 8080}}, {{name: adm, port: 8081}}]
"""


class Mesh(Nodes):
    """A client and server A on node 1, servers B and C on node 2, each node a zone; X outside, on the second node itself."""

    def __init__(self, work_dir):
        self.config = os.path.join(work_dir, "config")
        remove_stale("cu")
        self.topology = Topology("cu", 81)
        self.client = self.topology.pod(1, "x")
        self.servers = {name: self.topology.pod(node, name.lower()) for name, node in (("A", 1), ("B", 2), ("C", 2))}
        for pod in self.topology.pods:
            pod.namespace, pod.account = "demo", "default"
        self.processes = {}
        for name, place in (*self.servers.items(), ("X", self.topology.nodes[1])):
            self.processes[name] = who.start(place, name, 8080)
            self.processes[name.lower()] = who.start(place, name.lower(), 8081)

    def write(self, more="", not_ready="", slice_="", selector="selector: {app: web}"):
        """The configuration, whole at once; @not_ready: letters of pods."""
        extra = SERVICE.format(vip=VIP, selector="" if slice_ else selector, more=more)
        write_config(self.config, self.topology.pods, extra + (SLICE.format(endpoints=slice_) if slice_ else ""),
                     edit=lambda text: self.edit(text, not_ready))

    def edit(self, text, not_ready):
        """Zones for the nodes, labels and named ports for the servers."""
        for i in (1, 2):
            text = text.replace(f"metadata: {{name: n{i}}}", f"metadata: {{name: n{i}, labels: {{topology.kubernetes.io/region: r, "
                                                             f"topology.kubernetes.io/zone: z{i}}}}}")
        for name, pod in self.servers.items():
            start = text.index(f"{{name: {pod.name},")
            head, tail = text[:start], text[start:]
            tail = tail.replace("{name:", "{labels: {app: web}, name:", 1).replace(
                "serviceAccountName: default}", "serviceAccountName: default, containers: [{name: c, image: i, ports: "
                "[{name: admin, containerPort: 8081}]}]}", 1)
            if name in not_ready:
                tail = tail.replace("status: {", "status: {conditions: [{type: Ready, status: 'False'}], ", 1)
            text = head + tail
        return text

    def start(self):
        """Both nodes, everything captured."""
        self.write()
        self.start_both(self.config, "balancing", self.topology.pods)
        self.expect("ABC")

    def ask(self, count=24, port=80):
        """Who answered, a letter per connection."""
        return who.letters(self.client, VIP, port, count)

    def expect(self, letters, port=80):
        """Soon all of these answer, and then nobody else does."""
        wait_for(lambda: set(self.ask(port=port)) == set(letters), 10, letters)
        assert set(self.ask(port=port)) <= set(letters)


@pytest.fixture(scope="module", name="mesh")
def fixture_mesh():
    with started(Mesh, "balancing") as m:
        yield m


def test_each_port_leads_to_its_own(mesh):
    mesh.write()
    mesh.expect("ABC")
    mesh.expect("abc", port=81)  # by the name of the containers' port


def test_pods_that_are_not_ready_get_nothing_unless_the_service_wants_them(mesh):
    mesh.write(not_ready="AB")
    mesh.expect("C")
    mesh.write(not_ready="AB", more="publishNotReadyAddresses: true")
    mesh.expect("ABC")


def test_endpoints_by_hand(mesh):
    mesh.write(slice_=f"{{addresses: [{OUTSIDE}]}}, {{addresses: [{mesh.servers['B'].ip4}]}}")
    mesh.expect("BX")
    mesh.expect("bx", port=81)
    mesh.write(slice_=f"{{addresses: [{OUTSIDE}]}}, {{addresses: [{mesh.servers['B'].ip4}], conditions: {{ready: false}}}}, "
                      f"{{addresses: [{mesh.servers['C'].ip4}]}}")
    mesh.expect("CX")


def test_internal_traffic_policy_local_stays_on_the_node_or_goes_nowhere(mesh):
    mesh.write(more="internalTrafficPolicy: Local")
    mesh.expect("A")
    mesh.write(more="internalTrafficPolicy: Local", not_ready="A")
    mesh.expect("-")


@pytest.mark.parametrize("how", ["PreferClose", "PreferSameZone", "PreferSameNode"])
def test_what_is_near_is_preferred_and_what_is_far_takes_over(mesh, how):
    mesh.write(more=f"trafficDistribution: {how}")
    mesh.expect("A")
    mesh.write(more=f"trafficDistribution: {how}", not_ready="A")
    mesh.expect("BC")
    mesh.write(more=f"trafficDistribution: {how}")
    mesh.expect("A")


def test_when_what_is_near_refuses_the_next_one_is_tried_at_once(mesh):
    mesh.write(more="trafficDistribution: PreferSameZone")
    mesh.expect("A")
    stop(mesh.processes["A"])
    assert set(mesh.ask()) == {"B", "C"}
    mesh.processes["A"] = who.start(mesh.servers["A"], "A", 8080)
    mesh.expect("A")


def test_a_service_of_two_nodes_is_direct_on_its_own_and_every_endpoint_has_its_share(mesh):
    def direct():
        return mesh.nodes[0].admin("agent", "/status")["counters"].get("direct", 0)

    mesh.write()
    mesh.expect("ABC")
    before = direct()
    said = mesh.ask(count=600)
    assert direct() - before == said.count("A")
    assert all(150 < said.count(name) < 250 for name in "ABC"), said  # four standard deviations
    why = mesh.nodes[0].explain(mesh.client.ip4, f"{VIP}:80")
    assert why["kernel"]["direct"] == [f"{mesh.servers['A'].ip4}:8080"] and why["verdict"] == "allowed"
    assert "directly where the kernel leads to the endpoint, else through a mutual TLS tunnel" in why["sentence"]


def test_what_refuses_on_the_node_is_left_out_after_the_first_who_meets_it(mesh):
    mesh.write()
    mesh.expect("ABC")
    stop(mesh.processes["A"])
    said = mesh.ask(count=30)
    for not_ready in ("B", "", "B", ""):  # what becomes of the others has nothing to say about it
        mesh.write(not_ready=not_ready)
        mesh.expect("C" if not_ready else "BC")
        said += mesh.ask(count=30)
    assert said.count("-") <= 1 and set(said) <= set("BC-")
    mesh.processes["A"] = who.start(mesh.servers["A"], "A", 8080)
    mesh.expect("ABC")
