# SPDX-License-Identifier: Apache-2.0
"""Fixtures: node 1 is Culvert's with one pod, node 2 is the peer's with one pod, one root signs for both."""
import os
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import certificates
import istio_ztunnel
from hostile import Hostile
from culvert_node import CulvertNode, Nodes, started, write_config
from topology import Topology, remove_stale

STREAM = os.path.join(os.path.dirname(__file__), "stream.py")
PORT, DENIED_PORT = 9200, 9990
DENY = f"""---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: deny, namespace: interop}}
spec: {{action: DENY, rules: [{{to: [{{operation: {{ports: ["{DENIED_PORT}"]}}}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: interop}}
spec: {{clusterIP: 10.96.77.1, selector: {{app: web}}, ports: [{{port: 80, targetPort: {PORT}}}]}}
"""
WEB = {"name": "web", "namespace": "interop", "hostname": "web.interop.svc.cluster.local", "vips": ["/10.96.77.1"],
       "ports": {80: PORT}}


class Mixed(Nodes):
    """`ours` is the Culvert pod, `theirs` the peer's; both run the checking echo server on PORT."""

    def __init__(self, work_dir):
        self.work_dir = work_dir
        self.processes, self.nodes = [], []
        remove_stale("ci")
        self.topology = Topology("ci", 77)
        self.peer = None
        self.others = []  # pods of the mesh that nobody serves
        self.ours = self.topology.pod(1, "o")
        self.theirs = self.topology.pod(2, "t")
        for pod, account in ((self.ours, "ours"), (self.theirs, "theirs")):
            pod.namespace, pod.account = "interop", account
            self.run_in(pod, sys.executable, STREAM, "serve", str(PORT))
        self.ca = certificates.Authority(os.path.join(work_dir, "ca"))

    def start(self):
        """Culvert on node 1, both pods enrolled; a port is denied to all."""
        config = os.path.join(self.work_dir, "config")
        write_config(config, [self.ours, self.theirs, *self.others], DENY)
        self.nodes.append(CulvertNode(self.topology.nodes[0], 1, config, "interop", self.ca.path))
        self.nodes[0].wait_captured([self.ours.name])

    def check(self, source, host, size=100_000, port=PORT):
        """A checked stream from a pod."""
        return source.run(sys.executable, STREAM, "check", host, str(port), str(size))


@pytest.fixture(scope="module")
def mixed():
    """The topology with Culvert on node 1; the peer is the test's."""
    with started(Mixed, "interop") as m:
        yield m


@pytest.fixture(scope="module")
def with_istio():
    """The peer is Istio's ztunnel; its test root is given to Culvert's CA."""
    binary = istio_ztunnel.binary()
    if not binary:
        pytest.skip("ISTIO_ZTUNNEL names no executable: see tests/interop/istio_ztunnel.py for how to build one")
    with tempfile.TemporaryDirectory(prefix="culvert-interop-") as work_dir:
        os.chmod(work_dir, 0o755)
        m = Mixed(work_dir)
        try:
            m.others = [m.topology.pod(2, name) for name in ("r", "g")]
            for pod in m.others:
                pod.namespace, pod.account = "interop", "ours"
            m.ours.labels = "app: web"
            m.ca.use(*istio_ztunnel.test_root(binary))
            m.start()
            workloads = [istio_ztunnel.workload(m.ours, "n1")]
            workloads[0]["services"] = {"interop/web.interop.svc.cluster.local": {80: PORT}}
            workloads += [istio_ztunnel.workload(pod, "n2") for pod in (m.theirs, *m.others)]
            m.peer = istio_ztunnel.Ztunnel(binary, m.topology.nodes[1], "n2", [m.theirs], workloads, work_dir,
                                           policies=[istio_ztunnel.deny("deny", "interop", DENIED_PORT)], services=[WEB])
            yield m
        finally:
            if m.peer:
                m.peer.close()
            m.close()


@pytest.fixture(scope="session")
def hostile():
    """Two Culvert nodes and an attacker with certificates."""
    with started(Hostile, "hostile") as h:
        yield h
