# SPDX-License-Identifier: Apache-2.0
"""Names: what ServiceEntries give by name, and the nameservers of a pod's own resolv.conf, with real resolvers."""
import json
import os
import shutil
import struct
import sys
import time

import pytest
import who
from culvert_node import CulvertNode, Nodes, put_file, started, stop, wait_for, write_config
from topology import Topology, remove_stale, run

HERE = os.path.dirname(os.path.abspath(__file__))
NS = ["172.30.80.53", "172.30.80.54", "fd00:30:80::53"]
HOSTS = {"A": "172.30.80.61", "B": "172.30.80.62", "C": "172.30.80.63"}
PORT = 9000
ENTRY = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: demo}}
spec:
  hosts: [{host}]
  resolution: {resolution}
  location: MESH_EXTERNAL
  ports: [{{number: 80, name: tcp, protocol: TCP, targetPort: 9000}}]
  {more}
"""
SERVICE = """---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {clusterIP: 10.96.80.1, selector: {app: web}, ports: [{port: 80, targetPort: 9000}]}
"""
HEADLESS = """---
apiVersion: v1
kind: Service
metadata: {{name: many, namespace: demo}}
spec: {{clusterIP: None, ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: many-1, namespace: demo, labels: {{kubernetes.io/service-name: many}}}}
addressType: IPv4
endpoints: [{endpoints}]
ports: [{{port: 80}}]
"""


class Mesh(Nodes):
    """A client on node 1; nameservers and hosts outside the mesh, all on node 2 itself."""

    def __init__(self, work_dir):
        self.dir = work_dir
        self.config = os.path.join(work_dir, "config")
        remove_stale("cy")
        self.topology = Topology("cy", 80)
        self.client = self.topology.pod(1, "c")
        self.client.namespace, self.client.account = "demo", "default"
        self.client.resolv_conf = self.path("resolv.conf")
        self.server = self.topology.pod(1, "s")
        self.server.namespace, self.server.account, self.server.labels = "demo", "server", "app: web"
        self.outside = self.topology.nodes[1]
        for address in [*NS, *HOSTS.values()]:
            self.outside.ip("addr", "add", f"{address}/{'64' if ':' in address else '24'}", "dev", "uplink", "nodad")
        self.processes = {name: who.start(self.outside, name, PORT, address) for name, address in HOSTS.items()}
        self.processes["S"] = who.start(self.server, "S", PORT)
        self.zones = {}
        for address in NS:
            self.zone(address, {})
            self.serve(address)
        self.resolv_conf()
        self.nodes = []

    def path(self, name):
        """A file of this test run's."""
        return os.path.join(self.dir, name)

    def zone(self, address, zone):
        """What a nameserver says from now on."""
        put_file(self.path(f"zone-{address}"), json.dumps(zone))

    def serve(self, address):
        """Start a nameserver."""
        open(self.path(f"log-{address}"), "a", encoding="utf-8").close()
        self.processes[address] = self.outside.popen(sys.executable, os.path.join(HERE, "nameserver.py"), address,
                                                     self.path(f"zone-{address}"), self.path(f"log-{address}"))

    def asked(self, address, *words):
        """The queries that a nameserver got, those with all of these words."""
        with open(self.path(f"log-{address}"), encoding="utf-8") as f:
            return [line.split() for line in f if all(word in line.split() for word in words)]

    def resolv_conf(self, nameservers=(NS[0],), search="demo.svc.cluster.local svc.cluster.local cluster.local", options="ndots:5"):
        """The client's resolv.conf."""
        text = "".join(f"nameserver {n}\n" for n in nameservers) + (f"search {search}\n" if search else "") + f"options {options}\n"
        with open(self.path("resolv.conf"), "w", encoding="utf-8") as f:
            f.write(text)

    def write(self, *entries):
        """The configuration, whole at once."""
        write_config(self.config, self.topology.pods, SERVICE + "".join(entries))

    def start(self):
        """One node is enough: the other end is outside."""
        self.write()
        self.nodes.append(CulvertNode(self.topology.nodes[0], 1, self.config, "names"))
        self.nodes[0].wait_captured([self.client.name, self.server.name])

    def ask(self, host, count=1):
        """Who answered, a letter per connection."""
        return who.letters(self.client, host, 80, count)

    def dig(self, *args):
        """dig in the client's namespace. Return: its output."""
        return self.client.run("dig", "+tries=1", "+time=60", *args)

    def short(self, name, *args):
        """The answers alone."""
        return self.dig("+short", name, *args).split()

    def resolve(self, *argv):
        """Run a program in the client with its own /etc/resolv.conf."""
        return self.client.run("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"',
                               self.path("resolv.conf"), *argv)

    def entry(self, host, resolution="DNS", more="", beside=()):
        """A ServiceEntry in force. Return: its address."""
        self.write(ENTRY.format(name="entry", host=host, resolution=resolution, more=more), *beside)
        wait_for(lambda: self.short(host, f"@{NS[0]}")[:1] and self.short(host, f"@{NS[0]}")[0].startswith("240.240."), 10, host)
        return self.short(host, f"@{NS[0]}")[0]

    def log(self):
        """Of the node."""
        with open(self.nodes[0].log_path, encoding="utf-8") as f:
            return f.read()


