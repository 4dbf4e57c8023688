# SPDX-License-Identifier: Apache-2.0
"""The guards on the pods' links, beside what else the host does to their packets."""
import contextlib
import errno
import functools
import os
import signal
import subprocess
import sys

import pytest
from culvert_node import BIN, stop, wait_for
from foreign_bpf import Foreign
from same_node import CLIENT, OUTSIDE, PORT, Direct, maps, sniffed, wait_guarded

# A SYN that no hook of a socket has seen.
RAW_SYN = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.sendto(struct.pack("!HHIIBBHHH", 40000, int(sys.argv[2]), 1, 0, 0x50, 2, 1000, 0, 0), (sys.argv[1], 0))
"""
TTL_PORT = 9302
TTL_SERVER = f"""
import socket
s = socket.create_server(("0.0.0.0", {TTL_PORT}))
s.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
while True:
    conn, _ = s.accept()
    with conn:
        conn.recv(1)
        options = conn.getsockopt(socket.IPPROTO_IP, 9, 256)  # IP_PKTOPTIONS: one header, of 16 bytes, and the TTL
        conn.sendall(b"%d" % int.from_bytes(options[16:20], "little"))
"""
TTL_CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as s:
    s.sendall(b"x")
    print(s.recv(100).decode())
"""


@pytest.fixture(name="direct")
def fixture_direct():
    """A node in direct mode."""
    d = Direct()
    yield d
    d.close()


def test_raw_plaintext_does_not_leave_the_pod(direct):
    """A pod with NET_RAW gets round its sockets' hooks, not past its link."""
    wait_guarded(direct)
    direct.client.run(sys.executable, "-c", RAW_SYN, direct.server.ip4, str(PORT))
    wait_for(lambda: direct.counter("guard_plaintext") == 1, 5, "the guard's counter")
    wait_for(lambda: f"reason=guard_plaintext pod=direct/{direct.client.name}" in direct.log(), 5, "the event in the log")
    direct.client.run(sys.executable, "-c", RAW_SYN, "192.0.2.9", str(PORT))
    assert direct.counter("guard_plaintext") == 1


def test_foreign_source_does_not_leave_the_pod(direct):
    """What a pod calls itself is checked where it cannot reach."""
    wait_guarded(direct)
    direct.client.ip("addr", "add", "10.250.0.1/32", "dev", "lo")
    direct.client.run("sh", "-c", "ping -c1 -W1 -I 10.250.0.1 192.0.2.9 || true")
    # the agent may have learnt the address before the packet left
    wait_for(lambda: direct.counter("guard_source") > 0 or "other addresses" in direct.log(), 40, "the guard's counter")


def test_no_router_counts_the_ttl_down(direct):
    """An application that asks sees 64, in a tunnel and without; past the mesh the node makes it 63."""
    direct.others.append(direct.server.popen(sys.executable, "-c", TTL_SERVER))
    wait_for(lambda: direct.server.run("ss", "-Hltn", "sport", "=", f":{TTL_PORT}"), 10, "the server")

    def is_direct():
        before = direct.counter("direct")
        assert direct.client.run(sys.executable, "-c", TTL_CLIENT, direct.server.ip4, str(TTL_PORT)).strip() == "64"
        return direct.counter("direct") > before

    wait_for(is_direct, 15, "a direct connection")


def address(pod, family):
    return pod.ip4 if family == "ip" else pod.ip6


def host_rule(direct, verb, family="ip"):
    """A rule of the host's that drops what the client sends to the server."""
    node = direct.topology.nodes[0]
    if verb == "add":
        source, to = address(direct.client, family), address(direct.server, family)
        node.run("nft", "add table inet t; add chain inet t f { type filter hook forward priority 0; }; "
                 f"add rule inet t f {family} saddr {source} {family} daddr {to} drop")
    else:
        node.run("nft", "delete table inet t")


