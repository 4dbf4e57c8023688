# SPDX-License-Identifier: Apache-2.0
"""Two Culvert nodes, an honest pod on each, and a pod outside the mesh whose owner has got hold of certificates."""
import json
import os
import subprocess
import sys

import certificates
from culvert_node import CulvertNode, stop, wait_for, write_config
from topology import Topology, remove_stale

HERE = os.path.dirname(os.path.abspath(__file__))
STREAM = os.path.join(HERE, "stream.py")
RAW = os.path.join(HERE, "h2raw.py")
PORT, WHO_PORT = 9200, 9201
WHO = """
import socket, threading
s = socket.create_server(("::", %d), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    c, a = s.accept()
    c.recv(100)
    c.sendall(a[0].removeprefix("::ffff:").encode())
    c.close()
""" % WHO_PORT
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: hostile, annotations: {{{annotations}}}}}
spec: {spec}
"""


class Hostile:
    """Server pod `server` on n1, `friend` on n2 with Culvert; `attacker` on n2 is in no mesh."""

    def __init__(self, work_dir, prefix="ch", octet=78):
        self.work_dir = work_dir
        self.processes, self.nodes = [], []
        remove_stale(prefix)
        self.topology = Topology(prefix, octet)
        self.server = self.topology.pod(1, "s")
        self.other = self.topology.pod(1, "o")
        self.friend = self.topology.pod(2, "f")
        self.attacker = self.topology.pod(2, "x")
        for pod in (self.server, self.other, self.friend):
            pod.namespace, pod.account = "hostile", pod.name
        for pod in (self.server, self.other):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.start(pod, sys.executable, STREAM, "serve", str(PORT), **quiet)
            self.start(pod, sys.executable, "-c", WHO, **quiet)
        self.ca = certificates.Authority(os.path.join(work_dir, "ca"))
        self.config = os.path.join(work_dir, "config")
        self.crl = os.path.join(work_dir, "crl.pem")

    def start(self, pod, *argv, **kwargs):
        """A process in a pod that ends with the fixture."""
        process = pod.popen(*argv, **kwargs)
        self.processes.append(process)
        return process

    def start_nodes(self):
        """Culvert on both nodes, with a file for revocation lists."""
        write_config(self.config, [self.server, self.other, self.friend])
        os.environ["CRL_PATH"] = self.crl
        try:
            tag = f"hostile-{self.topology.prefix}"
            self.nodes = [CulvertNode(self.topology.nodes[i], i + 1, self.config, tag, self.ca.path) for i in (0, 1)]
        finally:
            del os.environ["CRL_PATH"]
        self.nodes[0].wait_captured([self.server.name, self.other.name])
        self.nodes[1].wait_captured([self.friend.name])
        wait_for(lambda: self.friend.run(sys.executable, STREAM, "check", self.server.ip4, str(PORT), "10"), 10, "a stream")

    def identity(self, account):
        """SPIFFE ID of one of our accounts."""
        return f"spiffe://cluster.local/ns/hostile/sa/{account}"

    def leaf(self, name="x"):
        """A good certificate in the attacker's hands."""
        return self.ca.leaf(name, self.identity(self.friend.account))

    def connect(self, authority, *headers, cert=None, host=None):
        """One CONNECT of the attacker."""
        argv = self.attacker.enter(sys.executable, RAW, "connect", host or self.server.ip4, *(cert or self.leaf()), authority,
                                   *headers)
        return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout)

    def put_policy(self, name, spec, annotations=""):
        """Write or replace a policy; takes effect at once."""
        path = os.path.join(self.config, f"{name}.yaml")
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(POLICY.format(name=name, spec=spec, annotations=annotations))
        os.rename(path + ".new", path)

    def del_policy(self, name):
        """Remove it again."""
        os.unlink(os.path.join(self.config, f"{name}.yaml"))

    def log(self, node):
        """What a node has logged so far."""
        with open(self.nodes[node].log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def ztunnel(self, node=0):
        """Pid of a node's ztunnel."""
        return self.nodes[node].pids("culvert-ztunnel")[0]

    def close(self):
        """End everything that was started."""
        for node in self.nodes:
            node.close()
        for process in reversed(self.processes):
            stop(process)
        self.topology.close()
