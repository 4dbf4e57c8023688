# SPDX-License-Identifier: Apache-2.0
"""Machines inside a pod, as KubeVirt has them: istio.io/reroute-virtual-interfaces. Each test goes on where the one before ended."""
import contextlib
import os
import signal
import socket
import struct
import sys

import pytest
import who
from culvert_node import BIN, stop, wait_for
from same_node import CLIENT, HOLDER, OUTSIDE, PORT, VIP, Direct, sniffed, wait_guarded
from topology import Namespace, run

MARK = "0x4356000"
ANNOTATION = "istio.io/reroute-virtual-interfaces"

# Asks a nameserver that there is none at; who answers it must seem to be that.
NAMES = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((sys.argv[1], 53))
for _ in range(3):
    s.send(bytes.fromhex(sys.argv[2]))
    try:
        print(s.recv(512).hex())
        break
    except TimeoutError:
        pass
"""

# Says when it is connected, then waits for a line and goes on.
RESUMER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as s:
    s.makefile("rb").readline()
    print("open", flush=True)
    sys.stdin.readline()
    s.sendall(b"what the tunnel hides")
    try:
        print("data" if s.recv(1) else "eof", flush=True)
    except OSError as e:
        print(type(e).__name__, flush=True)
"""

# conntrack -F: NETLINK_NETFILTER, IPCTNL_MSG_CT_DELETE of no one in particular, acknowledged.
FLUSH = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0))
assert struct.unpack_from("=i", s.recv(4096), 16) == (0,)
"""


def question(name):
    """A query for a name's IPv4 address, in hexadecimal digits."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)).hex()