@pytest.fixture(scope="module", name="mesh")
def fixture_mesh():
    with started(Mesh, "names") as m:
        yield m


def a(*hosts, ttl=30, **more):
    """A record of the zone."""
    return {"data": [HOSTS[h] for h in hosts], "ttl": ttl, **more}


def test_an_entrys_name_is_asked_of_the_pods_nameserver_and_balanced(mesh):
    mesh.zone(NS[0], {"db.example.com A": a("A", "B"), "db.example.com AAAA": {"data": []}})
    address = mesh.entry("db.example.com")
    before = len(mesh.asked(NS[0], "db.example.com", "A"))  # while the entry was not in force yet, the name went there too
    assert set(mesh.ask(address, 30)) == {"A", "B"}
    assert len(mesh.asked(NS[0], "db.example.com", "A")) == before + 1  # kept for its TTL
    metrics = mesh.topology.nodes[0].run("curl", "-sf", "http://127.0.0.1:15020/metrics")
    counted = [line for line in metrics.splitlines() if line.startswith("istio_on_demand_dns_total{")]
    assert [line.split()[-1] for line in counted if 'hostname="db.example.com"' in line] == ["30"], counted


def test_with_round_robin_only_the_first_address_counts(mesh):
    mesh.zone(NS[0], {"rr.example.com A": a("B", "A")})
    assert mesh.ask(mesh.entry("rr.example.com", "DNS_ROUND_ROBIN"), 20) == "B" * 20


def test_endpoints_may_be_names_and_follow_aliases(mesh):
    mesh.zone(NS[0], {"eu.example.com CNAME": {"data": ["real.example.com"]}, "real.example.com A": a("C"),
                      "us.example.com A": a("A")})
    address = mesh.entry("many.example.com", more="endpoints: [{address: eu.example.com}, {address: us.example.com}]")
    assert set(mesh.ask(address, 30)) == {"A", "C"}


def test_the_next_address_is_tried_when_one_refuses(mesh):
    stop(mesh.processes["A"])
    mesh.zone(NS[0], {"next.example.com A": a("A", "B")})
    assert mesh.ask(mesh.entry("next.example.com"), 20) == "B" * 20
    mesh.processes["A"] = who.start(mesh.outside, "A", PORT, HOSTS["A"])


def test_the_next_name_is_tried_when_all_addresses_of_one_refuse(mesh):
    stop(mesh.processes["C"])
    mesh.zone(NS[0], {"refuses.example.com A": a("C"), "refuses-too.example.com A": a("C"), "takes.example.com A": a("A")})
    address = mesh.entry("either.example.com", more="endpoints: [{address: refuses.example.com}, {address: takes.example.com}]")
    assert mesh.ask(address, 40) == "A" * 40
    address = mesh.entry("neither.example.com", more="endpoints: [{address: refuses.example.com}, {address: refuses-too.example.com}]")
    assert mesh.ask(address) == "-"
    assert "no address of the endpoint's name could be reached" in mesh.log()
    mesh.processes["C"] = who.start(mesh.outside, "C", PORT, HOSTS["C"])


