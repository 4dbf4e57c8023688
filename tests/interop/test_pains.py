# SPDX-License-Identifier: Apache-2.0
"""What users of ambient meshes have reported as pains does not happen here. Elsewhere are: open connections outlive enrolment
(tests/mesh/test_label.py), REGISTRY_ONLY is enforced, ports and ranges can be excluded (test_exclusions.py), the next endpoint
is tried at once and a terminating pod gets nothing new (test_endpoints.py). What pools of double HBONE do to the traffic between
networks (istio#58039, #57878) has no test: no tunnel goes through another here, as there are no gateways between networks."""
import os
import signal
import sys
import threading
import time

import pytest
import who
from culvert_node import BIN, started, wait_for
from pair import Held, Pair, works
from topology import Pod

LOADGEN = os.path.join(BIN, "loadgen")
PORT, ECHO_PORT, PIECES_PORT, VIP = 8080, 9100, 9200, "10.96.75.1"
RUSH = 1500
RSS_KEPT_MAX_KB = 2048
# A nameserver that sends back what it got, marked as an answer.
NAMESERVER = """
import socket, struct, sys, threading
def mirror(query):
    return query[:2] + bytes([query[2] | 0x80]) + query[3:]
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 53))
    while True:
        query, peer = s.recvfrom(4096)
        s.sendto(mirror(query), peer)
threading.Thread(target=udp, daemon=True).start()
server = socket.create_server(("", 53))
while True:
    conn, _ = server.accept()
    with conn:
        size = conn.recv(2, socket.MSG_WAITALL)
        conn.sendall(size + mirror(conn.recv(struct.unpack("!H", size)[0], socket.MSG_WAITALL)))
"""
LOOK_UP = """
import socket, struct, sys
query = bytes.fromhex(sys.argv[3])
if sys.argv[1] == "udp":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    s.sendto(query, (sys.argv[2], 53))
    print(s.recvfrom(4096)[0].hex())
else:
    s = socket.create_connection((sys.argv[2], 53), 30)
    s.sendall(struct.pack("!H", len(query)) + query)
    print(s.recv(struct.unpack("!H", s.recv(2, socket.MSG_WAITALL))[0], socket.MSG_WAITALL).hex())
"""
# Answers in pieces, as it is done with a head and a body, Nagle's algorithm on.
PIECES = f"""
import socket
server = socket.create_server(("", {PIECES_PORT}))
while True:
    conn, _ = server.accept()
    with conn:
        conn.recv(1)
        for _ in range(3):
            conn.send(b"piece")
        conn.recv(1)
"""
ASK_FOR_PIECES = f"""
import socket, sys
for _ in range(40):
    with socket.create_connection((sys.argv[1], {PIECES_PORT}), 30) as conn:
        conn.send(b"x")
        assert conn.makefile("rb").read(15) == b"piece" * 3
"""
SERVICE = f"""---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: pains}}
spec: {{clusterIP: {VIP}, selector: {{app: web}}, ports: [{{port: 80, targetPort: {PORT}}}]}}
"""


class Pains(Pair):
    """`client` on node 1, `a` and `b` behind a service on node 2; `nameserver` in no mesh."""

    def __init__(self, work_dir):
        super().__init__(work_dir, "pains", "cp", 75)
        self.client = self.pod(1, "c")
        self.a, self.b = (self.pod(2, name, name) for name in "ab")
        self.serving = {}
        for pod in (self.a, self.b):
            pod.labels = "app: web"
            self.answer(pod)
        self.serve(self.b, LOADGEN, "serve", str(ECHO_PORT))
        self.serve(self.b, sys.executable, "-c", PIECES)
        self.nameserver = self.topology.pod(2, "ns")
        self.serve(self.nameserver, sys.executable, "-c", NAMESERVER)

    def start(self):
        """Both nodes, both servers behind the service."""
        self.write(SERVICE)
        super().start()
        wait_for(lambda: {"a", "b"} <= set(self.ask(VIP, count=10)), 20, "both servers")

    def answer(self, pod):
        """Start the application of a server, which says the last letter of its pod's name."""
        self.serving[pod.name] = who.start(pod, pod.name[-1], PORT)
        self.processes.append(self.serving[pod.name])

    def ask(self, host, port=80, count=1):
        """What each of so many connections of the client got."""
        return who.ask(self.client, host, port, count)

    def look_up(self, pod, query, proto="udp"):
        """A nameserver's answer."""
        return bytes.fromhex(pod.run(sys.executable, "-c", LOOK_UP, proto, self.nameserver.ip4, query.hex()))

    def replace(self, old, name, account):
        """Another pod with the addresses of one that is gone without a word."""
        old.node.ip("link", "del", f"h{old.name}")
        new = self.adopt(Pod(old.node, name, old.ip4, old.ip6), account)
        self.answer(new)
        return new


