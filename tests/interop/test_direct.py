# SPDX-License-Identifier: Apache-2.0
"""Two pods of one node with --same-node=direct: plain TCP inside the kernel, with the mesh's identity, policy and
telemetry, and without its processes once a verdict is known."""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from culvert_node import BIN, stop, wait_for
from same_node import END, HOLDER, OTHER, PORT, VIP, Direct
from test_guard import DENY_SOURCE


@pytest.fixture(name="direct")
def fixture_direct():
    """A node in direct mode."""
    d = Direct()
    yield d
    d.close()


def test_same_source_both_families(direct):
    """The server sees the client's address, through the tunnel as well as without."""
    wait_for(direct.is_direct, 15, "a direct connection")
    assert direct.talk(host=direct.server.ip6) == direct.client.ip6


def test_service(direct):
    """A service whose only endpoint is on this node needs no tunnel; its counters name it."""
    def is_direct():
        before = direct.counter("direct")
        assert direct.talk(80, VIP) == direct.client.ip4
        return direct.counter("direct") > before

    wait_for(is_direct, 15, "a direct connection to the service")
    wait_for(lambda: any("istio_tcp_connections_closed" in line and 'destination_service_name="web"' in line
                         for line in direct.metrics().splitlines()), 10, "metrics of the service")


def test_telemetry(direct):
    """A direct connection is counted and logged at both ends, with its bytes."""
    wait_for(direct.is_direct, 15, "a direct connection")
    before = direct.metrics()
    assert direct.is_direct()

    def total(text, name, reporter):
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith(name) and f'reporter="{reporter}"' in line and direct.server.name in line)

    def grown():
        now = direct.metrics()
        return all(total(now, f"istio_tcp_{name}_total", r) - total(before, f"istio_tcp_{name}_total", r) >= by
                   for name, by in (("connections_opened", 1), ("connections_closed", 1), ("sent_bytes", 1000),
                                    ("received_bytes", 1000)) for r in ("source", "destination"))

    wait_for(grown, 10, "metrics of the direct connection")
    size = 1000 + len(direct.client.ip4) + 1
    wait_for(lambda: direct.log().count(f"bytes_sent={size}") + direct.log().count("bytes_sent=1000") >= 2, 10, "both log lines")

    def past():
        return [c for c in direct.node.past(direct.client.ip4, f"{direct.server.name}:{PORT}") if c["path"] == "direct"]

    wait_for(lambda: {c["direction"] for c in past()} == {"inbound", "outbound"}, 10, "both ends to be remembered")
    said = past()
    assert "was allowed and went directly inside the node" in said[-1]["sentence"] and said[-1]["dstIdentity"]


def test_an_open_one_says_why(direct):
    """Of both ends, who vouches for whom and by which policy; the first of all has taken the tunnel to ask."""
    wait_for(direct.is_direct, 15, "a direct connection")
    holder = direct.client.popen(sys.executable, "-c", HOLDER, direct.server.ip4, str(PORT), stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        seen = []

        def listed():
            out = subprocess.check_output([os.path.join(BIN, "culvert"), "connections", "--why", "-o", "json", "--run-dir",
                                           direct.node.run_dir], timeout=60)
            seen[:] = [c for c in json.loads(out) if c["protocol"] == "DIRECT"]
            return len(seen) == 2

        wait_for(listed, 15, "both ends")
        asked = direct.node.explain(direct.client.ip4, f"{direct.server.ip4}:{PORT}")
        assert asked["kernel"]["path"] == "direct"
        for c in seen:
            assert (c["verdict"], c["why"]) == ("allowed", asked["sentence"])
            assert "directly inside the node, vouched for by the kernel as spiffe://" in c["why"]
    finally:
        stop(holder)


def series(direct):
    """What ztunnel counts of connections, by name and labels."""
    return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in direct.metrics().splitlines()
            if line.startswith("istio_tcp_") and "_total{" in line}


