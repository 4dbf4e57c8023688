# SPDX-License-Identifier: Apache-2.0
"""Many connections, and what happens where the descriptors or the memory end: the connection at hand is refused, the others go on."""
import os
import resource
import subprocess
import tempfile

import pytest
import slow
from culvert_node import BIN, wait_for
from pair import Held, Pair, works

LOADGEN = os.path.join(BIN, "loadgen")
PORT = 9100
MANY = 20000
RESERVE = 1024  # the mesh's own descriptors and what it keeps free
FEW = 300       # descriptors of a process on the node with a limit
OVER = 500      # connections there
GROWTH_MAX_KB = 1024
OPEN = 400      # connections before there is a limit to memory
ROOM_KB = 256   # what it leaves beside them
CROWD = 1500    # connections that are too many for that


def started(wrap2=()):
    """A client and a server on each node, for one test."""
    with tempfile.TemporaryDirectory(prefix="culvert-limits-") as work_dir:
        os.chmod(work_dir, 0o755)
        pair = Pair(work_dir, "limits", "cl", 76)
        try:
            pair.client1, pair.server1, pair.client2, pair.server2 = (pair.pod(n, f"{kind}{n}") for n in (1, 2) for kind in "cs")
            for server in (pair.server1, pair.server2):
                pair.serve(server, LOADGEN, "serve", str(PORT))
            pair.write()
            pair.start(wrap2=wrap2)
            pair.wait_works(pair.client1, pair.server2, PORT)
            pair.wait_works(pair.client2, pair.server1, PORT)
            yield pair
        finally:
            pair.close()


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
    pid, first = limited.pid(2), limited.fds(2)
    held = Held(client, server.ip4, PORT, OVER).opened()
    try:
        assert FEW // 3 < held.count < OVER
        assert held.working() == held.count
        log = limited.log(2)
        assert "Too many open files" in log
        assert "connected to agent" in log and "no agent" not in log.split("connected to agent")[-1]
    finally:
        held.close()
    wait_for(lambda: limited.fds(2) < first + 80, 20, "descriptors to come back")
    assert works(client, server.ip4, PORT) and works(other, far.ip4, PORT)
    assert limited.pid(2) == pid


def status_kb(pid, key):
    """A number of a process's status."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key + ":"))


def limit_memory(pid, room_kb):
    """No more data than a ztunnel has, and this. As its own user: for another's a capability is needed."""
    subprocess.run(["setpriv", "--reuid=culvert-ztunnel", "--regid=culvert-ztunnel", "--clear-groups", "prlimit", f"--pid={pid}",
                    f"--data={(status_kb(pid, 'VmData') + room_kb) * 1024}:"], check=True)


@pytest.mark.parametrize("side", ["client", "server"])
def test_where_memory_ends_the_next_is_refused_with_the_reason_and_every_open_one_goes_on(unlimited, side):
    client, server, other, far = ((unlimited.client2, unlimited.server1, unlimited.client1, unlimited.server2) if side == "client" else
                                  (unlimited.client1, unlimited.server2, unlimited.client2, unlimited.server1))
    pid = unlimited.pid(2)
    held = Held(client, server.ip4, PORT, OPEN).opened()
    crowd = None
    try:
        assert held.count == OPEN
        limit_memory(pid, ROOM_KB)
        crowd = Held(client, server.ip4, PORT, CROWD)
        assert held.working() == OPEN  # while they come
        crowd.opened()
        assert crowd.count < CROWD
        assert held.working() == OPEN and crowd.working() == crowd.count
        assert 'out of memory"' in unlimited.log(2)
        crowd.close()
        unlimited.wait_works(client, server, PORT)
        unlimited.wait_works(other, far, PORT)
        assert held.working() == OPEN
    finally:
        held.close()
        if crowd:
            crowd.close()
    assert unlimited.pid(2) == pid


def test_twenty_thousand_connections_or_what_the_descriptor_limit_leaves(unlimited):
    possible = min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - RESERVE)
    parts = [Held(unlimited.client1, unlimited.server2.ip4, PORT, MANY // 4) for _ in range(4)]
    try:
        total = sum(part.opened().count for part in parts)
        assert total >= possible, f"{total} of {possible}"
        assert total == MANY or "Too many open files" in unlimited.log(1) + unlimited.log(2)
        assert sum(part.working() for part in parts) == total
    finally:
        for part in parts:
            part.close()
    unlimited.wait_works(unlimited.client2, unlimited.server1, PORT)


def test_a_slow_reader_costs_less_than_a_megabyte_and_the_fast_ones_of_its_tunnel_go_on(unlimited):
    """4 s; the bench has the 30 s and what the fast ones lose."""
    unlimited.processes += slow.serve(unlimited.server1)
    unlimited.wait_works(unlimited.client2, unlimited.server1, slow.FAST_PORT)
    growth, got, fast = slow.run(unlimited.client2, unlimited.server1, [unlimited.pid(1), unlimited.pid(2)], 4)
    print(f"{growth} kB more, {got} bytes read slowly, {fast['done']} round trips beside it")
    assert got > 20000 and fast["done"] > 1000 and fast["failed"] == 0
    assert growth < GROWTH_MAX_KB
