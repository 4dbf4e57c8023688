# SPDX-License-Identifier: Apache-2.0
"""culvert-agent alone, in the kernel: real namespaces and BPF, a ztunnel and a control plane played by the test.

The fixtures `agent` and `captured` come to the tests by conftest.py.
"""

import array
import contextlib
import ctypes
import http.client
import ipaddress
import json
import os
import pathlib
import pwd
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

PATIENCE_S = 60  # a wait fails no earlier, however busy the machine is
ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CULVERT_BIN", ROOT / "build" / "bin"))
SLOW = int(os.environ.get("CULVERT_TEST_SLOW", "1"))
NODE = "c-agent"
DIR = pathlib.Path("/run/culvert-agent-test")
PIN_DIR = pathlib.Path("/sys/fs/bpf/culvert") / NODE

# include/culvert/zds.h
ZDS_VERSION = int(re.search(r"^#define ZDS_VERSION\s+(\d+)$", (ROOT / "include/culvert/zds.h").read_text(), re.MULTILINE)[1])
HELLO, POD_ADD, POD_DEL, POD_ACK, SYNCED, NEED, SOCKETS, NAMESERVER, METRICS = range(1, 10)
DIAL_APP, DIAL_HBONE, DIAL_PLAIN, DNS = range(2, 6)
OUTBOUND, PLAIN, HBONE, DNS_TCP, DNS_UDP, LISTENERS = 0, 4, 5, 6, 7, 10
ALIVE, CAPTURE, POD_DNS = 1, 2, 4
CV_SOL_CULVERT, CV_SO_CLIENT = 0x4356, 1


def wait(check, timeout=10, what="condition"):
    """Poll until check() is true; return what it gave."""
    end = time.monotonic() + max(timeout, PATIENCE_S) * SLOW
    while True:
        if got := check():
            return got
        if time.monotonic() > end:
            raise AssertionError(f"timed out: {what}")
        time.sleep(0.01)


def run(*args):
    """Run a command that must succeed."""
    subprocess.run(args, check=True, capture_output=True, timeout=2 * PATIENCE_S)


def output(*args):
    """What a command that must succeed prints."""
    return subprocess.run(args, check=True, capture_output=True, text=True, timeout=2 * PATIENCE_S).stdout


def addr(text):
    """A cv_addr, as bytes."""
    a = ipaddress.ip_address(text)
    return b"\0" * 10 + b"\xff\xff" + a.packed if a.version == 4 else a.packed


def in_netns(name, fn):
    """Run fn in a thread inside a network namespace; return what it gave, raise what it raised."""
    out = []

    def body():
        with open(f"/run/netns/{name}", "rb") as f:
            if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0x40000000) < 0:
                raise OSError(ctypes.get_errno(), "setns")
        try:
            out.append((True, fn()))
        except OSError as e:
            out.append((False, e))

    t = threading.Thread(target=body)
    t.start()
    t.join(2 * PATIENCE_S)
    ok, value = out[0]
    if not ok:
        raise value
    return value


class Ztunnel:
    """The other end of the zds socket."""

    def __init__(self, node=NODE, version=ZDS_VERSION, greet=True, run_dir=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE_S * SLOW)
        self.sock.connect(str((run_dir or DIR / "run") / "agent/zds.sock"))
        self.pods = {}
        self.kept = []
        if greet:
            self.send(HELLO, struct.pack("<II64s", version, 0, node.encode()))

    def send(self, kind, body):
        self.sock.send(struct.pack("<II", kind, 8 + len(body)) + body)

    def recv(self):
        """Next message: (type, body, descriptors); None at the end."""
        fds = array.array("i")
        data, anc, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(64 * 4))
        for _, _, part in anc:
            fds.frombytes(part)
        if not data:
            return None
        kind, length = struct.unpack_from("<II", data)
        assert length == len(data)
        return kind, data[8:], list(fds)

    def expect(self, kind):
        """The next message of this kind; others are kept for later."""
        for i, got in enumerate(self.kept):
            if got[0] == kind:
                return self.kept.pop(i)
        while got := self.recv():
            if got[0] == kind:
                return got
            self.kept.append(got)
        raise AssertionError("the agent closed the connection")

    def take_pod(self, error=0):
        """Take one POD_ADD and acknowledge it."""
        _, body, fds = self.expect(POD_ADD)
        pod = PodAdd(body, fds)
        self.pods[pod.cookie] = pod
        self.ack(pod.cookie, error)
        return pod

    def take_pods_until(self, check, what="condition"):
        """Take each POD_ADD until check() is true: an agent that sees a pod's addresses come one by one offers it as often."""
        def look():
            while select.select([self.sock], [], [], 0)[0] and (got := self.recv()):
                self.kept.append(got)
            while any(kind == POD_ADD for kind, _, _ in self.kept):
                self.take_pod()
            return check()

        return wait(look, what=what)

    def ack(self, cookie, error=0):
        self.send(POD_ACK, struct.pack("<QiI", cookie, error, 0))

    def need(self, cookie, kind, count, family=0):
        """Ask for sockets; return them, or the error."""
        self.send(NEED, struct.pack("<QIIII", cookie, kind, family, count, 0))
        _, body, fds = self.expect(SOCKETS)
        got = struct.unpack("<QIIII", body)
        assert got[:3] == (cookie, kind, family) and got[3] == len(fds)
        return got[4] or [socket.socket(fileno=fd) for fd in fds]

    def close(self):
        self.sock.close()
        for pod in self.pods.values():
            pod.close()