def test_no_address_is_used_past_its_ttl(mesh):
    mesh.zone(NS[0], {"short.example.com A": a("A", ttl=1)})
    address = mesh.entry("short.example.com")
    assert mesh.ask(address) == "A"
    mesh.zone(NS[0], {"short.example.com A": a("B", ttl=1)})
    time.sleep(1.1)
    assert mesh.ask(address, 5) == "B" * 5
    mesh.zone(NS[0], {"short.example.com A": a("C", ttl=0)})
    time.sleep(1.1)
    before = len(mesh.asked(NS[0], "short.example.com", "A"))
    assert mesh.ask(address, 3) == "CCC"
    assert len(mesh.asked(NS[0], "short.example.com", "A")) == before + 3


BEHIND = """---
apiVersion: v1
kind: Service
metadata: {name: behind, namespace: demo}
spec: {clusterIP: 10.96.80.2, selector: {app: web}, ports: [{port: 9000}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec: {mtls: {mode: STRICT}}
"""


def test_a_name_of_the_mesh_is_reached_by_its_tunnel(mesh):
    """An alias of a pod, or of a Service with pods, that are enrolled: they take no plaintext, and none is sent."""
    for host, behind, service in (("pod.example.com", mesh.server.ip4, "pod.example.com"),
                                  ("service.example.com", "10.96.80.2", "behind.demo.svc.cluster.local")):
        mesh.zone(NS[0], {f"{host} A": {"data": [behind]}})
        assert mesh.ask(mesh.entry(host, beside=[BEHIND]), 10) == "S" * 10
        assert f'dst.addr={mesh.server.ip4}:15008 dst.hbone_addr={mesh.server.ip4}:9000 dst.service="{service}"' in mesh.log()


def test_a_name_that_dns_does_not_know_is_refused_with_that_reason_and_others_go_on(mesh):
    mesh.zone(NS[0], {"there.example.com A": a("A")})
    address = mesh.entry("nowhere.example.com")
    assert mesh.ask(address) == "-"
    wait_for(lambda: "the endpoint's name has no address in DNS" in mesh.log(), 10, "a line that says so")
    # of several endpoints the one that is known serves
    address = mesh.entry("somewhere.example.com",
                         more="endpoints: [{address: lost.example.com}, {address: there.example.com}]")
    assert mesh.ask(address, 10) == "A" * 10


def test_a_dead_nameserver_costs_the_connection_and_says_so(mesh):
    mesh.zone(NS[0], {"alive.example.com A": a("A")})
    mesh.write(*(ENTRY.format(name=n, host=f"{n}.example.com", resolution="DNS", more="") for n in ("dead", "alive")))
    wait_for(lambda: all(mesh.short(f"{n}.example.com", f"@{NS[0]}") for n in ("dead", "alive")), 10, "both entries")
    dead, alive = (mesh.short(f"{n}.example.com", f"@{NS[0]}")[0] for n in ("dead", "alive"))
    mesh.zone(NS[0], {"dead.example.com *": {"drop": True}, "alive.example.com A": a("A")})
    with mesh.client.popen(*who.asking(dead, 80), stdout=-1, text=True) as waiting:
        assert mesh.ask(alive, 5) == "A" * 5
        assert json.loads(waiting.communicate(timeout=60)[0]) == ["closed"]
    wait_for(lambda: "no nameserver of the pod answered" in mesh.log(), 10, "a line that says so")


QUERY = """
import socket, struct, sys
server, packet, proto = sys.argv[1], bytes.fromhex(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in server else socket.AF_INET
if proto == "udp":
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(60)
        s.sendto(packet, (server, 53))
        print(s.recv(65535).hex())
else:
    with socket.create_connection((server, 53), 60) as s:
        s.sendall(struct.pack("!H", len(packet)) + packet)
        f = s.makefile("rb")
        print(f.read(struct.unpack("!H", f.read(2))[0]).hex())
"""


