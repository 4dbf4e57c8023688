#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast the mesh follows a cluster, and how big it is there: each figure that is asked for with its limit, ok or MISSED.

usage: bench.py [--rounds N] [--keep]     (root; starts a cluster of its own and ends it; --keep: takes the one that is there)
"""
import argparse
import collections
import contextlib
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(ROOT, "tools", "kube")
sys.path.insert(0, TOOLS)
from kubelab import layout, node  # noqa: E402
from kubelab.cluster import CONFLIST, Cluster, Load, eventually, pod, service  # noqa: E402

NAMESPACE = "bench"
LABEL = "istio.io/dataplane-mode"
INTERVAL_S = 0.003
PODS_ON_NODE = 50
CHAIN = os.path.join(ROOT, "tests", "kube", "cni_chain.py")
DENY = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "deny", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "action": "DENY",
                 "rules": [{"from": [{"source": {"namespaces": [NAMESPACE]}}]}]}}


def plain_syns(pcap, client_ip):
    """Times of connection attempts from the client that crossed the link to port 80."""
    out = subprocess.run(["tcpdump", "-nn", "-tt", "-r", pcap, f"src host {client_ip} and tcp dst port 80 and tcp[13] & 18 == 2"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    return [float(line.split()[0]) for line in out.splitlines()]


@contextlib.contextmanager
def capture(pcap):
    proc = subprocess.Popen(["tcpdump", "-i", "cvk-n2", "--immediate-mode", "-U", "-w", pcap, "tcp port 80"],
                            stderr=subprocess.PIPE, text=True)
    proc.stderr.readline()
    yield
    time.sleep(0.2)
    proc.terminate()
    proc.communicate()


@contextlib.contextmanager
def load(cluster, name="web"):
    with Load(cluster, NAMESPACE, "client", cluster.service_ip(NAMESPACE, name), INTERVAL_S) as one:
        eventually(lambda: len(one.results) > 50, what="requests")
        yield one
        time.sleep(0.5)


def enrol(cluster, value="=ambient"):
    cluster.run("label", "namespace", NAMESPACE, f"{LABEL}{value}")
    returned = time.time()
    for name in ("web", "client"):
        eventually(lambda n=name: cluster.is_captured(NAMESPACE, n) == (value != "-"), what=f"{name}: {value}")
    return returned


def label_to_encrypted(cluster):
    """Return: (ms from kubectl's return to the first answer over the tunnel, what failed)."""
    pcap = "/tmp/culvert-kube-bench.pcap"
    client_ip = cluster.get("pod", "-n", NAMESPACE, "client")["status"]["podIP"]
    with capture(pcap), load(cluster) as one:
        returned = enrol(cluster)
        time.sleep(3)
    last_plain = max(plain_syns(pcap, client_ip))
    os.unlink(pcap)
    after = [began + ms / 1000 for began, ms, what in one.results if what.startswith("ok") and began > last_plain]
    assert after, f"no encrypted connection: the last in plaintext {last_plain - returned:.3f} s after the label, {one.results[-3:]}"
    answered = min(after)
    enrol(cluster, "-")
    time.sleep(6)  # a released pod keeps its listeners for 5 s
    return (answered - returned) * 1000, [what for _, what in one.failed()]


def policy_to_refusal(cluster):
    with load(cluster) as one:
        cluster.apply(DENY)
        returned = time.time()
        eventually(one.failed, what="a refusal")
    cluster.run("delete", "authorizationpolicy", "-n", NAMESPACE, "deny")
    eventually(lambda: cluster.curl(NAMESPACE, "client", "http://web"), what="an answer again")
    first = min(began + ms / 1000 for began, ms, what in one.results if not what.startswith("ok"))
    return (first - returned) * 1000


def slice_to(ip):
    """The endpoints of Service `moved`, which has no selector."""
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "moved-1", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": "moved"}},
            "endpoints": [{"addresses": [ip], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}


def endpoint_to_effect(cluster, to_name):
    ip = cluster.get("pod", "-n", NAMESPACE, to_name)["status"]["podIP"]
    with load(cluster, "moved") as one:
        cluster.apply(slice_to(ip))
        returned = time.time()
        wanted = f"ok nginx {to_name}"
        eventually(lambda: any(what == wanted for *_, what in one.results), what=f"an answer of {to_name}")
    first = min(began + ms / 1000 for began, ms, what in one.results if what == wanted)
    return (first - returned) * 1000


def memory_mb(cluster, number, process):
    """Of the processes of all programs that the pattern names. Return: (RSS, PSS, in which a page that several have counts once)."""
    rss, pss = 0, 0
    for pid in cluster.pids(number, process):
        text = cluster.on_node(number, "cat", f"/proc/{pid}/smaps_rollup").stdout
        rss += int(text.split("Rss:")[1].split()[0])
        pss += int(text.split("Pss:")[1].split()[0])
    return rss / 1024, pss / 1024


def most_mb(cluster, number, process):
    """The most that one process of this program has had."""
    return max(int(re.search(r"VmHWM:\s*(\d+)", cluster.on_node(number, "cat", f"/proc/{pid}/status").stdout).group(1)) / 1024
               for pid in cluster.pids(number, process))


def print_sizes(cluster):
    """Of agent and ztunnel on n1 with its pods, of the control plane."""
    names = [f"idle{i}" for i in range(PODS_ON_NODE)]
    cluster.apply(*(pod(NAMESPACE, name, "client", "n1") for name in names))
    cluster.run("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod", "--all", "--timeout=300s", timeout=320)
    eventually(lambda: len(cluster.captured(1)) >= PODS_ON_NODE, 60, "all are captured")
    time.sleep(10)  # memory is given back after a rush
    agent, ztunnel = memory_mb(cluster, 1, "culvert-(agent|maker)"), memory_mb(cluster, 1, "culvert-ztunnel")
    control = max(memory_mb(cluster, n, "culvert-control") for n in (1, 2))
    where = f"{PODS_ON_NODE + 2} pods on the node"
    row(f"agent and its child, {where}: RSS", [agent[0]], "MB")
    row(f"ztunnel, {where}: RSS", [ztunnel[0]], "MB")
    row("  together", [agent[0] + ztunnel[0]], "MB", ("max", 25))
    row("  shared pages once: PSS", [agent[1] + ztunnel[1]], "MB")
    row("agent at most, in the rush of their start", [most_mb(cluster, 1, "culvert-agent --kube")], "MB")
    row("ztunnel at most", [most_mb(cluster, 1, "culvert-ztunnel")], "MB")
    row("control plane: RSS", [control[0]], "MB", ("max", 20))


def read_sandboxes(log, prefix):
    """Of pods whose name begins so, by the log of containerd, 1.x or 2. Return: how long it was at each sandbox, ms."""
    times = {}
    for line in log:
        name = re.search(r'RunPodSandbox for (?:&PodSandboxMetadata\{N|n)ame:[\\"]*([^,\\"]+)', line)
        when = re.search(r'time="[^T]+T(\d+):(\d+):([\d.]+)Z"', line)
        if name and when and name.group(1).startswith(prefix):
            hours, minutes, seconds = (float(n) for n in when.groups())
            times.setdefault(name.group(1), []).append(1000 * (3600 * hours + 60 * minutes + seconds))
    return [both[1] - both[0] for both in times.values() if len(both) == 2]


def sandboxes_ms(cluster, prefix, rounds):
    """Start pods on n1, one after the other. Return: how long containerd was at each sandbox, plugins and all."""
    for i in range(rounds):
        cluster.apply(pod(NAMESPACE, f"{prefix}{i}", "client", "n1"))
        cluster.wait_ready(NAMESPACE, f"{prefix}{i}")
    with open(f"{layout.LOGS}/n1-containerd.log", encoding="utf-8", errors="replace") as f:
        times = read_sandboxes(f, prefix)
    cluster.run("delete", "pod", "-n", NAMESPACE, "--wait=false", *(f"{prefix}{i}" for i in range(rounds)))
    return times


def plugins_ms(cluster, rounds):
    """The CNI plugins of pods of the mesh on n1, by hand: the kubelet, which would start them, is stopped meanwhile.
    Return: (ms without ours, ms with it, ms of ours) for each pod; with and without take turns, so that load hits both alike."""
    names = [f"chain{i}" for i in range(rounds)]
    node.signal_daemon(cluster.nodes[0], "kubelet", "STOP")
    try:
        cluster.apply(*(pod(NAMESPACE, name, "client", "n1") for name in names))
        pods = [[NAMESPACE, name, cluster.get("pod", "-n", NAMESPACE, name)["metadata"]["uid"]] for name in names]
        done = cluster.on_node(1, CHAIN, CONFLIST, "/opt/cni/bin", input=json.dumps(pods))
    finally:
        cluster.run("delete", "pod", "-n", NAMESPACE, "--force", "--grace-period=0", "--wait=false", *names)
        node.signal_daemon(cluster.nodes[0], "kubelet", "CONT")
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def row(what, values, unit, limit=None):
    """A line. limit: (which of the figures, at most what)."""
    got = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}
    asked = ""
    if limit:
        share, most = limit
        asked = f"{share} <= {most}: " + ("ok" if got[share] <= most else f"MISSED, {got[share]:.1f}")
    print(f"{what:50} {got['p50']:8.1f} {got['p99']:8.1f} {unit:4} {asked}".rstrip(), flush=True)


def measure(cluster, rounds):
    cluster.run("create", "namespace", NAMESPACE)
    eventually(lambda: cluster.run("get", "serviceaccount", "-n", NAMESPACE, "default", check=False), what="the account")
    before = sandboxes_ms(cluster, "before", rounds)
    cluster.install()
    cluster.apply(pod(NAMESPACE, "web", "nginx", "n1"), pod(NAMESPACE, "other", "nginx", "n1"), service(NAMESPACE, "web"),
                  service(NAMESPACE, "moved", selector=None), pod(NAMESPACE, "client", "client", "n2"))
    cluster.wait_ready(NAMESPACE, "web", "other", "client")
    # A new Service's packets are refused, and then lost for a moment, until kube-proxy knows where they go.
    eventually(lambda: cluster.curl(NAMESPACE, "client", f"http://{cluster.service_ip(NAMESPACE, 'web')}"), what="an answer")
    print(f"{'':50} {'p50':>8} {'p99':>8}      asked")
    got = [label_to_encrypted(cluster) for _ in range(rounds)]
    row("label to first encrypted connection", [ms for ms, _ in got], "ms", ("p99", 150))
    row("  requests that failed meanwhile", [len(failed) for _, failed in got], "", ("max", 0))
    for what, count in collections.Counter(w for _, failed in got for w in failed).items():
        print(f"    {count} x {what}")
    enrol(cluster)
    meshed = sandboxes_ms(cluster, "meshed", rounds)
    row("a pod's sandbox before the mesh is installed", before, "ms")
    row("  and in the mesh: all that runs there takes part", meshed, "ms")
    plugins = plugins_ms(cluster, rounds)
    row("a pod's CNI plugins without ours, by hand", [ms for ms, _, _ in plugins], "ms")
    row("  and with it", [ms for _, ms, _ in plugins], "ms")
    row("  ours", [ms for _, _, ms in plugins], "ms", ("p50", 20))
    row("policy applied to first refusal", [policy_to_refusal(cluster) for _ in range(rounds)], "ms", ("p99", 40))
    cluster.apply(slice_to(cluster.get("pod", "-n", NAMESPACE, "web")["status"]["podIP"]))
    eventually(lambda: cluster.curl(NAMESPACE, "client", "http://moved"), what="an answer")
    row("endpoint changed to first answer of the new", [endpoint_to_effect(cluster, ("other", "web")[i % 2]) for i in range(rounds)],
        "ms", ("p99", 100))
    print_sizes(cluster)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    if args.keep:
        measure(Cluster(), args.rounds)
        return
    if os.path.exists(layout.STATE):
        sys.exit("bench: a cluster is there already: tools/kube/down first, or --keep")
    subprocess.run([f"{TOOLS}/build"], stdout=subprocess.DEVNULL, check=True)
    began = time.monotonic()
    subprocess.run([f"{TOOLS}/up"], check=True)
    row("the cluster is up, of programs that are there", [time.monotonic() - began], "s", ("max", 40))
    try:
        measure(Cluster(), args.rounds)
    finally:
        subprocess.run([f"{TOOLS}/down"], check=True)


if __name__ == "__main__":
    main()
