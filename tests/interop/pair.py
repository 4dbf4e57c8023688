# SPDX-License-Identifier: Apache-2.0
"""Two Culvert nodes with pods that a test adds and removes, and clients that hold many connections."""
import os
import subprocess
import sys

from culvert_node import CulvertNode, Nodes, wait_for, write_config
from topology import Topology, remove_stale

# Opens connections, a byte there and back on each; says how many it got, and how many still work for each line that it reads.
HOLD = """
import resource, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
def attempt(step, *args):
    try:
        return step(*args)
    except OSError:
        return None
def working(conns):
    sent = [c for c in conns if attempt(c.send, b"x")]
    return [c for c in sent if attempt(c.recv, 1) == b"x"]
held = []
for at in range(0, count, 100):
    conns = [attempt(socket.create_connection, (host, port), 60) for _ in range(min(100, count - at))]
    held += working(filter(None, conns))
print(len(held), flush=True)
for line in sys.stdin:
    print(sum(len(working(held[at:at + 100])) for at in range(0, len(held), 100)), flush=True)
"""


class Held:
    """Connections from a pod that stay open."""

    def __init__(self, pod, host, port, count):
        self.process = pod.popen(sys.executable, "-c", HOLD, host, str(port), str(count), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.count = 0

    def opened(self):
        """When all were tried: now .count is known."""
        self.count = int(self.process.stdout.readline())
        return self

    def working(self):
        """How many still carry bytes."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        """End them all."""
        self.process.stdin.close()
        self.process.wait(60)


def works(pod, host, port):
    """Whether one new connection carries a byte there and back."""
    held = Held(pod, host, port, 1).opened()
    held.close()
    return held.count == 1


class Pair(Nodes):
    """Pods first, then write() and start(). `name` is the namespace and names the folders; close() removes everything."""

    def __init__(self, work_dir, name, prefix, octet):
        remove_stale(prefix)
        self.name, self.work_dir = name, work_dir
        self.config = os.path.join(work_dir, "config")
        self.topology = Topology(prefix, octet)
        self.pods, self.processes, self.nodes = [], [], []

    def pod(self, number, name, account="default"):
        """One more pod on node 1 or 2."""
        return self.adopt(self.topology.pod(number, name), account)

    def adopt(self, pod, account="default"):
        """A pod that the caller has made."""
        pod.namespace, pod.account = self.name, account
        self.pods.append(pod)
        return pod

    def serve(self, pod, *argv):
        """A process in a pod that ends with us."""
        return self.run_in(pod, *argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def write(self, extra="", without=()):
        """The configuration of all pods, but for these."""
        write_config(self.config, [pod for pod in self.pods if pod not in without], extra)

    def start(self, wrap1=(), wrap2=()):
        """Both nodes, their programs run by these commands, all pods captured."""
        for i, wrap in enumerate((wrap1, wrap2)):
            self.nodes.append(CulvertNode(self.topology.nodes[i], i + 1, self.config, self.name, wrap=wrap))
        self.wait_captured(self.pods)

    def wait_works(self, client, server, port):
        """Until a connection works."""
        wait_for(lambda: works(client, server.ip4, port), 20, f"a connection from {client.name} to {server.name}")

    def pid(self, number, program="culvert-ztunnel"):
        """Of a process of a node."""
        return self.nodes[number - 1].pids(program)[0]

    def fds(self, number):
        """Descriptors of a node's ztunnel."""
        return len(os.listdir(f"/proc/{self.pid(number)}/fd"))

    def rss_kb(self, number):
        """Resident memory of a node's ztunnel."""
        with open(f"/proc/{self.pid(number)}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def close(self):
        """End everything, pods that the topology does not know of too."""
        super().close()
        for pod in self.pods:
            pod.close()
