# SPDX-License-Identifier: Apache-2.0
"""culvert-agent alone, in the kernel: real namespaces and BPF, a ztunnel and a control plane played by the test."""

import array
import contextlib
import ctypes
import http.client
import ipaddress
import json
import os
import pathlib
import pwd
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CULVERT_BIN", ROOT / "build" / "bin"))
SLOW = int(os.environ.get("CULVERT_TEST_SLOW", "1"))
NODE = "c-agent"
DIR = pathlib.Path("/run/culvert-agent-test")
PIN_DIR = pathlib.Path("/sys/fs/bpf/culvert") / NODE

# include/culvert/zds.h
HELLO, POD_ADD, POD_DEL, POD_ACK, SYNCED, NEED, SOCKETS, NAMESERVER, METRICS = range(1, 10)
DIAL_APP, DIAL_HBONE, DIAL_PLAIN, DNS = range(2, 6)
OUTBOUND, PLAIN, HBONE, DNS_TCP, DNS_UDP, LISTENERS = 0, 4, 5, 6, 7, 10
ALIVE, CAPTURE, POD_DNS = 1, 2, 4
CV_SOL_CULVERT, CV_SO_CLIENT = 0x4356, 1


@pytest.fixture(autouse=True)
def no_canary_on_a_wire():
    """These tests need no lab: the fixture of the same name in conftest.py is not wanted here."""


def wait(check, timeout=10, what="condition"):
    """Poll until check() is true; return what it gave."""
    end = time.monotonic() + timeout * SLOW
    while True:
        if got := check():
            return got
        if time.monotonic() > end:
            raise AssertionError(f"timed out: {what}")
        time.sleep(0.01)


def run(*args):
    """Run a command that must succeed."""
    subprocess.run(args, check=True, capture_output=True, timeout=20)


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
    t.join(30)
    ok, value = out[0]
    if not ok:
        raise value
    return value


class Ztunnel:
    """The other end of the zds socket."""

    def __init__(self, node=NODE, version=1, greet=True, run_dir=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(5 * SLOW)
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
        self.uid, self.namespace, self.name = text(body[8:136]), text(body[136:200]), text(body[200:456])
        self.account = text(body[456:712])
        count, self.flags = struct.unpack_from("<II", body, 712)
        self.addrs = [body[720 + 16 * i:736 + 16 * i] for i in range(count)]
        ports = struct.unpack_from("<8H", body, 848)
        self.outbound, self.dns_udp, self.dns_tcp = ports[:4], ports[4:7], ports[7]
        self.search = body[864:].rstrip(b"\0").decode().split("\0")
        self.listeners = [socket.socket(fileno=fd) for fd in fds]

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

    def start(self):
        self.proc = subprocess.Popen(
            [BIN / "culvert-agent", "--node", NODE, "--config-dir", DIR / "config", "--run-dir", DIR / "run",
             "--pin-dir", PIN_DIR], stderr=self.log)
        wait(lambda: self.is_ready() or self.proc.poll() is not None, what="agent starts")
        assert self.proc.poll() is None, (DIR / "log").read_text()

    def is_ready(self):
        with contextlib.suppress(OSError):
            return bool(self.status())
        return False

    def stop(self, signo=signal.SIGTERM):
        if self.proc:
            self.proc.send_signal(signo)
            code = self.proc.wait(10 * SLOW)
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
            self.feed.wait(10)
        self.feed = None

    @staticmethod
    def status():
        class Connection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(5)
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

    @staticmethod
    def map(name):
        out = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", PIN_DIR / name], check=True,
                             capture_output=True, text=True).stdout
        return [e.get("formatted", e) for e in json.loads(out)]

    @staticmethod
    def raw_map(name):
        out = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", PIN_DIR / name], check=True,
                             capture_output=True, text=True).stdout
        return json.loads(out)

    def flags(self, cookie):
        return next((e["value"]["flags"] for e in self.map("cv_pods") if e["key"] == cookie), None)