@pytest.mark.parametrize("family,other", [("ip", "ip6"), ("ip6", "ip")])
def test_host_rules_keep_deciding(direct, family, other):
    """A NetworkPolicy that the host's netfilter enforces for one pair holds for its direct connections too."""
    to = address(direct.server, family)
    wait_for(lambda: direct.is_direct(host=to), 40, "a direct connection")
    host_rule(direct, "add", family)
    try:
        with pytest.raises(RuntimeError, match="TimeoutError|timed out"):
            direct.talk(host=to, limit=5)
        assert direct.talk(host=address(direct.server, other)) == address(direct.client, other)
    finally:
        host_rule(direct, "delete")
    assert direct.is_direct(host=to)
    assert direct.counter("flow") > 0


def test_full_bypass():
    """Where nothing in the host filters pods, the handshake too takes the short way."""
    d = Direct(bypass="full")
    try:
        wait_for(d.is_direct, 40, "a direct connection")
        host_rule(d, "add")
        assert d.is_direct()
    finally:
        d.close()


@contextlib.contextmanager
def clsact_program(node, link):
    """A filter as tools before tcx attach it; it matches nothing."""
    node.run("tc", "qdisc", "add", "dev", link, "clsact")
    node.run("tc", "filter", "add", "dev", link, "egress", "bpf", "bytecode", "1,6 0 0 0,")
    yield
    node.run("tc", "filter", "del", "dev", link, "egress")


@contextlib.contextmanager
def tcx_program(node, link, hook):
    """As Cilium 1.16 and later attach theirs."""
    with Foreign(hook) as foreign:
        try:
            fd = foreign.attach_by_tcx(node, link)
        except OSError as e:
            if e.errno == errno.EINVAL:
                pytest.skip("needs tcx: Linux 6.6")
            raise
        try:
            yield
        finally:
            os.close(fd)


OTHERS_IN_TC = pytest.mark.parametrize("attach", [clsact_program, functools.partial(tcx_program, hook="tcx_ingress"),
                                    functools.partial(tcx_program, hook="tcx_egress")], ids=["clsact", "tcx-ingress", "tcx-egress"])
IN_TC = "another program works in tc on the pod's link: it uses tunnels inside the node"


def status(direct):
    """What `culvert status` says, wherever its lines end."""
    said = subprocess.run([os.path.join(BIN, "culvert"), "status", "--run-dir", direct.node.run_dir], check=False,
                          stdout=subprocess.PIPE, text=True).stdout
    return " ".join(said.split())


@OTHERS_IN_TC
def test_beside_another_tc_program(direct, attach):
    """Another one on a pod's link is to see what the pod sends: tunnels, and log and status say why."""
    wait_for(direct.is_direct, 40, "a direct connection")
    with attach(direct.topology.nodes[0], f"h{direct.server.name}"):
        wait_for(lambda: IN_TC in direct.log(), 40, "the line in the log")
        assert not direct.is_direct()
        assert IN_TC in status(direct)
    wait_for(direct.is_direct, 40, "a direct connection again")
    assert IN_TC not in status(direct)


def test_a_limited_link(direct):
    """What skips the host skips the queue of the CNI's bandwidth plugin on the server's link: tunnels, while it is there."""
    says = "a qdisc on the pod's link limits what it gets"
    wait_for(direct.is_direct, 40, "a direct connection")
    limit = ("dev", f"h{direct.server.name}", "root", "tbf", "rate", "1mbit", "burst", "64k", "latency", "50ms")
    direct.topology.nodes[0].run("tc", "qdisc", "add", *limit)
    wait_for(lambda: says in status(direct), 40, "why")
    assert not direct.is_direct()
    assert direct.log().count(says) == 1
    direct.topology.nodes[0].run("tc", "qdisc", "del", *limit[:3])
    wait_for(direct.is_direct, 40, "a direct connection again")


def programs(direct, direction):
    """Ours on the server's link, as filters."""
    return direct.topology.nodes[0].run("tc", "filter", "show", "dev", f"h{direct.server.name}", direction)


NO_TCX = {"CULVERT_KERNEL_LEVEL": "6.5"}


