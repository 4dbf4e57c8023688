# SPDX-License-Identifier: Apache-2.0
"""Every word of `culvert` that asks why, against two real nodes: what it says is compared with what happens."""
import json
import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from culvert_node import BIN, Nodes, started, stop, wait_for, write_config
from topology import Topology, remove_stale

STREAM = os.path.join(os.path.dirname(__file__), "stream.py")
OPEN, CLOSED, PORT = 9300, 9301, 9300
POLICIES = """---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: words}}
spec:
  clusterIP: 10.97.88.1
  selector: {{app: web}}
  ports: [{{name: a, port: 80, targetPort: 9300}}, {{name: b, port: 81, targetPort: 9301}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: outsider, namespace: words, labels: {{istio.io/dataplane-mode: none}}}}
spec: {{nodeName: n1, serviceAccountName: outsider}}
status: {{podIP: {outsider}, podIPs: [{{ip: {outsider}}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-9301, namespace: words}}
spec:
  action: DENY
  rules: [{{to: [{{operation: {{ports: ["9301"]}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: known, namespace: words}}
spec:
  action: ALLOW
  rules: [{{from: [{{source: {{principals: ["cluster.local/ns/words/sa/client"]}}}}]}}]
"""
HOLD = """import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
s.settimeout(30)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    s.sendall(b"x" * 1000)
    time.sleep(0.02)
"""
SINK = """import socket, sys, threading
def serve(port):
    l = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        c, _ = l.accept()
        threading.Thread(target=drain, args=(c,), daemon=True).start()
def drain(c):
    try:
        c.sendall(b"hi")
        while c.recv(65536): pass
    except OSError: pass
    c.close()
for p in sys.argv[2:]: threading.Thread(target=serve, args=(int(p),), daemon=True).start()
serve(int(sys.argv[1]))
"""