WORKLOAD_A = "workload Kubernetes//Pod/demo/a demo a hbone 10.251.0.1,fd00:251::1 demo/web.demo.svc.cluster.local"
WORKLOAD_B = "workload Kubernetes//Pod/demo/b demo b hbone 10.251.0.2,fd00:251::2"
SERVICE = "service demo/web.demo.svc.cluster.local demo web 10.96.7.7 80"


def clean():
    subprocess.run([BIN / "culvert-agent", "--clean", "--pin-dir", PIN_DIR], check=False, capture_output=True)
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
    agent.label()
    z.expect(SYNCED)
    agent.z = z
    agent.a = z.take_pod()
    wait(lambda: agent.pod("a")["state"] == "captured", what="captured")
    try:
        yield agent
    finally:
        agent.z.close()


def connect(host, port, timeout=3):
    s = socket.create_connection((host, port), timeout)
    s.settimeout(timeout)
    return s


def test_pod_is_captured_after_the_ack_only(agent):
    z = Ztunnel()
    assert agent.status()["ztunnel"] == "connected" or wait(lambda: agent.status()["ztunnel"] == "connected")
    agent.label()
    z.expect(SYNCED)
    _, body, fds = z.expect(POD_ADD)
    pod = PodAdd(body, fds)
    assert (pod.uid, pod.namespace, pod.name, pod.account) == ("Kubernetes//Pod/demo/a", "demo", "a", "a-account")
    assert pod.addrs[0] == addr("10.251.0.1") and addr("fd00:251::1") in pod.addrs
    assert any(a.startswith(b"\xfe\x80") for a in pod.addrs)
    assert pod.search == ["demo.svc.cluster.local", "svc.cluster.local"]
    assert agent.flags(pod.cookie) is None
    assert agent.pod("a")["state"] == "pending"
    z.ack(pod.cookie)
    wait(lambda: agent.pod("a")["state"] == "captured")
    assert agent.flags(pod.cookie) == ALIVE | CAPTURE | POD_DNS
    assert (PIN_DIR / f"lookup_{pod.cookie}").exists()
    assert agent.pod("a")["netns_cookie"] == pod.cookie
    z.close()
    pod.close()


def test_listeners_are_in_the_pods_namespace(captured):
    pod = captured.a
    for i in range(4):
        assert pod.listeners[OUTBOUND + i].getsockname()[1] == pod.outbound[i]
    assert [s.getsockname()[1] for s in pod.listeners[DNS_UDP:]] == list(pod.dns_udp)
    listening = in_netns("c-agent-a", lambda: pathlib.Path("/proc/thread-self/net/tcp6").read_text())
    assert f":{pod.outbound[0]:04X} " in listening


def test_outbound_reaches_ztunnel_with_its_original_destination(captured):
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    s, _ = captured.a.listeners[OUTBOUND].accept()
    assert s.family == socket.AF_INET6
    assert c.getpeername() == ("10.251.0.2", 80)
    c.sendall(b"hello")
    s.settimeout(3)
    assert s.recv(10) == b"hello"
    s.close()
    c.close()


def test_service_frontend_is_a_mesh_destination(captured):
    c = in_netns("c-agent-a", lambda: connect("10.96.7.7", 80))
    captured.a.listeners[OUTBOUND].accept()[0].close()
    c.close()
    captured.tell("workload Kubernetes//Pod/demo/a demo a hbone 10.251.0.1,fd00:251::1")
    wait(lambda: not captured.map("cv_services"))


def test_passthrough_stays_outside(captured):
    with socket.socket() as server:
        in_netns("c-agent-b", lambda: None)
        server = in_netns("c-agent-b", lambda: socket.create_server(("10.251.0.2", 4000)))
    captured.tell("remove Kubernetes//Pod/demo/b")
    wait(lambda: not any(e["value"]["name"] == "demo/b" for e in captured.map("cv_workloads")))
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 4000))
    s, peer = server.accept()
    assert peer[0] == "10.251.0.1"
    for x in (s, c, server):
        x.close()


