# SPDX-License-Identifier: Apache-2.0
"""One lab with a mesh for all tests; every link between nodes captured during all of them."""

import json
import os
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "lab"))
sys.path.append(str(ROOT / "tests" / "interop"))

from agentkit import agent, captured  # noqa: E402,F401  (fixtures)
from labkit.lab import CULVERT, LAB_DIR, Lab, config_map  # noqa: E402
from labkit.mesh import Mesh, wait_until  # noqa: E402
from labkit.wire import Wire, canary  # noqa: E402

# What a crash leaves in a node's log: a sanitizer's words, or a signal that nobody sends on purpose.
CRASH = re.compile(r"Sanitizer|runtime error:|process ended .*signal=(ILL|ABRT|BUS|FPE|SEGV|SYS|TRAP)\b")
SAMPLES = ROOT / "tools" / "samples"
SLOW = int(os.environ.get("CULVERT_TEST_SLOW", "1"))  # deadlines are multiplied by this (sanitizers)
PATIENCE_S = 60  # a wait fails no earlier, however busy the machine is
PEER = "/opt/peer/peer.py"
PORT = {"echo": 7000, "first": 7001, "sink": 7002, "source": 7003, "whoami": 7004, "reset": 7005, "stuck": 7006,
        "half": 7007, "ticker": 7008, "echo4": 7009, "echo6": 7010}


class Cluster:
    """The lab, the mesh on it, and the capture of its links."""

    def __init__(self):
        self.secret = canary()  # sent in protected connections only
        self.plain = canary()   # sent where plaintext is right: proves that the capture sees
        self.mesh = Mesh()
        self.pods = {}
        self.wire = None
        self.wires = 0
        self.manifests = [*sorted((SAMPLES / "demo").glob("*.yaml")), SAMPLES / "peers.yaml",
                          *(config_map(ns, "peer", [SAMPLES / "peer.py"]) for ns in ("demo", "outside"))]

    def __getattr__(self, name):
        for namespace in ("demo", "outside"):
            if pod := self.__dict__["pods"].get(f"{namespace}/{name}"):
                return pod
        raise AttributeError(name)

    def up(self):
        """Lab, capture, mesh, label."""
        Lab.down()
        Lab.up(self.manifests)
        self.refresh()
        self.wire = self.new_wire()
        self.mesh.start()
        self.enrol()

    def refresh(self):
        """Read the pods again, after one was restarted."""
        self.pods = Lab.pods()

    def meshed(self):
        """The pods of the namespace that is in the mesh."""
        return [p for key, p in self.pods.items() if key == p.key and p.namespace == "demo" and not p.is_host_network]

    def enrol(self):
        """Label the namespace and wait for all of it."""
        Lab.label("namespace", "demo", "istio-injection=enabled")
        self.mesh.wait_captured(self.meshed(), PATIENCE_S * SLOW)
        self.mesh.wait_certificates(self.meshed(), PATIENCE_S * SLOW)

    def release(self):
        """Remove the label and wait for all of it."""
        Lab.label("namespace", "demo", "istio-injection-")
        self.mesh.wait_released(self.meshed(), PATIENCE_S * SLOW)

    def new_wire(self, headers_only=False):
        """Start one more capture."""
        self.wires += 1
        return Wire(["n1", "n2"], LAB_DIR / "wire", f"w{self.wires}", headers_only)

    @staticmethod
    def client(pod, client, host, port, check=True, timeout=60, **options):
        """Run a client of peer.py in a pod, which has a limit of its own of 20 s. Return: its answer, as a dictionary."""
        args = [f"--{k}={v}" for k, v in options.items()]
        done = pod.run("/usr/bin/python3", PEER, client, host, str(PORT.get(port, port)), *args, check=False,
                       timeout=max(timeout, PATIENCE_S) * SLOW)
        lines = done.stdout.strip().splitlines()
        answer = json.loads(lines[-1]) if lines else {"ok": False, "error": "none", "detail": done.stderr}
        assert answer["ok"] or not check, f"{pod.key} {client} {host}:{port} {options}: {answer}"
        return answer

    def say_secret(self, pod, host, port="echo", **options):
        """A short protected connection that carries the secret both ways."""
        return self.client(pod, "talk", host, port, text=self.secret, **options)

    def hold(self, pod, host, port="echo", text=""):
        """One connection that stays open, a line every tenth of a second. Return: Popen; lines are JSON."""
        holder = pod.spawn("/usr/bin/python3", PEER, "hold", host, str(PORT.get(port, port)), f"--text={text or self.secret}")
        first = holder.stdout.readline()
        assert '"lines": 1}' in first, first
        return holder

    @staticmethod
    def release_hold(holder):
        """End a hold(). Return: its last line, parsed."""
        out, _ = holder.communicate("", timeout=PATIENCE_S * SLOW)
        return json.loads(out.strip().splitlines()[-1])

    def down(self):
        """Remove everything. Return: (packets that the kernel could not capture, crashes in the logs)."""
        dropped = self.wire.stop() if self.wire else 0
        self.mesh.stop()
        crashes = [f"{n.name}: {line}" for n in self.mesh for line in n.log().splitlines() if CRASH.search(line)]
        Lab.down()
        return dropped, crashes


@pytest.fixture(scope="session")
def cluster():
    """The cluster, meshed; the capture must have missed nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and BPF")
    if not os.path.exists(CULVERT):
        pytest.skip(f"{CULVERT} is not built")
    Lab.claim()
    c = Cluster()
    try:
        c.up()
        yield c
    finally:
        dropped, crashes = (0, []) if os.environ.get("CULVERT_KEEP_LAB") else c.down()
    assert dropped == 0, f"the kernel dropped {dropped} packets of the capture: canaries may have been missed"
    assert not crashes, f"a process of the mesh crashed; it was restarted, but: {crashes}"


@pytest.fixture(autouse=True)
def no_canary_on_a_wire(request):
    """After each test on the cluster: the secret was not on a link; if it was, the whole run has failed."""
    yield
    if "cluster" not in request.fixturenames:
        return
    cluster = request.getfixturevalue("cluster")
    if cluster.wire and cluster.wire.find([cluster.secret]):
        request.session.shouldfail = "the canary of protected connections was seen on a link between nodes"
        pytest.fail(request.session.shouldfail)


@pytest.fixture
def bulk_wire(cluster):
    """Much data: only headers are captured meanwhile. Yields the capture."""
    headers = cluster.new_wire(headers_only=True)
    dropped = cluster.wire.stop()
    cluster.wire = headers
    yield headers
    cluster.wire = cluster.new_wire()
    dropped += headers.stop()
    assert dropped == 0, f"the kernel dropped {dropped} packets of the capture"


@pytest.fixture
def manifest(cluster):
    """Put manifests into the config folder for the time of one test: manifest(name, text)."""
    names = []

    def put(name, text):
        names.append(name)
        Lab.apply(name, text)

    yield put
    for name in names:
        Lab.delete(name)


@pytest.fixture
def eventually():
    """wait_until with a deadline that suits the machine."""
    def wait(check, timeout=10, what="condition"):
        return wait_until(check, max(timeout, PATIENCE_S) * SLOW, what=what)
    return wait


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the nodes logged last, beside each failure."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for node in ("n1", "n2"):
            log = LAB_DIR / "nodes" / node / "culvert.log"
            if log.exists():
                report.sections.append((f"log of {node}", log.read_text(errors="replace")[-4000:]))
