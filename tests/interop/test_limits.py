# SPDX-License-Identifier: Apache-2.0
"""Many connections, and what happens where the descriptors end: the connection at hand is refused, the others go on."""
import os
import resource
import subprocess
import sys
import tempfile

import pytest
from culvert_node import BIN, CulvertNode, stop, wait_for, write_config
from topology import Topology, remove_stale

LOADGEN = os.path.join(BIN, "loadgen")
PORT = 9100
MANY = 20000
FEW = 300   # descriptors of a process on the node with a limit
OVER = 500  # connections there
# Opens connections, a byte there and back on each; says how many it got, and how many still work for each line that it reads.
HOLD = """
import json, resource, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def attempt(step, *args):
    try:
        return step(*args)
    except OSError:
        return None
def working(conns):
    sent = [c for c in conns if attempt(c.send, b"x")]
    return [c for c in sent if attempt(c.recv, 1) == b"x"]
held = []
for at in range(0, count, 100):
    conns = [attempt(socket.create_connection, (host, port), 20) for _ in range(min(100, count - at))]
    held += working(filter(None, conns))
print(len(held), flush=True)
for line in sys.stdin:
    print(sum(len(working(held[at:at + 100])) for at in range(0, len(held), 100)), flush=True)
"""


class Held:
    """Connections from a pod that stay open."""

    def __init__(self, pod, host, count):
        self.process = pod.popen(sys.executable, "-c", HOLD, host, str(PORT), str(count), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.count = 0

    def opened(self):
        """When all were tried: now .count is known."""
        self.count = int(self.process.stdout.readline())
        return self

    def working(self):
        """How many still carry bytes."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        """End them all."""
        self.process.stdin.close()
        self.process.wait(20)


class Mesh:
    """A client on each node, servers on the other; node 2's processes have few descriptors when limited."""

    def __init__(self, work_dir, wrap=()):
        remove_stale("cl")
        self.topology = Topology("cl", 76)
        self.pods = [self.topology.pod(n, f"{kind}{n}") for n in (1, 2) for kind in "cs"]
        self.client1, self.server1, self.client2, self.server2 = self.pods
        self.processes, self.nodes = [], []
        for pod in self.pods:
            pod.namespace, pod.account = "limits", "default"
        for pod in (self.server1, self.server2):
            self.processes.append(pod.popen(LOADGEN, "serve", str(PORT), stdout=subprocess.DEVNULL))
        config = os.path.join(work_dir, "config")
        write_config(config, self.pods)
        for i, node in enumerate(self.topology.nodes, 1):
            self.nodes.append(CulvertNode(node, i, config, "limits", wrap=wrap if i == 2 else ()))

    def start(self):
        """Until a connection works both ways."""
        for i, node in enumerate(self.nodes, 1):
            node.wait_captured([p.name for p in self.pods if p.node is self.topology.nodes[i - 1]])
        for client, server in ((self.client1, self.server2), (self.client2, self.server1)):
            wait_for(lambda c=client, s=server: self.one(c, s), 20, "a connection")

    @staticmethod
    def one(client, server):
        """Whether one new connection works."""
        held = Held(client, server.ip4, 1).opened()
        held.close()
        return held.count == 1

    def log(self, number):
        """What node 1 or 2 has logged."""
        with open(self.nodes[number - 1].log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def fds(self, number):
        """Descriptors of a node's ztunnel."""
        return len(os.listdir(f"/proc/{self.nodes[number - 1].pids('culvert-ztunnel')[0]}/fd"))

    def close(self):
        """End everything."""
        for node in self.nodes:
            node.close()
        for process in self.processes:
            stop(process)
        self.topology.close()


def started(wrap=()):
    """A mesh for one test."""
    with tempfile.TemporaryDirectory(prefix="culvert-limits-") as work_dir:
        os.chmod(work_dir, 0o755)
        mesh = Mesh(work_dir, wrap)
        try:
            mesh.start()
            yield mesh
        finally:
            mesh.close()


@pytest.fixture(name="unlimited")
def fixture_unlimited():
    """As the machine has it."""
    yield from started()


@pytest.fixture(name="limited")
def fixture_limited():
    """Node 2 with FEW descriptors a process."""
    yield from started(("setpriv", "--bounding-set", "-sys_resource", "prlimit", f"--nofile={FEW}:{FEW}"))


@pytest.mark.parametrize("side", ["client", "server"])
def test_at_the_descriptor_limit_the_next_is_refused_with_the_reason_and_others_go_on(limited, side):
    client, server, other, far = ((limited.client2, limited.server1, limited.client1, limited.server2) if side == "client" else
                                  (limited.client1, limited.server2, limited.client2, limited.server1))
    pids = limited.nodes[1].pids("culvert-ztunnel")
    first = limited.fds(2)
    held = Held(client, server.ip4, OVER).opened()
    try:
        assert FEW // 3 < held.count < OVER
        assert held.working() == held.count
        assert "Too many open files" in limited.log(2)
        assert "connected to agent" in limited.log(2) and "no agent" not in limited.log(2).split("connected to agent")[-1]
    finally:
        held.close()
    wait_for(lambda: limited.fds(2) < first + 80, 20, "descriptors to come back")
    assert limited.one(client, server) and limited.one(other, far)
    assert limited.nodes[1].pids("culvert-ztunnel") == pids


def test_twenty_thousand_connections_or_what_the_descriptor_limit_leaves(unlimited):
    reserve = 1024  # the mesh's own and what it keeps free
    possible = min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - reserve)
    parts = [Held(unlimited.client1, unlimited.server2.ip4, MANY // 4) for _ in range(4)]
    try:
        total = sum(part.opened().count for part in parts)
        assert total >= possible, f"{total} of {possible}"
        assert total == MANY or "Too many open files" in unlimited.log(1) + unlimited.log(2)
        assert sum(part.working() for part in parts) == total
        assert unlimited.one(unlimited.client2, unlimited.server1) == (total == MANY)
    finally:
        for part in parts:
            part.close()
    wait_for(lambda: unlimited.one(unlimited.client2, unlimited.server1), 20, "room again")