def access_lines(text):
    """The ends of connections in a piece of the log: their keys and values, by direction."""
    lines = [dict(re.findall(r'([a-z_.]+)=("[^"]*"|\S+)', line)) for line in text.splitlines() if "connection complete" in line]
    return {line["direction"]: line for line in lines}


def told_of_one(direct, port, host):
    """What one more connection adds to the metrics, and its lines in the access log."""
    direct.bytes_received_at_rest()
    wait_for(lambda: len(set(opened_and_closed(direct))) == 1, 10, "the end of the connections before")
    before, logged = series(direct), len(direct.log())
    assert direct.talk(port, host) == direct.client.ip4
    direct.bytes_received_at_rest()
    wait_for(lambda: len(set(opened_and_closed(direct))) == 1 and len(access_lines(direct.log()[logged:])) == 2, 10,
             "its end at both ends")
    return {name: n - before.get(name, 0) for name, n in series(direct).items() if n > before.get(name, 0)}, \
        access_lines(direct.log()[logged:])


def opened_and_closed(direct):
    """How many connections, at both ends."""
    now = series(direct)
    return [sum(n for name, n in now.items() if name.startswith(f"istio_tcp_connections_{what}_total{{reporter=\"{reporter}\""))
            for what in ("opened", "closed") for reporter in ("source", "destination")]


# A tunnel has an address of its own, and says beside it where it leads.
OF_THE_TUNNEL = {"dst.hbone_addr"}
OF_EACH_CONNECTION = {"src.addr", "dst.addr", "duration"}


@pytest.mark.parametrize("by_service", [False, True], ids=["pod", "service"])
def test_it_is_told_of_as_a_tunnelled_one(direct, by_service):
    """The same pods talk without a tunnel, then by one: the same series grow by as much, and the lines of the access log have the
    same keys and, but for ports and times, the same values."""
    port, host = (80, VIP) if by_service else (PORT, None)

    def is_direct():
        before = direct.counter("direct")
        assert direct.talk(port, host) == direct.client.ip4
        return direct.counter("direct") > before

    wait_for(is_direct, 15, "a direct connection")
    before = direct.counter("direct")
    direct_series, direct_lines = told_of_one(direct, port, host)
    assert direct.counter("direct") > before
    direct.label("culvert.io/same-node: encrypt")
    wait_for(lambda: not is_direct(), 15, "the end of direct connections")
    before = direct.counter("direct")
    tunnel_series, tunnel_lines = told_of_one(direct, port, host)
    assert direct.counter("direct") == before
    assert direct_series == tunnel_series
    assert len(direct_series) == 8  # opened, closed, sent, received; at both ends
    for direction, tunnelled in tunnel_lines.items():
        plain = direct_lines[direction]
        assert set(plain) == set(tunnelled) - OF_THE_TUNNEL
        assert {k: v for k, v in plain.items() if k not in OF_EACH_CONNECTION} == \
            {k: v for k, v in tunnelled.items() if k not in OF_EACH_CONNECTION | OF_THE_TUNNEL}
        assert plain["dst.addr"] == tunnelled["dst.hbone_addr"]
        for end in ("src.addr", "dst.addr"):
            assert plain[end].rsplit(":", 1)[0] == tunnelled[end].rsplit(":", 1)[0]


# Echoes so much, says the last word, and hears what the server has to say then.
LONG_SIZE = 300_000
LONG = f"""
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as s:
    f = s.makefile("rb")
    f.readline()
    s.sendall(b"x" * {LONG_SIZE})
    f.read({LONG_SIZE})
    s.sendall(sys.argv[3].encode())
    if sys.argv[3]:
        assert f.read() == b""
    print("sent", flush=True)
    sys.stdin.read()
"""


