# SPDX-License-Identifier: Apache-2.0
"""culvert-agent alone, where a map of the kernel's has no room: a pod is not in the mesh by half, a destination goes by ztunnel, and
what is lost is named or counted. In time all is as it would have been."""
import ctypes
import json
import os
import re
import select
import signal
import socket
import struct
import time

import pytest
from agentkit import (
    ALIVE, CAPTURE, METRICS, OUTBOUND, PIN_DIR, PLAIN, SYNCED, WORKLOAD_A, Ztunnel, connect, in_netns, output, run, wait)
from full_map import UPDATE, Filling, bpf, full

UNKNOWN_TO_TUNNEL = 8
OUTBOUNDS = 4


@pytest.fixture(name="waiting")
def fixture_waiting(agent):
    """Pod a without its label, and a ztunnel."""
    agent.z = Ztunnel()
    agent.z.expect(SYNCED)
    yield agent
    agent.z.close()


def is_captured(agent):
    """With another offer to ztunnel, where there has to be one."""
    return agent.pod("a")["state"] == "captured"


def reached(agent, host, port):
    """A connection of pod a's comes to ztunnel."""
    pod = next(iter(agent.z.pods.values()))
    with in_netns("c-agent-a", lambda: connect(host, port)):
        outbound = pod.listeners[OUTBOUND:OUTBOUND + OUTBOUNDS]
        for listener in select.select(outbound, [], [], 10)[0]:
            listener.accept()[0].close()
            return True
    return False


def wait_counted(agent, name):
    """Until the agent's metrics have it that this map has no room."""
    while not re.search(rf'^culvert_agent_map_full_total{{map="{name}"}} [1-9]', agent.z.expect(METRICS)[1].decode(), re.MULTILINE):
        pass


@pytest.mark.parametrize("name", ["cv_pods", "cv_pod_addrs", "cv_steer"])
def test_a_pod_that_finds_no_room_is_not_in_the_mesh_by_half(waiting, name):
    with in_netns("c-agent-b", lambda: socket.create_server(("10.251.0.2", 4000))) as server, \
            socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        any_socket.listen()
        with full(PIN_DIR / name, value=struct.pack("<Q", any_socket.fileno()) if name == "cv_steer" else None) as empty:
            waiting.label()
            if name == "cv_steer":  # after ztunnel's word alone
                waiting.z.take_pod()
            wait(lambda: (waiting.pod("a") or {}).get("error"), what="the error")
            pod = waiting.pod("a")
            assert pod["state"] == "error" and "no room in a BPF map" in pod["error"]
            wait_counted(waiting, name)
            assert not any(e["value"]["flags"] & (ALIVE | CAPTURE) for e in waiting.map("cv_pods") if e["value"]["name"] == "demo/a")
            assert not list(PIN_DIR.glob("lookup_*"))
            with in_netns("c-agent-a", lambda: connect("10.251.0.2", 4000)) as c:  # as any pod outside the mesh
                s, peer = server.accept()
                assert peer == c.getsockname()
                s.close()
            empty()
            waiting.z.take_pods_until(lambda: is_captured(waiting), "the capture once there is room")
    assert waiting.pod("a").get("error", "") == ""
    assert reached(waiting, "10.251.0.2", 80)


@pytest.mark.parametrize("name, told, to", [
    ("cv_workloads", "workload Kubernetes//Pod/demo/c demo c hbone 10.251.0.3", ("10.251.0.3", 80)),
    ("cv_services", "service demo/new.demo.svc.cluster.local demo new 10.96.7.8 80", ("10.96.7.8", 80))])
def test_a_destination_that_finds_no_room_goes_to_ztunnel(captured, name, told, to):
    cookie = captured.a.cookie
    member = WORKLOAD_A + ",demo/new.demo.svc.cluster.local"  # an endpoint, so that the service is a destination
    with full(PIN_DIR / name) as empty:
        captured.tell(member, told)
        wait(lambda: captured.flags(cookie) & UNKNOWN_TO_TUNNEL, what="the flag")
        assert reached(captured, *to)
        assert reached(captured, "10.251.0.99", 80)  # unknown: ztunnel's to know
        with open(captured.log.name, encoding="utf-8") as f:
            assert f"map={name}" in f.read()
        wait_counted(captured, name)
        empty()
        captured.tell(WORKLOAD_A)  # any change
        captured.tell(member, told)
        wait(lambda: not captured.flags(cookie) & UNKNOWN_TO_TUNNEL, what="the end of the flag")
    assert reached(captured, *to)


def test_a_pod_whose_address_finds_no_room_uses_tunnels_and_is_counted(waiting):
    with full(PIN_DIR / "cv_locals"):
        waiting.label()
        waiting.z.take_pod()
        wait(lambda: is_captured(waiting))
        wait_counted(waiting, "cv_locals")
        assert reached(waiting, "10.251.0.2", 80)
        with in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)):
            next(iter(waiting.z.pods.values())).listeners[PLAIN].accept()[0].close()


