# SPDX-License-Identifier: Apache-2.0
"""culvert-agent alone: labels, pods and the agent itself come, go and come back."""

import signal
import socket
import struct
import subprocess
import time

import pytest
from agentkit import (
    ALIVE, BIN, CAPTURE, DIAL_PLAIN, DIR, HBONE, NAMESPACE, OUTBOUND, PATIENCE_S, PIN_DIR, PLAIN, POD_ADD, POD_DEL, POD_DNS, Pods, SYNCED,
    WORKLOAD_A, Ztunnel, addr, connect, in_netns, run, wait)

GRACE_S = 3  # of the agent's pods.c


def test_unlabelling_cuts_nothing(captured):
    a, cookie = captured.a, captured.a.cookie
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    s, _ = a.listeners[OUTBOUND].accept()
    captured.put("ns.yaml", NAMESPACE % ("istio-injection", "disabled"))
    wait(lambda: captured.flags(cookie) == ALIVE, what="capture ends")
    server = in_netns("c-agent-a", lambda: socket.create_server(("10.251.0.1", 8080)))
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    server.accept()[0].close()
    server.close()
    _, body, _ = captured.z.expect(POD_DEL)
    assert struct.unpack_from("<Q", body)[0] == cookie
    wait(lambda: captured.flags(cookie) is None, what="entry gone")
    wait(lambda: not captured.map("cv_pod_addrs"), what="addresses gone")
    assert not (PIN_DIR / f"lookup_{cookie}").exists() and not captured.map("cv_inbound_rules")
    a.close()
    s.settimeout(PATIENCE_S)
    c.sendall(b"still here")
    assert s.recv(20) == b"still here"
    s.close()
    c.close()


EXCLUSIONS = """    traffic.sidecar.istio.io/excludeInboundPorts: "8080"
    culvert.io/excludeInboundIPRanges: 192.0.2.0/24
    traffic.sidecar.istio.io/includeInboundPorts: '8081'"""
OUT = """  labels: {istio.io/dataplane-mode: none}"""


@pytest.mark.parametrize("more", ("", EXCLUSIONS), ids=("plain", "annotated"))
def test_who_has_not_heard_of_the_release_still_finds_ztunnel(captured, more):
    """A peer that has no tunnel yet makes one, while in plaintext whoever dials is the application's."""
    cookie = captured.a.cookie
    captured.put("a.yaml", Pods.manifest("a", "/run/netns/c-agent-a", "10.251.0.1", more=more))
    wait(lambda: bool(captured.map("cv_inbound_rules")) == bool(more), what="its rules")
    captured.put("ns.yaml", NAMESPACE % ("istio-injection", "disabled"))
    wait(lambda: captured.flags(cookie) == ALIVE, what="capture ends")
    wait(lambda: [e["key"]["port"] for e in captured.map("cv_inbound_rules")] == [0], what="one rule, for all ports")
    wait(lambda: not captured.map("cv_inbound_ranges"), what="no sources beside it")
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 15008)).close()
    captured.a.listeners[HBONE].accept()[0].close()
    for port in (8080, 8081, 8082):
        server = in_netns("c-agent-a", lambda p=port: socket.create_server(("10.251.0.1", p)))
        in_netns("c-agent-b", lambda p=port: connect("10.251.0.1", p)).close()
        server.accept()[0].close()
        server.close()
    assert captured.flags(cookie) == ALIVE, "that took too long: it is released"
    wait(lambda: captured.flags(cookie) is None, what="entry gone")
    with pytest.raises(ConnectionRefusedError):
        in_netns("c-agent-b", lambda: connect("10.251.0.1", 15008))


@pytest.mark.parametrize("is_back", (False, True), ids=("it stays out", "its label comes back"))
def test_an_agent_killed_over_a_release_leaves_no_way_in(captured, is_back):
    """What let everybody in is no rule of the pod's that comes next, nor of this one."""
    cookie = captured.a.cookie
    captured.put("ns.yaml", NAMESPACE % ("istio-injection", "disabled"))
    wait(lambda: captured.map("cv_inbound_rules"), what="let in")
    captured.stop(signal.SIGKILL)
    if is_back:
        captured.label()
    captured.start()
    wait(lambda: not captured.map("cv_inbound_rules"), what="the rule goes")
    wait(lambda: not (PIN_DIR / f"lookup_{cookie}").exists(), what="steering ends")


def test_a_label_that_comes_back_while_draining_captures_again(captured):
    cookie = captured.a.cookie
    captured.put("ns.yaml", NAMESPACE % ("istio-injection", "disabled"))
    wait(lambda: captured.flags(cookie) == ALIVE)
    captured.label()
    wait(lambda: captured.flags(cookie) == ALIVE | CAPTURE | POD_DNS)
    pod = captured.z.take_pod()
    assert pod.cookie == cookie
    wait(lambda: captured.pod("a")["state"] == "captured")
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()


def test_capture_outlives_the_agent_and_is_adopted(captured):
    cookie = captured.a.cookie
    captured.stop(signal.SIGKILL)
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    captured.a.listeners[OUTBOUND].accept()[0].close()
    c.close()
    captured.stop_feed()  # not needed either: destinations are in the maps
    captured.start()
    assert captured.flags(cookie) & CAPTURE
    z = Ztunnel()
    pod = z.take_pod()
    z.expect(SYNCED)
    assert pod.cookie == cookie
    wait(lambda: captured.pod("a")["state"] == "captured")
    assert captured.flags(cookie) == ALIVE | CAPTURE | POD_DNS
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()
    z.close()