def packet(name, kind=1, opcode=0):
    """A query."""
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return struct.pack("!6H", 4711, opcode << 11 | 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def raw(mesh, query, server=NS[0], proto="udp"):
    """The bytes that come back."""
    return bytes.fromhex(mesh.client.run(sys.executable, "-c", QUERY, server, query.hex(), proto).strip())


@pytest.fixture(name="three")
def fixture_three(mesh):
    """A pod with three nameservers."""
    for address in NS:
        mesh.zone(address, {})
    mesh.resolv_conf(NS)
    mesh.write()
    restart(mesh)
    yield mesh
    mesh.resolv_conf()
    mesh.write()
    restart(mesh)


def restart(mesh):
    """The pod, as far as the mesh is concerned: its resolv.conf is read when it comes."""
    os.rename(os.path.join(mesh.config, "mesh.yaml"), mesh.path("away"))
    wait_for(lambda: mesh.nodes[0].admin("agent", "/status")["pods"] == [], 10, "release")
    os.rename(mesh.path("away"), os.path.join(mesh.config, "mesh.yaml"))
    mesh.nodes[0].wait_captured([mesh.client.name, mesh.server.name])


@pytest.mark.parametrize("how,asked,proto", [
    ("silent", NS[0], "udp"), ("silent", NS[2], "tcp"), ("slow", NS[2], "udp"), ("slow", NS[0], "tcp"),
    ("gone", NS[0], "udp"), ("gone", NS[0], "tcp"), ("gone", NS[2], "udp"), ("gone", NS[2], "tcp")])
def test_a_failing_nameserver_is_helped_out_by_the_pods_next_one(three, how, asked, proto):
    name = f"{how}-{proto}-{asked[:2]}.example.com"
    for address in NS:
        three.zone(address, {f"{name} A": a("A")})
    if how == "gone":
        stop(three.processes[asked])
    else:
        three.zone(asked, {f"{name} A": {"drop": True} if how == "silent" else a("A", delay=20)})
    assert three.short(name, f"@{asked}", *(["+tcp"] if proto == "tcp" else [])) == [HOSTS["A"]]
    if how == "gone":
        three.serve(asked)
        wait_for(lambda: three.short(name, f"@{asked}") and three.asked(asked, name), 10, "the nameserver again")


def test_when_no_nameserver_answers_the_pod_hears_it_in_time(three):
    for address in NS:
        three.zone(address, {"*": {"drop": True}})
    waiting = {proto: three.client.popen(sys.executable, "-c", QUERY, NS[0], packet(f"nobody-{proto}.example.com").hex(), proto,
                                         stdout=-1, text=True) for proto in ("udp", "tcp")}
    for proto, process in waiting.items():
        answer = bytes.fromhex(process.communicate(timeout=60)[0])
        assert answer[:2] == packet("x")[:2] and answer[3] & 15 == 2  # SERVFAIL
        assert all(three.asked(address, f"nobody-{proto}.example.com") for address in NS)


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_an_update_is_passed_on_once_and_untouched(three, proto):
    three.zone(NS[0], {"*": {"rcode": 5, "delay": 2}})
    query = packet(f"update-{proto}.example.com", 6, opcode=5)
    answer = raw(three, query, proto=proto)
    assert answer[3] & 15 == 5 and answer[2] >> 3 & 15 == 5
    assert [line[4] for line in three.asked(NS[0], f"update-{proto}.example.com")] == [query.hex()]
    assert not any(three.asked(address, f"update-{proto}.example.com") for address in NS[1:])


@pytest.mark.parametrize("kind,data", [("TXT", "hello"), ("SRV", "0 5 443 db.example.com")])
def test_other_types_are_the_nameservers_to_answer(mesh, kind, data):
    mesh.zone(NS[0], {f"other.example.com {kind}": {"data": [data], "ttl": 7}})
    assert data.split()[-1] in mesh.dig("+noall", "+answer", "other.example.com", kind, f"@{NS[0]}")
    assert mesh.dig("+noall", "+answer", "other.example.com", kind, f"@{NS[0]}").split()[1] == "7"


def test_the_name_of_an_external_service_is_the_nameservers_to_answer(mesh):
    mesh.zone(NS[0], {"ext.demo.svc.cluster.local CNAME": {"data": ["db.example.com"]}, "db.example.com A": a("B")})
    mesh.write("""---
apiVersion: v1
kind: Service
metadata: {name: ext, namespace: demo}
spec: {type: ExternalName, externalName: db.example.com}
""")
    assert mesh.short("ext.demo.svc.cluster.local", f"@{NS[0]}") == ["db.example.com.", HOSTS["B"]]


def test_odd_names_and_types_pass(mesh):
    mesh.zone(NS[0], {"_sip._tcp.example.com *": {"data": []}})
    for name, kind in (("_sip._tcp.example.com", "NAPTR"), ("_sip._tcp.example.com", "TYPE65280")):
        assert "status: NOERROR" in mesh.dig(name, kind, f"@{NS[0]}")


@pytest.mark.parametrize("size,is_cut", [("+bufsize=4096", False), ("+noedns", True), ("+bufsize=512", True)])
def test_edns_and_truncation_are_the_clients_and_the_nameservers(mesh, size, is_cut):
    mesh.zone(NS[0], {"big.example.com TXT": {"pad": 10}})
    out = mesh.dig("+ignore", size, "big.example.com", "TXT", f"@{NS[0]}")
    assert (" tc" in out.split("flags:")[1].split(";")[0]) == is_cut
    out = mesh.dig(size, "big.example.com", "TXT", f"@{NS[0]}")  # over TCP where it must
    assert "ANSWER: 10" in out and ("(TCP)" in out) == is_cut


def test_a_mesh_name_too_long_for_udp_is_cut_and_comes_over_tcp(mesh):
    addresses = [f"192.0.2.{i}" for i in range(1, 41)]  # more than 512 bytes hold
    mesh.write(HEADLESS.format(endpoints=", ".join(f"{{addresses: [{address}]}}" for address in addresses)))
    name = "many.demo.svc.cluster.local"
    wait_for(lambda: mesh.short("+tcp", name, f"@{NS[0]}"), 10, "the name")
    out = mesh.dig("+ignore", "+noedns", name, f"@{NS[0]}")
    assert " tc" in out.split("flags:")[1].split(";")[0] and "(UDP)" in out
    out = mesh.dig("+noedns", name, f"@{NS[0]}")  # asks again where it was cut
    assert "(TCP)" in out
    assert sorted(mesh.short(name, "+noedns", f"@{NS[0]}")) == sorted(addresses)
    assert sorted(mesh.short(name, "+bufsize=4096", "+ignore", f"@{NS[0]}")) == sorted(addresses)


def getaddrinfo(mesh, *names):
    """glibc's resolver in the client. Return: the first address of each name, "-" for none."""
    code = ("import socket,sys\nfor n in sys.argv[1:]:\n try: print(socket.getaddrinfo(n, 80, socket.AF_INET)[0][4][0])\n"
            " except OSError: print('-')")
    return mesh.resolve(sys.executable, "-c", code, *names).split()


MUSL = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
		char text[64] = "-";
		if (getaddrinfo(argv[i], "80", &hints, &found) == 0)
			inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof(text));
		puts(text);
	}
	return 0;
}
"""


@pytest.fixture(scope="module", name="musl")
def fixture_musl(mesh):
    """A program that asks musl's resolver."""
    if not shutil.which("musl-gcc"):
        pytest.skip("no musl-gcc (package musl-tools)")
    with open(mesh.path("ask.c"), "w", encoding="ascii") as f:
        f.write(MUSL)
    run("musl-gcc", "-static", "-o", mesh.path("ask"), f.name)
    return lambda *names: mesh.resolve(mesh.path("ask"), *names).split()


