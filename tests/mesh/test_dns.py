# SPDX-License-Identifier: Apache-2.0
"""Port 53 of meshed pods: names of services from the mesh, everything else from the pod's own nameserver."""

import pytest

QUERY = r"""
import random, socket, struct, sys
server, name, kind, proto = sys.argv[1:5]
number = {"A": 1, "AAAA": 28, "TXT": 16, "MX": 15}[kind]
ident = random.randrange(65536)
q = struct.pack("!HHHHHH", ident, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) \
    + b"\0" + struct.pack("!HH", number, 1)
family = socket.AF_INET6 if ":" in server else socket.AF_INET
if proto == "udp":
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(30); s.sendto(q, (server, 53)); a, peer = s.recvfrom(4096)
elif proto == "connected":
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(30); s.connect((server, 53)); s.send(q)
    a = s.recv(4096); peer = s.getpeername()
else:
    s = socket.create_connection((server, 53), 30); s.sendall(struct.pack("!H", len(q)) + q)
    f = s.makefile("rb"); a = f.read(struct.unpack("!H", f.read(2))[0]); peer = s.getpeername()
assert struct.unpack("!H", a[:2])[0] == ident
flags, _, count = struct.unpack("!HHH", a[2:8])
at = 12 + len(name) + 2 + 4
answers = []
for _ in range(count):
    while a[at] and a[at] < 192: at += a[at] + 1
    at += 2 if a[at] >= 192 else 1
    t, _, _, n = struct.unpack("!HHIH", a[at:at + 10]); at += 10
    d = a[at:at + n]; at += n
    if t == 1: answers.append(socket.inet_ntop(socket.AF_INET, d))
    elif t == 28: answers.append(socket.inet_ntop(socket.AF_INET6, d))
    elif t == 16: answers.append(d[1:].decode())
print(flags & 15, peer[0], *sorted(answers))
"""
DNS4, DNS6 = "10.96.0.10", "fd00:10:96::a"


def ask(pod, name, kind="A", server=DNS4, proto="udp"):
    """Return: [rcode, address that answered, answers...]."""
    return pod.run("/usr/bin/python3", "-c", QUERY, server, name, kind, proto).stdout.strip().split(" ", 2)


@pytest.mark.parametrize("proto", ["udp", "connected", "tcp"])
@pytest.mark.parametrize("server", [DNS4, DNS6])
def test_service_name_is_answered_from_the_asked_address(cluster, proto, server):
    code, peer, answer = ask(cluster.alice, "bob.demo.svc.cluster.local", "A", server, proto)
    assert (code, peer) == ("0", server)
    assert answer.startswith("10.96.")
    assert ask(cluster.alice, "bob.demo.svc.cluster.local", "AAAA", server, proto)[2].startswith("fd00:10:96::")


@pytest.mark.parametrize("proto", ["udp", "connected", "tcp"])
@pytest.mark.parametrize("server", [DNS4, DNS6])
@pytest.mark.parametrize("kind,want", [("A", "192.0.2.77"), ("AAAA", "2001:db8::77"), ("TXT", "from the cluster DNS")])
def test_unknown_names_go_to_the_nameserver_that_was_asked(cluster, proto, server, kind, want):
    assert ask(cluster.alice, "outside.example", kind, server, proto) == ["0", server, want]


def test_name_that_nobody_knows(cluster):
    assert ask(cluster.alice, "nobody.demo.svc.cluster.local")[0] == "3"


def test_search_list(cluster):
    out = cluster.alice.run("getent", "ahostsv4", "bob").stdout
    assert out.split()[0].startswith("10.96.")


def test_queries_are_counted(cluster, eventually):
    before = cluster.mesh["n1"].metric("istio_dns_requests_total")
    ask(cluster.alice, "bob.demo.svc.cluster.local")
    eventually(lambda: cluster.mesh["n1"].metric("istio_dns_requests_total") > before, what="the count")


def test_a_new_service_has_a_name_at_once(cluster, manifest, eventually):
    manifest("svc-late", """
apiVersion: v1
kind: Service
metadata: {name: late, namespace: demo}
spec:
  clusterIP: 10.96.200.1
  selector: {app: bob}
  ports: [{port: 80, targetPort: 7000}]
""")
    eventually(lambda: ask(cluster.alice, "late.demo.svc.cluster.local")[2:] == ["10.96.200.1"], what="name of the service")
    eventually(lambda: cluster.client(cluster.alice, "talk", "late", 80, text=cluster.plain, check=False)["ok"],
               what="its address to be known to the agent, too")
    cluster.say_secret(cluster.alice, "late", 80)
