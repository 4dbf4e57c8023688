# SPDX-License-Identifier: Apache-2.0
"""Direct connections whose pods leave the mesh in mid-stream, on a host that drops what its conntrack has lost track of, as
kube-proxy does: the connections live on."""
import json
import os
import signal
import subprocess
import sys

import pytest
from culvert_node import stop, wait_for
from same_node import PORT, Direct, maps

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


def guards(direct):
    """Links of pods with guards, by their pins: one for each direction."""
    return {name.rpartition("_")[2] for name in os.listdir(direct.node.pins) if name.startswith("guard_")}


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
    wait_for(lambda: not guards(direct) and json.loads(maps(direct, "cv_links")) == [], 15, "the end of the guards")


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