def test_musls_resolver_finds_names_of_the_mesh_and_others(three, musl):
    for address in NS:
        three.zone(address, {"www.example.com A": a("B"), "slow.example.com A": a("C")})
    three.zone(NS[0], {"www.example.com A": a("B"), "slow.example.com *": {"drop": True}})
    names = ("web", "web.demo", "web.demo.svc.cluster.local", "www.example.com", "slow.example.com", "nobody.example.com")
    assert musl(*names) == ["10.96.80.1"] * 3 + [HOSTS["B"], HOSTS["C"], "-"]


def test_the_pods_own_search_list_and_ndots_decide(mesh):
    mesh.zone(NS[0], {"plain.corp.example A": a("A"), "web.corp.example A": a("B"), "two.labels.corp.example A": a("C")})
    mesh.write()
    assert getaddrinfo(mesh, "web", "web.demo", "web.demo.svc.cluster.local", "plain") == ["10.96.80.1"] * 3 + ["-"]
    mesh.resolv_conf(search="corp.example demo.svc.cluster.local", options="ndots:1")
    restart(mesh)
    # the first domain of the list that has the name has it
    assert getaddrinfo(mesh, "web", "plain") == [HOSTS["B"], HOSTS["A"]]
    mesh.resolv_conf(search="")
    restart(mesh)
    assert getaddrinfo(mesh, "web", "plain", "web.demo.svc.cluster.local") == ["-", "-", "10.96.80.1"]
    assert mesh.short("web", f"@{NS[0]}") == []
    mesh.resolv_conf()
    restart(mesh)