def test_bytes_of_a_long_connection_are_counted_while_it_is_open(direct):
    """Metrics grow and `culvert connections` lists it, at both ends; its end adds nothing twice. Of one whose server has said all,
    too, and of a pod that a service leads to itself, with both ends in its namespace."""
    def is_own_service_direct():
        before = direct.counter("direct")
        assert direct.talk(80, VIP, by=direct.server) == direct.server.ip4
        return direct.counter("direct") > before

    wait_for(direct.is_direct, 15, "a direct connection")
    wait_for(is_own_service_direct, 15, "a direct connection of a pod to itself")
    client, server = direct.client, direct.server
    to = ((client, server.ip4, str(PORT), END), (server, VIP, "80", ""))
    before = {"received": direct.bytes_received_at_rest(), "sent": direct.bytes_received("sent")}
    expected = {"received": 2 * LONG_SIZE + len(END), "sent": 2 * LONG_SIZE + len(client.ip4 + server.ip4) + 2}
    holders = [pod.popen(sys.executable, "-c", LONG, *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
               for pod, *args in to]

    def is_counted():
        return all(n - was[r] == expected[way] for way, was in before.items() for r, n in direct.bytes_received(way).items())

    try:
        for holder in holders:
            assert holder.stdout.readline() == "sent\n"
        wait_for(is_counted, 20, "the bytes at both ends")
        listed = direct.node.connections()
        assert {c["protocol"] for c in listed} == {"DIRECT"}
        assert sorted((c["direction"], c["peer"], c["bytesSent" if c["direction"] == "outbound" else "bytesReceived"])
                      for c in listed) == sorted([("outbound", server.name, LONG_SIZE + len(END)), ("outbound", server.name, LONG_SIZE),
                                                  ("inbound", client.name, LONG_SIZE + len(END)), ("inbound", server.name, LONG_SIZE)])
        for holder in holders:
            holder.communicate("", 60)
        wait_for(lambda: not direct.node.connections(), 10, "its end")
        assert is_counted()
    finally:
        for holder in holders:
            stop(holder)


# Echoes as many bytes as a line of its input says.
TALKER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as s:
    f = s.makefile("rb")
    f.readline()
    print("open", flush=True)
    for line in sys.stdin:
        s.sendall(b"x" * int(line))
        f.read(int(line))
        print("sent", flush=True)
"""


def all_connections(direct):
    """What ztunnel lists once the agent has told it all that is open."""
    found = {}

    def is_whole():
        found.update(direct.node.admin_or_none("ztunnel", "/connections") or {})
        return found.get("directListed")

    wait_for(is_whole, 30, "what is open")
    return found


def restart(direct, part):
    """One of the node's processes dies, another one has its place and the pods."""
    old = direct.node.pids(part)
    os.kill(old[0], signal.SIGKILL)
    wait_for(lambda: set(direct.node.pids(part)) - set(old), 30, f"another {part}")
    direct.node.wait_captured([direct.client.name, direct.server.name], 60)
    all_connections(direct)


def test_bytes_are_counted_once_over_restarts(direct):
    """Neither process keeps what it has counted of a connection: another agent goes on where the last one was, another ztunnel
    counts what is new, and lists the connection at once."""
    wait_for(direct.is_direct, 15, "a direct connection")
    before = direct.bytes_received_at_rest()
    talker = direct.client.popen(sys.executable, "-c", TALKER, direct.server.ip4, str(PORT), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)

    def say(size):
        print(size, file=talker.stdin, flush=True)
        assert talker.stdout.readline() == "sent\n"

    def counted(size):
        with contextlib.suppress(RuntimeError):
            return all(n - before[r] == size for r, n in direct.bytes_received().items())
        return False

    try:
        assert talker.stdout.readline() == "open\n"
        say(300_000)
        wait_for(lambda: counted(300_000), 20, "the bytes")
        restart(direct, "culvert-agent")
        say(50_000)
        wait_for(lambda: counted(350_000), 20, "what another agent tells")
        restart(direct, "culvert-ztunnel")
        assert {c["bytesSent"] for c in direct.node.connections() if c["direction"] == "outbound"} == {350_000}
        before = {"source": 0, "destination": 0}
        say(7_000)
        wait_for(lambda: counted(7_000), 20, "what another ztunnel is told")
        say(600)
        talker.communicate("", 60)
        wait_for(lambda: counted(7_600), 20, "its end")
        wait_for(lambda: f"bytes_sent={357_600}" in direct.log(), 10, "its line in the access log")
    finally:
        stop(talker)


# So many connections, one after the other: each is closed by the server.
CLOSER = f"""
import socket
s = socket.create_server(("", {OTHER + 2}), backlog=1024)
print("up", flush=True)
while True:
    s.accept()[0].close()
"""
BURST = f"""
import socket, sys
for i in range(int(sys.argv[2])):
    with socket.create_connection((sys.argv[1], {OTHER + 2}), 30) as s:
        assert s.recv(1) == b""
"""
TOLD, MORE = 3000, 6000  # the ring of their events has room for some 3800


def test_a_burst_is_counted_while_nobody_listens(direct):
    """The agent has no time: what its ring of events has room for is told as ever, of the rest the metrics alone, and a counter says
    so. Refused connections do not take that room."""
    def burst(n):
        direct.client.run(sys.executable, "-c", BURST, direct.server.ip4, str(n))

    def is_direct():
        before = direct.counter("direct")
        burst(1)
        return direct.counter("direct") > before

    closer = direct.server.popen(sys.executable, "-c", CLOSER, stdout=subprocess.PIPE, text=True)
    direct.others.append(closer)
    assert closer.stdout.readline() == "up\n"
    wait_for(is_direct, 15, "a direct connection")
    wait_for(lambda: len(set(opened_and_closed(direct))) == 1, 10, "the end of the connections before")
    total, before = opened_and_closed(direct)[0], direct.counter("direct")
    for n, is_lost in ((TOLD, False), (MORE, True)):
        agent = direct.node.pids("culvert-agent")[0]
        os.kill(agent, signal.SIGSTOP)
        try:
            burst(n)
        finally:
            os.kill(agent, signal.SIGCONT)
        total += n
        wait_for(lambda: opened_and_closed(direct) == [total] * 4, 15, "all of them")
        assert (direct.counter("direct_untold") > 0) == is_lost
    assert direct.counter("direct") == before + TOLD + MORE
    assert f'culvert_bpf_events_total{{reason="direct_untold"}} {direct.counter("direct_untold")}' in direct.metrics()
    assert "counted only" in direct.log()


IDLE, IDLE_PORT = 6000, 9302
BYTES_EACH = 64  # more than nothing, for what a process has beside; a record of a connection would be 200

ACCEPTER = f"""
import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
s, kept = socket.create_server(("", {IDLE_PORT}), backlog=1024), []
print("up", flush=True)
while True:
    kept.append(s.accept()[0])
"""
OPENER = f"""
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = []
for i in range(int(sys.argv[2])):
    kept.append(socket.create_connection((sys.argv[1], {IDLE_PORT}), 30))
print("open", flush=True)
sys.stdin.read()
"""


def heap_kb(direct):
    """What the processes keep, without their code."""
    found = {}
    for part in ("culvert-ztunnel", "culvert-agent"):
        with open(f"/proc/{direct.node.pids(part)[0]}/status", encoding="ascii") as f:
            found[part] = next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))
    return found


