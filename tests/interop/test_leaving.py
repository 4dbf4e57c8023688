# SPDX-License-Identifier: Apache-2.0
"""Direct connections whose pods leave the mesh in mid-stream, on a host that drops what its conntrack has lost track of, as
kube-proxy does: the connections live on, as long as policy would have it."""
import json
import os
import signal
import subprocess
import sys

import pytest
from culvert_node import stop, wait_for
from same_node import OTHER, PORT, Direct, guards, maps
from test_earlier import Held
from test_guard import STRICT

SIZE = 8 << 20  # more than any window
# For each number of bytes on stdin: exchanges so many over every connection, and says so.
STREAM = """
import socket, sys
conns = [socket.create_connection((host, int(sys.argv[1])), 30) for host in sys.argv[2:]]
files = [s.makefile("rb") for s in conns]
for s, f in zip(conns, files):
    s.settimeout(60)
    f.readline()
print("open", flush=True)
for line in sys.stdin:
    for s, f in zip(conns, files):
        for _ in range(int(line) // 65536):
            s.sendall(b"x" * 65536)
            assert f.read(65536) == b"x" * 65536
    print("done", flush=True)
"""
LEFT = "istio.io/dataplane-mode: none"


@pytest.fixture(name="direct")
def fixture_direct():
    """A node in direct mode, whose host drops packets that are invalid to its conntrack."""
    d = Direct()
    d.topology.nodes[0].run("nft", "add table inet k; add chain inet k f { type filter hook forward priority 0; }; "
                            "add rule inet k f ct state invalid counter drop")
    wait_for(d.is_direct, 15, "a direct connection")
    yield d
    d.close()