def test_guards_before_tcx():
    """By clsact, one in each direction."""
    d = Direct(env=NO_TCX)
    with contextlib.closing(d):
        wait_for(d.is_direct, 40, "a direct connection")
        assert "cv_guard:" in programs(d, "ingress") and "cv_guard_in:" in programs(d, "egress")


def test_an_ingress_qdisc_before_tcx():
    """Has the place of clsact, and room for one of the two guards: the one that holds up what the pod sends."""
    d = Direct(env=NO_TCX, prepare=lambda d: d.topology.nodes[0].run("tc", "qdisc", "add", "dev", f"h{d.server.name}", "ingress"))
    with contextlib.closing(d):
        wait_for(lambda: "the pod's link has an ingress qdisc" in status(d), 40, "why")
        wait_guarded(d)
        d.talk()
        assert not d.is_direct()
        assert "cv_guard:" in programs(d, "ingress")
        d.server.run(sys.executable, "-c", RAW_SYN, d.client.ip4, str(PORT))
        wait_for(lambda: d.counter("guard_plaintext") == 1, 5, "the guard's counter")


# Goes on for as long as it is let.
STREAM = """
import socket, sys, threading
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
def read():
    while s.recv(65536):
        pass
threading.Thread(target=read, daemon=True).start()
print("open", flush=True)
while True:
    s.sendall(b"what stays in the node" * 1000)
"""


@contextlib.contextmanager
def streaming(direct):
    """A client that sends and sends."""
    process = direct.client.popen(sys.executable, "-c", STREAM, direct.server.ip4, str(PORT), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "open\n"
        yield
    finally:
        stop(process)


def server_goes(direct):
    """The server's link goes in mid-stream, and the node has a default route: nothing of the stream takes it."""
    node = direct.topology.nodes[0]
    node.ip("route", "add", "default", "via", OUTSIDE)
    with sniffed(direct, "uplink") as seen:
        node.ip("link", "del", f"h{direct.server.name}")
        wait_for(lambda: "backoff:3" in direct.client.run("ss", "-Htin"), 40, "what the client sends again and again")
    assert b"what stays in the node" not in seen[0]


@pytest.mark.parametrize("bypass", ["established", "full", "off"])
def test_a_server_that_goes_in_mid_stream(bypass):
    """Its client goes on for a while."""
    d = Direct(bypass=bypass)
    with contextlib.closing(d):
        if bypass == "off":
            wait_for(lambda: "--host-bypass is off: it uses tunnels inside the node" in status(d), 40, "why")
            d.talk()
            assert not d.is_direct()
            assert d.log().count("--host-bypass is off") == 1  # of both pods
        else:
            wait_for(d.is_direct, 40, "a direct connection")
        with streaming(d):
            server_goes(d)


@OTHERS_IN_TC
@pytest.mark.parametrize("is_later", [False, True], ids=["before", "later"])
def test_a_server_that_goes_beside_another_tc_program(direct, attach, is_later):
    """Whether that came before the stream or after, on a link that is direct until then."""
    wait_for(direct.is_direct, 40, "a direct connection")
    with contextlib.ExitStack() as stack:
        if is_later:
            stack.enter_context(streaming(direct))
        stack.enter_context(attach(direct.topology.nodes[0], f"h{direct.client.name}"))
        wait_for(lambda: IN_TC in direct.log(), 40, "the line in the log")
        if not is_later:
            stack.enter_context(streaming(direct))
        server_goes(direct)


def test_guards_go_with_their_pods(direct):
    """Nothing stays on a link whose pod left the mesh."""
    wait_for(direct.is_direct, 40, "a direct connection")
    direct.edit("istio-injection: enabled", "istio-injection: disabled")
    wait_for(lambda: maps(direct, "cv_links").strip() == "[]", 40, "the end of the guards")
    wait_for(lambda: not [name for name in os.listdir(direct.node.pins) if name.startswith("guard_")], 40, "their pins")
    assert direct.talk() == direct.client.ip4


STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: direct}
spec: {mtls: {mode: STRICT}}
"""


def test_the_uplink_drops_plaintext_for_a_strict_pod():
    """A plain pod of another node: answered by the mesh at first, then not heard at all; and again when STRICT goes."""
    d = Direct(uplink="uplink", outsider=True)
    try:
        assert d.talk_from(d.outsider) == d.outsider.ip4
        strict = os.path.join(d.config, "strict.yaml")
        with open(strict, "w", encoding="utf-8") as f:
            f.write(STRICT)

        def is_dropped():
            with pytest.raises(RuntimeError):
                d.talk_from(d.outsider, limit=1)
            return d.counter("uplink_plaintext") > 0

        wait_for(lambda: not d.works_from(d.outsider), 40, "STRICT")
        wait_for(is_dropped, 40, "the uplink's counter")
        assert d.talk() == d.client.ip4  # the mesh's own
        os.unlink(strict)
        wait_for(lambda: d.works_from(d.outsider), 40, "plaintext again")
    finally:
        d.close()


DENY_SOURCE = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-source, namespace: direct}
spec:
  action: DENY
  rules: [{from: [{source: {ipBlocks: ["%s/32"]}}]}]
"""


