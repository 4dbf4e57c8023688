# SPDX-License-Identifier: Apache-2.0
"""culvert-agent and culvert-cni: what a container runtime does, on plain namespaces with the reference bridge plugin."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from agentkit import ALIVE, BIN, CAPTURE, DIR, NODE, PIN_DIR, POD_DNS, SYNCED, Ztunnel, connect, in_netns, run, wait

PLUGINS = pathlib.Path("/usr/lib/cni")
UNKNOWN_TO_TUNNEL = 1 << 3
BRIDGE = "cv-cni0"
HOST = "10.252.0.1"
POD = """apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, uid: {uid}}}
spec: {{nodeName: %s}}
""" % NODE
# the bridge's own address as a pod of the mesh elsewhere: what reaches a listener there has leaked
TARGET = f"workload Kubernetes//Pod/demo/far demo far hbone {HOST}"
CHAIN = {"cniVersion": "1.0.0", "name": "t", "plugins": [
    {"type": "bridge", "bridge": BRIDGE, "isGateway": True,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.252.0.0/24", "rangeStart": "10.252.0.10"}]],
              "dataDir": f"{DIR}/ipam", "routes": [{"dst": "0.0.0.0/0"}]}}]}


class Runtime:
    """What containerd does with the first list of plugins in a folder."""

    def __init__(self, conf):
        self.conf, self.sandboxes = conf, []

    def plugins(self):
        first = sorted(p for p in self.conf.iterdir() if p.suffix in (".conflist", ".conf", ".json"))[0]
        return json.loads(first.read_text())

    def call(self, plugin, command, sandbox, prev):
        folder = DIR / "cni-bin" if plugin["type"] == "culvert-cni" else PLUGINS
        conf = {"cniVersion": "1.0.0", "name": "t", **plugin, **({"prevResult": prev} if prev else {})}
        env = {"CNI_COMMAND": command, "CNI_CONTAINERID": sandbox, "CNI_NETNS": f"/run/netns/{sandbox}", "CNI_IFNAME": "eth0",
               "CNI_PATH": str(PLUGINS), "PATH": os.environ["PATH"],
               "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={self.pod[0]};K8S_POD_NAME={self.pod[1]};K8S_POD_UID={self.pod[2]}"}
        done = subprocess.run([folder / plugin["type"]], input=json.dumps(conf), capture_output=True, text=True, env=env,
                              check=False, timeout=60)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None

    def add(self, sandbox, namespace="demo", name="web", uid="u1"):
        """Return: (exit code, what the last plugin printed)."""
        self.pod = (namespace, name, uid)
        run("ip", "netns", "add", sandbox)
        run("ip", "-n", sandbox, "link", "set", "lo", "up")
        self.sandboxes.append(sandbox)
        prev = None
        for plugin in self.plugins()["plugins"]:
            code, out = self.call(plugin, "ADD", sandbox, prev)
            if code:
                return code, out
            if prev:
                assert out == prev, "a chained plugin that changes nothing hands on what it got"
            prev = out
        return 0, prev

    def remove(self, sandbox):
        code = 0
        for plugin in reversed(self.plugins()["plugins"]):
            code |= self.call(plugin, "DEL", sandbox, None)[0]
        subprocess.run(["ip", "netns", "del", sandbox], check=False, capture_output=True)
        self.sandboxes.remove(sandbox)
        return code

    def clean(self):
        for sandbox in self.sandboxes:
            subprocess.run(["ip", "netns", "del", sandbox], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)


@pytest.fixture
def runtime(agent):
    """An agent that has put its plugin behind the bridge plugin."""
    if not (PLUGINS / "bridge").exists():
        pytest.skip("no reference CNI plugins: tools/setup kube")
    agent.stop()
    agent.stop_feed()
    for folder in ("cni-bin", "cni-conf", "cni"):
        (DIR / folder).mkdir()
    (DIR / "cni-conf/10-t.conflist").write_text(json.dumps(CHAIN))
    (DIR / "cni-conf/10-t.conflist").chmod(0o640)
    agent.label()
    (DIR / "config/a.yaml").unlink()
    for name in ("web", "late"):
        agent.put(f"{name}.yaml", POD.format(name=name, namespace="demo", uid="u1"))
    agent.put("other.yaml", POD.format(name="web", namespace="other", uid="u1"))
    agent.put("other-ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n")
    r = Runtime(DIR / "cni-conf")
    r.agent = agent
    try:
        yield r
    finally:
        r.clean()


def start(agent, *more):
    agent.start("--cni-run-dir", DIR / "cni", "--cni-bin-dir", DIR / "cni-bin", "--cni-conf-dir", DIR / "cni-conf", *more)
    wait(is_installed, what="the plugin is in the list")


def is_installed():
    with contextlib.suppress(ValueError, FileNotFoundError):
        types = [p["type"] for p in json.loads((DIR / "cni-conf/10-t.conflist").read_text())["plugins"]]
        return types == ["bridge", "culvert-cni"] and os.access(DIR / "cni-bin/culvert-cni", os.X_OK)
    return False


def entry(agent, name="web", namespace="demo"):
    return next((e["value"] for e in agent.map("cv_pods") if e["value"]["name"] == f"{namespace}/{name}"), None)


@contextlib.contextmanager
def listener():
    """On the bridge, which the first pod brings. What it accepts has left a pod in plaintext."""
    with socket.create_server(("", 0)) as s:
        s.setblocking(False)
        yield s


def attempt(sandbox, port):
    """Return: True when a connection from the sandbox was let out."""
    def dial():
        with socket.socket() as s:
            s.settimeout(20)
            return s.connect_ex((HOST, port)) == 0
    return in_netns(sandbox, dial)


def test_a_pod_is_captured_before_its_first_byte(runtime):
    agent = runtime.agent
    agent.start_feed(TARGET)
    start(agent)
    z = Ztunnel()
    z.expect(SYNCED)
    taker = threading.Thread(target=z.take_pod)
    taker.start()
    code, out = runtime.add("cv-cni-a")
    taker.join()
    assert code == 0 and out["ips"]
    assert entry(agent)["flags"] & (ALIVE | CAPTURE | POD_DNS) == ALIVE | CAPTURE | POD_DNS
    with listener() as s:
        assert attempt("cv-cni-a", s.getsockname()[1]), "ztunnel's listener answers"
        with pytest.raises(BlockingIOError):
            s.accept()
    assert runtime.remove("cv-cni-a") == 0
    wait(lambda: entry(agent) is None, what="DEL leaves nothing")
    z.close()


def test_without_ztunnel_it_starts_and_is_refused(runtime):
    agent = runtime.agent
    agent.start_feed(TARGET)
    start(agent)
    code, out = runtime.add("cv-cni-a")
    assert code == 0
    assert "pod=demo/web verdict=refusing" in (DIR / "log").read_text(), "the answer is what holds"
    assert agent.pod("web")["state"] == "pending"
    wait(lambda: agent.map("cv_links"), what="its link is guarded, too")
    with in_netns("cv-cni-a", lambda: socket.create_server(("0.0.0.0", 8080))), pytest.raises(ConnectionRefusedError):
        connect(out["ips"][0]["address"].split("/")[0], 8080)
    with listener() as s:
        assert not attempt("cv-cni-a", s.getsockname()[1])
        z = Ztunnel()
        z.take_pod()
        z.expect(SYNCED)
        wait(lambda: (entry(agent)["flags"] & (ALIVE | UNKNOWN_TO_TUNNEL)) == ALIVE, what="served")
        z.close()
        wait(lambda: not entry(agent)["flags"] & ALIVE, what="ztunnel is gone again")
        assert not attempt("cv-cni-a", s.getsockname()[1])
        with pytest.raises(BlockingIOError):
            s.accept()


def test_before_the_mesh_is_known_every_destination_counts_as_mesh(runtime):
    """After a reboot: no pins, no control plane yet."""
    agent = runtime.agent
    start(agent)
    assert runtime.add("cv-cni-a")[0] == 0
    assert entry(agent)["flags"] & UNKNOWN_TO_TUNNEL
    with listener() as s:
        assert not attempt("cv-cni-a", s.getsockname()[1])
        agent.start_feed("workload Kubernetes//Pod/demo/x demo x hbone 10.99.0.1")
        wait(lambda: not entry(agent)["flags"] & UNKNOWN_TO_TUNNEL, what="the mesh is known")
        assert attempt("cv-cni-a", s.getsockname()[1]), "it is no destination of the mesh after all"


def test_pods_outside_the_mesh_are_left_alone(runtime):
    agent = runtime.agent
    start(agent)
    assert runtime.add("cv-cni-b", namespace="other")[0] == 0
    assert entry(agent, namespace="other") is None
    with listener() as s:
        assert attempt("cv-cni-b", s.getsockname()[1])


def test_a_pod_of_another_uid_waits_for_its_object(runtime):
    agent = runtime.agent
    start(agent)
    come = threading.Event()

    def comes():
        come.set()
        agent.put("web.yaml", POD.format(name="web", namespace="demo", uid="u2"))

    later = threading.Timer(1, comes)
    later.start()
    assert runtime.add("cv-cni-a", uid="u2")[0] == 0
    assert come.is_set(), "not before its object is there"
    later.join()
    assert entry(agent)


def test_agent_away_pods_wait(runtime):
    agent = runtime.agent
    start(agent)
    assert runtime.plugins()["plugins"][-1]["agentAwayGraceSeconds"] == 0, "for as long as it takes"
    agent.stop()
    code, out = runtime.add("cv-cni-a")
    assert (code, out["code"]) == (1, 11) and "away" in out["msg"]
    assert runtime.remove("cv-cni-a") == 0, "what goes is not held up"
    code, out = runtime.add("cv-cni-b", namespace="other")
    assert (code, out["code"]) == (1, 11), "who knows what it has become?"
    assert runtime.add("cv-cni-c", namespace="kube-system")[0] == 0
    assert is_installed(), "the plugin outlives the agent"
    start(agent)
    assert runtime.add("cv-cni-d")[0] == 0
    assert entry(agent)["flags"] & CAPTURE


def test_the_plugin_takes_itself_away_where_no_agent_is_left(runtime):
    """The node was off while the mesh was taken away: nobody answers there any more."""
    start(runtime.agent)
    runtime.agent.stop()
    assert runtime.add("cv-cni-b", namespace="other")[0] == 1
    command = [DIR / "cni-bin/culvert-cni", "--remove", DIR / "cni-conf"]
    assert subprocess.run(command[:2], check=False, capture_output=True).returncode == 2
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"culvert-cni: taken away: {DIR}/{p}" for p in ("cni-conf/10-t.conflist", "cni-bin/culvert-cni")]
    assert runtime.plugins() == CHAIN and not list((DIR / "cni-bin").iterdir())
    assert runtime.add("cv-cni-c", namespace="other")[0] == 0


def test_agent_away_for_long_lets_go_what_was_outside(runtime):
    agent = runtime.agent
    start(agent, "--cni-away-grace", "8")
    wait(lambda: (DIR / "cni/outside").exists() and (DIR / "cni/outside").read_text() == "other\n", what="other is outside")
    agent.stop()
    assert runtime.add("cv-cni-b", namespace="other")[0] == 1
    later = (f"cv-cni-c{i}" for i in range(100))

    def is_let_go():
        time.sleep(1)
        return runtime.add(next(later), namespace="other")[0] == 0

    wait(is_let_go, what="other is let go")
    assert runtime.add("cv-cni-a")[0] == 1, "demo is of the mesh"


def test_agent_killed_over_the_question(runtime):
    agent = runtime.agent
    start(agent)
    killer = threading.Timer(0.5, lambda: agent.stop(signal.SIGKILL))
    killer.start()
    code, out = runtime.add("cv-cni-a", uid="not-yet")
    killer.join()
    assert (code, out["code"]) == (1, 11)
    start(agent)
    assert runtime.add("cv-cni-b")[0] == 0
    assert entry(agent)["flags"] & CAPTURE


def test_a_pod_held_by_a_killed_agent_is_held_by_the_next(runtime):
    agent = runtime.agent
    agent.start_feed(TARGET)
    start(agent)
    assert runtime.add("cv-cni-a")[0] == 0
    agent.stop(signal.SIGKILL)
    with listener() as s:
        assert not attempt("cv-cni-a", s.getsockname()[1])
        start(agent)
        assert not attempt("cv-cni-a", s.getsockname()[1])


class PodStart:
    """A pod as the kubelet starts it: tried again while it is told to (11); then it dials until somebody answers."""

    def __init__(self, runtime, port, over):
        self.runtime, self.port, self.over = runtime, port, over
        self.may_dial = threading.Event()
        self.is_up = self.is_answered = False
        self.held = self.refused = 0

    def run(self):
        for sandbox in (f"cv-cni-{i}" for i in itertools.count()):
            if self.over.is_set():
                return
            code, out = self.runtime.add(sandbox)
            if not code:
                break
            assert out["code"] == 11, out
            assert self.runtime.remove(sandbox) == 0
            self.held += 1
        self.address = out["ips"][0]["address"].split("/")[0]
        self.is_up = True
        self.may_dial.wait()
        while not self.over.is_set() and not self.is_answered:
            self.is_answered = attempt(sandbox, self.port)
            self.refused += not self.is_answered


def play_ztunnel(over):
    """A ztunnel that waits for its agent, and takes what it is given."""
    while not over.is_set():
        try:
            z = Ztunnel()
        except OSError:
            time.sleep(0.02)
            continue
        z.take_pods_until(over.is_set, "the end of the test")
        z.close()


PARTS = ("agent", "ztunnel", "pod")
ORDERS = [(left, order) for left in ("restarted", "rebooted", "new") for order in itertools.permutations(PARTS)
          if left != "new" or order.index("pod") < order.index("agent")]


@pytest.mark.parametrize(("left", "order"), ORDERS, ids=[f"{left}-{'-'.join(order)}" for left, order in ORDERS])
def test_any_order(runtime, left, order):
    """What an earlier agent has left: plugin and pins; the plugin; nothing, so that the plugin comes last. With the plugin there
    a pod does not start, or is refused, until ztunnel has it: no byte of it goes out in the clear. Without, it runs before the
    mesh does, which says that it waits, and is captured then."""
    agent, over = runtime.agent, threading.Event()
    agent.start_feed(TARGET)
    if left == "new":
        found = POD.replace("{uid}", "{uid}, annotations: {{culvert.io/netns: /run/netns/cv-cni-0}}")
        agent.put("web.yaml", found.format(name="web", namespace="demo", uid="u1"))
    else:
        start(agent)
        agent.stop()
    if left == "rebooted":
        run(BIN / "culvert-agent", "--clean", "--pin-dir", PIN_DIR)
    with listener() as s, concurrent.futures.ThreadPoolExecutor() as threads:
        pod = PodStart(runtime, s.getsockname()[1], over)
        if left != "new":
            pod.may_dial.set()
        begin = {"agent": lambda: start(agent), "ztunnel": lambda: jobs.append(threads.submit(play_ztunnel, over)),
                 "pod": lambda: jobs.append(threads.submit(pod.run))}
        jobs = []
        try:
            for i, part in enumerate(order, 1):
                begin[part]()
                missing = order[i:]
                if "pod" in missing:
                    continue
                if "agent" not in missing:
                    wait(lambda: agent.pod("web"), what="the agent names the pod")
                    if "ztunnel" in missing:
                        assert agent.pod("web")["state"] == "pending"
                        wait(lambda: pod.refused or left == "new", what="it is refused")
                elif left == "new":
                    wait(lambda: pod.is_up, what="there is no plugin to hold it back")
                else:
                    wait(lambda: pod.held, what="it is held back")
                    assert not pod.is_up
            wait(lambda: (entry(agent) or {"flags": 0})["flags"] & (ALIVE | CAPTURE) == ALIVE | CAPTURE, what="its capture")
            pod.may_dial.set()
            wait(lambda: pod.is_answered, what="ztunnel's listener answers")
            agent.tell(f"workload Kubernetes//Pod/demo/web demo web hbone {pod.address}")
            wait(lambda: agent.pod("web")["state"] == "captured", what="captured, and announced")
            with pytest.raises(BlockingIOError):
                s.accept()
        finally:
            over.set()
            pod.may_dial.set()
            for job in jobs:
                job.result()


def test_the_list_is_repaired(runtime):
    agent = runtime.agent
    start(agent)
    path = DIR / "cni-conf/10-t.conflist"
    assert path.stat().st_mode & 0o777 == 0o640
    path.write_text(json.dumps(CHAIN))
    wait(is_installed, 5, "what was overwritten in place is repaired")
    (DIR / "cni-conf/.new").write_text(json.dumps(CHAIN))
    os.rename(DIR / "cni-conf/.new", path)
    wait(is_installed, 5, "what was replaced is repaired")
    (DIR / "cni-bin/culvert-cni").unlink()
    wait(is_installed, 5, "the program is put back")
    shutil.rmtree(DIR / "cni-conf")
    (DIR / "cni-conf").mkdir()
    path.write_text(json.dumps(CHAIN))
    wait(is_installed, 5, "the whole folder was replaced")


def test_only_the_list_that_counts_is_changed(runtime):
    agent = runtime.agent
    other = DIR / "cni-conf/90-other.conflist"
    other.write_text(json.dumps(CHAIN))
    (DIR / "cni-conf/00-bad.conflist").write_text("{")
    start(agent)
    assert json.loads(other.read_text()) == CHAIN
    (DIR / "cni-conf/05-one.conf").write_text(json.dumps({"cniVersion": "0.4.0", "name": "o", "type": "ptp", "mtu": 1400}))
    want = {"cniVersion": "0.4.0", "name": "o", "plugins": [{"type": "ptp", "mtu": 1400}]}
    made = DIR / "cni-conf/05-one.conflist"
    got = wait(lambda: made.exists() and json.loads(made.read_text()), 5, "a .conf becomes a list")
    assert got["plugins"].pop()["type"] == "culvert-cni" and got == want
    wait(lambda: not (DIR / "cni-conf/05-one.conf").exists(), what="the .conf is gone")


def is_ready():
    return subprocess.run([BIN / "culvert-agent", "--ready", "--run-dir", DIR / "run"], check=False).returncode == 0


def test_it_is_ready_while_the_plugin_is_in_place(runtime):
    agent = runtime.agent
    assert not is_ready()
    start(agent)
    wait(is_ready, what="ready")
    (DIR / "cni-conf/10-t.conflist").write_text("{")
    wait(lambda: not is_ready(), what="a configuration that cannot be read")
    wait(lambda: "10-t.conflist" in str(agent.status()["errors"]), what="the error in the status")
    (DIR / "cni-conf/10-t.conflist").write_text(json.dumps(CHAIN))
    wait(is_ready, what="ready again")
    agent.stop(signal.SIGKILL)
    assert not is_ready()


def test_clean_takes_the_plugin_away(runtime):
    agent = runtime.agent
    start(agent)
    agent.stop()
    run(BIN / "culvert-agent", "--clean", "--pin-dir", DIR / "no-pins", "--cni-bin-dir", DIR / "cni-bin", "--cni-conf-dir",
        DIR / "cni-conf")
    assert json.loads((DIR / "cni-conf/10-t.conflist").read_text()) == CHAIN
    assert not (DIR / "cni-bin/culvert-cni").exists()