@pytest.fixture(name="stream")
def fixture_stream(direct):
    """Connections of both families, direct, with much behind them; call it to exchange more."""
    before = direct.counter("flow")
    process = direct.client.popen(sys.executable, "-c", STREAM, str(PORT), direct.server.ip4, direct.server.ip6,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def exchange(size=SIZE):
        process.stdin.write(f"{size}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    exchange.end = lambda: process.communicate(timeout=60)
    assert process.stdout.readline() == "open\n"
    exchange()
    wait_for(lambda: direct.counter("flow") == before + 2, 5, "the short way")
    yield exchange
    stop(process)


def said(direct, what, *pods):
    """Does the log say so of each?"""
    text = direct.log()
    return all(f"{what}\tpod=direct/{pod.name}" in text for pod in pods)


def wait_released(direct, *pods):
    """Until nothing of these is in the programs' maps but their guards."""
    wait_for(lambda: said(direct, "pod released", *pods), 20, "the release")


def guard_pins(direct):
    """What is pinned of them."""
    return [name for name in os.listdir(direct.node.pins) if name.startswith("guard_")]


def leave(direct, pod):
    """This pod alone."""
    if pod is direct.server:
        direct.edit("labels: {app: web}", f"labels: {{app: web, {LEFT}}}")
    else:
        direct.edit(f"name: {pod.name}, namespace: direct, annotations",
                    f"name: {pod.name}, labels: {{{LEFT}}}, namespace: direct, annotations")


def test_one_end_after_the_other(direct, stream):
    """Either end leaves, the agent starts again, the client comes back: the streams do not notice. Their end is the guards' end."""
    leave(direct, direct.client)
    wait_for(lambda: said(direct, "pod is leaving the mesh", direct.client), 15, "its leaving")
    stream()
    wait_released(direct, direct.client)
    stream()
    leave(direct, direct.server)
    wait_released(direct, direct.server)
    stream()
    assert json.loads(maps(direct, "cv_pods")) == []
    agents = direct.node.pids("culvert-agent")
    os.kill(agents[0], signal.SIGKILL)
    wait_for(lambda: direct.node.pids("culvert-agent") not in ([], agents), 10, "another agent")
    wait_for(lambda: direct.node.admin_or_none("agent", "/status"), 10, "its status")
    stream()
    direct.edit(f"labels: {{{LEFT}}}, ", "")
    direct.node.wait_captured([direct.client.name])
    stream()
    stream.end()
    wait_for(lambda: len(guards(direct)) == 1, 15, "the end of the server's guard")
    leave(direct, direct.client)
    wait_for(lambda: not guards(direct) and not guard_pins(direct), 15, "the end of the guards")


def test_both_at_once(direct, stream):
    """What the pods open from then on is plain, and nobody's business."""
    direct.edit("istio-injection: enabled", "istio-injection: disabled")
    wait_released(direct, direct.client, direct.server)
    stream()
    before = direct.counter("flow"), direct.counter("guard_source")
    assert direct.talk() == direct.client.ip4
    assert (direct.counter("flow"), direct.counter("guard_source")) == before
    assert len(guards(direct)) == 2
    # A pod whose link goes with its connections open; they are never seen to end.
    direct.topology.nodes[0].ip("link", "del", f"h{direct.client.name}")
    wait_for(lambda: len(guards(direct)) == 1, 15, "the end of the client's guard")
    assert json.loads(maps(direct, "cv_directs")) != []


PRINCIPAL = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: who, namespace: direct}
spec: {action: %s, rules: [{from: [{source: {principals: ["cluster.local/ns/direct/sa/%s"]}}]}]}
"""
CLOSED = "closed a connection that a policy denies now"


@pytest.fixture(name="held")
def fixture_held(direct):
    """Connections of the client's, direct, over both families and mapped."""
    before = direct.counter("direct")
    held = Held(direct.client, PORT, direct.server.ip4, direct.server.ip6, "::ffff:" + direct.server.ip4)
    assert held.told() == ["open"]
    assert direct.counter("direct") == before + 3
    yield held
    stop(held.process)


def put_policy(direct, text):
    """One more policy, or another one in its place."""
    with open(os.path.join(direct.config, "policy.yaml"), "w", encoding="utf-8") as f:
        f.write(text)


def client_leaves(direct):
    """The client alone, until nothing of it is left in the mesh."""
    leave(direct, direct.client)
    wait_released(direct, direct.client)


@pytest.mark.parametrize("policy", ["strict", "principal"])
def test_policy_ends_what_a_client_has_left_behind(direct, held, policy):
    """It is judged again as the client that it was, and as plaintext from outside, which it is now: by a change that denies neither
    it goes on, whichever agent is there."""
    client_leaves(direct)
    direct.deny(OTHER)
    wait_for(lambda: not direct.works(OTHER), 15, "the denial")
    if policy == "strict":
        agents = direct.node.pids("culvert-agent")
        os.kill(agents[0], signal.SIGKILL)
        wait_for(lambda: direct.node.pids("culvert-agent") not in ([], agents), 10, "another agent")
        direct.node.wait_captured([direct.server.name])
    assert set(held.states()) == {"open"} and CLOSED not in direct.log()
    put_policy(direct, STRICT if policy == "strict" else PRINCIPAL % ("DENY", direct.client.account))
    wait_for(lambda: direct.log().count(CLOSED) == 3, 15, "the end of all three")
    assert held.states() == ["ConnectionResetError"] * 3
    assert 'reason="direct, its client has left the mesh"' in direct.log() and f"pod=direct/{direct.server.name}" in direct.log()


def test_a_policy_that_lets_the_client_in_by_name_keeps_what_it_has_left_behind(direct, held):
    """As it would by a tunnel, which shows the certificate that it was opened with; new ones have none."""
    put_policy(direct, PRINCIPAL % ("ALLOW", direct.client.account))
    wait_for(lambda: "direct/who" in str(direct.node.explain(direct.client.ip4, f"{direct.server.ip4}:{PORT}")), 15, "the policy")
    client_leaves(direct)
    wait_for(lambda: not direct.works(), 15, "the end of its name")
    assert set(held.states()) == {"open"} and CLOSED not in direct.log()
    put_policy(direct, PRINCIPAL % ("ALLOW", "another"))
    wait_for(lambda: direct.log().count(CLOSED) == 3, 15, "the end of all three")


@pytest.mark.parametrize("what", ["port", "client"])
def test_policy_has_no_say_where_an_annotation_excludes_once_the_client_has_left(direct, held, what):
    """Where plaintext from outside is let in past every policy, and so is this; until the annotation goes."""
    annotated = "labels: {app: web}, namespace: direct, annotations: {"
    excluded = (f'traffic.sidecar.istio.io/excludeInboundPorts: "{PORT}", ' if what == "port" else
                f'culvert.io/excludeInboundIPRanges: "{direct.client.ip4},{direct.client.ip6}", ')
    direct.edit(annotated, annotated + excluded)
    put_policy(direct, STRICT)
    wait_for(lambda: json.loads(maps(direct, "cv_inbound_rules")) != [], 15, "the annotation")
    client_leaves(direct)
    wait_for(lambda: direct.node.explain("192.0.2.9", f"{direct.server.ip4}:{OTHER}")["verdict"] == "denied", 15, "STRICT")
    assert direct.works() and direct.works(OTHER) is (what == "client")
    assert set(held.states()) == {"open"} and CLOSED not in direct.log()
    direct.edit(excluded, "")
    wait_for(lambda: not direct.works(), 15, "the end of the annotation")
    put_policy(direct, STRICT + PRINCIPAL % ("DENY", "another"))
    wait_for(lambda: direct.log().count(CLOSED) == 3, 15, "the end of all three")


def test_strict_ends_what_its_client_leaves_behind(direct, held):
    """But not what both ends leave behind."""
    put_policy(direct, STRICT)
    wait_for(direct.is_direct, 15, "a direct connection under STRICT")
    direct.edit("istio-injection: enabled", "istio-injection: disabled")
    wait_released(direct, direct.client, direct.server)
    assert set(held.states()) == {"open"}
    direct.edit("istio-injection: disabled", "istio-injection: enabled")
    direct.node.wait_captured([direct.client.name, direct.server.name])
    wait_for(direct.is_direct, 15, "a direct connection")
    assert set(held.states()) == {"open"} and CLOSED not in direct.log()
    client_leaves(direct)
    wait_for(lambda: direct.log().count(CLOSED) == 3, 15, "the end of all three")