def test_the_uplink_drops_sources_that_are_denied_by_address():
    """One address of a plain pod's is denied: refused once, then not heard; its other one is served."""
    d = Direct(uplink="uplink", outsider=True)
    try:
        assert d.talk_from(d.outsider) == d.outsider.ip4
        with open(os.path.join(d.config, "deny.yaml"), "w", encoding="utf-8") as f:
            f.write(DENY_SOURCE % d.outsider.ip4)

        def is_dropped():
            return not d.works_from(d.outsider) and d.counter("uplink_denied") > 0

        wait_for(is_dropped, 40, "the uplink's counter")
        assert d.counter("uplink_plaintext") == 0
        assert d.outsider.run(sys.executable, "-c", CLIENT, d.server.ip6, str(PORT)).strip() == d.outsider.ip6
    finally:
        d.close()


def errors(direct, words):
    """Lines of the agent's status with these words; None while there is no agent."""
    status = direct.node.admin_or_none("agent", "/status")
    return None if status is None else [line for line in status["errors"] if words in line]


def test_an_uplink_that_cannot_be_guarded():
    """One line says so, and the mesh goes on without."""
    d = Direct(uplink="nosuch0")
    try:
        assert d.log().count("cannot guard the uplink") == 1
        assert errors(d, "cannot guard the uplink")
        wait_for(d.is_direct, 40, "a direct connection")
    finally:
        d.close()


def restart_agent(direct):
    """`culvert node` starts it again when it dies."""
    (pid,) = direct.node.pids("culvert-agent")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: direct.node.pids("culvert-agent") not in ([], [pid]), 40, "the next agent")


def test_an_uplink_that_another_xdp_program_has():
    """It keeps it, in either mode; log and status name it. The agent that starts when it is gone guards the uplink."""
    with Foreign("xdp") as foreign:
        d = Direct(uplink="uplink", prepare=lambda d: foreign.attach_to_link(d.topology.nodes[0], "uplink"))
        try:
            node = d.topology.nodes[0]
            says = f'uplink="uplink" held_by="foreign id={foreign.id}"'
            assert errors(d, says) and d.log().count(says) == 1
            status = subprocess.run([os.path.join(BIN, "culvert"), "status", "--run-dir", d.node.run_dir], check=False,
                                    stdout=subprocess.PIPE, text=True)
            assert says in status.stdout
            wait_for(d.is_direct, 40, "a direct connection")
            node.run("bpftool", "net", "detach", "xdp", "dev", "uplink")
            foreign.attach_to_link(node, "uplink", "xdpgeneric")
            restart_agent(d)
            wait_for(lambda: errors(d, says) and d.log().count(says) == 2, 40, "the line again")
            assert f'"id":{foreign.id}' in node.run("ip", "-j", "link", "show", "uplink")
            assert not d.node.guards_uplink()
            node.run("bpftool", "net", "detach", "xdpgeneric", "dev", "uplink")
            restart_agent(d)
            wait_for(lambda: errors(d, says) == [] and d.node.guards_uplink(), 40, "the guard")
        finally:
            d.close()
