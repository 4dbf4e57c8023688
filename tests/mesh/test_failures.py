# SPDX-License-Identifier: Apache-2.0
"""Processes die, pods come back: no plaintext leaves, and all recovers by itself."""

import contextlib
import os
import random
import signal
import threading
import time

from conftest import SLOW
from labkit.lab import culvert
from labkit.mesh import wait_until


def kill(node, program):
    """kill -9 of one process of a node. Return: its number."""
    pid = wait_until(lambda: node.pid(program), what=f"{program} on {node.name}")
    os.kill(pid, signal.SIGKILL)
    return pid


def works(cluster, pod=None, host=None):
    return cluster.client(pod or cluster.alice, "talk", host or cluster.bob.ip4, "echo", check=False,
                          text=cluster.secret, timeout=8)["ok"]


def test_ztunnel_killed_comes_back(cluster, eventually):
    """Under traffic, of which the fixture finds nothing on the links."""
    node = cluster.mesh["n1"]

    def hammer():
        while not done.is_set():
            works(cluster)

    done = threading.Event()
    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        old = kill(node, "ztunnel")
        eventually(lambda: (p := node.pid("ztunnel")) and p != old, 20, what="a new ztunnel")
        eventually(lambda: works(cluster), 30, what="traffic to go on")
    finally:
        done.set()
        thread.join()


def test_no_ztunnel_means_connection_refused(cluster, eventually):
    """Stopped, not killed: it cannot be restarted while we look; then killed, which is what closes its sockets."""
    node = cluster.mesh["n1"]
    supervisor = node.process.pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        kill(node, "ztunnel")
        eventually(lambda: cluster.client(cluster.alice, "talk", cluster.bob.ip4, "echo", check=False, timeout=8,
                                          text=cluster.secret).get("error") in ("ConnectionRefusedError",
                                                                                "PermissionError"),
                   what="a refused connection")
        answer = cluster.client(cluster.outsider, "talk", cluster.carol.ip4, "echo", check=False, text="x", timeout=8)
        assert not answer["ok"], "towards a pod whose ztunnel is gone"
        plain = cluster.client(cluster.alice, "talk", cluster.outsider.ip4, "echo", text=cluster.plain)
        assert plain["ok"], "what is not of the mesh goes on"
    finally:
        os.kill(supervisor, signal.SIGCONT)
    eventually(lambda: works(cluster), 30, what="traffic to go on")


DIAL_AND_WAIT = """
import socket, sys
conns = [socket.create_connection((sys.argv[1], 7000), timeout=60) for _ in range(int(sys.argv[2]))]
print("dialled", flush=True)
sys.stdin.readline()
for i, c in enumerate(conns):
    c.sendall(b"%08d" % i)
ends = []
for i, c in enumerate(conns):
    try:
        ends.append("served" if c.recv(8, socket.MSG_WAITALL) == b"%08d" % i else "cut short")
    except OSError as e:
        ends.append(str(e))
print({end: ends.count(end) for end in ends})
"""


def test_a_ztunnel_that_ends_serves_what_came_before(cluster, eventually):
    """In plaintext, a socket each: more of them than it has sockets, and they have not been accepted yet when it is told."""
    node, many = cluster.mesh[cluster.bob.node], 300
    old = node.pid("ztunnel")
    os.kill(old, signal.SIGSTOP)
    try:
        client = cluster.outsider.spawn("/usr/bin/python3", "-c", DIAL_AND_WAIT, cluster.bob.ip4, str(many))
        assert client.stdout.readline() == "dialled\n"
        os.kill(old, signal.SIGTERM)
    finally:
        os.kill(old, signal.SIGCONT)
    out, _ = client.communicate("\n", timeout=60 * SLOW)
    assert out == f"{{'served': {many}}}\n"
    eventually(lambda: (p := node.pid("ztunnel")) and p != old, 30, what="a new ztunnel")
    eventually(lambda: works(cluster), 30, what="traffic to go on")


