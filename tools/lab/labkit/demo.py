# SPDX-License-Identifier: Apache-2.0
"""`make demo`: two nodes, real nginx and httpd, a label while traffic flows, and the evidence for each claim."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from .lab import LAB_DIR, ROOT, Lab, culvert, config_map
from .mesh import PINS, Mesh, wait_until
from .picture import BOLD, GREEN, RED, Picture
from .wire import Wire, is_tls13_server_hello, streams, tls_records

SAMPLES = ROOT / "tools" / "samples"
PEER = "/opt/peer/peer.py"
GIB = int(os.environ.get("CULVERT_DEMO_BYTES", 1 << 30))

STRICT = """apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec:
  mtls: {mode: STRICT}
"""
DENY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-nginx, namespace: demo}
spec:
  selector: {matchLabels: {app: httpd}}
  action: DENY
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/demo/sa/nginx"]
"""


class ClaimFailed(Exception):
    """What was claimed did not show."""


def expect(condition, what):
    """Stop the claim when @condition is false."""
    if not condition:
        raise ClaimFailed(what)


class Demo:
    """The whole story. Each claim is a method; its doc string is what is claimed."""

    def __init__(self):
        self.picture = Picture()
        self.mesh = Mesh()
        self.pods = {}
        self.wire = None
        self.wires = 0
        self.held = None
        self.held_ports = set()
        self.started = {}
        self.failed = []

    # --- output

    def say(self, text=""):
        """A line of the story."""
        self.picture.say(text)

    def show(self, *lines):
        """Lines of evidence."""
        for line in lines:
            self.picture.say("      " + (line[:self.picture.columns() - 7] if self.picture.is_live else line))

    def claim(self, number, method):
        """Run one claim and tell how it went."""
        self.say()
        self.say(self.picture.colour(BOLD, f"{number}. {method.__doc__}"))
        try:
            method()
            self.say("   " + self.picture.colour(GREEN, "shown"))
        except (ClaimFailed, TimeoutError, subprocess.TimeoutExpired, RuntimeError, OSError, KeyError) as e:
            self.failed.append(number)
            self.say("   " + self.picture.colour(RED, f"NOT SHOWN: {e}"))

    @staticmethod
    def fields(line, *names):
        """Of a log line: those key=value pairs."""
        return " ".join(m[0] for n in names if (m := re.search(rf'(?<!\S){re.escape(n)}=("[^"]*"|\S+)', line)))

    # --- pieces

    def __getattr__(self, name):
        for namespace in ("demo", "outside"):
            if pod := self.__dict__.get("pods", {}).get(f"{namespace}/{name}"):
                return pod
        raise AttributeError(name)

    def own_pods(self):
        """Each pod once."""
        return [p for key, p in self.pods.items() if key == p.key]

    def meshed(self):
        """The pods of the namespace that gets the label."""
        return [p for p in self.own_pods() if p.namespace == "demo"]

    @staticmethod
    def client(pod, client, host, port, check=True, **options):
        """A client of peer.py in a pod."""
        args = [f"--{k}={v}" for k, v in options.items()]
        done = pod.run("/usr/bin/python3", PEER, client, host, str(port), *args, check=False, timeout=300)
        lines = done.stdout.strip().splitlines()
        answer = json.loads(lines[-1]) if lines else {"ok": False, "error": done.stderr.strip()}
        expect(answer["ok"] or not check, f"{pod.key} {client} {host}:{port}: {answer}")
        return answer

    @staticmethod
    def fetch(pod, host="httpd.demo.svc.cluster.local", seconds=5):
        """One request with curl. Return: (status code or "000", curl's words)."""
        done = pod.run("curl", "-sS", "-m", str(seconds), "-o", "/dev/null", "-w", "%{http_code}", f"http://{host}/",
                       check=False)
        return done.stdout.strip(), done.stderr.strip()

    def new_wire(self, headers_only=False):
        """One more capture of all links."""
        self.wires += 1
        return Wire(list(self.mesh.nodes), LAB_DIR / "wire", f"demo{self.wires}", headers_only)

    def between(self, segments, a, b):
        """Those segments that run between two pods."""
        ends = {a.ip4, a.ip6, b.ip4, b.ip6}
        return [s for s in segments if s.src in ends and s.dst in ends]

    def unprotected(self, segments):
        """Data on another port than 15008, but for the connection that was open before the label."""
        return [s for s in segments if s.payload and 15008 not in (s.sport, s.dport)
                and not {s.sport, s.dport} & self.held_ports]

    # --- the story

    def set_up(self):
        """Lab, capture, mesh processes; nothing labelled."""
        Lab.claim()
        self.say("Two nodes, pods from ordinary Kubernetes manifests (tools/samples), one switch between the nodes.")
        Lab.down()
        maps = [config_map(ns, "peer", [SAMPLES / "peer.py"]) for ns in ("demo", "outside")]
        Lab.up([*sorted((SAMPLES / "demo").glob("*.yaml")), SAMPLES / "peers.yaml", *maps])
        self.pods = Lab.pods()
        self.wire = self.new_wire()
        self.picture.start(lambda: (self.own_pods(), self.wire, self.mesh))
        for p in self.own_pods():
            self.show(f"{p.node}  {p.namespace}/{p.deployment:<10} {p.ip4:<12} {p.ip6:<18} process {p.pid}")
        self.started = {p.key: p.start_time() for p in self.own_pods()}
        self.mesh.start()
        self.show("one culvert-agent, culvert-ztunnel and culvert-control run on each node; no namespace is labelled yet")

    def claim_wire(self):
        """Before the label the wire carries HTTP text; after it only TLS 1.3 on 15008. Nothing restarts, nothing is cut."""
        expect(self.fetch(self.nginx)[0] == "200", "nginx cannot fetch httpd's page before the label")
        text = [s for s in self.between(self.wire.segments(), self.nginx, self.httpd) if s.payload.startswith(b"GET /")]
        expect(text, "no HTTP text was captured before the label")
        first = text[-1].payload.split(b"\r\n")
        self.show(f"before: {text[-1].src}:{text[-1].sport} > {text[-1].dst}:{text[-1].dport}  "
                  f"{first[0].decode()} | {first[1].decode()}")
        self.held = self.alice.spawn("/usr/bin/python3", PEER, "hold", self.bob.ip4, "7000", "--every=0.05")
        expect('"lines": 1}' in self.held.stdout.readline(), "a connection to hold before the label")
        self.held_ports = {s.sport for s in self.between(self.wire.segments(), self.alice, self.bob) if s.dport == 7000}
        began = time.monotonic()
        Lab.label("namespace", "demo", "istio-injection=enabled")
        self.mesh.wait_captured(self.meshed())
        took = time.monotonic() - began
        expect(self.fetch(self.nginx)[0] == "200", "nginx cannot fetch httpd's page after the label")
        self.show(f"label on namespace demo: all {len(self.meshed())} pods captured after {took * 1000:.0f} ms")
        mark = time.time()
        time.sleep(7)  # each curl loop runs at least twice
        self.check_encrypted(mark)
        expect({p.key: p.start_time() for p in self.own_pods()} == self.started, "a pod was restarted")
        expect(self.held.poll() is None, "the connection from before the label was cut")
        self.show("no pod restarted: start time of every pod's process 1 is unchanged",
                  "the connection opened before the label still answers")

    def check_encrypted(self, mark):
        """All new traffic between nginx and httpd is TLS 1.3."""
        segments = self.between(self.wire.segments(), self.nginx, self.httpd)
        later = [s for s in segments if s.time > mark and s.payload]
        expect(later, "no traffic after the label")
        stray = [s for s in later if 15008 not in (s.sport, s.dport)]
        expect(not stray, f"plaintext after the label: {stray[:1]}")
        flows = {f: d for f, d in streams(segments).items() if 15008 in (f[1], f[3])}
        kinds = [tls_records(d) for d in flows.values()]
        expect(all(k is not None for k in kinds), "something on 15008 that is not TLS records")
        hellos = [f for f, d in flows.items() if is_tls13_server_hello(d)]
        expect(hellos, "no ServerHello that chose TLS 1.3")
        count = sum(len(k) for k in kinds)
        self.show(f"after:  {len(later)} segments, all on port 15008; {count} TLS records, "
                  f"{len(hellos)} ServerHello, each TLS 1.3; first bytes of one: {later[-1].payload[:12].hex(' ')}")

    def claim_identity(self):
        """Each side names the other's SPIFFE ID; the application sees the client pod's own address."""
        for node, direction in (("n1", "outbound"), ("n2", "inbound")):
            want = (f'direction="{direction}"', self.nginx.identity, self.httpd.identity)
            line = wait_until(lambda n=node, w=want: next(
                (x for x in reversed(self.mesh[n].log().splitlines()) if all(t in x for t in w)), None),
                what=f"access log line on {node}")
            self.show(f"ztunnel {node} {direction}: " + self.fields(line, "src.identity", "dst.identity", "dst.addr"))
        self.nginx.run("curl", "-sS", "-m", "5", "-o", "/dev/null", "-A", "demo-asks", "http://httpd.demo.svc.cluster.local/")
        log = self.httpd.file("/usr/local/apache2/logs/access_log")
        line = wait_until(lambda: next((x for x in log.read_text().splitlines() if "demo-asks" in x), None),
                          what="line in httpd's access log")
        expect(line.split()[0] in (self.nginx.ip4, self.nginx.ip6), f"httpd saw {line.split()[0]}")
        self.show(f"httpd's access_log: {line}", f"nginx's pod has the addresses {self.nginx.ip4} and {self.nginx.ip6}")

    def claim_strict(self):
        """STRICT: a pod outside the mesh is refused. PERMISSIVE: it is served, and reported as plaintext."""
        code, _ = self.fetch(self.outsider)
        expect(code == "200", "PERMISSIVE must serve the outsider")
        plain = wait_until(lambda: self.mesh["n2"].metric("istio_tcp_connections_opened_total", reporter="destination",
                                                          connection_security_policy="unknown"), what="metric")
        self.show(f"PERMISSIVE: outsider -> httpd: HTTP {code}; istio_tcp_connections_opened_total"
                  f'{{connection_security_policy="unknown"}} {plain:.0f} on n2')
        Lab.apply("strict", STRICT)
        code, why = wait_until(lambda: (a := self.fetch(self.outsider))[0] != "200" and a, what="a refusal")
        self.show(f"STRICT:     outsider -> httpd: {why}")
        inside = self.fetch(self.nginx)[0]
        expect(inside == "200", "the mesh itself must be served under STRICT")
        self.show(f"STRICT:     nginx -> httpd: HTTP {inside}")
        line = next((x for x in reversed(self.mesh["n2"].log().splitlines())
                     if "istio_converted_static_strict" in x and self.outsider.ip4 in x or
                     "istio_converted_static_strict" in x and self.outsider.ip6 in x), None)
        expect(line, "no log line names the policy that refused the outsider")
        self.show("ztunnel n2: " + self.fields(line, "src.addr", "dst.addr", "policy", "error"))
        Lab.delete("strict")
        wait_until(lambda: self.fetch(self.outsider)[0] == "200", what="PERMISSIVE again")
        self.show("PeerAuthentication removed: outsider served again")

    def claim_policy(self):
        """An AuthorizationPolicy denies one service account, and log, metric and CLI say so; removed, it is served again."""
        Lab.apply("deny", DENY)
        code, why = wait_until(lambda: (a := self.fetch(self.nginx))[0] != "200" and a, what="a refusal")
        self.show(f"nginx -> httpd: {why}")
        expect(self.fetch(self.alice)[0] == "200", "another account must be served")
        self.show("alice -> httpd: HTTP 200 (another service account)")
        line = wait_until(lambda: next((x for x in reversed(self.mesh["n2"].log().splitlines())
                                        if "demo/deny-nginx" in x), None), what="log line")
        self.show("log:    " + self.fields(line, "src.identity", "dst.workload", "policy", "error"))
        sample = wait_until(lambda: next((x for x in self.mesh["n2"].metrics().splitlines()
                                          if 'response_flags="DENY"' in x and "sa/nginx" in x), None), what="metric")
        self.show("metric: " + sample.split("{")[0] + '{... response_flags="DENY" ...} ' + sample.rsplit(" ", 1)[1])
        said = culvert("explain", "--run-dir", "/run/culvert/n1", self.nginx.key, "httpd.demo:80").stdout.splitlines()
        expect(any("deny-nginx" in x for x in said), "culvert explain does not name the policy")
        self.show("CLI:    " + said[0], *("CLI:    " + x.strip() for x in said[1:] if "deny-nginx" in x))
        Lab.delete("deny")
        wait_until(lambda: self.fetch(self.nginx)[0] == "200", what="nginx to be served again")
        self.show("AuthorizationPolicy removed: nginx -> httpd: HTTP 200")

    def claim_streams(self):
        """1 GiB each way with equal checksums, a half-closed connection, a server-first protocol, IPv4 and IPv6."""
        headers, dropped = self.new_wire(headers_only=True), self.wire.stop()
        self.wire = headers
        for what, port in (("upload", 7002), ("download", 7003)):
            a = self.client(self.alice, what, self.bob.ip4, port, bytes=GIB, timeout=120)
            expect(a["sha256"] == a["seen"], f"{what}: checksums differ")
            self.show(f"{what:<8} {a['bytes']} bytes in {a['seconds']} s, sha256 {a['sha256'][:16]}... at both ends")
        bulk = [s for s in self.between(headers.segments(), self.alice, self.bob) if s.payload]
        expect(bulk and not self.unprotected(bulk), "bulk data on another port than 15008")
        self.wire = self.new_wire()
        dropped += headers.stop()
        expect(dropped == 0, f"the kernel dropped {dropped} packets of the capture")
        self.show("every data segment of both was on port 15008; packets that the capture missed: 0")
        for family, host in (("4", self.bob.ip4), ("6", self.bob.ip6)):
            echo = self.client(self.alice, "echo", host, 7000, bytes=1000000, family=family)
            first = self.client(self.alice, "first", host, 7001, text="after the banner", family=family)
            self.show(f"IPv{family}: half-closed after {echo['bytes']} bytes, then all of them came back; "
                      f"server spoke first: \"{first['banner']}\"")

    def claim_kill(self):
        """kill -9 of ztunnel: new connections are refused, never plaintext; it comes back and traffic goes on by itself."""
        node, mark = self.mesh["n1"], time.time()
        old = node.pid("ztunnel")
        expect(old, "no ztunnel runs on n1")
        os.kill(node.process.pid, signal.SIGSTOP)  # so that its restart waits until we have looked
        os.kill(old, signal.SIGKILL)
        try:
            answers = [self.client(self.alice, "talk", host, 7000, check=False, timeout=5)
                       for host in (self.bob.ip4, self.bob.ip6, self.httpd.ip4)]
        finally:
            os.kill(node.process.pid, signal.SIGCONT)
        expect(not any(a["ok"] for a in answers), f"a connection was served without a ztunnel: {answers}")
        self.show(f"ztunnel {old} killed; three new connections from n1: " + ", ".join(a["error"] for a in answers))
        began = time.monotonic()
        wait_until(lambda: self.client(self.alice, "talk", self.bob.ip4, 7000, check=False, timeout=5)["ok"], 30,
                   what="traffic to go on")
        new = node.pid("ztunnel")
        self.show(f"restarted as {new}; traffic goes on after {time.monotonic() - began:.1f} s")
        wait_until(lambda: self.fetch(self.nginx)[0] == "200", what="nginx -> httpd")
        pairs = [s for a, b in ((self.alice, self.bob), (self.nginx, self.httpd))
                 for s in self.between(self.wire.segments(), a, b)]
        stray = self.unprotected(s for s in pairs if s.time > mark)
        expect(not stray, f"plaintext while ztunnel was dead: {stray[:1]}")
        self.show("segments with data on another port than 15008 since the kill: 0")

    def claim_unlabel(self):
        """The label removed: plain again, nothing cut."""
        meshed = self.alice.spawn("/usr/bin/python3", PEER, "hold", self.bob.ip6, "7000", "--every=0.05")
        expect('"lines": 1}' in meshed.stdout.readline(), "a connection through the mesh to hold")
        Lab.label("namespace", "demo", "istio-injection-")
        self.mesh.wait_released(self.meshed())
        mark = time.time()
        expect(self.fetch(self.nginx)[0] == "200", "nginx -> httpd after the label is gone")
        text = wait_until(lambda: [s for s in self.between(self.wire.segments(), self.nginx, self.httpd)
                                   if s.time > mark and s.payload.startswith(b"GET /")], what="HTTP text on the wire")
        self.show(f"wire: {text[0].payload.splitlines()[0].decode()} in plaintext again")
        for name, holder in (("before the label", self.held), ("through the mesh", meshed)):
            expect(holder.poll() is None, f"the connection opened {name} was cut")
            out, _ = holder.communicate("", timeout=20)
            last = json.loads(out.strip().splitlines()[-1])
            expect(last["ok"], f"the connection opened {name}: {last}")
            self.show(f"the connection opened {name} lived on: {last['lines']} lines asked and answered")

    def claim_maps(self):
        """The maps, as bpftool shows them: names and values that a person can read."""
        for name in ("cv_pods", "cv_services"):
            path = next(PINS.joinpath("n1").rglob(name), None)
            expect(path, f"{name} is not pinned below {PINS}/n1")
            dump = subprocess.run(["bpftool", "map", "dump", "pinned", str(path)], capture_output=True, text=True,
                                  check=False).stdout
            expect('"name"' in dump, f"bpftool map dump pinned {path}: {dump[:200]}")
            self.show(f"bpftool map dump pinned {path}")
            self.show(*("  " + line for line in dump.splitlines()[:18]))

    CLAIMS = ((1, "claim_wire"), (2, "claim_identity"), (3, "claim_strict"), (4, "claim_policy"), (5, "claim_streams"),
              (6, "claim_kill"), (8, "claim_maps"), (7, "claim_unlabel"))

    def run(self):
        """Everything. Return: exit code."""
        self.set_up()
        for number, name in self.CLAIMS:
            self.claim(number, getattr(self, name))
        missed = self.wire.stop()
        self.wire = None
        self.say()
        self.say(f"packets that the capture missed: {missed}")
        shown = len(self.CLAIMS) - len(self.failed)
        self.say(f"{shown} of {len(self.CLAIMS)} claims shown" +
                 (f"; NOT shown: {sorted(self.failed)}" if self.failed else ""))
        return 1 if self.failed or missed else 0

    def tear_down(self):
        """Leave nothing behind, unless asked to."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks twice wants the same
        self.picture.stop()
        if os.environ.get("CULVERT_KEEP_LAB"):
            print(f"lab left up: culvert lab status; its logs: {LAB_DIR}/nodes/*/culvert.log")
            return
        if self.failed:
            keep = pathlib.Path("build/demo")
            keep.mkdir(parents=True, exist_ok=True)
            for node in self.mesh:
                (keep / f"{node.name}.log").write_text(node.log())
            print(f"logs of the nodes: {keep}/")
        self.mesh.stop()
        Lab.down()


def main():
    """Entry point of tools/lab/demo."""
    if os.geteuid() != 0:
        print("demo: must be root (network namespaces, BPF): sudo make demo", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    demo = Demo()
    try:
        return demo.run()
    except KeyboardInterrupt:
        return 130
    finally:
        demo.tear_down()
