# SPDX-License-Identifier: Apache-2.0
"""A node that comes up in any order: agent, ztunnel and the application each first, second and last. In the end the pods
are in the mesh and their next connections are the mesh's; until then the agent names them as not yet captured."""
import contextlib
import itertools
import json
import os
import shutil
import sys
import tempfile

import pytest
from culvert_node import BIN, base_dir, pin_dir, stop, wait_for, write_config
from same_node import CLIENT, PORT, SERVER
from topology import Topology, remove_stale, run

ORDERS = list(itertools.permutations(("agent", "ztunnel", "pods")))


class Booting:
    """One node whose parts are started by hand."""

    def __init__(self):
        remove_stale("co")
        self.topology = Topology("co", 75)
        self.client, self.server = self.topology.pod(1, "c"), self.topology.pod(1, "s")
        for pod in (self.client, self.server):
            pod.namespace, pod.account = "order", pod.name
        self.work_dir = tempfile.mkdtemp(prefix="culvert-order-")
        os.chmod(self.work_dir, 0o755)
        self.config = os.path.join(self.work_dir, "config")
        self.run_dir, self.pins = f"{base_dir('order')}/n1", f"{pin_dir('order')}/n1"
        write_config(self.config, [self.client], "")
        self.processes = []
        self.log = open(os.path.join(self.work_dir, "log"), "w+", encoding="utf-8")
        self.daemon("control", "--config-dir", self.config, "--ca-dir", os.path.join(self.work_dir, "ca"),
                    "--allow-user", "culvert-ztunnel")

    def daemon(self, name, *options):
        """Start one of the three daemons."""
        self.processes.append(self.topology.nodes[0].popen(
            os.path.join(BIN, f"culvert-{name}"), "--node", "n1", "--run-dir", self.run_dir, *options,
            stdout=self.log, stderr=self.log))

    def start(self, part):
        """Start agent, ztunnel or what the pods are about."""
        if part == "agent":
            self.daemon("agent", "--config-dir", self.config, "--pin-dir", self.pins)
        elif part == "ztunnel":
            self.daemon("ztunnel")
        else:
            self.processes.append(self.server.popen(sys.executable, "-c", SERVER))
            write_config(self.config, [self.client, self.server])

    def status(self):
        """What the agent says of its pods, by name; empty while it does not answer."""
        try:
            out = run("curl", "-sf", "--max-time", "30", "--unix-socket", f"{self.run_dir}/agent/admin.sock",
                      "http://localhost/status")
        except RuntimeError:
            return {}
        return {pod["name"]: pod["state"] for pod in json.loads(out)["pods"]}

    def talk(self):
        """One connection from pod to pod; the address that the server saw."""
        return self.client.run(sys.executable, "-c", CLIENT, self.server.ip4, str(PORT)).strip()

    def mesh_connections(self):
        """How many connections the programs have led into the mesh."""
        out = run("curl", "-sf", "--unix-socket", f"{self.run_dir}/agent/admin.sock", "http://localhost/status")
        counters = json.loads(out)["counters"]
        return counters["tunnel"] + counters["direct"]

    def close(self):
        """Remove everything."""
        for process in reversed(self.processes):
            stop(process)
        self.log.seek(0)
        print(self.log.read()[-4000:])
        self.log.close()
        run(os.path.join(BIN, "culvert-agent"), "--clean", "--pin-dir", self.pins)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self.pins))
        self.topology.close()
        shutil.rmtree(self.work_dir, ignore_errors=True)
        shutil.rmtree(os.path.dirname(self.run_dir), ignore_errors=True)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_any_order(order):
    b = Booting()
    try:
        for part in order[:-1]:
            b.start(part)
        if "agent" in order[:-1]:
            wait_for(lambda: b.client.name in b.status(), 15, "the agent's word on the first pod")
            if order[-1] == "ztunnel":
                wait_for(lambda: set(b.status().values()) == {"pending"}, 15, "both pods to be pending")
        b.start(order[-1])
        wait_for(lambda: b.status() == {b.client.name: "captured", b.server.name: "captured"}, 20, "the capture of both pods")
        wait_for(lambda: b.server.run("ss", "-Hltn", "sport", "=", f":{PORT}"), 10, "the server")
        before = b.mesh_connections()
        assert b.talk() == b.client.ip4
        assert b.mesh_connections() == before + 1
    finally:
        b.close()