def test_agent_killed_keeps_traffic_and_comes_back(cluster, eventually):
    node = cluster.mesh["n1"]
    holder = cluster.hold(cluster.alice, cluster.bob.ip4)
    old = kill(node, "agent")
    eventually(lambda: (p := node.pid("agent")) and p != old, 20, what="a new agent")
    eventually(lambda: {p.key for p in cluster.meshed() if p.node == "n1"} <= node.captured(), 20, what="pods captured")
    eventually(lambda: works(cluster), 30, what="traffic to go on")
    assert cluster.release_hold(holder)["ok"], "an open connection must outlive the agent"


def test_control_killed_stops_nothing(cluster, eventually):
    holder = cluster.hold(cluster.alice, cluster.bob.ip4)
    old = {n.name: kill(n, "control") for n in cluster.mesh}
    assert works(cluster)
    for n in cluster.mesh:
        eventually(lambda n=n: (p := n.pid("control")) and p != old[n.name], 20, what="a new control")
        eventually(lambda n=n: n.status("control")["objects"], 20, what="its status")
    assert works(cluster)
    assert cluster.release_hold(holder)["ok"]


def test_pod_restarts_with_the_same_address(cluster, eventually):
    key, old = cluster.bob.key, cluster.bob
    culvert("lab", "restart", key)
    cluster.refresh()
    assert cluster.bob.ip4 == old.ip4 and cluster.bob.pid != old.pid
    cluster.mesh.wait_captured([cluster.bob])
    eventually(lambda: works(cluster), 20, what="the new pod to be reached")
    eventually(lambda: works(cluster, cluster.bob, cluster.alice.ip4), 20, what="the new pod to reach others")


def test_upgrade_of_everything_on_a_node(cluster, eventually):
    """SIGTERM to the whole node, then a new one: pins are adopted, nothing plain in between."""
    node = cluster.mesh["n1"]
    node.stop()
    assert not works(cluster), "capture outlives its processes"
    node.start()
    cluster.mesh.wait_ready(node, 30 * SLOW)
    eventually(lambda: works(cluster), 30, what="traffic to go on")


def random_kills(cluster, eventually, rounds):
    """Kill a process of a node at random, again and again, under traffic; in the end all must work. The fixture looks for the
    secret on the links."""
    seed = int(os.environ.get("CULVERT_TEST_SEED", time.time_ns() % 100000))
    print(f"seed {seed}")
    dice = random.Random(seed)
    done, answers, kills = threading.Event(), [], 0

    def hammer():
        while not done.is_set():
            answers.append(works(cluster))

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        while kills < rounds:
            running = [pid for node in cluster.mesh for program in ("ztunnel", "agent", "control") if (pid := node.pid(program))]
            if running:
                with contextlib.suppress(ProcessLookupError):  # the supervisor has just seen its end
                    os.kill(dice.choice(running), signal.SIGKILL)
                    kills += 1
            time.sleep(dice.random())
    finally:
        done.set()
        thread.join()
    print(f"{kills} kills; {sum(answers)} of {len(answers)} connections worked meanwhile, the others were refused")
    for node in cluster.mesh:
        cluster.mesh.wait_ready(node, 30 * SLOW)
    cluster.mesh.wait_captured(cluster.meshed())
    for pod, host in ((cluster.alice, cluster.bob.ip4), (cluster.bob, cluster.alice.ip6), (cluster.carol, cluster.bob.ip6)):
        eventually(lambda p=pod, h=host: works(cluster, p, h), 30, what=f"{pod.key} to reach {host}")


def test_ten_rounds_of_random_kills(cluster, eventually):
    random_kills(cluster, eventually, 10)


def test_soak_of_random_kills(cluster, eventually):
    """`make soak` only."""
    random_kills(cluster, eventually, int(os.environ.get("SOAK_ROUNDS", "10")))