def test_what_went_away_while_the_agent_was_down_is_released(captured):
    cookie = captured.a.cookie
    captured.stop(signal.SIGKILL)
    (DIR / "config/a.yaml").unlink()
    captured.tell("remove Kubernetes//Pod/demo/b")
    captured.start()
    wait(lambda: captured.flags(cookie) is None)
    wait(lambda: not (PIN_DIR / f"lookup_{cookie}").exists(), what="steering ends")
    wait(lambda: not any(e["value"]["name"] == "demo/b" for e in captured.map("cv_workloads")))


def test_without_ztunnel_after_a_restart_pods_lose_alive(captured):
    cookie = captured.a.cookie
    captured.stop(signal.SIGKILL)
    captured.z.close()
    captured.start()
    wait(lambda: captured.flags(cookie) == CAPTURE | POD_DNS, what="alive ends")


def test_a_pod_that_restarts_with_the_same_address_is_another_pod(captured):
    old = captured.a.cookie
    run("ip", "netns", "del", "c-agent-a")
    pods = Pods.__new__(Pods)
    pods.names = ["c-agent-b"]
    pods.clean()
    Pods()
    _, body, _ = captured.z.expect(POD_DEL)
    assert struct.unpack_from("<Q", body)[0] == old
    # it may have been offered while it had some of its addresses only: the last offer counts
    captured.z.take_pods_until(lambda: captured.pod("a")["state"] == "captured" and len(captured.pod("a")["addresses"]) == 3,
                               "the new one captured with all of its addresses")
    pod = captured.z.pods[captured.pod("a")["netns_cookie"]]
    assert pod.cookie != old
    wait(lambda: captured.flags(old) is None, what="the old one's entry gone")
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()


def test_who_has_the_address_of_one_that_ends_keeps_its_own_rules(captured):
    """The network gives it away before the old pod is gone for good."""
    old = captured.a.cookie
    captured.put("b.yaml", Pods.manifest("b", "/run/netns/c-agent-b", "10.251.0.2", more=OUT))
    captured.put("a.yaml", Pods.manifest("a", "/run/netns/c-agent-a", "10.251.0.1", more=OUT))
    wait(lambda: captured.flags(old) == ALIVE, what="the old one leaves")
    run("ip", "-n", "c-agent-b", "addr", "replace", "10.251.0.1/24", "dev", "eth0")
    captured.put("b.yaml", Pods.manifest("b", "/run/netns/c-agent-b", "10.251.0.1", more=EXCLUSIONS))
    captured.z.take_pods_until(lambda: captured.pod("b") and captured.pod("b")["state"] == "captured", "the new one captured")
    assert captured.flags(old) == ALIVE, "that took too long: the old one is released"
    rules = sorted(e["key"]["port"] for e in captured.map("cv_inbound_rules"))
    assert len(rules) > 1 and len(captured.map("cv_inbound_ranges")) == 1
    wait(lambda: captured.flags(old) is None, what="the old one gone")
    time.sleep(0.2)
    assert sorted(e["key"]["port"] for e in captured.map("cv_inbound_rules")) == rules
    assert len(captured.map("cv_inbound_ranges")) == 1


def test_an_address_that_comes_later_is_served(captured):
    run("ip", "-n", "c-agent-a", "addr", "add", "10.251.0.77/24", "dev", "eth0")
    pod = captured.z.take_pod()
    assert addr("10.251.0.77") in pod.addrs
    wait(lambda: captured.pod("a")["state"] == "captured")
    in_netns("c-agent-b", lambda: connect("10.251.0.77", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()
    # a pod may give itself any address, a node's too: what comes from outside the node for it is not for the pod to judge
    assert [bytes(int(x, 16) for x in e["key"]) for e in captured.raw_map("cv_locals")] == [addr("10.251.0.1")]


def test_what_an_earlier_ztunnel_listens_for_is_not_refused_while_the_next_one_takes_its_time(captured):
    """As in an upgrade of a busy node: another agent, and a ztunnel that no agent of now knows."""
    cookie = captured.a.cookie
    captured.stop(signal.SIGKILL)
    captured.start()
    time.sleep(GRACE_S + 2)
    assert captured.flags(cookie) == ALIVE | CAPTURE | POD_DNS
    in_netns("c-agent-a", lambda: connect("10.251.0.2", 80)).close()
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    captured.z.close()
    wait(lambda: captured.flags(cookie) == CAPTURE | POD_DNS, what="its listeners are gone")
    with pytest.raises(ConnectionRefusedError):
        in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))


def test_nothing_is_captured_before_the_mesh_is_known(agent):
    agent.stop_feed()
    agent.stop()
    clean_pins = subprocess.run([BIN / "culvert-agent", "--clean", "--pin-dir", PIN_DIR], check=False)
    assert clean_pins.returncode == 0 and not PIN_DIR.exists()
    agent.start()
    agent.label()
    z = Ztunnel()
    wait(lambda: agent.pod("a"))
    assert agent.pod("a")["error"] == "waiting for the control plane"
    assert isinstance(z.need(1, DIAL_PLAIN, 1), int), "an answer, so that all that was sent before it is here"
    assert [kind for kind, _, _ in z.kept if kind in (POD_ADD, SYNCED)] == []
    agent.start_feed(WORKLOAD_A)
    z.take_pod()
    wait(lambda: agent.pod("a")["state"] == "captured")
    z.close()