@pytest.fixture(scope="module", name="pains")
def fixture_pains():
    with started(Pains, "pains") as pains:
        yield pains


def question(name, kind, kind_class=1):
    """The question section of a name, as text."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("latin-1").split(b".") if label)
    return labels + b"\0" + kind.to_bytes(2, "big") + kind_class.to_bytes(2, "big")


def message(opcode=0, sections=(1, 0, 0, 0), body=b""):
    """A query."""
    head = bytes.fromhex("4242") + bytes([opcode << 3 | 1, 0])
    return head + b"".join(n.to_bytes(2, "big") for n in sections) + body


A_RECORD = question("new.example.com", 1) + bytes.fromhex("00000e10 0004 c0000201")
QUERIES = {
    "UPDATE": message(5, (1, 0, 1, 0), question("example.com", 6) + A_RECORD),
    "NOTIFY": message(4, body=question("example.com", 6)),
    "STATUS": message(2, (0, 0, 0, 0)),
    "SRV": message(body=question("_ldap._tcp.example.com", 33)),
    "SRV of a mesh service": message(body=question("_http._tcp.web.pains.svc.cluster.local", 33)),
    "HTTPS": message(body=question("example.com", 65)),
    "ANY": message(body=question("example.com", 255)),
    "PTR": message(body=question("1.2.0.192.in-addr.arpa", 12)),
    "TXT of class CH": message(body=question("version.bind", 16, 3)),
    "the root": message(body=question("", 2)),
    "bytes that are no letters": message(body=b"\x04a\x00\xff.\x07exa mpl\x00\x00\x01\x00\x01"),
    "mixed case": message(body=question("ExAmPlE.CoM", 1)),
    "a label of 63 and a name of 250": message(body=question(".".join(["x" * 63] * 3 + ["y" * 57]), 1)),
    "EDNS with a cookie": message(0, (1, 0, 0, 1), question("example.com", 1) +
                                  bytes.fromhex("00 0029 1000 00000000 000c 000a0008 0123456789abcdef")),
    "two questions": message(0, (2, 0, 0, 0), question("example.com", 1) + question("example.org", 28)),
}


@pytest.mark.parametrize("proto", ["udp", "tcp"])
@pytest.mark.parametrize("kind", QUERIES)
def test_dns_that_is_not_the_meshs_reaches_the_nameserver_and_returns_untouched(pains, kind, proto):
    query = QUERIES[kind]
    answer = pains.look_up(pains.client, query, proto)
    assert answer == query[:2] + bytes([query[2] | 0x80]) + query[3:]


def test_the_pods_own_search_list_decides_what_a_name_means(pains):
    """Two pods of one namespace: one with the cluster's list, one with another."""
    pods = {}
    for name, domain in (("k", "pains.svc.cluster.local"), ("l", "corp.example")):
        pods[name] = pod = pains.pod(1, name)
        pod.resolv_conf = os.path.join(pains.work_dir, f"resolv-{name}.conf")
        with open(pod.resolv_conf, "w", encoding="ascii") as f:
            f.write(f"nameserver {pains.nameserver.ip4}\nsearch {domain}\noptions ndots:5\n")
    pains.write(SERVICE)
    pains.wait_captured(pains.pods)
    for added, knows in (("", "kl"), (".pains.svc.cluster.local", "k"), (".corp.example", "")):
        query = message(body=question(f"web.pains.svc.cluster.local{added}", 1))
        for name, pod in pods.items():
            answer = pains.look_up(pod, query)
            assert answer.endswith(bytes(map(int, VIP.split(".")))) == (name in knows), (added, name, answer)
            assert name in knows or answer[12:] == query[12:], "what is not the mesh's is the nameserver's, untouched"


@pytest.mark.parametrize("setting", ["lo.disable_ipv6", "all.disable_ipv6"])
def test_a_pod_without_ipv6_is_captured_resolves_and_connects(pains, setting):
    pod = pains.topology.pod(1, "v" + setting[0])
    pod.sysctl(f"net.ipv6.conf.{setting}", 1)
    if setting.startswith("all"):
        pod.ip6 = None
    pains.adopt(pod)
    pains.write(SERVICE)
    pains.wait_captured(pains.pods)
    answer = pains.look_up(pod, message(body=question("web.pains.svc.cluster.local", 1)))
    assert answer.endswith(bytes(map(int, VIP.split("."))))
    said = who.ask(pod, VIP, 80, 4)
    assert set(said) <= {"a", "b"}, said


