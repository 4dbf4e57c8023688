# SPDX-License-Identifier: Apache-2.0
"""Direct connections are TCP connections: whatever an application does with one (see torture.c), every byte, every end and
every reset arrive as without a mesh, whichever way the packets take. So they do by a tunnel, but for urgent bytes. Without a
mesh they are what torture.c says of itself."""
import contextlib
import json
import os
import re
import subprocess

import pytest
from culvert_node import BIN, stop, wait_for
from same_node import Direct
from topology import Topology, remove_stale

TORTURE = os.path.join(BIN, "torture")
PORT = 9310
FEW, ENOUGH, MANY = 300, 2900, 10000  # of IPv4; of the other kinds there are three quarters more, and both ways make 10,000


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


def dropped(d):
    """Packets for which, says the kernel, there was no room between the two pods."""
    count = 0
    for place, link in [(pod, "eth0") for pod in (d.client, d.server)] + [(pod.node, f"h{pod.name}"[:15]) for pod in (d.client, d.server)]:
        stats = json.loads(place.ip("-s", "-j", "link", "show", "dev", link))[0]["stats64"]
        count += stats["rx"]["dropped"] + stats["tx"]["dropped"]
    return count


def refused(pod):
    """Segments for which there was none at a socket that somebody read or wrote just then."""
    names, values = (line.split() for line in pod.run("grep", "^TcpExt:", "/proc/net/netstat").splitlines())
    return int(values[names.index("TCPBacklogDrop")])


@contextlib.contextmanager
def end_of(d, pod, count, what):
    """With what the end in this pod has said, in a list: nothing was wrong. TCP sends no reset again, so the kernel may lose one, with
    or without a mesh, and it says where: a socket refused a segment, or a link dropped a packet. No other is missing, and few are."""
    before, said = (dropped(d), refused(pod)), []
    yield said
    waited, last = said[0].splitlines()[-2:]
    print(last)
    m = re.fullmatch(f"{count} {what}, 0 wrong, ([0-9]+) resets lost, ([0-9]+) refused", last)
    assert m, said[0][-3000:]
    at_links, at_sockets = int(m[1]), int(m[2])
    is_said = at_links <= dropped(d) - before[0] and at_sockets <= refused(pod) - before[1]
    assert is_said and at_links + at_sockets <= 1 + count // 1000, said[0][-3000:]
    assert count < FEW or "0" not in waited.split(), "each way to wait has been waited"


def torture(d, host, count, seed, *how):
    """This many connections, all as they must be at both ends."""
    d.asked += count
    with end_of(d, d.client, count, "connections") as said:
        said.append(subprocess.run(d.client.enter(TORTURE, "run", host, str(PORT), str(count), str(seed), *how),
                                   stdout=subprocess.PIPE, text=True, check=False, timeout=1500).stdout)


def torture_both_ends(d, count, seed, *how):
    """Both families, and IPv4 by IPv6's sockets."""
    with end_of(d, d.server, d.asked + count + count // 2 + count // 4, "served") as said:
        torture(d, d.server.ip4, count, seed, *how)
        torture(d, d.server.ip6, count // 2, seed + 1, *how)
        torture(d, "::ffff:" + d.server.ip4, count // 4, seed + 2, *how)
        stop(d.torture)
        said.append(d.torture.stdout.read())


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
    torture_all(d, ENOUGH, 5)
    assert d.counter("flow") > flows


def test_random_connections_without_a_mesh(served):
    torture_both_ends(served(Unmeshed()), FEW, 5)


def test_a_reset_that_somebody_swallows_is_missed(served):
    """What the other tests here say of resets can fail: a host that drops one in five."""
    d = served(Unmeshed())
    d.server.node.run("iptables", "-I", "FORWARD", "-p", "tcp", "--tcp-flags", "RST", "RST", "-m", "statistic", "--mode", "random",
                      "--probability", "0.2", "-j", "DROP")
    with pytest.raises(AssertionError, match="resets lost"):
        torture(d, d.server.ip4, FEW, 5)


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
