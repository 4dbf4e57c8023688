# SPDX-License-Identifier: Apache-2.0
"""Two Culvert nodes, an honest pod on each, and a pod outside the mesh whose owner has got hold of certificates."""
import contextlib
import json
import os
import subprocess
import sys

import certificates
from culvert_node import Nodes, put_file, wait_for, write_config
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


class Hostile(Nodes):
    """Server pod `server` on n1, `friend` on n2 with Culvert; `attacker` on n2 is in no mesh."""

    def __init__(self, work_dir, prefix="ch", octet=78, tag=""):
        self.work_dir, self.tag = work_dir, f"{tag}hostile-{prefix}"
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
            self.run_in(pod, sys.executable, STREAM, "serve", str(PORT), **quiet)
            self.run_in(pod, sys.executable, "-c", WHO, **quiet)
        self.ca = certificates.Authority(os.path.join(work_dir, "ca"))
        self.config = os.path.join(work_dir, "config")
        self.crl = os.path.join(work_dir, "crl.pem")

    def start(self):
        """Culvert on both nodes, with a file for revocation lists."""
        write_config(self.config, [self.server, self.other, self.friend])
        os.environ["CRL_PATH"] = self.crl
        try:
            self.start_both(self.config, self.tag, [self.server, self.other, self.friend], ca_dir=self.ca.path)
        finally:
            del os.environ["CRL_PATH"]
        wait_for(self.carries, 10, "a stream")

    def carries(self):
        """Does a connection of the friend work?"""
        with contextlib.suppress(RuntimeError):
            return self.friend.run(sys.executable, STREAM, "check", self.server.ip4, str(PORT), "10")
        return None

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
        return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout)

    def put_policy(self, name, spec, annotations=""):
        """Write or replace a policy; takes effect at once."""
        put_file(os.path.join(self.config, f"{name}.yaml"), POLICY.format(name=name, spec=spec, annotations=annotations))

    def del_policy(self, name):
        """Remove it again."""
        os.unlink(os.path.join(self.config, f"{name}.yaml"))

    def ztunnel(self, node=0):
        """Pid of a node's ztunnel."""
        return self.nodes[node].pids("culvert-ztunnel")[0]
