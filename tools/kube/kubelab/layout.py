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
AUDIT_LOG = f"{STATE}/audit.log"

BRIDGE = "cvk0"
API_PORT = 6443
DOMAIN = "cluster.local"
CGROUP = "culvert-kube"             # first part of each node's cgroup
FAMILY_FILE = f"{STATE}/family"


class Stack:
    """Addresses of one IP family; {} is a node's number."""

    def __init__(self, prefix_len, host, node, pods, cluster, services, balancers):
        self.prefix_len, self.host_ip = prefix_len, host
        self.node_pattern, self.pods_pattern = node, pods
        self.cluster_cidr, self.service_cidr = cluster, services
        self.service_first_ip = services.split("/", maxsplit=1)[0].removesuffix("0") + "1"
        self.balancer_ips = balancers  # nobody's: for the status of Services

    def node_ip(self, number):
        return self.node_pattern.format(10 + number)

    def pod_cidr(self, number):
        return self.pods_pattern.format(number)


IPV4 = Stack(24, "192.168.241.1", "192.168.241.{}", "10.241.{}.0/24", "10.241.0.0/16", "10.96.0.0/16",
             ("192.168.242.7", "192.168.242.8"))
IPV6 = Stack(64, "fd00:241::1", "fd00:241::{}", "fd00:10:241:{}::/64", "fd00:10:241::/48", "fd00:10:96::/112",
             ("fd00:242::7", "fd00:242::8"))
FAMILIES = {"ipv4": [IPV4], "ipv6": [IPV6], "dual": [IPV4, IPV6]}


def choose_family(name):
    """Write down which addresses the cluster that is about to start has."""
    os.makedirs(STATE, mode=0o755, exist_ok=True)
    with open(FAMILY_FILE, "w", encoding="ascii") as f:
        f.write(name)


def family():
    try:
        with open(FAMILY_FILE, encoding="ascii") as f:
            return f.read()
    except FileNotFoundError:
        return "ipv4"


def stacks():
    """The cluster's; its main one first."""
    return FAMILIES[family()]


def in_url(ip):
    return f"[{ip}]" if ":" in ip else ip


def host_ip():
    return stacks()[0].host_ip


def api_url():
    return f"https://{in_url(host_ip())}:{API_PORT}"


class Node:
    """One node by its number, from 1."""

    def __init__(self, number):
        self.number = number
        self.name = f"n{number}"
        self.netns = f"cvk-{self.name}"
        self.ips = [s.node_ip(number) for s in stacks()]
        self.ip = self.ips[0]
        self.state = f"{STATE}/{self.name}"
        self.data = f"{DATA}/{self.name}"
        self.cgroup = f"/{CGROUP}-{self.name}"
        self.containerd_socket = f"{self.state}/containerd.sock"


def nodes(count):
    return [Node(i + 1) for i in range(count)]
