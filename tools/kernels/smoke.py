# SPDX-License-Identifier: Apache-2.0
"""A small mesh of two nodes in one kernel: a connection through the tunnel, one inside the node, and one refused; and the clock
is set by more than a certificate's life, forward and back."""
import calendar
import os
import re
import subprocess
import tempfile
import time

from culvert_node import BIN, CulvertNode, stop, wait_for, write_config
from topology import Topology

PORT = 9100  # loadgen's echo
PATIENCE = 60  # seconds, times CULVERT_TEST_SLOW
STEP_H = 30  # certificates live for 24 hours
DENY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: smoke}
spec:
  action: DENY
  rules: [{to: [{operation: {ports: ["%d"]}}]}]
"""


def seconds(text):
    """Since 1970, of "2026-11-22T07:41:50Z"."""
    return calendar.timegm([int(part) for part in re.findall(r"\d+", text)])


class Mesh:
    """Pods `client` and `near` on node 1, `far` on node 2; the two of one node may talk inside the kernel."""

    def __init__(self, work_dir, level):
        self.topology = Topology("ck", 90)
        self.client, self.near = self.topology.pod(1, "c"), self.topology.pod(1, "s")
        self.far = self.topology.pod(2, "f")
        self.pods = (self.client, self.near, self.far)
        for pod in self.pods:
            pod.namespace, pod.account = "smoke", pod.name
        self.config = os.path.join(work_dir, "config")
        write_config(self.config, self.pods)
        env = {"CULVERT_SAME_NODE": "direct", "CULVERT_UPLINK": "uplink", **({"CULVERT_KERNEL_LEVEL": level} if level else {})}
        self.servers = [pod.popen(f"{BIN}/loadgen", "serve", str(PORT), stdout=subprocess.DEVNULL)
                        for pod in (self.near, self.far)]
        self.nodes = [CulvertNode(namespace, number, self.config, "smoke", env=env)
                      for number, namespace in enumerate(self.topology.nodes, 1)]
        print("mesh: nodes started", flush=True)
        self.nodes[0].wait_captured([self.client.name, self.near.name], PATIENCE)
        self.nodes[1].wait_captured([self.far.name], PATIENCE)
        print("mesh: pods captured", flush=True)

    def counter(self, name):
        """Of node 1's programs."""
        return self.nodes[0].admin("agent", "/status")["counters"].get(name, 0)

    def attempt(self, pod):
        """One connection and a byte there and back, in ten seconds: None, else what was wrong."""
        done = subprocess.run(self.client.enter(f"{BIN}/loadgen", "idle", pod.ip4, str(PORT), "1"), stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL, check=False)
        return done.stderr if done.returncode else None

    def is_denied(self, pod, *errors):
        """Did a connection to this pod end with one of these errors?"""
        said = self.attempt(pod)
        return said is not None and any(error in said for error in errors)

    def counts(self, name, pod):
        """Did a connection to this pod succeed and count as that?"""
        before = self.counter(name)
        return self.attempt(pod) is None and self.counter(name) > before

    def certificates(self):
        """Of both nodes: (from, until), seconds since 1970; (0, 0) of an identity without one."""
        chains = [c["certChain"] for node in self.nodes for c in node.admin("ztunnel", "/config_dump")["certificates"]]
        return [(seconds(chain[0]["validFrom"]), seconds(chain[0]["expirationTime"])) if chain else (0, 0) for chain in chains]

    def are_certificates_good(self):
        """By the clock as it is now."""
        all_of_them = self.certificates()
        return len(all_of_them) >= 3 and all(begin <= time.time() < end for begin, end in all_of_them)

    def set_clock(self, hours):
        """CLOCK_REALTIME by so many hours, which no certificate outlives."""
        assert self.are_certificates_good()
        time.clock_settime(time.CLOCK_REALTIME, time.time() + 3600 * hours)

    def deny(self):
        """From now on nobody may reach PORT."""
        with open(os.path.join(self.config, "deny.yaml"), "w", encoding="utf-8") as f:
            f.write(DENY % PORT)

    def close(self):
        """End everything."""
        for node in self.nodes:
            node.close()
        for process in self.servers:
            stop(process)
        self.topology.close()


def main(level):
    """Raises when something is not as it should be. `level`: the kernel to serve as, empty for what it is."""
    with tempfile.TemporaryDirectory() as work_dir:
        os.chmod(work_dir, 0o755)  # the control plane reads it as another user
        mesh = Mesh(work_dir, level)
        try:
            wait_for(lambda: mesh.counts("tunnel", mesh.far), PATIENCE, "a connection through the tunnel")
            print("mesh: tunnelled", flush=True)
            wait_for(lambda: mesh.counts("direct", mesh.near), PATIENCE, "a connection inside the node")
            print("mesh: direct", flush=True)
            assert all(node.guards_uplink() for node in mesh.nodes), "no XDP program stays at the uplink"
            for hours in (STEP_H, -STEP_H):
                mesh.set_clock(hours)
                wait_for(mesh.are_certificates_good, PATIENCE, "certificates that are good by the new time")
                wait_for(lambda: mesh.counts("tunnel", mesh.far), PATIENCE, "a connection through the tunnel after the clock was set")
                wait_for(lambda: mesh.counts("direct", mesh.near), PATIENCE, "a connection inside the node after the clock was set")
            print("mesh: clock set", flush=True)
            mesh.deny()
            wait_for(lambda: mesh.is_denied(mesh.far, "reset", "refused"), PATIENCE, "the denial of the tunnel")
            wait_for(lambda: mesh.is_denied(mesh.near, "refused"), PATIENCE, "ECONNREFUSED inside the node")
            print("mesh: refused", flush=True)
        finally:
            mesh.close()
