# SPDX-License-Identifier: Apache-2.0
"""Where everything is: paths, addresses, names. Nothing else decides them."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
STATE = "/run/culvert-kube"         # keys, kubeconfigs, logs, pids; gone with the cluster
DATA = "/var/lib/culvert-kube"      # containerd and kubelet: needs a file system that overlayfs takes
PKI = f"{STATE}/pki"
LOGS = f"{STATE}/logs"
PIDS = f"{STATE}/pids"
ADMIN_CONF = f"{STATE}/admin.conf"

BRIDGE = "cvk0"
HOST_IP = "192.168.241.1"
API_PORT = 6443
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_FIRST_IP = "10.96.0.1"
CLUSTER_CIDR = "10.241.0.0/16"
DOMAIN = "cluster.local"
CGROUP = "culvert-kube"             # first part of each node's cgroup
API_URL = f"https://{HOST_IP}:{API_PORT}"


class Node:
    """One node by its number, from 1."""

    def __init__(self, number):
        self.number = number
        self.name = f"n{number}"
        self.netns = f"cvk-{self.name}"
        self.ip = f"192.168.241.{10 + number}"
        self.pod_cidr = f"10.241.{number}.0/24"
        self.state = f"{STATE}/{self.name}"
        self.data = f"{DATA}/{self.name}"
        self.cgroup = f"/{CGROUP}-{self.name}"
        self.containerd_socket = f"{self.state}/containerd.sock"


def nodes(count):
    return [Node(i + 1) for i in range(count)]
