# SPDX-License-Identifier: Apache-2.0
"""Direct connections are TCP connections: whatever an application does with one (see torture.c), every byte, every end and
every reset arrive as without a mesh, whichever way the packets take. So they do by a tunnel, but for urgent bytes. Without a
mesh they are what torture.c says of itself."""
import os
import re
import subprocess

import pytest
from culvert_node import BIN, stop, wait_for
from same_node import Direct
from topology import Topology, remove_stale

TORTURE = os.path.join(BIN, "torture")
PORT = 9310
FEW, MANY = 300, 10000


class Unmeshed:
    """The pods of Direct, and nothing of a mesh."""

    def __init__(self):
        remove_stale("cd")
        self.topology = Topology("cd", 79)
        self.client, self.server = self.topology.pod(1, "c"), self.topology.pod(1, "s")

    def close(self):
        """Remove them."""
        self.topology.close()


@pytest.fixture(name="served")
def fixture_served():
    """served(d): `d` with a torture server in the server's pod; closed at the end."""
    parts = []

    def serve(d):
        parts.append(d)
        d.asked = 0
        d.torture = d.server.popen(TORTURE, "serve", str(PORT), stdout=subprocess.PIPE, text=True)
        assert d.torture.stdout.readline() == "ready\n"
        return d

    yield serve
    for d in parts:
        stop(d.torture)
        d.close()


@pytest.fixture(name="started")
def fixture_started(served):
    """started(bypass): a node whose pods talk directly."""
    def start(bypass):
        d = served(Direct(bypass=bypass))

        def is_direct():
            before = d.counter("direct")
            torture(d, d.server.ip4, 1, 1)
            return d.counter("direct") > before

        wait_for(is_direct, 20, "a direct connection")
        torture(d, d.server.ip6, 1, 1)  # by its own address the pod is known already
        return d

    return start


def is_right(said, count, what):
    """Is this the last line of an end at which nothing was wrong? The kernel drops a packet now and then, a reset for good; one
    in a hundred connections or more is somebody's fault."""
    m = re.fullmatch(f"{count} {what}, 0 wrong, ([0-9]+) resets lost", said)
    return m and int(m[1]) <= 1 + count // 100


def torture(d, host, count, seed, *how):
    """This many connections, all as they must be at both ends."""
    d.asked += count
    out = subprocess.run(d.client.enter(TORTURE, "run", host, str(PORT), str(count), str(seed), *how), stdout=subprocess.PIPE,
                         text=True, check=False, timeout=1500).stdout
    assert is_right(out.splitlines()[-1], count, "connections"), out[-3000:]


def torture_both_ends(d, count, seed, *how):
    """Both families, and IPv4 by IPv6's sockets."""
    torture(d, d.server.ip4, count, seed, *how)
    torture(d, d.server.ip6, count // 2, seed + 1, *how)
    torture(d, "::ffff:" + d.server.ip4, count // 4, seed + 2, *how)
    stop(d.torture)
    said = d.torture.stdout.read()  # what the server's end found
    assert is_right(said.rstrip("\n"), d.asked, "served"), said[-3000:]


def torture_all(d, count, seed):
    """The same; nothing went through a tunnel, nothing stays."""
    before = d.counter("direct")
    torture_both_ends(d, count, seed)
    assert d.counter("direct") == before + count + count // 2 + count // 4
    assert d.counter("guard_plaintext") == d.counter("guard_malformed") == d.counter("guard_fragment") == 0


@pytest.mark.parametrize("bypass", ["established", "full"])
def test_random_connections(started, bypass):
    d = started(bypass)
    flows = d.counter("flow")
    torture_all(d, FEW, 5)
    assert d.counter("flow") > flows


def test_random_connections_without_a_mesh(served):
    torture_both_ends(served(Unmeshed()), FEW, 5)


def test_random_connections_by_a_tunnel(served):
    d = served(Direct(labels="culvert.io/same-node: encrypt"))
    torture_both_ends(d, FEW, 5, "proxied")
    assert d.counter("direct") == 0
    assert d.counter("tunnel") >= d.asked


@pytest.mark.parametrize("bypass", ["established", "full"])
def test_soak_random_connections(started, bypass):
    """The same with thousands, by `make soak`; SOAK_SEED chooses others."""
    torture_all(started(bypass), MANY, int(os.environ.get("SOAK_SEED", "77")))


@pytest.mark.parametrize("bypass", ["established", "full"])
def test_links_that_differ(started, bypass):
    """Segments of one link's size arrive on a link of another, whole or in parts, as they do through the host's stack."""
    d = started(bypass)
    flows, count = d.counter("flow"), 0
    for client, server in (((9000, 65536, "on"), (1500, 65536, "on")), ((1500, 65536, "on"), (9000, 4000, "off")),
                           ((1280, 65536, "off"), (9000, 65536, "on"))):
        for pod, (mtu, gso, offload) in ((d.client, client), (d.server, server)):
            pod.node.ip("link", "set", f"h{pod.name}", "mtu", str(mtu), "gso_max_size", str(gso))
            pod.ip("link", "set", "eth0", "mtu", str(mtu), "gso_max_size", str(gso))
            pod.run("ethtool", "-K", "eth0", "tso", offload, "gso", offload, "gro", offload)
        for host in (d.server.ip4, d.server.ip6):
            torture(d, host, FEW // 6, 40 + count)
            count += FEW // 6
    assert d.counter("flow") == flows + count
