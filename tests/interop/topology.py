# SPDX-License-Identifier: Apache-2.0
"""Two nodes joined by a switch, one or more pods in each, all network namespaces of this process's own.

Used where a test wants the bare network without the lab's applications: the interop tests and the benchmark.
Names are short and carry a prefix, so that several topologies can live side by side, and before it what stands for this
checkout and CULVERT_TEST_SLOT, so that the tests of two checkouts, or of two slots of one, do not disturb each other; close()
removes everything.
"""
import base64
import contextlib
import hashlib
import os
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TREE = base64.b32encode(hashlib.sha256((ROOT + os.environ.get("CULVERT_TEST_SLOT", "")).encode()).digest())[:3].decode().lower()


def run(*argv, **kwargs):
    """Run a command; its output is in the exception when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {done.stdout.strip()}")
    return done.stdout


class Namespace:
    """A network namespace bound at /run/netns/NAME."""

    def __init__(self, name):
        self.name = name
        self.path = f"/run/netns/{name}"
        run("ip", "netns", "add", name)
        for scope in ("all", "default"):
            self.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)  # addresses are usable at once
        self.ip("link", "set", "lo", "up")

    def ip(self, *argv):
        """`ip` inside the namespace."""
        return run("ip", "-n", self.name, *argv)

    def enter(self, *argv):
        """Argument list that runs a command inside (mounts are kept, unlike with `ip netns exec`)."""
        return ["nsenter", f"--net={self.path}", *argv]

    def popen(self, *argv, **kwargs):
        """Start a process inside."""
        return subprocess.Popen(self.enter(*argv), **kwargs)

    def run(self, *argv, **kwargs):
        """Run a command inside."""
        return run(*self.enter(*argv), **kwargs)

    def sysctl(self, key, value):
        """Set a sysctl of the namespace (through nsenter, /proc/sys follows the caller)."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/{key.replace('.', '/')}")

    def close(self):
        """Remove the namespace; its links go with it."""
        with contextlib.suppress(RuntimeError):
            run("ip", "netns", "del", self.name)


class Pod(Namespace):
    """A pod: eth0 routed through its node."""

    def __init__(self, node, name, ip4, ip6):
        super().__init__(name)
        self.node, self.ip4, self.ip6 = node, ip4, ip6
        host = f"h{name}"[:15]
        run("ip", "link", "add", host, "netns", node.name, "type", "veth", "peer", "name", "eth0", "netns", name)
        node.ip("link", "set", host, "up")
        node.ip("route", "add", f"{ip4}/32", "dev", host)
        node.ip("-6", "route", "add", f"{ip6}/128", "dev", host)
        node.ip("addr", "add", "fe80::1/64", "dev", host, "nodad")
        self.ip("addr", "add", f"{ip4}/32", "dev", "eth0")
        self.ip("addr", "add", f"{ip6}/128", "dev", "eth0", "nodad")
        self.ip("link", "set", "eth0", "up")
        self.ip("route", "add", "169.254.1.1", "dev", "eth0")
        self.ip("route", "add", "default", "via", "169.254.1.1", "dev", "eth0")
        self.ip("-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")


class Topology:
    """prefix + n1, n2 and a switch; pods are added with pod()."""

    def __init__(self, prefix, third_octet=0):
        self.prefix = prefix = TREE + prefix
        self.octet = third_octet
        self.parts = []
        self.nodes = []
        self.pods = []
        self.switch = self._keep(Namespace(f"{prefix}sw"))
        self.switch.ip("link", "add", "br0", "type", "bridge")
        self.switch.ip("link", "set", "br0", "up")
        for i in (1, 2):
            self._node(i)

    def _keep(self, part):
        self.parts.append(part)
        return part

    def _node(self, i):
        node = self._keep(Namespace(f"{self.prefix}n{i}"))
        run("ip", "link", "add", f"port{i}", "netns", self.switch.name, "type", "veth",
            "peer", "name", "uplink", "netns", node.name)
        self.switch.ip("link", "set", f"port{i}", "master", "br0", "up")
        node.ip("link", "set", "uplink", "up")
        node.ip("addr", "add", f"172.30.{self.octet}.{i}/24", "dev", "uplink")
        node.ip("addr", "add", f"fd00:30:{self.octet}::{i}/64", "dev", "uplink", "nodad")
        node.ip("addr", "add", "169.254.1.1/32", "dev", "lo")  # every pod's gateway
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            node.sysctl(key, 1)
        other = 3 - i
        node.ip("route", "add", f"10.{200 + other}.{self.octet}.0/24", "via", f"172.30.{self.octet}.{other}")
        node.ip("-6", "route", "add", f"fd00:{200 + other}:{self.octet}::/64", "via", f"fd00:30:{self.octet}::{other}")
        self.nodes.append(node)

    def pod(self, node_number, name):
        """Add a pod to node 1 or 2."""
        count = sum(1 for p in self.pods if p.node is self.nodes[node_number - 1]) + 2
        pod = self._keep(Pod(self.nodes[node_number - 1], f"{self.prefix}{name}",
                             f"10.{200 + node_number}.{self.octet}.{count}",
                             f"fd00:{200 + node_number}:{self.octet}::{count:x}"))
        self.pods.append(pod)
        return pod

    def close(self):
        """Remove every namespace."""
        for part in reversed(self.parts):
            part.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def remove_stale(prefix):
    """Remove what an earlier, killed run with this prefix left."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/run/netns"):
            if name.startswith(TREE + prefix):
                run("ip", "netns", "del", name)
