# SPDX-License-Identifier: Apache-2.0
"""Pods with a second link, as a meta plugin (Multus) makes it: eth0 and net1, veths that both end on the host. Each has its guards, and
only a pod with one talks without a tunnel; a link may come and go while it is used."""
import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from culvert_node import stop, wait_for
from same_node import OUTSIDE, PORT, Direct, eth0, guards, ifindex, maps, sniffed
from test_guard import RAW_SYN, status

NET1 = {"c": "10.201.179.2", "s": "10.201.179.3"}
BY_NET1 = ("via", "169.254.1.1", "dev", "net1", "onlink")
SAYS = "the pod has several links, of which only the host's routes know which to take: it uses tunnels inside the node"


def second_of(direct, pod):
    """Host's end and address of its second link."""
    role = "c" if pod is direct.client else "s"
    return f"k{pod.name}"[:15], NET1[role]


def link_add(direct, pod):
    """net1, in a pod that runs."""
    host, address = second_of(direct, pod)
    node = direct.topology.nodes[0]
    subprocess.run(["ip", "link", "add", host, "netns", node.name, "type", "veth", "peer", "name", "net1", "netns", pod.name], check=True)
    node.ip("link", "set", host, "up")
    node.ip("route", "add", f"{address}/32", "dev", host)
    pod.ip("addr", "add", f"{address}/32", "dev", "net1")
    pod.ip("link", "set", "net1", "up")


def guarded(direct):
    """Links with guards, by the map and by the pins: they say the same."""
    in_map = guards(direct)
    pins = {int(name.rpartition("_")[2]) for name in os.listdir(direct.node.pins) if name.startswith("guard_")}
    assert in_map == pins
    return in_map


def all_guarded(direct, *names):
    """Are these the ones?"""
    with contextlib.suppress(AssertionError):
        return guarded(direct) == {ifindex(direct, name) for name in names}
    return False


@pytest.fixture(name="direct")
def fixture_direct():
    """Both pods with one link, talking directly."""
    d = Direct()
    wait_for(d.is_direct, 40, "a direct connection")
    yield d
    d.close()


def raw_syn(direct, pod, to, source=None):
    """Past every hook of a socket, by net1."""
    pod.ip("route", "replace", f"{to}/32", *BY_NET1, *(("src", source) if source else ()))
    try:
        pod.run(sys.executable, "-c", RAW_SYN, to, str(PORT))
    finally:
        pod.ip("route", "del", f"{to}/32", "dev", "net1")


@pytest.mark.parametrize("whose", ["client", "server"])
def test_a_second_link_is_guarded_and_means_tunnels(direct, whose):
    """Also after the agent's restart; without it the pods talk directly again."""
    pod = getattr(direct, whose)
    host, address = second_of(direct, pod)
    other = direct.server if pod is direct.client else direct.client
    link_add(direct, pod)
    wait_for(lambda: all_guarded(direct, host, *eth0(direct)), 40, "guards on all three")
    wait_for(lambda: SAYS in status(direct), 40, "why")
    assert not direct.is_direct()
    # the mesh's destination, from the second link: with an address of its own, and with the first one's
    before = direct.counter("guard_plaintext")
    for source in (None, pod.ip4):
        raw_syn(direct, pod, other.ip4, source)
    wait_for(lambda: direct.counter("guard_plaintext") == before + 2, 5, "the guard's counter")
    before = direct.counter("guard_source")
    pod.ip("route", "add", "192.0.2.9/32", *BY_NET1)
    pod.ip("addr", "add", "10.250.0.1/32", "dev", "lo")
    pod.run("sh", "-c", "ping -c1 -W1 -I 10.250.0.1 192.0.2.9 || true")
    wait_for(lambda: direct.counter("guard_source") > before or "other addresses" in direct.log(), 5, "the guard's counter")
    agents = direct.node.pids("culvert-agent")
    os.kill(agents[0], signal.SIGKILL)
    wait_for(lambda: direct.node.pids("culvert-agent") not in ([], agents), 40, "the next agent")
    wait_for(lambda: direct.node.admin_or_none("agent", "/status"), 40, "its status")
    wait_for(lambda: all_guarded(direct, host, *eth0(direct)) and SAYS in status(direct), 40, "the same from it")
    direct.node.wait_captured([direct.client.name, direct.server.name])
    assert not direct.is_direct()
    direct.topology.nodes[0].ip("link", "del", host)
    wait_for(lambda: all_guarded(direct, *eth0(direct)), 40, "the end of its guards")
    wait_for(direct.is_direct, 40, "a direct connection again")
    assert SAYS not in status(direct)