def test_a_range_leads_to_the_entrys_endpoints(mesh):
    more = f"addresses: [10.99.0.0/16]\n  endpoints: [{{address: {HOSTS['A']}}}]"
    mesh.write(ENTRY.format(name="range", host="range.example.com", resolution="STATIC", more=more))
    wait_for(lambda: mesh.ask("10.99.3.4") == "A", 10, "the range")
    assert mesh.ask("10.99.255.255", 3) == "AAA"
    mesh.write()
    wait_for(lambda: "10.99.0.0" not in str(mesh.nodes[0].admin("ztunnel", "/config_dump")), 10, "the entry gone")


@pytest.mark.parametrize("resolution,more", [("STATIC", f"endpoints: [{{address: {HOSTS['A']}}}]"), ("DNS", "")])
def test_an_entrys_address_may_be_its_endpoints(mesh, resolution, more):
    """As for a database outside the mesh. Its other ports are nobody's business."""
    mesh.zone(NS[0], {"own.example.com A": a("A")})
    entry = ENTRY.format(name="own", host="own.example.com", resolution=resolution,
                         more=f"addresses: [{HOSTS['A']}/32]\n  {more}").replace("number: 80", f"number: {PORT}")
    mesh.write(entry)
    wait_for(lambda: "own.example.com" in str(mesh.nodes[0].admin("ztunnel", "/config_dump")), 10, "the entry")
    assert who.letters(mesh.client, HOSTS["A"], PORT, 5) == "A" * 5
    assert f'dst.addr={HOSTS["A"]}:{PORT} dst.service="own.example.com"' in mesh.log()


@pytest.mark.parametrize("to,wanted", [("[demo]", True), ("['.']", True), ("['*']", True), ("[other]", False), ("['~']", False),
                                       ("[other, demo]", True)])
def test_who_sees_an_entry(mesh, to, wanted):
    mesh.zone(NS[0], {"seen.example.com A": a("B")})
    mark = f"mark-{to.encode().hex()}.example.com"  # another one each time: what is told of the last case is no sign of this one
    mesh.write(ENTRY.format(name="seen", host="seen.example.com", resolution="DNS", more=f"exportTo: {to}"),
               ENTRY.format(name="mark", host=mark, resolution="DNS", more="exportTo: ['.']"))
    wait_for(lambda: mesh.short(mark, f"@{NS[0]}"), 10, "the entries")
    (answer,) = mesh.short("seen.example.com", f"@{NS[0]}")
    assert answer.startswith("240.240.") == wanted


def test_explain_names_what_dns_has_to_find(mesh):
    address = mesh.entry("why.example.com")
    out = mesh.nodes[0].admin("ztunnel", f"/explain?from={mesh.client.ip4}&to={address}:80")
    assert [(r["kind"], r["dial"]) for r in out["routes"]] == [("plain", "why.example.com:9000")]