class PodAdd:
    """struct zds_pod_add and its descriptors."""

    def __init__(self, body, fds):
        assert len(fds) == LISTENERS
        text = lambda b: b.split(b"\0")[0].decode()  # noqa: E731
        (self.cookie,) = struct.unpack_from("<Q", body)
        self.uid, self.namespace, self.name = text(body[8:392]), text(body[392:456]), text(body[456:712])
        self.account = text(body[712:968])
        count, self.flags = struct.unpack_from("<II", body, 968)
        self.addrs = [body[976 + 16 * i:992 + 16 * i] for i in range(count)]
        ports = struct.unpack_from("<8H", body, 1104)
        self.outbound, self.dns_udp, self.dns_tcp = ports[:4], ports[4:7], ports[7]
        (self.has_resolv_conf,) = struct.unpack_from("<H", body, 1120)
        self.search = body[1128:1640].rstrip(b"\0").decode().split("\0")
        (count,) = struct.unpack_from("<I", body, 1640)
        self.nameservers = [body[1648 + 16 * i:1664 + 16 * i] for i in range(count)]
        self.listeners = [socket.socket(fileno=fd) for fd in fds]
        for listener in self.listeners:  # a client may be connected before the other end is there to be accepted
            listener.settimeout(PATIENCE_S)

    def close(self):
        for s in self.listeners:
            s.close()


class Pods:
    """Two pods, joined by a veth, and their manifests."""

    def __init__(self):
        self.names = ["c-agent-a", "c-agent-b"]
        self.clean()
        for n in self.names:
            run("ip", "netns", "add", n)
            run("ip", "-n", n, "link", "set", "lo", "up")
        run("ip", "-n", self.names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
            self.names[1])
        for i, n in enumerate(self.names):
            run("ip", "-n", n, "addr", "add", f"10.251.0.{i + 1}/24", "dev", "eth0")
            run("ip", "-n", n, "addr", "add", f"fd00:251::{i + 1}/64", "dev", "eth0", "nodad")
            run("ip", "-n", n, "link", "set", "eth0", "up")
        for n in self.names:  # the kernel gives it in its own time; an agent that finds it later offers the pod once more
            wait(lambda n=n: "inet6 fe80" in output("ip", "-n", n, "addr", "show", "dev", "eth0"), what="the link-local address")

    def clean(self):
        for n in self.names:
            subprocess.run(["ip", "netns", "del", n], capture_output=True, check=False)

    @staticmethod
    def manifest(name, netns, ip, node=NODE, more=""):
        return f"""apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: demo
  annotations:
    culvert.io/netns: {netns}
    culvert.io/resolv-conf: {DIR}/resolv.conf
{more}
spec:
  nodeName: {node}
  serviceAccountName: {name}-account
status:
  podIPs:
  - ip: {ip}
"""


NAMESPACE = """apiVersion: v1
kind: Namespace
metadata:
  name: demo
  labels:
    %s: "%s"
"""