# Echoes at once what a line of its input says.
TALKER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as s:
    f = s.makefile("rb")
    f.readline()
    print("open", flush=True)
    for line in sys.stdin:
        s.sendall(line.encode())
        print(f.readline().decode(), end="", flush=True)
"""


@contextlib.contextmanager
def talking(direct):
    """say(word): there and back on one connection."""
    process = direct.client.popen(sys.executable, "-c", TALKER, direct.server.ip4, str(PORT), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)

    def say(word):
        process.stdin.write(word + "\n")
        process.stdin.flush()

    def echoed(word):
        say(word)
        return process.stdout.readline() == word + "\n"

    try:
        assert process.stdout.readline() == "open\n"
        assert echoed("hello")
        echoed.say = say
        yield echoed
    finally:
        stop(process)


def test_what_is_open_stays_on_its_link(direct):
    """A second link of the server's does not cut a direct connection, nor takes it; nor does its end."""
    flows = direct.counter("flow")
    host, _ = second_of(direct, direct.server)
    with talking(direct) as echoed:
        assert direct.counter("flow") == flows + 1
        link_add(direct, direct.server)
        wait_for(lambda: SAYS in status(direct), 40, "the second link")
        assert echoed("beside it")
        direct.topology.nodes[0].ip("link", "del", host)
        wait_for(lambda: SAYS not in status(direct), 40, "its end")
        assert echoed("after it")
        assert direct.counter("guard_plaintext") == direct.counter("guard_forged") == 0


def test_what_changes_its_link_in_mid_stream_is_stopped(direct):
    """The client's route leads by net1 now: to the host, which would route it on, past the guard of the server's link and, once that
    is gone, out of the node. Nothing of it is seen there, and on its own link it goes on."""
    link_add(direct, direct.client)
    host, _ = second_of(direct, direct.client)
    wait_for(lambda: all_guarded(direct, host, *eth0(direct)), 40, "its guards")
    direct.topology.nodes[0].ip("link", "del", host)
    wait_for(lambda: all_guarded(direct, *eth0(direct)), 40, "the end of its guards")
    wait_for(direct.is_direct, 40, "a direct connection")
    with talking(direct) as echoed:
        link_add(direct, direct.client)
        wait_for(lambda: all_guarded(direct, host, *eth0(direct)), 40, "its guards")
        direct.topology.nodes[0].ip("route", "add", "default", "via", OUTSIDE)
        before = direct.counter("guard_plaintext")
        with sniffed(direct) as seen:
            direct.client.ip("route", "add", f"{direct.server.ip4}/32", *BY_NET1, "src", direct.client.ip4)
            echoed.say("by the other link")
            wait_for(lambda: direct.counter("guard_plaintext") > before, 5, "the guard's counter")
            direct.client.ip("route", "del", f"{direct.server.ip4}/32", "dev", "net1")
        on_links = seen[0].count(b"by the other link")
        assert on_links >= 1  # as it comes from the pod, and to the server by the short way, which the host does not see


def test_a_link_that_goes_while_it_is_used(direct):
    """Of two the first one goes, by which a connection goes on: nothing of it leaves the node by what is left."""
    wait_for(direct.is_direct, 40, "a direct connection")
    with talking(direct) as echoed:
        link_add(direct, direct.server)
        wait_for(lambda: SAYS in status(direct), 40, "the second link")
        node = direct.topology.nodes[0]
        node.ip("route", "add", "default", "via", OUTSIDE)
        with sniffed(direct, "uplink") as seen:
            node.ip("link", "del", f"h{direct.server.name}")
            echoed.say("after the first link")
            wait_for(lambda: "backoff:2" in direct.client.run("ss", "-Htin"), 40, "what the client sends again")
        assert b"after the first link" not in seen[0]