def test_idle_connections_cost_the_processes_no_memory(direct):
    """What there is to know of a direct connection is in the kernel alone; asked for, all of them are listed."""
    def opened():
        return sum(float(line.rsplit(" ", 1)[1]) for line in direct.metrics().splitlines()
                   if line.startswith("istio_tcp_connections_opened_total{") and 'reporter="source"' in line)

    def opens_direct():
        before = direct.counter("direct")
        direct.client.run(sys.executable, "-c", OPENER, direct.server.ip4, "1", stdin=subprocess.DEVNULL)
        return direct.counter("direct") > before

    accepter = direct.server.popen(sys.executable, "-c", ACCEPTER, stdout=subprocess.PIPE, text=True)
    direct.others.append(accepter)
    assert accepter.stdout.readline() == "up\n"
    wait_for(opens_direct, 15, "a direct connection")
    before, told = heap_kb(direct), opened()
    opener = direct.client.popen(sys.executable, "-c", OPENER, direct.server.ip4, str(IDLE), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
    try:
        assert opener.stdout.readline() == "open\n"
        wait_for(lambda: opened() - told == IDLE, 30, "the telemetry of all of them")
        grown = {part: kb - before[part] for part, kb in heap_kb(direct).items()}
        assert max(grown.values()) < IDLE * BYTES_EACH // 1024, grown
        answer = all_connections(direct)
        for way in ("inbound", "outbound"):
            listed = [c["src"] for p in answer["workloadState"].values() for c in p["connections"][way] if c["protocol"] == "DIRECT"]
            assert len(listed) == len(set(listed)) == IDLE
    finally:
        stop(opener)
        stop(accepter)  # with it goes the connection that was tunnelled


def test_policy_closes_and_refuses(direct):
    """A new denial closes a live direct connection, refuses the next at connect(2), and ends with its policy."""
    wait_for(direct.is_direct, 15, "a direct connection")
    holder = direct.client.popen(sys.executable, "-c", HOLDER, direct.server.ip4, str(PORT), stdout=subprocess.PIPE,
                                 text=True)
    try:
        assert holder.stdout.readline() == "open\n"
        direct.deny(PORT)
        assert holder.stdout.readline().strip() in ("ConnectionResetError", "ConnectionAbortedError", "eof")
        said = "connection closed due to policy change: explicitly denied: direct/deny-port"
        wait_for(lambda: said in direct.log(), 10, "a line that says why, as of a tunnelled one")
        assert {(c["direction"], c["verdict"]) for c in direct.node.past() if c["error"]} == {("outbound", "broken"), ("inbound", "cut")}
    finally:
        stop(holder)

    def refused():
        with pytest.raises(RuntimeError) as e:
            direct.talk()
        return "ConnectionRefusedError" in str(e.value)

    wait_for(refused, 10, "ECONNREFUSED")
    wait_for(lambda: direct.counter("policy") > 0, 5, "the drop's counter")
    assert direct.talk(OTHER) == direct.client.ip4
    os.unlink(os.path.join(direct.config, "deny.yaml"))

    def works():
        with contextlib.suppress(RuntimeError):
            return direct.is_direct()
        return False

    wait_for(works, 15, "the end of the denial")


def test_a_policy_of_addresses_closes_too(direct):
    """Where new connections are to be judged one by one, in the tunnel, those that are open are judged like them."""
    wait_for(direct.is_direct, 15, "a direct connection")
    holders = [direct.client.popen(sys.executable, "-c", HOLDER, ip, str(PORT), stdout=subprocess.PIPE, text=True)
               for ip in (direct.server.ip4, direct.server.ip6)]
    try:
        assert [h.stdout.readline() for h in holders] == ["open\n"] * 2
        with open(os.path.join(direct.config, "deny.yaml"), "w", encoding="utf-8") as f:
            f.write(DENY_SOURCE % direct.client.ip4)
        assert holders[0].stdout.readline().strip() in ("ConnectionResetError", "ConnectionAbortedError", "eof")
        wait_for(lambda: not direct.works(), 15, "the denial")
        assert len(direct.node.connections()) == 2 and holders[1].poll() is None  # by its other address, at both ends
        for _ in range(3):  # each is asked about anew, or known to be ztunnel's
            assert direct.talk(PORT, direct.server.ip6) == direct.client.ip6
        assert "dropping a ztunnel connection" not in direct.log()
    finally:
        for h in holders:
            stop(h)


def test_explain_tells_the_direct_path(direct):
    """What the kernel has decided, before and after it knows the verdict, and when a policy denies."""
    def path(to, verdict):
        answer = direct.node.explain(direct.client.ip4, to)
        assert answer["verdict"] == verdict, answer["sentence"]
        return answer["kernel"]["path"], answer["kernel"].get("verdicts"), answer["sentence"]

    def denied():
        with contextlib.suppress(RuntimeError):
            direct.talk()  # asks
        with contextlib.suppress(AssertionError):
            return path(f"{direct.server.ip4}:{PORT}", "denied")[0] == "policy"
        return False

    def undecided():
        """The agent counts the pod as captured; ztunnel may have to hear of the server yet."""
        with contextlib.suppress(AssertionError):
            return path(f"{direct.server.ip4}:{PORT}", "allowed")[:2] == ("tunnel", {"allowed": 0, "denied": 0, "unknown": 1})
        return False

    wait_for(undecided, 15, "the tunnel, as long as no verdict is known")
    wait_for(direct.is_direct, 15, "a direct connection")
    for to in (f"{direct.server.ip4}:{PORT}", f"{VIP}:80"):
        way, verdicts, sentence = path(to, "allowed")
        assert (way, verdicts) == ("direct", {"allowed": 1, "denied": 0, "unknown": 0})
        assert "inside the node" in sentence
    direct.deny(PORT)
    wait_for(denied, 15, "the verdict to be denied")
    assert "direct/deny-port" in path(f"{direct.server.ip4}:{PORT}", "denied")[2]


def test_without_the_mesh_processes(direct):
    """All of them dead: what is known is served, what is not known is refused, never plain."""
    wait_for(direct.is_direct, 15, "a direct connection")
    direct.kill_node()
    assert direct.talk() == direct.client.ip4
    with pytest.raises(RuntimeError, match="ConnectionRefusedError"):
        direct.talk(OTHER)


def test_label_encrypt():
    """culvert.io/same-node: encrypt opts a namespace out: all that is known of its pods is what is denied."""
    d = Direct(labels="culvert.io/same-node: encrypt")
    try:
        for _ in range(4):
            assert not d.is_direct()
        wait_for(lambda: not misses(d), 15, "the verdict")
    finally:
        d.close()


def misses(direct, port=PORT):
    """How many questions one more connection is, by a tunnel."""
    before = direct.counter("verdict_miss")
    assert not direct.is_direct(port)
    return direct.counter("verdict_miss") - before


@pytest.mark.parametrize("options", [{"labels": "culvert.io/same-node: encrypt"}, {"mode": "encrypt"}, {"bypass": "off"}],
                         ids=["label", "option", "bypass"])
def test_a_known_denial_is_refused_by_connect_where_pods_use_tunnels(options):
    """The first connection asks, through ztunnel, the next ones are refused as direct ones are, by service too; others of the pair go
    on by tunnel, and all of them when the policy ends."""
    d = Direct(**options)

    def refused(*to):
        try:
            d.talk(*to, limit=5)
        except RuntimeError as e:
            return "ConnectionRefusedError" in str(e)
        return False

    with contextlib.closing(d):
        wait_for(lambda: not misses(d), 15, "the verdict")
        d.deny(PORT)
        for to in ((PORT, d.server.ip4), (80, VIP)):
            wait_for(lambda to=to: refused(*to), 15, "ECONNREFUSED")
            assert d.node.explain(d.client.ip4, f"{to[1]}:{to[0]}")["kernel"]["path"] == "policy"
        before = d.counter("policy"), d.counter("tunnel")
        assert refused(PORT) and refused(80, VIP)
        assert (d.counter("policy"), d.counter("tunnel")) == (before[0] + 2, before[1])
        wait_for(lambda: d.log().count("reason=policy") >= 2, 5, "the lines in the log")
        assert not d.is_direct(OTHER)
        os.unlink(os.path.join(d.config, "deny.yaml"))
        wait_for(d.works, 15, "the end of the denial")
        assert not d.is_direct()


def test_label_comes_later(direct):
    """The label takes effect on a running pod."""
    wait_for(direct.is_direct, 15, "a direct connection")
    direct.label("culvert.io/same-node: encrypt")
    wait_for(lambda: not direct.is_direct(), 15, "the end of direct connections")
    assert not direct.is_direct()


def test_default_is_direct():
    """It needs no option."""
    d = Direct(mode=None)
    try:
        wait_for(d.is_direct, 15, "a direct connection")
    finally:
        d.close()


def test_encrypt():
    """A node that wants tunnels only."""
    d = Direct(mode="encrypt")
    try:
        for _ in range(4):
            assert not d.is_direct()
    finally:
        d.close()