def test_a_rollout_fails_no_connection(pains):
    """The application of a pod ends, and only later does the source say so; then it comes back. It ends between two connections:
    one that it has accepted dies with it, mesh or not."""
    said, is_over, turn = [], threading.Event(), threading.Lock()

    def hammer():
        while not is_over.is_set():
            with turn:
                said.extend(pains.ask(VIP, count=20))
            time.sleep(0.01)

    def answered_more():
        """Connections that began from now on."""
        wanted = len(said) + 60  # of a round that is under way, and two more
        wait_for(lambda: len(said) >= wanted, 60, "more answers")

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        for pod in (pains.a, pains.b):
            with turn:
                pains.serving[pod.name].kill()
                pains.serving[pod.name].wait()
            answered_more()
            pains.write(SERVICE, without=[pod])
            answered_more()
            pains.answer(pod)
            pains.write(SERVICE)
            pains.wait_captured(pains.pods)
            wait_for(lambda p=pod: p.name[-1] in pains.ask(VIP, count=10), 20, "the pod's answer")
    finally:
        is_over.set()
        thread.join()
    assert len(said) > 20 and set(said) == {"a", "b"}, [s for s in said if s not in "ab"]


def test_a_rush_of_connections_leaves_neither_memory_nor_descriptors(pains):
    sizes, fds = [], []
    for _ in range(4):
        held = Held(pains.client, pains.b.ip4, ECHO_PORT, RUSH).opened()
        assert held.count == RUSH
        peak = [pains.fds(n) for n in (1, 2)]
        held.close()
        wait_for(lambda p=peak: all(pains.fds(n) < p[n - 1] - RUSH * 0.9 for n in (1, 2)), 20, "descriptors to come back")
        time.sleep(1)
        sizes.append([pains.rss_kb(n) for n in (1, 2)])
        fds.append([pains.fds(n) for n in (1, 2)])
    print("RSS", sizes, "descriptors", fds)
    # what the C library has kept goes back within a look's time, which may not have come after the last rush
    wait_for(lambda: all(pains.rss_kb(n) < sizes[0][n - 1] + RSS_KEPT_MAX_KB for n in (1, 2)), 20, "memory to come back")
    for i in (0, 1):
        assert fds[3][i] <= max(fds[0][i], fds[1][i]) + 64


def delayed_acks(pod):
    """How many ACKs a pod's TCP has held back until their time was over."""
    names, values = (line.split() for line in pod.run("grep", "^TcpExt", "/proc/net/netstat").splitlines())
    return int(values[names.index("DelayedACKs")])


def test_an_answer_in_pieces_waits_for_no_ack(pains):
    """Nagle's algorithm holds the second piece until the first one is acknowledged: ztunnel's end must not delay that."""
    wait_for(lambda: works(pains.client, pains.b.ip4, ECHO_PORT), 30, "a first connection")

    def grown():
        before = delayed_acks(pains.b)
        pains.client.run(sys.executable, "-c", ASK_FOR_PIECES, pains.b.ip4)
        return delayed_acks(pains.b) - before

    wait_for(lambda: grown() < 20, 60, "40 answers without a delayed ACK for each")


def test_a_tunnel_to_a_pod_that_died_is_never_used_for_its_successor(pains):
    """A pod dies without a FIN, its address goes to another one; first this node does not know, then it does."""
    old = pains.pod(2, "d", "old")
    pains.answer(old)
    pains.write(SERVICE)
    pains.wait_captured(pains.pods)
    assert pains.ask(old.ip4, PORT) == ["d"]
    new = pains.replace(old, f"{pains.topology.prefix}e", "new")
    heard = who.start(new, "e", PORT + 1, "", "tell")
    control = pains.pid(1, "culvert-control")
    os.kill(control, signal.SIGSTOP)  # node 1 goes on with what it knows
    try:
        pains.pods.remove(old)
        pains.write(SERVICE)
        pains.nodes[1].wait_captured([new.name])
        said = pains.ask(old.ip4, PORT + 1, 3)
        assert not set(said) & {"d", "e"}, said
    finally:
        os.kill(control, signal.SIGCONT)
    wait_for(lambda: pains.ask(new.ip4, PORT + 1) == ["e"], 20, "the new pod")
    assert pains.ask(new.ip4, PORT + 1, 10) == ["e"] * 10
    heard.kill()
    assert len(heard.stdout.read().splitlines()) >= 11, "nothing but what was answered has arrived"