class Mesh(Nodes):
    """client on node 1, server and outsider (unmeshed, node 1), one service."""

    def __init__(self, work_dir):
        remove_stale("cw")
        self.processes, self.nodes = [], []
        self.topology = Topology("cw", 88)
        self.client = self.topology.pod(1, "c")
        self.outsider = self.topology.pod(1, "o")
        self.server = self.topology.pod(2, "s")
        for pod, account in ((self.client, "client"), (self.server, "server")):
            pod.namespace, pod.account = "words", account
        for pod in (self.server, self.outsider):
            self.run_in(pod, sys.executable, "-c", SINK, str(OPEN), str(CLOSED))
        self.server.labels = "app: web"
        self.config = os.path.join(work_dir, "config")
        write_config(self.config, [self.client, self.server], POLICIES.format(outsider=self.outsider.ip4))

    def start(self):
        """Both nodes."""
        self.start_both(self.config, "words", [self.client, self.server])

    def ended(self, *argv, node=0, code=0):
        """One word, which must end with this code."""
        done = subprocess.run([os.path.join(BIN, "culvert"), *argv, "--run-dir", self.nodes[node].run_dir],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, (argv, done.returncode, done.stdout, done.stderr)
        assert "\033" not in done.stdout  # colours are for terminals
        return done

    def culvert(self, *argv, node=0, code=0):
        """What it says, of an error if that is its code."""
        done = self.ended(*argv, node=node, code=code)
        return done.stdout if code == 0 else done.stderr

    def json(self, *argv, **kwargs):
        """Its output with -o json, parsed."""
        return json.loads(self.ended(*argv, "-o", "json", **kwargs).stdout)

    def explain(self, source, to):
        """The answer of explain, asked of node 1."""
        return self.json("explain", source, to)


def connects(pod, host, port):
    """Does the pod get the server's greeting?"""
    code = ("import socket,sys; s=socket.create_connection((sys.argv[1],int(sys.argv[2])),30); s.settimeout(30); "
            "sys.exit(s.recv(2)!=b'hi')")
    return subprocess.run(pod.enter(sys.executable, "-c", code, host, str(port)), stderr=subprocess.DEVNULL,
                          timeout=90, check=False).returncode == 0


@pytest.fixture(scope="module")
def mesh():
    """Two nodes with policies."""
    with started(Mesh, "words") as m:
        yield m


def fits(text):
    """Tables fit 100 columns."""
    return all(len(line) <= 100 for line in text.splitlines())


def test_explain_says_what_happens(mesh):
    cases = [
        (mesh.client, mesh.server.ip4, OPEN, "allowed", "words/known"),
        (mesh.client, mesh.server.ip6, OPEN, "allowed", "words/known"),
        (mesh.client, mesh.server.ip4, CLOSED, "denied", "words/no-9301"),
        (mesh.outsider, mesh.server.ip4, OPEN, "denied", ""),
        (mesh.client, mesh.outsider.ip4, OPEN, "outside", None),
    ]
    for source, host, port, verdict, policy in cases:
        to = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        answer = mesh.explain(source.ip4, to)
        assert answer["verdict"] == verdict, (to, answer)
        assert connects(source, host, port) == (verdict in ("allowed", "outside")), (to, answer["sentence"])
        if policy is not None:
            assert answer["routes"][0]["inbound"]["policy"] == policy
            assert answer["routes"][0]["evaluatedBy"] == "n2"


def test_explain_names_path_certificate_and_endpoints(mesh):
    answer = mesh.explain(f"words/{mesh.client.name}", "web.words:80")
    assert answer["kernel"]["path"] == "tunnel"
    assert answer["certificate"]["identity"] == "spiffe://cluster.local/ns/words/sa/client"
    route, = answer["routes"]
    assert route["kind"] == "tunnel"
    assert route["dial"] == f"{mesh.server.ip4}:15008"
    assert route["target"] == f"{mesh.server.ip4}:{OPEN}"
    assert route["identities"] == ["spiffe://cluster.local/ns/words/sa/server"]
    text = mesh.culvert("explain", mesh.client.name, "web:80")
    assert "is let in because the ALLOW policy words/known matches." in " ".join(text.split())
    assert fits(text)
    assert "What would change it" in text


def test_explain_tells_the_outsider_to_enrol(mesh):
    answer = mesh.explain("words/outsider", f"{mesh.server.name}:{OPEN}")
    assert "in plaintext, without an identity, and is denied there" in answer["sentence"]
    assert any("words/known" in c for c in answer["routes"][0]["inbound"]["change"])


@pytest.mark.parametrize("to", ["web.words", "the pod"])
def test_explain_without_a_port_answers_for_each(mesh, to):
    """Of a service its own, of a pod those to which its services lead."""
    to, address, ports = (mesh.server.name, mesh.server.ip4, (OPEN, CLOSED)) if to == "the pod" else (to, "10.97.88.1", (80, 81))
    answer = mesh.explain(mesh.client.ip4, to)
    other, = answer["alternatives"]
    assert [(a["to"]["address"], a["verdict"]) for a in (answer, other)] == [(f"{address}:{ports[0]}", "allowed"),
                                                                             (f"{address}:{ports[1]}", "denied")]
    assert other["sentence"] == mesh.explain(mesh.client.ip4, f"{address}:{ports[1]}")["sentence"]
    text = mesh.culvert("explain", mesh.client.name, to)
    assert "The same words also mean" in text and "no-9301" in text and fits(text)


def test_explain_refuses_what_it_does_not_know(mesh):
    assert "no pod is called nobody" in mesh.culvert("explain", "nobody", "web:80", code=1)
    assert "no service and no pod is called nothing" in mesh.culvert("explain", mesh.client.name, "nothing:80", code=1)
    assert "a port is needed" in mesh.culvert("explain", mesh.client.name, "outsider", code=1)
    mesh.culvert("explain", mesh.client.name, code=2)


def test_authz_check_lists_the_policies(mesh):
    text = mesh.culvert("x", "authz", "check", f"words/{mesh.server.name}")
    assert "DENY" in text and "words/no-9301" in text and "ALLOW" in text and "words/known" in text
    assert fits(text)
    listed = mesh.json("experimental", "authz", "check", mesh.server.name)
    assert [p["key"] for p in listed["policies"]] == ["words/known", "words/no-9301"]


def test_connections_have_rates(mesh):
    holder = mesh.run_in(mesh.client, sys.executable, "-c", HOLD, "10.97.88.1", "80", "600")
    wait_for(lambda: any(c["open"] for c in mesh.json("connections")), 5, "the connection to be listed")

    def rated(rate, *words, node=0):
        """The only connection that is listed, once it was seen to send as it does; a busy machine may hold it up for a while."""
        seen = []

        def is_rated():
            seen[:] = mesh.json("connections", *words, node=node)
            return len(seen) == 1 and 10_000 < seen[0][rate] < 80_000

        wait_for(is_rated, 20, f"{rate} of {words}")
        return seen[0]

    mine = rated("sentPerSecond", "--service", "web")
    assert (mine["pod"], mine["peer"], mine["protocol"]) == (mesh.client.name, mesh.server.name, "HBONE")
    assert mine["peerIdentity"] == "spiffe://cluster.local/ns/words/sa/server"
    assert mine["direction"] == "outbound"
    theirs = rated("receivedPerSecond", "--pod", mesh.server.name, node=1)
    assert (theirs["direction"], theirs["peer"]) == ("inbound", mesh.client.name)
    text = mesh.culvert("connections", "--count", "2", "--sort", "age")
    assert text.count("SENT/S") == 2 and fits(text)
    by_pod, = mesh.json("connections", "--by", "pod")
    assert (by_pod["pod"], by_pod["connections"]) == (f"words/{mesh.client.name}", 1)
    by_service, = mesh.json("connections", "--by", "service")
    assert by_service["service"] == "words/web.words.svc.cluster.local"
    assert holder.poll() is None
    stop(holder)
    wait_for(lambda: mesh.json("connections") == [], 5, "the connection to go")
    mesh.culvert("connections", "--sort", "colour", code=2)


def test_an_open_connection_says_why(mesh):
    """Of both ends, one true sentence, which is explain's; a policy of later is in it as soon as it holds."""
    holders = [mesh.run_in(mesh.client, sys.executable, "-c", HOLD, host, str(port), "600")
               for host, port in (("10.97.88.1", 80), (mesh.server.ip6, OPEN))]
    client, server = f"words/{mesh.client.name}", f"words/{mesh.server.name}"

    def said(node):
        return mesh.json("connections", "--why", "--sort", "age", node=node)

    for node, direction in ((0, "outbound"), (1, "inbound")):
        wait_for(lambda at=node: sum(c["open"] for c in mesh.json("connections", node=at)) == 2, 10, f"two {direction}")
        for c in said(node):
            assert (c["direction"], c["verdict"], c["policy"], c["evaluatedBy"]) == (direction, "allowed", "words/known", "n2"), c
            assert c["clientIdentity"] == "spiffe://cluster.local/ns/words/sa/client" and c["why"].count(". ") == 0
            assert c["target"] in (f"{mesh.server.ip4}:{OPEN}", f"[{mesh.server.ip6}]:{OPEN}")
            asked = "web.words:80" if "10.97.88.1:80" in c["why"] else c["target"]
            if direction == "outbound":
                assert c["why"] == mesh.explain(client, asked)["sentence"]
            else:
                assert c["why"].startswith(f"{client} reaches {server} (") and "mutual TLS" in c["why"], c["why"]
    text = mesh.culvert("connections", "--why", "--pod", mesh.client.name)
    assert text.count("is let in") == 2 and "culvert explain --past" in " ".join(text.split()) and fits(text)
    assert "--why" in mesh.culvert("connections", "--why", "--by", "pod", code=2)
    for holder in holders:
        assert holder.poll() is None
        stop(holder)
    wait_for(lambda: mesh.json("connections") == [], 10, "the connections to go")


def test_the_past_is_explained(mesh):
    """Allowed, denied, refused by the application, denied in plaintext: each found, with one sentence."""
    client, server = f"words/{mesh.client.name}", mesh.server.name

    def past(source, to, verdict, node=0):
        def found():
            return [c for c in mesh.json("explain", "--past", source, to, node=node)["connections"] if c["verdict"] == verdict]
        wait_for(found, 10, f"{verdict} {to} to be remembered")
        newest = found()[-1]
        assert newest["sentence"].count(". ") == 0 and newest["sentence"].endswith("."), newest
        return newest

    assert mesh.json("explain", "--past", client, "10.97.88.1:1")["connections"] == []
    for to, host, port in (("web.words:80", "10.97.88.1", 80), (f"[{mesh.server.ip6}]:{OPEN}", mesh.server.ip6, OPEN)):
        assert connects(mesh.client, host, port)
        good = past(client, to, "allowed")
        assert (good["path"], good["bytesToClient"], good["direction"]) == ("tunnel", 2, "outbound")
        assert good["dstIdentity"] == "spiffe://cluster.local/ns/words/sa/server"
        assert "was allowed and went through a tunnel (mutual TLS), and ended well." in good["sentence"]
    assert not connects(mesh.client, mesh.server.ip4, CLOSED)
    assert "401 Unauthorized" in past(client, f"{server}:{CLOSED}", "denied")["sentence"]
    theirs = past(mesh.client.ip4, f"words/{server}:{CLOSED}", "denied", node=1)
    assert (theirs["direction"], theirs["policy"]) == ("inbound", "words/no-9301")
    assert "explicitly denied by: words/no-9301." in theirs["sentence"]
    assert not connects(mesh.client, mesh.server.ip4, 9399)
    assert "(os error 111)" in past(client, f"{server}:9399", "failed", node=1)["sentence"]
    assert not connects(mesh.outsider, mesh.server.ip4, OPEN)
    plain = past(mesh.outsider.ip4, mesh.server.ip4, "denied", node=1)
    assert (plain["path"], plain["srcIdentity"]) == ("plaintext", "")
    text = mesh.culvert("explain", "--past", client, "--last", "3")
    assert text.count("  tunnel, ") == 3 and "remembers all that have ended since" in text and fits(text)
    assert "None of them" in mesh.culvert("explain", "--past", "nobody")
    mesh.culvert("explain", "--past", "a", "b:port", code=2)


def test_the_past_knows_what_the_kernel_let_past_the_mesh(mesh):
    """No proxy has seen it, no line in any log is about it."""
    client = f"words/{mesh.client.name}"

    def past(host):
        return mesh.json("explain", "--past", client, host)

    for host in (mesh.outsider.ip4, mesh.outsider.ip6):
        to = f"[{host}]:{OPEN}" if ":" in host else f"{host}:{OPEN}"
        before = sum(c["count"] for c in past(to)["connections"])
        assert connects(mesh.client, host, OPEN) and connects(mesh.client, host, OPEN)
        answer = past(to)
        once, = answer["connections"]
        assert (once["by"], once["verdict"], once["path"], once["count"]) == ("kernel", "passed", "passthrough", before + 2)
        assert once["src"] == (f"[{mesh.client.ip6}]:0" if ":" in host else f"{mesh.client.ip4}:0")
        kernel = answer["nodes"][0]["kernel"]
        assert kernel["passedSince"] < once["first"] < once["ended"] and kernel["lost"] == 0
        assert "it was let past the mesh by the kernel" in once["sentence"]
        assert f"not a mesh destination, untouched, {before + 2} times since" in once["sentence"]
    text = mesh.culvert("explain", "--past", client, mesh.outsider.ip4)
    assert "  passed  passthrough, out at " in text and "what it let past the mesh since" in text and fits(text)
    assert connects(mesh.client, "10.97.88.1", 80)
    wait_for(lambda: mesh.json("explain", "--past", client)["connections"][-1]["by"] == "ztunnel", 30, "the later one")
    both = mesh.json("explain", "--past", client, "--last", "0")["connections"]
    assert [c["endedUs"] for c in both] == sorted(c["endedUs"] for c in both)
    assert {c["by"] for c in both} == {"kernel", "ztunnel"} and both[-1]["by"] == "ztunnel"


def test_drops_count_a_denial(mesh):
    def denials():
        return sum(d["count"] for d in mesh.json("drops", node=1) if d["reason"] == "DENY")

    before = denials()
    assert not connects(mesh.client, mesh.server.ip4, CLOSED)
    wait_for(lambda: denials() > before, 10, "the count")
    assert denials() == before + 1
    text = mesh.culvert("drops", "--all", node=0)
    assert "tunnel" in text and "sent to ztunnel" in text and fits(text)


def test_bpf_shows_what_bpftool_shows(mesh):
    shown = {m["name"]: m for m in mesh.json("bpf", "maps")}
    for name in ("cv_pods", "cv_workloads", "cv_counters"):
        real = json.loads(subprocess.check_output(
            ["bpftool", "-j", "map", "show", "pinned", f"{mesh.nodes[0].pins}/{name}"], timeout=60))
        assert (shown[name]["id"], shown[name]["type"]) == (real["id"], real["type"])
        assert (shown[name]["keyBytes"], shown[name]["maxEntries"]) == (real["bytes_key"], real["max_entries"])
    assert shown["cv_pods"]["entries"] == 1
    progs = mesh.json("bpf", "progs", "--pin-dir", mesh.nodes[0].pins)
    real = json.loads(subprocess.check_output(
        ["bpftool", "-j", "prog", "show", "pinned", f"{mesh.nodes[0].pins}/prog_cv_connect4"], timeout=60))
    mine, = [p for p in progs if p["name"] == "cv_connect4"]
    assert (mine["id"], mine["tag"]) == (real["id"], real["tag"])
    for word in ("maps", "progs"):
        text = mesh.culvert("bpf", word)
        assert fits(text) and "MEANING" in text
    assert "no such folder" in mesh.culvert("bpf", "maps", "--pin-dir", "/sys/fs/bpf/none-such", code=1)


def test_log_level_changes_and_comes_back(mesh):
    def level():
        return mesh.culvert("ztunnel-config", "log").split()[-1]

    first = level()
    mesh.culvert("zc", "log", "--level", "debug")
    assert level() == "debug"
    mesh.culvert("zc", "log", "--reset")
    assert level() == first
    assert "expected error" in mesh.culvert("zc", "log", "--level", "loud", code=1)


@pytest.mark.parametrize("line, offered", [
    ("", {"explain", "ztunnel-config", "completion"}), ("zc wo", {"workload"}), ("bpf ", {"maps", "progs"}),
    ("x ", {"authz", "precheck", "describe"}), ("x authz ", {"check"}), ("lab ", {"up", "down", "exec", "status", "restart", "label"}),
    ("connections --so", {"--sort"}), ("explain --pa", {"--past"}),
    ("lab up ", set()), ("zc workload -o ", {"short", "json", "yaml"}), ("nonsense ", set())])
def test_bash_completes(line, offered):
    """What a shell gets that has sourced the script."""
    words = ["culvert", *line.split(" ")]
    script = ("source <(culvert completion bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _culvert; "
              "printf '%s\\n' \"${COMPREPLY[@]}\"")
    out = subprocess.check_output(["bash", "-c", script, "bash", *words], text=True, timeout=60,
                                  env=dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}"))
    found = set(out.split())
    assert found >= offered and (len(found) == len(offered) or not line), out


def test_all_shows_every_table(mesh):
    text = mesh.culvert("ztunnel-config", "all")
    for header in ("WAYPOINT", "SERVICE VIP", "POLICY NAME", "CERTIFICATE NAME", "REMOTE TARGET"):
        assert header in text


def test_explain_knows_a_dead_ztunnel(mesh):
    supervisor = mesh.nodes[0].process
    pid, = mesh.nodes[0].pids("culvert-ztunnel")
    os.kill(supervisor.pid, signal.SIGSTOP)  # it would start another at once
    try:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: mesh.nodes[0].admin("agent", "/status")["ztunnel"] == "absent", 10, "the agent to notice")
        answer = mesh.json("explain", mesh.client.ip4, f"{mesh.server.ip4}:{OPEN}", node=1)
        assert (answer["verdict"], answer["kernel"]["path"]) == ("refused", "ztunnel_dead"), answer["sentence"]
        assert not connects(mesh.client, mesh.server.ip4, OPEN)
        assert "is not running" in mesh.culvert("connections", code=1)
        assert any(d["reason"] == "ztunnel_dead" for d in mesh.json("drops", code=1))
        refused, = mesh.json("explain", "--past", f"words/{mesh.client.name}", f"{mesh.server.name}:{OPEN}")["connections"]
        assert (refused["by"], refused["verdict"], refused["reason"]) == ("kernel", "refused", "ztunnel_dead")
        assert (refused["src"], refused["asked"]) == (f"{mesh.client.ip4}:0", f"{mesh.server.ip4}:{OPEN}")
        assert refused["process"].startswith("python") and refused["pid"] > 0
        assert "it was refused by the kernel before a packet was sent: no ztunnel serves this pod" in refused["sentence"]
    finally:
        os.kill(supervisor.pid, signal.SIGCONT)
    wait_for(lambda: connects(mesh.client, mesh.server.ip4, OPEN), 20, "the way to be back")
    assert mesh.explain(mesh.client.ip4, f"{mesh.server.ip4}:{OPEN}")["verdict"] == "allowed"
