# SPDX-License-Identifier: Apache-2.0
"""What the control plane of a cluster costs, over an API server that is a script (fake_api.py) and clients that are simulated
(xds-clients.c): its start, its memory, and a change of an endpoint on its way to every node."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import contestants
import cost
from culvert_node import BIN, stop
from leftovers import NAMESPACES
from topology import TREE, run

HERE = os.path.dirname(os.path.abspath(__file__))
API_PORT, XDS_PORT = 16443, 15012
PER_SERVICE = 10
NEAR_EMPTY, SMALL, LARGE = 10, 1000, 10_000
CLIENTS, FEW_CLIENTS = 1000, 50
RATE, SECONDS = 50, 10
KUBECONFIG = """apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: none}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
"""


class Cluster:
    """A network namespace with an API server and a control plane."""

    def __init__(self, work_dir, pods):
        self.pods, self.stack = pods, contextlib.ExitStack()
        self.folder = tempfile.mkdtemp(prefix="control-", dir=work_dir)
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.netns = f"{TREE}{NAMESPACES}-api"
        run("ip", "netns", "add", self.netns)
        self.stack.callback(run, "ip", "netns", "del", self.netns)
        run(*self.inside("ip", "link", "set", "lo", "up"))
        self.api = self.start(sys.executable, os.path.join(HERE, "fake_api.py"), str(API_PORT), str(pods), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
        assert self.api.stdout.readline() == "ready\n"
        config = self.write("kubeconfig", KUBECONFIG.format(port=API_PORT))
        self.run_dir = os.path.join(self.folder, "run")
        os.mkdir(self.run_dir)
        begin = time.monotonic()
        self.control = self.start(os.path.join(BIN, "culvert-control"), "--kubernetes", "--kubeconfig", config, "--run-dir",
                                  self.run_dir, "--xds-port", str(XDS_PORT), "--log-level", "error")
        while not self.listens():
            assert self.control.poll() is None and time.monotonic() < begin + 120, "the control plane does not listen"
            time.sleep(0.01)
        self.start_ms = (time.monotonic() - begin) * 1e3

    def inside(self, *args):
        """A command in the namespace."""
        return ("ip", "netns", "exec", self.netns, *args)

    def write(self, name, text):
        """A file of the folder. Return its path."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start(self, *args, **how):
        """A process in the namespace, ended with us."""
        process = subprocess.Popen(self.inside(*args), **how)
        self.stack.callback(stop, process)
        return process

    def listens(self):
        """Does somebody listen on the port?"""
        return str(XDS_PORT) in run(*self.inside("ss", "-Hltn", f"sport = :{XDS_PORT}"))

    def clients(self, n):
        """So many, all of which have everything."""
        clients = self.start(os.path.join(BIN, "xds-clients"), f"127.0.0.1:{XDS_PORT}",
                             os.path.join(self.run_dir, "ca", "root-cert.pem"), self.write("token", "t"), str(n),
                             str(self.pods + self.pods // PER_SERVICE), stdout=subprocess.PIPE, text=True)
        assert clients.stdout.readline() == "synced\n"
        return clients

    def stop_one(self):
        """One more, which is there and reads nothing; it goes on when all is to end."""
        one = self.clients(1)
        one.send_signal(signal.SIGSTOP)
        self.stack.callback(one.send_signal, signal.SIGCONT)

    def wire_bytes(self):
        """Sent on the namespace's loopback."""
        return int(run(*self.inside("cat", "/sys/class/net/lo/statistics/tx_bytes")))

    def close(self):
        """End all."""
        self.stack.close()


def clients_report(clients):
    """What they have seen since the last time."""
    clients.send_signal(signal.SIGUSR1)
    return json.loads(clients.stdout.readline())


def churn(cluster, clients):
    """Changes for a while. Return: what the clients saw, CPU seconds of the control plane, wire bytes, how many changes."""
    time.sleep(2)
    clients_report(clients)
    used, sent = cost.process_seconds(cluster.control.pid), cluster.wire_bytes()
    print(RATE, SECONDS, file=cluster.api.stdin, flush=True)
    changes = int(cluster.api.stdout.readline())
    time.sleep(2)
    return (clients_report(clients), cost.process_seconds(cluster.control.pid) - used, cluster.wire_bytes() - sent, changes)


def control_cluster(bench):
    """Memory, and the time from its start until nodes are served."""
    for label, pods in (("near_empty", NEAR_EMPTY), ("10k_pods", LARGE)):
        with contextlib.closing(Cluster(bench.work_dir, pods)) as cluster:
            time.sleep(2)
            now, most = (cost.memory_kb(cluster.control.pid, key) for key in ("VmRSS", "VmHWM"))
            bench.add("control_cluster", contestants.Culvert, f"start_ms_{label}", cluster.start_ms)
            bench.add("control_cluster", contestants.Culvert, f"rss_kB_{label}", now)
            bench.add("control_cluster", contestants.Culvert, f"rss_max_kB_{label}", most)


def endpoint_effect(bench):
    """From the event of the API server to the clients, with few and with many pods."""
    for label, pods in (("1k_pods", SMALL), ("10k_pods", LARGE)):
        with contextlib.closing(Cluster(bench.work_dir, pods)) as cluster:
            seen, seconds, _, changes = churn(cluster, cluster.clients(FEW_CLIENTS))
            bench.add("endpoint_effect", contestants.Culvert, f"cpu_us_per_change_{label}", seconds * 1e6 / changes)
            bench.add("endpoint_effect", contestants.Culvert, f"p50_ms_{label}", seen["p50_us"] / 1e3)
            bench.add("endpoint_effect", contestants.Culvert, f"p99_ms_{label}", seen["p99_us"] / 1e3)


def xds_clients(bench):
    """A thousand connected clients, 50 changes a second; then the same with one that has stopped."""
    n = CLIENTS // 10 if bench.options.quick else CLIENTS
    with contextlib.closing(Cluster(bench.work_dir, SMALL)) as cluster:
        clients = cluster.clients(n)
        for label in ("", "_with_one_stopped"):
            if label:
                cluster.stop_one()
            seen, seconds, sent, changes = churn(cluster, clients)
            bench.add("xds_clients", contestants.Culvert, f"p50_ms{label}", seen["p50_us"] / 1e3)
            bench.add("xds_clients", contestants.Culvert, f"p99_ms{label}", seen["p99_us"] / 1e3)
            bench.add("xds_clients", contestants.Culvert, f"cpu_us_per_change{label}", seconds * 1e6 / changes)
            bench.add("xds_clients", contestants.Culvert, f"cpu_us_per_change_and_client{label}", seconds * 1e6 / changes / n)
            bench.add("xds_clients", contestants.Culvert, f"wire_bytes_per_change_and_client{label}", sent / changes / n)
        bench.add("xds_clients", contestants.Culvert, "control_rss_kB", cost.memory_kb(cluster.control.pid))


ROWS = {
    "control_cluster": (control_cluster, tuple(f"{what}_{label}" for what in ("start_ms", "rss_kB", "rss_max_kB")
                                               for label in ("near_empty", "10k_pods"))),
    "endpoint_effect": (endpoint_effect, tuple(f"{what}_{label}" for what in ("p50_ms", "p99_ms", "cpu_us_per_change")
                                               for label in ("1k_pods", "10k_pods"))),
    "xds_clients": (xds_clients, tuple(f"{what}{label}" for label in ("", "_with_one_stopped")
                                       for what in ("p50_ms", "p99_ms", "cpu_us_per_change", "cpu_us_per_change_and_client",
                                                    "wire_bytes_per_change_and_client")) + ("control_rss_kB",)),
}