REGISTRY_ONLY = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
"""


def test_under_registry_only_who_asks_for_a_registered_name_is_let_out(mesh):
    """Of an entry that leaves resolving to its client: a name is all that is known of it, and layer 4 does not see it."""
    def answer():
        return (mesh.short("named.example.com", f"@{NS[0]}") or [""])[0]

    mesh.zone(NS[0], {"named.example.com A": a("B")})
    named = ENTRY.format(name="named", host="named.example.com", resolution="NONE", more="").replace("protocol: TCP", "protocol: TLS")
    mesh.write(named)
    wait_for(lambda: answer() == HOSTS["B"], 30, "the nameserver's answer")
    assert who.letters(mesh.client, HOSTS["B"], PORT) == "B"
    mesh.write(named, REGISTRY_ONLY)
    wait_for(lambda: answer().startswith("240.240."), 30, "an address of its own")
    wait_for(lambda: who.letters(mesh.client, HOSTS["B"], PORT) == "-", 30, "REGISTRY_ONLY")
    wait_for(lambda: mesh.ask(answer(), 5) == "B" * 5, 30, "the way there")
    told = [e for e in mesh.nodes[0].admin("control", "/status")["errors"] if e.get("name") == "named"]
    assert len(told) == 1 and "resolved as with DNS" in str(told), told
    mesh.write(named)
    wait_for(lambda: who.letters(mesh.client, HOSTS["B"], PORT) == "B" and answer() == HOSTS["B"], 30, "ALLOW_ANY again")


def test_under_registry_only_names_below_a_registered_wildcard_are_let_out(mesh):
    """And no other, nor any address that nobody was told."""
    def answer(name, *more):
        return (mesh.short(name, f"@{NS[0]}", *more) or [""])[0]

    names = {"B": "b.wild.example.com", "C": "c.deep.wild.example.com"}
    mesh.zone(NS[0], {f"{name} A": a(letter) for letter, name in names.items()} |
              {"wild.example.com A": a("A"), "six.wild.example.com AAAA": {"data": ["fd00:30:80::61"]},
               "ill.wild.example.com *": {"rcode": 2}})
    wild = ENTRY.format(name="wild", host="'*.wild.example.com'", resolution="NONE", more="").replace("protocol: TCP", "protocol: TLS")
    mesh.write(wild, REGISTRY_ONLY)
    for letter, name in names.items():
        wait_for(lambda n=name: answer(n).startswith("241."), 30, f"an address of its own for {name}")
        wait_for(lambda n=name, w=letter: mesh.ask(answer(n), 5) == w * 5, 30, "the way there")
    assert answer(names["B"]) != answer(names["C"])
    assert answer(names["B"], "+tcp") == answer(names["B"])
    assert answer("six.wild.example.com", "AAAA").startswith("2001:2:0:1:") and not answer("six.wild.example.com")
    # as a search list that has a domain below a wildcard makes of each name elsewhere: it is the nameserver that knows better
    for how in ("+notcp", "+tcp"):
        assert "status: NXDOMAIN" in mesh.dig("api.example.org.wild.example.com", how, f"@{NS[0]}")
        assert "status: SERVFAIL" in mesh.dig("ill.wild.example.com", how, f"@{NS[0]}")
    assert answer("wild.example.com") == HOSTS["A"], "the wildcard's own domain is not below it"
    for letter in HOSTS:
        assert who.letters(mesh.client, HOSTS[letter], PORT) == "-", "an address that was not had by name"
    taken = {int(answer(name).rsplit(".", 1)[1]) for name in names.values()}
    taken.add(int(answer("six.wild.example.com", "AAAA").rsplit(":", 1)[1], 16))
    free = next(n for n in range(1, 255) if n not in taken)
    unasked = answer(names["B"]).rsplit(".", 1)[0] + f".{free}"
    assert mesh.ask(unasked) == "-"
    wait_for(lambda: f"dst.addr={unasked}:80" in mesh.log() and "this pod has not asked of late for the name" in mesh.log(), 30,
             "the reason in the log")
    told = [e for e in mesh.nodes[0].admin("control", "/status")["errors"] if e.get("name") == "wild"]
    assert len(told) == 1 and "of a wildcard up to 254 names at a time on a node" in str(told), told
    # HTTP and TLS ports beside a TCP one: that port is any host's, and the names go on leading where they lead
    beside = wild.replace("targetPort: 9000}", f"targetPort: 9000}}, {{number: {PORT}, name: open, protocol: TCP}}")
    assert beside != wild
    mesh.write(beside, REGISTRY_ONLY)
    wait_for(lambda: who.letters(mesh.client, HOSTS["A"], PORT) == "A", 30, "the TCP port of any host")
    wait_for(lambda: mesh.ask(answer(names["C"]), 5) == "C" * 5, 30, "the way to a name's TLS port")
    assert mesh.ask(unasked) == who.letters(mesh.client, unasked, PORT) == "-"
    mesh.write(wild)
    wait_for(lambda: answer(names["B"]) == HOSTS["B"] and who.letters(mesh.client, HOSTS["B"], PORT) == "B", 30, "ALLOW_ANY again")