class Agent:
    """The agent under test, with its folder of manifests and its control plane."""

    def __init__(self):
        self.proc = self.feed = None
        self.log = open(DIR / "log", "a", encoding="utf-8")  # noqa: SIM115

    def start(self, *more):
        self.proc = subprocess.Popen(
            [BIN / "culvert-agent", "--node", NODE, "--config-dir", DIR / "config", "--run-dir", DIR / "run",
             "--pin-dir", PIN_DIR, *more], stderr=self.log)
        wait(lambda: self.is_ready() or self.proc.poll() is not None, what="agent starts")
        assert self.proc.poll() is None, (DIR / "log").read_text()

    def is_ready(self):
        with contextlib.suppress(OSError):
            return bool(self.status())
        return False

    def stop(self, signo=signal.SIGTERM):
        if self.proc:
            self.proc.send_signal(signo)
            code = self.proc.wait(PATIENCE_S * SLOW)
            assert code == (0 if signo == signal.SIGTERM else -signo), (DIR / "log").read_text()
        self.proc = None

    def start_feed(self, *lines):
        (DIR / "run/control").mkdir(parents=True, exist_ok=True)
        self.feed = subprocess.Popen([BIN / "agent-feed", DIR / "run/control/xds.sock"], stdin=subprocess.PIPE,
                                     text=True)
        self.tell(*lines)

    def tell(self, *lines):
        self.feed.stdin.write("".join(f"{line}\n" for line in (*lines, "flush")))
        self.feed.stdin.flush()

    def stop_feed(self):
        if self.feed:
            self.feed.stdin.close()
            self.feed.wait(PATIENCE_S)
        self.feed = None

    @staticmethod
    def status():
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(PATIENCE_S)
                self.sock.connect(str(DIR / "run/agent/admin.sock"))

        c = Connection("agent")
        c.request("GET", "/status")
        return json.loads(c.getresponse().read())

    def pod(self, name):
        return next((p for p in self.status()["pods"] if p["name"] == name), None)

    @staticmethod
    def put(name, text):
        (DIR / "config" / f".{name}").write_text(text)
        os.rename(DIR / "config" / f".{name}", DIR / "config" / name)

    def label(self, value="enabled"):
        self.put("ns.yaml", NAMESPACE % ("istio-injection", value))

    def map(self, name):
        return [e.get("formatted", e) for e in self.raw_map(name)]

    @staticmethod
    def raw_map(name):
        """Entries; for one that goes while bpftool reads, it has an error in the value's place."""
        found = json.loads(output("bpftool", "-j", "map", "dump", "pinned", PIN_DIR / name))
        return [e for e in found if "error" not in e.get("value", ())]

    def flags(self, cookie):
        return next((e["value"]["flags"] for e in self.map("cv_pods") if e["key"] == cookie), None)


WORKLOAD_A = "workload Kubernetes//Pod/demo/a demo a hbone 10.251.0.1,fd00:251::1 demo/web.demo.svc.cluster.local"
WORKLOAD_B = "workload Kubernetes//Pod/demo/b demo b hbone 10.251.0.2,fd00:251::2"
SERVICE = "service demo/web.demo.svc.cluster.local demo web 10.96.7.7 80"


def clean():
    for pin_dir in (PIN_DIR, f"{PIN_DIR}2"):  # the second agent's, of tests that have one
        subprocess.run([BIN / "culvert-agent", "--clean", "--pin-dir", pin_dir], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", DIR], check=False)


@pytest.fixture
def agent():
    """An agent with pod a (captured once labelled) and pod b (outside until a test puts it)."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and BPF")
    try:
        pwd.getpwnam("culvert-ztunnel")
    except KeyError:
        pytest.skip("no user culvert-ztunnel: run tools/setup")
    clean()
    (DIR / "config").mkdir(parents=True)
    (DIR / "resolv.conf").write_text("nameserver 10.96.0.10\nsearch demo.svc.cluster.local svc.cluster.local\n")
    pods = Pods()
    a = Agent()
    a.put("a.yaml", pods.manifest("a", "/run/netns/c-agent-a", "10.251.0.1"))
    a.start_feed(WORKLOAD_A, WORKLOAD_B, SERVICE)
    a.start()
    try:
        yield a
    finally:
        a.stop(signal.SIGKILL)
        a.stop_feed()
        print((DIR / "log").read_text())
        pods.clean()
        clean()


@pytest.fixture
def captured(agent):
    """The same, pod a captured by a ztunnel."""
    z = Ztunnel()
    z.expect(SYNCED)
    agent.label()
    agent.z = z
    agent.a = z.take_pod()
    wait(lambda: agent.pod("a")["state"] == "captured", what="captured")
    try:
        yield agent
    finally:
        agent.z.close()


def connect(host, port, timeout=PATIENCE_S):
    s = socket.create_connection((host, port), timeout)
    s.settimeout(timeout)
    return s
