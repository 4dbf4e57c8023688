# SPDX-License-Identifier: Apache-2.0
"""How long enrolment takes: a node's start with 100 pods, and from the label to the first encrypted connection."""
import os
import subprocess
import time

import contestants
from culvert_node import CulvertNode, wait_for, write_config
from leftovers import NAMESPACES, TAG
from topology import TREE, Namespace, Topology

PODS = 100


class BarePod(Namespace):
    """A namespace with addresses, a link to its node and nothing that serves: enough to be enrolled."""

    def __init__(self, node, number):
        super().__init__(f"{node.name}p{number}")
        self.node, self.namespace, self.account = node, "bench", "client"
        self.ip4, self.ip6 = f"10.210.0.{number}", f"fd00:210::{number:x}"
        host = f"pod{number}"
        node.ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        node.ip("link", "set", host, "up")
        self.ip("addr", "add", f"{self.ip4}/32", "dev", "eth0")
        self.ip("addr", "add", f"{self.ip6}/128", "dev", "eth0", "nodad")
        self.ip("link", "set", "eth0", "up")


def age_ms(pid):
    """How long ago a process was started."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        started = int(f.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return (time.clock_gettime(time.CLOCK_BOOTTIME) - started) * 1000


def start_with_many_pods(work_dir, progress):
    """Milliseconds from the start of `culvert node` (control plane and CA included), and of the agent, to all pods captured."""
    config = os.path.join(work_dir, "many")
    node_ns = Namespace(f"{TREE}{NAMESPACES}many-n1")
    pods = []
    node = None
    try:
        for number in range(1, PODS + 1):
            progress(f"pod {number}/{PODS}")
            pods.append(BarePod(node_ns, number))
        write_config(config, pods)
        begin = time.monotonic()
        node = CulvertNode(node_ns, 1, config, TAG + "many", env=contestants.QUIET)
        wait_for(lambda: len(node.captured()) == PODS, 30, f"capture of {PODS} pods")
        return (time.monotonic() - begin) * 1000, age_ms(node.pids("culvert-agent")[0])
    finally:
        if node:
            node.close()
        for part in [*pods, node_ns]:
            part.close()


def label_to_encrypted(work_dir, octet):
    """Milliseconds from the write of the label to the first tunnel of a client that connects all the time."""
    config = os.path.join(work_dir, "label")
    with Topology(f"{NAMESPACES}{octet}", octet) as topology:
        client, server = topology.pod(1, "c"), topology.pod(2, "s")
        for pod, account in ((client, "client"), (server, "server")):
            pod.namespace, pod.account = "bench", account
        write_config(config, [client, server], label="istio-injection: disabled")
        nodes, processes = [], []
        try:
            processes.append(server.popen(contestants.LOADGEN, "serve", "9100", stdout=subprocess.DEVNULL))
            for number, namespace in enumerate(topology.nodes, 1):
                nodes.append(CulvertNode(namespace, number, config, TAG + "label", env=contestants.QUIET))
            for node in nodes:
                wait_for(lambda n=node: n.admin_or_none("ztunnel", "/config_dump") is not None, 20, "ztunnel")
            processes.append(client.popen(contestants.LOADGEN, "conn", server.ip4, "9102", "1", "8", stdout=subprocess.DEVNULL))
            time.sleep(0.5)
            begin = time.monotonic()
            write_config(config, [client, server])
            wait_for(lambda: contestants.has_tunnel(client), 10, "a tunnel after the label")
            return (time.monotonic() - begin) * 1000
        finally:
            for process in processes:
                contestants.stop(process)
            for node in nodes:
                node.close()