class Machine(Namespace):
    """Behind an interface of a pod, which forwards and masquerades."""

    def __init__(self, pod, interface, number):
        super().__init__(f"{pod.name}vm{number}")
        net4, net6 = f"10.0.{number}", f"fd10:0:{number}:"
        run("ip", "link", "add", interface, "netns", pod.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        for place, link, last in ((pod, interface, 1), (self, "eth0", 2)):
            place.ip("addr", "add", f"{net4}.{last}/24", "dev", link)
            place.ip("addr", "add", f"{net6}:{last}/64", "dev", link, "nodad")
            place.ip("link", "set", link, "up")
        self.ip("route", "add", "default", "via", f"{net4}.1")
        self.ip("route", "add", "::/0", "via", f"{net6}:1")
        pod.sysctl("net.ipv4.ip_forward", 1)
        pod.sysctl("net.ipv6.conf.all.forwarding", 1)
        for tables, net in (("iptables", f"{net4}.0/24"), ("ip6tables", f"{net6}:/64")):
            pod.run(tables, "-t", "nat", "-A", "POSTROUTING", "-s", net, "!", "-d", net, "-j", "MASQUERADE")

    def talk(self, host, port=PORT, limit=30):
        """One connection that ends by halves; the address that the server saw."""
        return self.run(sys.executable, "-c", CLIENT, host, str(port), str(limit)).strip()

    def fails(self, host, port=PORT, limit=3):
        """What a connection fails with; None: it works."""
        try:
            self.talk(host, port, limit)
        except RuntimeError as e:
            return str(e)
        return None


@pytest.fixture(name="direct", scope="module")
def fixture_direct():
    """A node with the pods `client`, which has a machine inside, and `server`."""
    d = Direct()
    wait_guarded(d)
    d.machine = Machine(d.client, "k6t-eth0", 2)
    d.topology.parts.append(d.machine)
    d.others.append(who.start(d.topology.nodes[1], "out", 9100))
    d.annotation = ""
    yield d
    d.close()


def annotate(direct, value):
    """Set the annotation, or take it away."""
    new = f'{ANNOTATION}: "{value}", ' if value else ""
    where = f"name: {direct.client.name}, namespace: direct, annotations: {{"
    direct.edit(where + direct.annotation, where + new)
    direct.annotation = new


def exclusions(direct):
    """What status says of the client."""
    pods = direct.node.admin("agent", "/status")["pods"]
    return next((p["exclusions"] for p in pods if p["name"] == direct.client.name), None)


def left_behind(direct):
    """What there is of ours in the client's namespace and for it."""
    look = "{ ip rule; ip -6 rule; ip route show table 17238; ip -6 route show table 17238; bpftool net show; } 2>&1 || true"
    seen = direct.client.run("sh", "-c", look).splitlines()
    pins = os.listdir(direct.node.pins) if os.path.isdir(direct.node.pins) else []
    return [line for line in seen if MARK in line or "cv_reroute" in line or line.startswith("local ")] + [
        name for name in pins if name.startswith("reroute_")]


def test_without_the_annotation_the_mesh_is_out_of_reach_and_the_rest_goes(direct):
    assert who.ask(direct.machine, OUTSIDE, 9100) == ["out"]
    assert direct.talk() == direct.client.ip4  # the pod itself is in the mesh
    before = direct.counter("guard_plaintext")
    wait_for(lambda: direct.machine.fails(direct.server.ip4) and direct.counter("guard_plaintext") > before, 40, "the guard")
    assert not left_behind(direct)


def test_names_that_no_interface_has(direct):
    annotate(direct, "k6t/eth0")
    wait_for(lambda: "expected names of interfaces" in str(direct.node.admin("agent", "/status")["errors"]), 40, "the notice")
    assert not exclusions(direct)


def test_a_machine_speaks_mutual_tls_as_its_pod(direct):
    annotate(direct, "k6t-eth0, tap9")
    wait_for(lambda: exclusions(direct) == ["reroute: k6t-eth0", "reroute: tap9 (not there yet)"], 40, "the status")
    assert f"{direct.client.name}: reroute: k6t-eth0; reroute: tap9 (not there yet)" in run(
        os.path.join(BIN, "culvert"), "status", "--run-dir", direct.node.run_dir)
    identity = f'src.identity="spiffe://cluster.local/ns/direct/sa/{direct.client.name}"'
    with sniffed(direct) as seen:
        assert direct.machine.talk(direct.server.ip4) == direct.client.ip4
        assert direct.machine.talk(direct.server.ip6) == direct.client.ip6
        assert direct.machine.talk(VIP, 80) == direct.client.ip4
    assert b"xxxxxxxxxxxxxxxx" not in seen[0]
    for ip in (direct.client.ip4, f"[{direct.client.ip6}]"):
        wait_for(lambda ip=ip: any(f"src.addr={ip}:" in line and identity in line and 'direction="inbound"' in line
                                   for line in direct.log().splitlines()[-20:]), 30, "the server's line in the log")
    assert who.ask(direct.machine, OUTSIDE, 9100) == ["out"]


def test_a_machine_asks_ztunnel_for_names(direct):
    for nameserver in ("192.0.2.53", "2001:db8::53"):
        answer = direct.machine.run(sys.executable, "-c", NAMES, nameserver, question("web.direct.svc.cluster.local")).strip()
        assert answer.endswith(socket.inet_aton(VIP).hex())


def test_policy_holds_for_a_machine(direct):
    direct.deny(PORT)
    wait_for(lambda: direct.machine.fails(direct.server.ip4), 40, "the policy")
    os.unlink(os.path.join(direct.config, "deny.yaml"))
    wait_for(lambda: not direct.machine.fails(direct.server.ip4), 40, "the end of the policy")


def test_an_interface_that_is_not_ethernet(direct):
    direct.client.ip("tuntap", "add", "dev", "tap9", "mode", "tun")
    wait_for(lambda: "reroute: not in force: expected Ethernet interfaces" in exclusions(direct), 40, "the notice")
    assert direct.machine.talk(direct.server.ip4) == direct.client.ip4
    direct.client.ip("link", "del", "tap9")
    wait_for(lambda: exclusions(direct) == ["reroute: k6t-eth0", "reroute: tap9 (not there yet)"], 40, "the status")


def test_an_interface_that_comes_later(direct):
    late = Machine(direct.client, "tap9", 9)
    try:
        wait_for(lambda: exclusions(direct) == ["reroute: k6t-eth0", "reroute: tap9"], 40, "the status")
        assert late.talk(direct.server.ip4) == direct.client.ip4
    finally:
        late.close()
    wait_for(lambda: exclusions(direct)[-1] == "reroute: tap9 (not there yet)", 40, "the status")
    assert direct.machine.talk(direct.server.ip4) == direct.client.ip4


def test_what_was_tunnelled_does_not_go_on_in_plaintext(direct):
    """Without its socket, and unknown to the pod's conntrack, which would masquerade it from the middle on."""
    silent = ("OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP")
    resumer = direct.machine.popen(sys.executable, "-c", RESUMER, direct.server.ip4, str(PORT), stdin=-1, stdout=-1, text=True)
    try:
        assert resumer.stdout.readline() == "open\n"
        direct.client.run("iptables", "-A", *silent)
        direct.client.run("ss", "-K", "dst", "10.0.2.2")
        direct.client.run("iptables", "-D", *silent)
        assert not direct.client.run("ss", "-Htn", "dst", "10.0.2.2")
        direct.client.run(sys.executable, "-c", FLUSH)
        with sniffed(direct) as seen:
            resumer.stdin.write("go on\n")
            resumer.stdin.flush()
            assert resumer.stdout.readline() == "ConnectionResetError\n"
        assert b"what the tunnel hides" not in seen[0]
    finally:
        stop(resumer)
        resumer.stdin.close()
        resumer.stdout.close()


def test_nothing_stays_when_the_annotation_goes(direct):
    assert left_behind(direct)
    holder = direct.machine.popen(sys.executable, "-c", HOLDER, direct.server.ip4, str(PORT), stdout=-1, text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        annotate(direct, "")
        assert holder.stdout.readline() == "ConnectionResetError\n"
    finally:
        stop(holder)
        holder.stdout.close()
    wait_for(lambda: not left_behind(direct), 40, "the end of it")
    assert direct.machine.fails(direct.server.ip4)
    assert direct.talk() == direct.client.ip4


def agent_restarts(direct, while_it_stands):
    """The agent is killed; before that it does not see what while_it_stands() does."""
    agent, = direct.node.pids("culvert-agent")
    os.kill(agent, signal.SIGSTOP)
    while_it_stands()
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: direct.node.pids("culvert-agent") not in ([], [agent]) and direct.node.admin_or_none("agent", "/status"),
             40, "another agent")


def test_another_agent_goes_on_or_takes_away(direct):
    annotate(direct, "k6t-eth0")
    wait_for(lambda: not direct.machine.fails(direct.server.ip4), 40, "the machine in the mesh again")
    agent_restarts(direct, lambda: None)
    wait_for(lambda: exclusions(direct) == ["reroute: k6t-eth0"], 40, "the status")
    assert direct.machine.talk(direct.server.ip4) == direct.client.ip4
    agent_restarts(direct, lambda: direct.edit("istio-injection: enabled", "istio-injection: disabled"))
    wait_for(lambda: not left_behind(direct), 40, "the end of it")
    assert direct.machine.talk(direct.server.ip4) == direct.client.ip4  # as the pod's routes lead
    direct.edit("istio-injection: disabled", "istio-injection: enabled")
    wait_for(lambda: exclusions(direct) == ["reroute: k6t-eth0"], 40, "the status")


def test_without_ztunnel_a_machine_is_refused_and_clean_leaves_nothing(direct):
    before = direct.counter("tunnel")
    wait_for(lambda: not direct.machine.fails(direct.server.ip4) and direct.counter("tunnel") > before, 40, "the machine in the mesh")
    direct.kill_node()
    with sniffed(direct) as seen:
        assert "No route to host" in direct.machine.fails(direct.server.ip4, limit=30)
        assert "Permission denied" in direct.machine.fails(direct.server.ip6, limit=30)
        assert "No route to host" in direct.machine.fails(VIP, 80, 30)
    assert b"xxxxxxxxxxxxxxxx" not in seen[0]
    assert who.ask(direct.machine, OUTSIDE, 9100) == ["out"]
    assert left_behind(direct)
    direct.topology.nodes[0].run(os.path.join(BIN, "culvert-agent"), "--clean", "--pin-dir", direct.node.pins)
    assert not left_behind(direct)
