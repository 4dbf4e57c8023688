# SPDX-License-Identifier: Apache-2.0
"""Connections that were open when their pods came into the mesh: PERMISSIVE keeps them, STRICT closes those that come in."""
import os
import subprocess
import sys
import time

import pytest
from culvert_node import stop, wait_for
from same_node import PORT, Direct
from test_guard import STRICT

DENY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: once, namespace: direct}
spec: {action: DENY, rules: [{to: [{operation: {ports: ["9400"]}}]}]}
"""
# Connects to each HOST PORT, or with "accept" waits for one connection without going on to listen. Answers each line on
# standard input with what became of the connections.
HOLDER = """
import socket, sys
if sys.argv[1] == "accept":
    with socket.create_server(("::", int(sys.argv[2])), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        print("ready", flush=True)
        held = [listening.accept()[0]]
else:
    held = [socket.create_connection((host, int(sys.argv[1])), 30) for host in sys.argv[2:]]
def state(s):
    s.settimeout(30)
    try:
        s.sendall(b"x")
        return "open" if sys.argv[1] == "accept" or s.recv(64) else "end"
    except OSError as e:
        return type(e).__name__
print("open", flush=True)
for line in sys.stdin:
    print(*map(state, held), flush=True)
"""


class Held:
    """Connections of a process in a pod."""

    def __init__(self, pod, *argv):
        self.process = pod.popen(sys.executable, "-c", HOLDER, *map(str, argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)

    def told(self):
        """The next line that it prints."""
        return self.process.stdout.readline().split()

    def states(self):
        """What became of each connection."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.told()


@pytest.fixture(name="parts")
def fixture_parts():
    """(node whose pods are not in the mesh, list of what is to be stopped)."""
    d, held = Direct(outsider=True), []
    try:
        d.edit("istio-injection: enabled", "istio-injection: disabled")
        wait_for(lambda: not d.node.captured(), 15, "the pods' release")
        wait_for(lambda: d.node.admin("agent", "/status")["pods"] == [], 15, "the pods' end")
        yield d, held
    finally:
        for h in held:
            stop(h.process)
        d.close()


def test_strict_closes_what_was_open_before(parts):
    d, held = parts
    echo = Held(d.outsider, PORT, d.server.ip4, d.server.ip6)
    mapped = Held(d.client, PORT, "::ffff:" + d.server.ip4)
    once = Held(d.server, "accept", 9400)  # nobody listens on its port afterwards
    assert once.told() == ["ready"]
    to_once = Held(d.outsider, 9400, d.server.ip4)
    there = Held(d.outsider, "accept", 9401)
    assert there.told() == ["ready"]
    outbound = Held(d.server, 9401, d.outsider.ip4)
    held += [echo, mapped, once, to_once, there, outbound]
    for h in (echo, mapped, once, to_once, there, outbound):
        assert h.told() == ["open"]
    d.edit("istio-injection: disabled", "istio-injection: enabled")
    d.node.wait_captured([d.client.name, d.server.name])
    wait_for(d.is_direct, 15, "a direct connection")
    for h in (echo, mapped, once, there):
        assert set(h.states()) == {"open"}  # PERMISSIVE
    with open(os.path.join(d.config, "deny.yaml"), "w", encoding="utf-8") as f:
        f.write(DENY)
    wait_for(lambda: "closed a connection that a policy denies now" in d.log(), 20, "the end of the one that is denied")
    assert once.states() in (["ConnectionAbortedError"], ["BrokenPipeError"])
    for h in (echo, mapped, there):
        assert set(h.states()) == {"open"}  # looked at together with that one
    with open(os.path.join(d.config, "strict.yaml"), "w", encoding="utf-8") as f:
        f.write(STRICT)
    wait_for(lambda: d.log().count("closed a connection that a policy denies now") >= 4, 20, "the end of the four")
    assert echo.states() == ["ConnectionResetError"] * 2
    assert mapped.states() == ["ConnectionResetError"]
    assert there.states() == ["open"]  # what the pod itself had dialled
    assert f"pod=direct/{d.server.name}" in d.log()
    assert 'reason="plaintext, open since before it was captured"' in d.log()
    wait_for(d.is_direct, 15, "a direct connection under STRICT")
    assert not d.works_from(d.outsider)


def test_strict_spares_who_comes_from_an_excluded_range(parts):
    d, held = parts
    d.edit("labels: {app: web}, namespace: direct, annotations: {",
           f'labels: {{app: web}}, namespace: direct, annotations: {{culvert.io/excludeInboundIPRanges: "{d.outsider.ip4}", ')
    before, beside = Held(d.outsider, PORT, d.server.ip4), Held(d.outsider, PORT, d.server.ip6)
    held += [before, beside]
    assert before.told() == beside.told() == ["open"]
    d.edit("istio-injection: disabled", "istio-injection: enabled")
    d.node.wait_captured([d.client.name, d.server.name])
    with open(os.path.join(d.config, "strict.yaml"), "w", encoding="utf-8") as f:
        f.write(STRICT)
    wait_for(lambda: "closed a connection that a policy denies now" in d.log(), 20, "the end of the one from elsewhere")
    assert beside.states() == ["ConnectionResetError"]
    assert before.states() == ["open"]
    assert d.works_from(d.outsider)


@pytest.mark.parametrize("annotation", ['traffic.sidecar.istio.io/excludeInboundPorts: "%d"' % PORT,
                                        'culvert.io/excludeInboundIPRanges: "0.0.0.0/0"'], ids=["port", "range"])
def test_strict_closes_what_an_annotation_had_let_in_once_it_goes(parts, annotation):
    d, held = parts
    plain = "labels: {app: web}, namespace: direct, annotations: {"
    d.edit(plain, f"{plain}{annotation}, ")
    with open(os.path.join(d.config, "strict.yaml"), "w", encoding="utf-8") as f:
        f.write(STRICT)
    d.edit("istio-injection: disabled", "istio-injection: enabled")
    d.node.wait_captured([d.client.name, d.server.name])
    time.sleep(5)  # nothing is open, and the agent has looked for it as often as it does
    held.append(Held(d.outsider, PORT, d.server.ip4))
    assert held[0].told() == ["open"]
    d.edit(f"{annotation}, ", "")
    wait_for(lambda: "closed a connection that a policy denies now" in d.log(), 20, "the end of what it had let in")
    assert held[0].states() == ["ConnectionResetError"]