def give(cookie, is_beyond):
    """A machine in this pod has a connection that ztunnel was given."""
    for name, key, value in (("cv_given", struct.pack("<Q", cookie).ljust(48, b"\1"), struct.pack("<I", 1)),
                             ("cv_given_pods", struct.pack("<Q", cookie), struct.pack("<II", 1, is_beyond))):
        run("bpftool", "map", "update", "pinned", PIN_DIR / name, "key", *map(str, key), "value", *map(str, value))


@pytest.mark.parametrize("of", range(3))
def test_the_account_of_a_pods_share_is_put_right(captured, of):
    """Of entries that went otherwise than by the programs it would stay too high, as would that of all, which keeps pods from their
    shares; and a pod that is gone has none."""
    cookie, nobody, everybody = captured.a.cookie, 1 << 40, 0
    for one, most in ((cookie, 16384), (nobody, 16384), (everybody, 65536)):
        run("bpftool", "map", "update", "pinned", PIN_DIR / "cv_shares", "key", *map(str, struct.pack("<Q", one)),
            "value", *map(str, struct.pack("<4I", *(most if i == of else 3 for i in range(3)), 0)))
    counts = [0 if i == of else 3 for i in range(3)]
    wait(lambda: {e["key"]: e["value"]["count"] for e in captured.map("cv_shares")} == {cookie: counts, everybody: counts},
         what="the accounts")


def given(agent, name="cv_given"):
    """Whose."""
    return {struct.unpack("<Q", bytes(int(x, 16) for x in e["key"][:8]))[0] for e in agent.raw_map(name)}


@pytest.mark.parametrize("is_beyond", [False, True])
def test_room_for_what_machines_have_open_comes_back(captured, is_beyond):
    """From pods that are gone alone: what a pod's machine has open is known as long as the pod is, also when it has had too many."""
    cookie, nobody = captured.a.cookie, 1 << 40
    captured.stop(signal.SIGKILL)
    give(nobody, is_beyond)
    give(cookie, is_beyond)
    captured.start()
    wait(lambda: given(captured) == given(captured, "cv_given_pods") == {cookie}, what="the pod that is gone is out")


MANY = 20000  # more than userspace/agent/direct.c asks about in all its looks together, where each asks about ASKED_MAX
VERDICT_ASK, VERDICT, POLICY = range(10, 13)
ESTABLISHED, ACCEPTED, ALLOW = 1, 2, 1


def directs_put(cookie, count):
    """Open direct connections of this pod, each to another port: the last four bytes of a key are no part of it."""
    value = struct.pack("<3Q20x3I32x", cookie, cookie, 0, ESTABLISHED | ACCEPTED, 0, 0)
    filling = Filling(PIN_DIR / "cv_directs", b"", value)
    key, attributes = filling.key, struct.pack("<IIQQ", filling.fd, 0, ctypes.addressof(filling.key), ctypes.addressof(filling.value))
    for port in range(1, count + 1):
        struct.pack_into(">8x16s16sHH4x", key, 0, bytes(15) + b"\1", bytes(15) + b"\2", 7, port)
        assert bpf(UPDATE, attributes) == 0
    os.close(filling.fd)


def judge(z, asked, until):
    """Answer what the agent asks, until it has asked about so many."""
    while len(asked) < until:
        kind, body, _ = z.recv()
        if kind == VERDICT_ASK:
            asked.add(body[40:44])
            z.send(VERDICT, body[:60] + struct.pack("<I", ALLOW) + body[64:])


def test_every_direct_connection_is_judged_anew_however_many_there_are(captured):
    """What finds no room among the questions is asked later: a policy that has changed ends what it denies."""
    directs_put(captured.a.cookie, MANY)
    captured.z.send(POLICY, b"")
    judge(captured.z, set(), MANY)


def test_a_ztunnel_that_is_slow_to_answer_is_not_dropped(captured):
    """The questions that it has not answered count, whatever has changed since: a ztunnel is not sent more than it has room for."""
    directs_put(captured.a.cookie, MANY)
    for _ in range(4):
        captured.z.send(POLICY, b"")
        time.sleep(1.5)
    judge(captured.z, set(), MANY)
    assert captured.flags(captured.a.cookie) & ALIVE


def test_a_map_that_an_earlier_agent_made_smaller_is_taken_over(agent):
    """The agent of another release must not wait for the node to boot."""
    pin = PIN_DIR / "cv_registered"
    agent.stop(signal.SIGKILL)
    pin.unlink()
    run("bpftool", "map", "create", pin, "type", "hash", "key", "20", "value", "72", "entries", "64", "name", pin.name, "flags", "1")
    agent.start()
    assert json.loads(output("bpftool", "-j", "map", "show", "pinned", pin))["max_entries"] == 64