def test_inbound_is_steered_and_hbone_apart(captured):
    c = in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080))
    s, _ = captured.a.listeners[PLAIN].accept()
    assert s.getsockname()[1] == 8080
    h = in_netns("c-agent-b", lambda: connect("fd00:251::1", 15008))
    t, _ = captured.a.listeners[HBONE].accept()
    assert t.getsockname()[:2] == ("fd00:251::1", 15008)
    for x in (c, s, h, t):
        x.close()


def test_dial_app_shows_the_client_and_other_kinds_are_refused(captured):
    cookie = captured.a.cookie
    server = in_netns("c-agent-a", lambda: socket.create_server(("0.0.0.0", 9000)))
    app, stray = captured.z.need(cookie, DIAL_APP, 2)
    app.setsockopt(CV_SOL_CULVERT, CV_SO_CLIENT, addr("10.251.0.2") + struct.pack(">HH", 5555, 0))
    app.setblocking(True)
    app.bind(("127.64.1.2", 0))
    app.connect(("10.251.0.1", 9000))
    s, peer = server.accept()
    assert peer == ("10.251.0.2", 5555)
    stray.setblocking(True)
    with pytest.raises(OSError):
        stray.connect(("10.251.0.2", 9000))
    (hbone,) = captured.z.need(cookie, DIAL_HBONE, 1)
    hbone.setblocking(True)
    with pytest.raises(OSError):
        hbone.connect(("10.251.0.2", 80))
    (plain6,) = captured.z.need(cookie, DIAL_PLAIN, 1, family=1)
    assert plain6.family == socket.AF_INET6
    plain6.setblocking(True)
    with pytest.raises(OSError):
        plain6.connect(("fd00:251::2", 80))
    assert captured.status()["counters"]["socket_kind"] >= 3
    for x in (app, stray, hbone, plain6, s, server):
        x.close()


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cgroup(pid):
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line for line in lines if line.startswith("0::"))[3:]


