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
from culvert_node import CulvertNode, stop, wait_for, write_config
from topology import Topology, remove_stale

STREAM = os.path.join(os.path.dirname(__file__), "stream.py")
PORT = 9200


class Mixed:
    """`ours` is the Culvert pod, `theirs` the peer's; both run the checking echo server on PORT."""

    def __init__(self, work_dir):
        self.work_dir = work_dir
        self.processes = []
        remove_stale("ci")
        self.topology = Topology("ci", 77)
        self.ours = self.topology.pod(1, "o")
        self.theirs = self.topology.pod(2, "t")
        for pod, account in ((self.ours, "ours"), (self.theirs, "theirs")):
            pod.namespace, pod.account = "interop", account
            self.start(pod, sys.executable, STREAM, "serve", str(PORT))
        self.ca = certificates.Authority(os.path.join(work_dir, "ca"))
        self.node = None

    def start(self, pod, *argv, **kwargs):
        """A process in a pod that ends with the fixture."""
        process = pod.popen(*argv, **kwargs)
        self.processes.append(process)
        return process

    def start_culvert(self):
        """Culvert on node 1, both pods enrolled."""
        config = os.path.join(self.work_dir, "config")
        write_config(config, [self.ours, self.theirs])
        self.node = CulvertNode(self.topology.nodes[0], 1, config, "interop", self.ca.path)
        self.node.wait_captured([self.ours.name])

    def check(self, source, host, size=100_000, port=PORT):
        """A checked stream from a pod."""
        return source.run(sys.executable, STREAM, "check", host, str(port), str(size))

    def close(self):
        """End everything that was started, the peer's processes last."""
        if self.node:
            self.node.close()
        for process in reversed(self.processes):
            stop(process)
        self.topology.close()


@pytest.fixture(scope="module")
def mixed():
    """The topology with Culvert on node 1; the peer is the test's."""
    with tempfile.TemporaryDirectory(prefix="culvert-interop-") as work_dir:
        os.chmod(work_dir, 0o755)
        m = Mixed(work_dir)
        try:
            m.start_culvert()
            yield m
        finally:
            m.close()


@pytest.fixture(scope="module")
def with_istio():
    """The peer is Istio's ztunnel; its test root is given to Culvert's CA."""
    binary = istio_ztunnel.binary()
    if not binary:
        pytest.skip("ISTIO_ZTUNNEL names no executable: see tests/interop/istio_ztunnel.py for how to build one")
    with tempfile.TemporaryDirectory(prefix="culvert-interop-") as work_dir:
        os.chmod(work_dir, 0o755)
        m = Mixed(work_dir)
        peer = None
        try:
            m.ca.use(*istio_ztunnel.test_root(binary))
            m.start_culvert()
            workloads = [istio_ztunnel.workload(m.ours, "n1"), istio_ztunnel.workload(m.theirs, "n2")]
            peer = istio_ztunnel.Ztunnel(binary, m.topology.nodes[1], "n2", [m.theirs], workloads, work_dir)
            yield m
        finally:
            if peer:
                peer.close()
            m.close()


@pytest.fixture(scope="session")
def hostile():
    """Two Culvert nodes and an attacker with certificates."""
    with tempfile.TemporaryDirectory(prefix="culvert-hostile-") as work_dir:
        os.chmod(work_dir, 0o755)
        h = Hostile(work_dir)
        try:
            h.start_nodes()
            yield h
        finally:
            h.close()


__all__ = ["wait_for"]
