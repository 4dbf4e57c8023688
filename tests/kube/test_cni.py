# SPDX-License-Identifier: Apache-2.0
"""culvert-cni on a real cluster: pods are captured before their first instruction, whatever happens to the agent."""
import contextlib
import json
import os
import subprocess
import threading
import time

import pytest
from kubelab import images, layout, node
from kubelab.cluster import CONFLIST, Canary, eager, eventually, pod, service


@pytest.fixture
def web(cluster, mesh, namespace):
    """A server on n1, in the mesh, in a namespace that is. Return: (namespace, its address)."""
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"))
    cluster.wait_ready(namespace, "web")
    eventually(lambda: cluster.is_captured(namespace, "web"), what="web is captured")
    return namespace, cluster.get("pod", "-n", namespace, "web")["status"]["podIP"]


def speakers(word):
    """The processes on this machine that were started to say this."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                said = f.read()
        except OSError:
            continue
        if said.startswith(b"/eager\0") and word.encode() in said:
            found.append(int(pid))
    return found


def agent_log(cluster, number=2):
    return cluster.run("logs", "-n", "istio-system", cluster.node_pod(number), "-c", "agent")


@pytest.mark.quick
def test_not_one_byte_of_a_new_pod_is_plain(cluster, web):
    namespace, address = web
    names = [f"eager{i}" for i in range(4)]
    with Canary(cluster) as canary:
        cluster.apply(*(eager(namespace, n, "n2", address, canary.word) for n in names))
        cluster.wait_ready(namespace, *names)
        for name in names:
            eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
            eventually(lambda n=name, w=canary.word: cluster.curl(namespace, n, f"http://{address}/{w}"), what="an answer")
    assert not canary.was_seen(), "plaintext crossed the link"
    assert canary.ports_of(address) <= {"15008"}, "a connection was begun round the mesh"


def agent_says(cluster, words, pod_name):
    """Is there a line of the agent's on n2 that says so of this pod? Its container may be about to start."""
    done = subprocess.run([*cluster.kubectl, "logs", "-n", "istio-system", cluster.node_pod(2), "-c", "agent"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=60)
    return any(words in line and f"pod={pod_name} " in line for line in done.stdout.splitlines())


def hold_netns(cluster, pid):
    """A process on n2, where its agent sees it, in the network namespace of another one there. Return: its pid there."""
    said = cluster.on_node(2, "sh", "-c", f"nsenter --net=/proc/{pid}/ns/net sleep 600 >/dev/null 2>&1 & echo $!").stdout
    holder = int(said)

    def ns_of(one):
        return cluster.on_node(2, "readlink", f"/proc/{one}/ns/net").stdout
    eventually(lambda: ns_of(holder) == ns_of(pid), what="it is held")
    return holder


def test_a_pod_deleted_by_force_says_nothing_plain(cluster, web):
    """Its object is gone at once; its process lives on and dials. In the middle of that the agent begins anew, and knows only what
    its maps say. The kubelet is held meanwhile, and a process of ours holds the namespace: neither decides how long it takes."""
    namespace, address = web
    kubelet = cluster.nodes[1], "kubelet"
    with Canary(cluster) as canary:
        cluster.apply(eager(namespace, "left", "n2", address, canary.word))
        cluster.wait_ready(namespace, "left")
        eventually(lambda: cluster.is_captured(namespace, "left"), what="left is captured")
        holder = hold_netns(cluster, cluster.on_node(2, "pgrep", "-of", f"^/eager .*{canary.word}").stdout.strip())
        try:
            node.signal_daemon(*kubelet, "STOP")
            cluster.run("delete", "pod", "-n", namespace, "left", "--force", "--grace-period=0")
            assert cluster.run("get", "pod", "-n", namespace, "left", "--ignore-not-found") == ""
            time.sleep(2)
            assert speakers(canary.word), "it ended with its object: nothing is proven"
            cluster.kill(2, "culvert-agent")
            node.signal_daemon(*kubelet, "CONT")
            eventually(lambda: agent_says(cluster, "pod has no object, but processes", f"{namespace}/left"),
                       what="the new agent has found it")
            assert f"{namespace}/left" in cluster.captured(2)
        finally:
            node.signal_daemon(*kubelet, "CONT")
            cluster.on_node(2, "kill", str(holder))
        eventually(lambda: agent_says(cluster, "releasing a pod that is gone", f"{namespace}/left"), what="it is let go")
    assert not canary.was_seen(), "plaintext crossed the link"
    assert canary.ports_of(address) <= {"15008"}, "a connection was begun round the mesh"


def served(cluster, namespace):
    """How many pods of a namespace are captured and have their ztunnel, as the agents say; 0 while one of them is away."""
    done = subprocess.run([f"{images.BIN}/culvert", "--kubeconfig", layout.ADMIN_CONF, "status", "-o", "json"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=400, check=False)
    return json.loads(done.stdout)["namespaces"].get(namespace, {}).get("captured", 0) if done.returncode == 0 else 0


def test_a_static_pod_stays_in_the_mesh(cluster, web):
    """One of the kubelet's own, from a file: its object is a mirror with a UID that its processes do not have, and may go and come
    while they live. The agent begins anew, the mirror is deleted: each time the pod is found again, and nothing it says is plain."""
    namespace, address = web

    def uid():
        found = json.loads(cluster.run("get", "pod", "-n", namespace, "fixed-n2", "--ignore-not-found", "-o", "json") or "{}")
        return found.get("metadata", {}).get("uid")
    path = f"{cluster.nodes[1].state}{node.MANIFESTS}/fixed.json"
    with Canary(cluster) as canary:
        fixed = eager(namespace, "fixed", "n2", address, canary.word)
        del fixed["spec"]["nodeName"]
        with open(path, "w", encoding="ascii") as f:
            json.dump(fixed, f)
        try:
            eventually(uid, what="its mirror")
            cluster.wait_ready(namespace, "fixed-n2")
            eventually(lambda: served(cluster, namespace) == 2, what="both are served")
            pids, was = speakers(canary.word), uid()
            cluster.kill(2, "culvert-agent")
            eventually(lambda: served(cluster, namespace) == 2, what="both are served by the new agent")
            cluster.run("delete", "pod", "-n", namespace, "fixed-n2", "--force", "--grace-period=0")
            eventually(lambda: uid() not in (None, was), what="another mirror")
            eventually(lambda: served(cluster, namespace) == 2, what="both are served with the new mirror")
            assert speakers(canary.word) == pids, "it was started again: nothing is proven"
        finally:
            os.unlink(path)
    assert not canary.was_seen(), "plaintext crossed the link"
    assert canary.ports_of(address) <= {"15008"}, "a connection was begun round the mesh"


@contextlib.contextmanager
def agent_killed(cluster, every_s):
    """On n2, again and again."""
    done = threading.Event()

    def kill():
        while not done.wait(every_s):
            cluster.kill(2, "culvert-agent")
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        done.set()
        killer.join()


def test_the_agent_is_killed_while_pods_are_made(cluster, web):
    namespace, address = web
    names = [f"eager{i}" for i in range(3)]
    with Canary(cluster) as canary:
        with agent_killed(cluster, 0.7):
            cluster.apply(*(eager(namespace, n, "n2", address, canary.word) for n in names))
            time.sleep(4)
        cluster.wait_ready(namespace, *names)
        for name in names:
            eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
            eventually(lambda n=name, w=canary.word: cluster.curl(namespace, n, f"http://{address}/{w}"), what="an answer")
    assert not canary.was_seen(), "plaintext crossed the link"
    assert canary.ports_of(address) <= {"15008"}, "a connection was begun round the mesh"
    cluster.wait_mesh()


def test_a_pod_is_refused_no_longer_than_the_agent_is_away(cluster, web):
    """It is killed before it can answer. Once it stays, the kubelet's next try is the last one."""
    namespace, address = web
    with agent_killed(cluster, 0.05):
        cluster.apply(pod(namespace, "held", "client", "n2"))
        eventually(lambda: cluster.refusals(namespace, "held"), what="it is refused")
    cluster.wait_ready(namespace, "held")
    assert not cluster.refused_in_vain(namespace, "held")
    eventually(lambda: cluster.is_captured(namespace, "held"), what="it is captured")
    eventually(lambda: cluster.curl(namespace, "held", f"http://{address}"), what="an answer")


def test_a_pod_without_ztunnel_starts_and_is_refused(cluster, web):
    """ztunnel is held by SIGSTOP where it would come back at once: its listeners do not answer for a new pod."""
    namespace, address = web
    pids = [str(pid) for pid in cluster.pids(2, "culvert-ztunnel")]
    with Canary(cluster) as canary:
        cluster.on_node(2, "kill", "-STOP", *pids)
        try:
            cluster.apply(eager(namespace, "eager", "n2", address, canary.word))
            eventually(lambda: cluster.get("pod", "-n", namespace, "eager")["status"]["phase"] == "Running",
                       what="the pod runs without ztunnel")
            time.sleep(1)
        finally:
            cluster.on_node(2, "kill", "-CONT", *pids)
        eventually(lambda: cluster.is_captured(namespace, "eager"), what="ztunnel takes it")
        eventually(lambda: cluster.curl(namespace, "eager", f"http://{address}"), what="an answer")
    assert not canary.was_seen(), "plaintext crossed the link"
    assert canary.ports_of(address) <= {"15008"}


def test_another_tool_overwrites_the_configuration(cluster, mesh):
    line = "plugin put into the network configuration"
    said = agent_log(cluster).count(line)
    assert cluster.plugins(2)[-1] == "culvert-cni"
    text = json.loads(cluster.on_node(2, "cat", CONFLIST).stdout)
    text["plugins"].pop()
    cluster.on_node(2, "sh", "-c", f"cat > {CONFLIST}", input=json.dumps(text))
    eventually(lambda: cluster.plugins(2)[-1] == "culvert-cni", what="the plugin is back")
    eventually(lambda: agent_log(cluster).count(line) > said, what="the agent says so")


def test_pods_outside_the_mesh_start_as_before(cluster, mesh, namespace):
    cluster.apply(pod(namespace, "plain", "client", "n2"))
    cluster.wait_ready(namespace, "plain")
    assert not cluster.is_captured(namespace, "plain")


def annotation(cluster, namespace, name):
    return cluster.get("pod", "-n", namespace, name)["metadata"].get("annotations", {}).get("ambient.istio.io/redirection")


def test_pods_say_that_they_are_captured(cluster, web):
    namespace, _ = web
    eventually(lambda: annotation(cluster, namespace, "web") == "enabled", what="the annotation")
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode-")
    eventually(lambda: annotation(cluster, namespace, "web") is None, what="it goes with the label")


def test_the_plugin_goes_from_a_node_that_is_to_have_no_mesh(cluster, web):
    """The DaemonSet does not select n2 any more: pods start there as on a node that never had an agent, and n1 goes on."""
    namespace, address = web
    cluster.apply(pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "client")
    eventually(lambda: cluster.is_captured(namespace, "client"), what="client is captured")

    def select(node_selector):
        cluster.run("patch", "daemonset", "-n", "istio-system", "ztunnel", "-p",
                    json.dumps({"spec": {"template": {"spec": {"nodeSelector": node_selector}}}}))
    select({"kubernetes.io/hostname": "n1"})
    try:
        eventually(lambda: "culvert-cni" not in cluster.plugins(2), what="the plugin is taken out")
        cluster.apply(pod(namespace, "late", "client", "n2"))
        cluster.wait_ready(namespace, "late")
        for name in ("client", "late"):
            eventually(lambda n=name: cluster.curl(namespace, n, f"http://{address}"), what="an answer without the mesh")
        cluster.wait_mesh()
        assert cluster.plugins(1)[-1] == "culvert-cni" and cluster.is_captured(namespace, "web")
    finally:
        select({"kubernetes.io/hostname": None})
        cluster.wait_mesh()
    eventually(lambda: cluster.plugins(2)[-1] == "culvert-cni", what="the plugin is there again")
    for name in ("client", "late"):
        eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")


def test_the_plugin_goes_with_the_daemon_set(cluster, web):
    """Last: what it takes away is put back for the tests after it."""
    namespace, address = web
    cluster.apply(pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "client")
    eventually(lambda: cluster.curl(namespace, "client", f"http://{address}"), what="an answer in the mesh")
    daemonset = cluster.get("daemonset", "-n", "istio-system", "ztunnel")
    cluster.run("delete", "daemonset", "-n", "istio-system", "ztunnel", "--wait=true")
    try:
        for number in (1, 2):
            eventually(lambda n=number: "culvert-cni" not in cluster.plugins(n), what="the plugin is taken out")
            eventually(lambda n=number: cluster.on_node(n, "ls", "/opt/cni/bin/culvert-cni").returncode, what="and away")
        eventually(lambda: cluster.curl(namespace, "client", f"http://{address}"), what="an answer without the mesh")
    finally:
        daemonset["metadata"] = {key: daemonset["metadata"][key] for key in ("name", "namespace", "labels")}
        cluster.apply(daemonset)
        cluster.wait_mesh()
    for number in (1, 2):
        eventually(lambda n=number: cluster.plugins(n)[-1] == "culvert-cni", what="the plugin is there again")