def test_stock_sockets_are_made_in_ztunnels_cgroup(captured):
    """The maker joins it, leaves nothing behind when ztunnel goes, and the agent works on without it."""
    root = next(f[4] for f in (line.split() for line in open("/proc/self/mountinfo", encoding="utf-8"))
                if f[f.index("-") + 1] == "cgroup2" and f[3] == "/")
    group = pathlib.Path(root) / "c-agent-test"
    group.mkdir(exist_ok=True)
    code = ("import sys,os; sys.path.insert(0, sys.argv[1])\n"
            "open(sys.argv[2], 'w').write('0')\n"
            "from test_agent import Ztunnel, SYNCED, DIAL_APP\n"
            "z = Ztunnel(); p = z.take_pod(); z.expect(SYNCED)\n"
            "for line in sys.stdin: print(len(z.need(p.cookie, DIAL_APP, 8)), flush=True)\n")
    try:
        with subprocess.Popen(["/usr/bin/python3", "-c", code, ROOT / "tests/mesh", group / "cgroup.procs"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as z:
            def need():
                z.stdin.write("\n")
                z.stdin.flush()
                return z.stdout.readline()

            assert need() == "8\n"
            (maker,) = children(captured.proc.pid)
            assert cgroup(maker) == "/c-agent-test" != cgroup(captured.proc.pid)
            assert len(os.listdir(f"/proc/{maker}/fd")) <= 6
            os.kill(maker, signal.SIGKILL)
            assert need() == "8\n"
            assert children(captured.proc.pid) == []
            z.stdin.close()
            z.wait(10)
        wait(lambda: captured.status()["ztunnel"] == "absent")
    finally:
        wait(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_the_maker_ends_with_the_agent(captured):
    captured.z.need(captured.a.cookie, DIAL_APP, 1)[0].close()
    (maker,) = children(captured.proc.pid)
    captured.stop(signal.SIGKILL)
    wait(lambda: not pathlib.Path(f"/proc/{maker}").exists())
    captured.start()


def test_need_for_an_unknown_pod_is_answered_with_an_error(captured):
    assert captured.z.need(12345, DIAL_APP, 4) == 2  # ENOENT


@pytest.mark.parametrize("body", [
    b"", struct.pack("<QIIII", 1, 9, 0, 1, 0), struct.pack("<QIIII", 1, 2, 7, 1, 0),
    struct.pack("<QIIII", 1, 2, 0, 0, 0), struct.pack("<QIIII", 1, 2, 0, 65, 0), b"x" * 4000])
def test_malformed_need_closes_the_connection(agent, body):
    z = Ztunnel()
    z.expect(SYNCED)
    z.send(NEED, body)
    with contextlib.suppress(ConnectionResetError):
        while got := z.recv():
            assert got[0] in (HELLO, METRICS)
    z.close()
    Ztunnel().expect(SYNCED)


def test_wrong_hello_and_silence_are_refused(agent):
    for z in (Ztunnel(version=9), Ztunnel(node="other")):
        with contextlib.suppress(ConnectionResetError):
            assert z.recv() is None
        z.close()
    z = Ztunnel(greet=False)
    z.send(POD_ACK, struct.pack("<QiI", 1, 0, 0))
    with contextlib.suppress(ConnectionResetError):
        assert z.recv() is None
    z.close()


def test_a_stranger_may_not_connect(agent):
    code = ("import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\n"
            "try:\n s.connect(sys.argv[1])\nexcept OSError:\n sys.exit(7)\n")
    done = subprocess.run(["setpriv", "--reuid", "nobody", "--clear-groups", "/usr/bin/python3", "-c", code,
                           DIR / "run/agent/zds.sock"], check=False, timeout=10)
    assert done.returncode == 7


def test_without_ztunnel_connections_are_refused_and_a_new_one_serves_again(captured):
    captured.z.close()
    wait(lambda: captured.flags(captured.a.cookie) == CAPTURE | POD_DNS, what="not alive")
    with pytest.raises(ConnectionRefusedError):
        in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    with pytest.raises(OSError):
        in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080, timeout=0.5))
    assert captured.pod("a")["state"] == "pending"
    captured.z = z = Ztunnel()
    pod = z.take_pod()
    z.expect(SYNCED)
    assert pod.cookie == captured.a.cookie
    wait(lambda: captured.pod("a")["state"] == "captured")
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    pod.listeners[OUTBOUND].accept()[0].close()
    c.close()


def test_a_newer_ztunnel_replaces_the_older(captured):
    old = captured.z
    captured.z = z = Ztunnel()
    pod = z.take_pod()
    with contextlib.suppress(ConnectionResetError):
        while old.recv():
            pass
    old.close()
    wait(lambda: captured.pod("a")["state"] == "captured")
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()


def test_a_replaced_ztunnel_does_not_come_back_while_the_newer_is_there(captured):
    code = ("import sys; sys.path.insert(0, sys.argv[1])\n"
            "from test_agent import Ztunnel, SYNCED\n"
            "z = Ztunnel(); z.take_pod(); z.expect(SYNCED); print('up', flush=True); sys.stdin.readline()\n")
    with subprocess.Popen(["/usr/bin/python3", "-c", code, ROOT / "tests/mesh"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as newer:
        assert newer.stdout.readline() == "up\n"
        again = Ztunnel()
        with contextlib.suppress(ConnectionResetError):
            assert again.recv() is None
        again.close()
        assert captured.pod("a")["state"] == "captured"
        newer.stdin.close()
        newer.wait(10)
    wait(lambda: captured.status()["ztunnel"] == "absent")
    again = Ztunnel()
    again.take_pod()
    wait(lambda: captured.pod("a")["state"] == "captured")
    again.close()


def test_another_sk_lookup_program_in_a_pod_is_reported(captured):
    run2, pin2 = DIR / "run2", pathlib.Path(f"{PIN_DIR}2")
    (run2 / "control").mkdir(parents=True)
    feed = subprocess.Popen([BIN / "agent-feed", run2 / "control/xds.sock"], stdin=subprocess.PIPE, text=True)
    feed.stdin.write(f"{WORKLOAD_A}\nflush\n")
    feed.stdin.flush()
    other = subprocess.Popen([BIN / "culvert-agent", "--node", NODE, "--config-dir", DIR / "config", "--run-dir", run2,
                              "--pin-dir", pin2], stderr=captured.log)
    try:
        z = wait(lambda: (run2 / "agent/zds.sock").exists() and Ztunnel(run_dir=run2))
        z.take_pod()
        wait(lambda: "another sk_lookup program is attached in a pod" in (DIR / "log").read_text(), timeout=20)
        z.close()
    finally:
        other.kill()
        other.wait()
        feed.kill()
        feed.wait()
        run(BIN / "culvert-agent", "--clean", "--pin-dir", pin2)


def test_a_refused_pod_is_an_error_and_not_captured(agent):
    z = Ztunnel()
    agent.label()
    z.expect(SYNCED)
    pod = z.take_pod(error=98)
    got = wait(lambda: (p := agent.pod("a"))["state"] == "error" and p)
    assert "ztunnel did not take the pod" in got["error"]
    assert agent.flags(pod.cookie) is None
    z.close()


def test_unlabelling_cuts_nothing(captured):
    a, cookie = captured.a, captured.a.cookie
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    s, _ = a.listeners[OUTBOUND].accept()
    captured.put("ns.yaml", NAMESPACE % ("istio-injection", "disabled"))
    wait(lambda: captured.flags(cookie) == ALIVE, what="capture ends")
    assert not (PIN_DIR / f"lookup_{cookie}").exists()
    server = in_netns("c-agent-a", lambda: socket.create_server(("10.251.0.1", 8080)))
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    server.accept()[0].close()
    server.close()
    _, body, _ = captured.z.expect(POD_DEL)
    assert struct.unpack_from("<Q", body)[0] == cookie
    wait(lambda: captured.flags(cookie) is None, what="entry gone")
    assert not captured.map("cv_pod_addrs")
    a.close()
    s.settimeout(3)
    c.sendall(b"still here")
    assert s.recv(20) == b"still here"
    s.close()
    c.close()


def test_a_label_that_comes_back_while_draining_captures_again(captured):
    cookie = captured.a.cookie
    captured.put("ns.yaml", NAMESPACE % ("istio-injection", "disabled"))
    wait(lambda: captured.flags(cookie) == ALIVE)
    captured.label()
    wait(lambda: captured.flags(cookie) == ALIVE | CAPTURE | POD_DNS)
    pod = captured.z.take_pod()
    assert pod.cookie == cookie
    wait(lambda: captured.pod("a")["state"] == "captured")


def test_capture_outlives_the_agent_and_is_adopted(captured):
    cookie = captured.a.cookie
    captured.stop(signal.SIGKILL)
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    captured.a.listeners[OUTBOUND].accept()[0].close()
    c.close()
    captured.stop_feed()  # not needed either: destinations are in the maps
    captured.start()
    assert captured.flags(cookie) & CAPTURE
    z = Ztunnel()
    pod = z.take_pod()
    z.expect(SYNCED)
    assert pod.cookie == cookie
    wait(lambda: captured.pod("a")["state"] == "captured")
    assert captured.flags(cookie) == ALIVE | CAPTURE | POD_DNS
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()
    z.close()


def test_what_went_away_while_the_agent_was_down_is_released(captured):
    cookie = captured.a.cookie
    captured.stop(signal.SIGKILL)
    (DIR / "config/a.yaml").unlink()
    captured.tell("remove Kubernetes//Pod/demo/b")
    captured.start()
    wait(lambda: captured.flags(cookie) is None)
    assert not (PIN_DIR / f"lookup_{cookie}").exists()
    wait(lambda: not any(e["value"]["name"] == "demo/b" for e in captured.map("cv_workloads")))


def test_without_ztunnel_after_a_restart_pods_lose_alive(captured):
    cookie = captured.a.cookie
    captured.stop(signal.SIGKILL)
    captured.z.close()
    captured.start()
    wait(lambda: captured.flags(cookie) == CAPTURE | POD_DNS, what="alive ends")


def test_a_pod_that_restarts_with_the_same_address_is_another_pod(captured):
    old = captured.a.cookie
    run("ip", "netns", "del", "c-agent-a")
    pods = Pods.__new__(Pods)
    pods.names = ["c-agent-b"]
    pods.clean()
    Pods()
    _, body, _ = captured.z.expect(POD_DEL)
    assert struct.unpack_from("<Q", body)[0] == old
    pod = captured.z.take_pod()
    assert pod.cookie != old
    wait(lambda: captured.pod("a")["state"] == "captured")
    assert captured.flags(old) is None
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()


def test_an_address_that_comes_later_is_served(captured):
    run("ip", "-n", "c-agent-a", "addr", "add", "10.251.0.77/24", "dev", "eth0")
    pod = captured.z.take_pod()
    assert addr("10.251.0.77") in pod.addrs
    wait(lambda: captured.pod("a")["state"] == "captured")
    in_netns("c-agent-b", lambda: connect("10.251.0.77", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()


def test_bad_pods_are_named_and_the_host_is_never_captured(agent):
    agent.label()
    agent.put("host.yaml", Pods.manifest("host", f"/proc/{os.getpid()}/ns/net", "10.251.0.9"))
    agent.put("gone.yaml", Pods.manifest("gone", "/run/netns/c-agent-none", "10.251.0.9"))
    agent.put("wrongip.yaml", Pods.manifest("wrongip", "/run/netns/c-agent-b", "10.251.0.200"))
    agent.put("other.yaml", Pods.manifest("other", "/run/netns/c-agent-b", "10.251.0.2", node="elsewhere"))
    agent.put("twice.yaml", Pods.manifest("twice", "/run/netns/c-agent-a", "10.251.0.1"))
    wait(lambda: agent.pod("wrongip") and agent.pod("twice") and agent.pod("host") and agent.pod("gone"))
    assert "host's network namespace" in agent.pod("host")["error"]
    assert "No such file" in agent.pod("gone")["error"]
    assert "has no address 10.251.0.200" in agent.pod("wrongip")["error"]
    assert "already enrolled as demo/a" in agent.pod("twice")["error"]
    assert agent.pod("other") is None


def test_nothing_is_captured_before_the_mesh_is_known(agent):
    agent.stop_feed()
    agent.stop()
    clean_pins = subprocess.run([BIN / "culvert-agent", "--clean", "--pin-dir", PIN_DIR], check=False)
    assert clean_pins.returncode == 0 and not PIN_DIR.exists()
    agent.start()
    agent.label()
    z = Ztunnel()
    wait(lambda: agent.pod("a"))
    assert agent.pod("a")["error"] == "waiting for the control plane"
    agent.start_feed(WORKLOAD_A)
    z.take_pod()
    wait(lambda: agent.pod("a")["state"] == "captured")
    z.close()


def test_drop_events_and_metrics_name_the_reason(captured):
    captured.z.sock.settimeout(15 * SLOW)
    captured.z.close()
    wait(lambda: captured.flags(captured.a.cookie) == CAPTURE | POD_DNS)
    with pytest.raises(ConnectionRefusedError):
        in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    wait(lambda: "reason=ztunnel_dead pod=demo/a" in (DIR / "log").read_text())
    captured.z = z = Ztunnel()
    z.take_pod()
    z.sock.settimeout(15 * SLOW)
    while (got := z.recv())[0] != METRICS:
        pass
    text = got[1].decode()
    assert 'culvert_bpf_events_total{reason="ztunnel_dead"} 1\n' in text
    assert 'culvert_agent_pods{state="captured"}' in text and "# EOF" not in text


def test_nameservers_are_announced(captured):
    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"query", ("10.251.0.2", 53))

    in_netns("c-agent-a", ask)
    _, body, _ = captured.z.expect(NAMESERVER)
    cookie, number, slot = struct.unpack_from("<QII", body)
    assert (cookie, slot) == (0, 0) and number >= 1 and body[16:32] == addr("10.251.0.2")
    data, _ = captured.a.listeners[DNS_UDP].recvfrom(100)
    assert data == b"query"


def test_a_nameserver_whose_event_was_lost_is_announced_later(captured):
    key = [f"{b:#04x}" for b in addr("10.251.9.9")]
    run("bpftool", "map", "update", "pinned", PIN_DIR / "cv_nameservers", "key", *key, "value", "9", "0", "0", "0")
    captured.z.sock.settimeout(15 * SLOW)
    _, body, _ = captured.z.expect(NAMESERVER)
    assert struct.unpack_from("<QII", body) == (0, 9, 0) and body[16:32] == addr("10.251.9.9")


def test_a_link_local_address_of_two_pods_is_served_by_neither(captured):
    for n in ("c-agent-a", "c-agent-b"):
        run("ip", "-n", n, "addr", "add", "169.254.7.7/32", "dev", "eth0")
    captured.put("b.yaml", Pods.manifest("b", "/run/netns/c-agent-b", "10.251.0.2"))
    cookies = {captured.z.take_pod().cookie for _ in range(2)}
    assert len(cookies) == 2
    wait(lambda: captured.pod("b")["state"] == captured.pod("a")["state"] == "captured")
    steered = [bytes(int(x, 16) for x in e["key"][12:16]) for e in captured.raw_map("cv_steer")]
    assert socket.inet_aton("10.251.0.1") in steered and socket.inet_aton("10.251.0.2") in steered
    assert socket.inet_aton("169.254.7.7") not in steered
    assert "two pods have one link-local address" in (DIR / "log").read_text()


def test_a_second_agent_and_wrong_starts_fail_with_one_line(agent):
    def attempt(*args):
        return subprocess.run([BIN / "culvert-agent", *args], check=False, capture_output=True, text=True, timeout=20)

    base = ["--node", NODE, "--config-dir", str(DIR / "config")]
    for args, words in [
            ([*base, "--run-dir", str(DIR / "run"), "--pin-dir", str(PIN_DIR)], "another culvert-agent is running"),
            ([*base, "--run-dir", str(DIR / "run2"), "--pin-dir", str(PIN_DIR)], "another culvert-agent is running"),
            ([*base, "--run-dir", str(DIR / "run2"), "--pin-dir", "/tmp/no-bpffs"], "not on a bpffs"),
            ([*base, "--run-dir", str(DIR / "run2"), "--pin-dir", f"{PIN_DIR}2", "--ztunnel-user", "nosuchuser"],
             "no such user"),
            (["--node", NODE, "--config-dir", str(DIR / "none"), "--run-dir", str(DIR / "run2"), "--pin-dir",
              f"{PIN_DIR}2"], "cannot read the manifests"),
            (["--config-dir", "/"], "--node"), (["--node", "x"], "--config-dir"),
            (["--clean", "--pin-dir", str(PIN_DIR)], "stop it first")]:
        done = attempt(*args)
        assert done.returncode == 1, args
        assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    attempt("--clean", "--pin-dir", f"{PIN_DIR}2")


def test_only_five_capabilities_are_kept(agent):
    status = pathlib.Path(f"/proc/{agent.proc.pid}/status").read_text()
    caps = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    expected = sum(1 << n for n in (12, 19, 21, 38, 39))  # NET_ADMIN SYS_PTRACE SYS_ADMIN PERFMON BPF
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(caps[name], 16) == expected
    assert int(caps["CapInh"], 16) == int(caps["CapAmb"], 16) == 0
