# SPDX-License-Identifier: Apache-2.0
"""One node: namespaces, containerd, kubelet, kube-proxy."""
import glob
import json
import os
import shutil
import subprocess
import time

from . import layout, pki
from .run import end, recorded, sh, start

INIT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "node-init")

# Below a node's state: files of static pods.
MANIFESTS = "/manifests"

# New IPv6 addresses are good at once.
NODAD = {True: ["nodad"], False: []}

CONTAINERD = """version = 2
root = "{data}/containerd"
state = "{state}/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
	"io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "culvert.test/pause:1"
  restrict_oom_score_adj = {restrict_oom}
  enable_unprivileged_ports = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def kubelet_config(node):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "failCgroupV1": False, "cgroupDriver": "cgroupfs", "failSwapOn": False, "cgroupRoot": node.cgroup,
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "authentication": {"x509": {"clientCAFile": pki.path("ca.crt")}, "webhook": {"enabled": True},
                           "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.path(f"{node.name}.crt"), "tlsPrivateKeyFile": pki.path(f"{node.name}.key"),
        "clusterDNS": [layout.host_ip()], "clusterDomain": layout.DOMAIN, "resolvConf": "/dev/null",
        "enforceNodeAllocatable": [], "cgroupsPerQOS": True, "makeIPTablesUtilChains": True,
        "staticPodPath": f"{node.state}{MANIFESTS}", "fileCheckFrequency": "1s",
        "syncFrequency": "10s", "nodeStatusUpdateFrequency": "5s", "serializeImagePulls": False,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99, "localStorageCapacityIsolation": True,
        # A test kills containers more often than a day does: they need not wait longer each time.
        "featureGates": {"KubeletCrashLoopBackOffMax": True}, "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        "maxPods": 110, "readOnlyPort": 0, "volumePluginDir": f"{node.data}/volume-plugins",
    }


def cni_conflist(node):
    return {"cniVersion": "1.0.0", "name": "culvert-kube", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
         "ipam": {"type": "host-local", "dataDir": f"{node.state}/ipam",
                  "ranges": [[{"subnet": s.pod_cidr(node.number)}] for s in layout.stacks()],
                  "routes": [{"dst": "::/0" if s is layout.IPV6 else "0.0.0.0/0"} for s in layout.stacks()]}},
        {"type": "portmap", "capabilities": {"portMappings": True}}]}


def has_sys_resource():
    with open("/proc/self/status", encoding="ascii") as f:
        caps = int(next(line for line in f if line.startswith("CapEff")).split()[1], 16)
    return bool(caps & (1 << 24))


def write_config(node):
    for sub in ("", "/cni", "/logs", "/cni-bin", MANIFESTS):
        os.makedirs(node.state + sub, exist_ok=True)
    os.makedirs(node.data, exist_ok=True)
    with open(f"{node.state}/containerd.toml", "w", encoding="ascii") as f:
        f.write(CONTAINERD.format(data=node.data, state=node.state, socket=node.containerd_socket,
                                  restrict_oom=str(not has_sys_resource()).lower()))
    with open(f"{node.state}/kubelet.yaml", "w", encoding="ascii") as f:
        json.dump(kubelet_config(node), f, indent=1)
    with open(f"{node.state}/cni/10-culvert-kube.conflist", "w", encoding="ascii") as f:
        json.dump(cni_conflist(node), f, indent=1)
    for plugin in glob.glob("/usr/lib/cni/*"):
        shutil.copy(plugin, f"{node.state}/cni-bin/")


def lacks(proxy_mode):
    """Return: what the machine lacks for this mode of kube-proxy, "" when nothing."""
    if proxy_mode != "ipvs" or os.path.exists("/proc/net/ip_vs"):
        return ""
    if subprocess.run("modprobe ip_vs", shell=True, stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return ""
    return "the kernel has no module ip_vs (CONFIG_IP_VS)"


def make_bridge():
    sh("ip", "link", "add", layout.BRIDGE, "type", "bridge")
    for s in layout.stacks():
        sh("ip", "addr", "add", f"{s.host_ip}/{s.prefix_len}", "dev", layout.BRIDGE, *NODAD[":" in s.host_ip])
    sh("ip", "link", "set", layout.BRIDGE, "up")


def make_network(node, nodes):
    """The node's namespace, its link to the bridge, its routes to the others' pods."""
    ns = ["ip", "-n", node.netns]
    sh("ip", "netns", "add", node.netns)
    sh("ip", "link", "add", f"cvk-{node.name}", "type", "veth", "peer", "name", "eth0", "netns", node.netns)
    sh("ip", "link", "set", f"cvk-{node.name}", "master", layout.BRIDGE, "up")
    sh(*ns, "link", "set", "lo", "up")
    sh(*ns, "link", "set", "eth0", "up")
    for s in layout.stacks():
        ip = s.node_ip(node.number)
        sh(*ns, "addr", "add", f"{ip}/{s.prefix_len}", "dev", "eth0", *NODAD[":" in ip])
        sh(*ns, "route", "add", "default", "via", s.host_ip)
        for other in nodes:
            if other is not node:
                sh(*ns, "route", "add", s.pod_cidr(other.number), "via", s.node_ip(other.number))
        sh("ip", "route", "add", s.pod_cidr(node.number), "via", ip)
    sh("ip", "netns", "exec", node.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def cgroup_mounts():
    """Return: (type, options, path) of each cgroup hierarchy."""
    with open("/proc/self/mounts", encoding="ascii") as f:
        rows = [line.split() for line in f]
    return [(row[2], row[3].split(","), row[1]) for row in rows if row[2] in ("cgroup", "cgroup2")]


def make_cgroups(node):
    for _kind, options, base in cgroup_mounts():
        path = base + node.cgroup
        os.makedirs(path, exist_ok=True)
        if "cpuset" in options:
            for name in ("cpuset.cpus", "cpuset.mems"):
                with open(f"{base}/{name}", encoding="ascii") as f:
                    value = f.read()
                with open(f"{path}/{name}", "w", encoding="ascii") as f:
                    f.write(value)


def start_node(node, nodes, bin_dir, proxy_mode):
    make_network(node, nodes)
    make_cgroups(node)
    write_config(node)
    start(f"node-{node.name}", [
        "nsenter", f"--net=/run/netns/{node.netns}", "unshare", "--mount", "--pid", "--fork", "--mount-proc",
        "--kill-child", INIT, node.state, node.data, node.name, ",".join(node.ips), bin_dir, layout.STATE,
        ",".join(s.cluster_cidr for s in layout.stacks())], env={"KUBE_PROXY_MODE": proxy_mode})


def remove_cgroup(path):
    """Depth first; what still runs in it goes."""
    for sub in [e.path for e in os.scandir(path) if e.is_dir(follow_symlinks=False)]:
        remove_cgroup(sub)
    for _ in range(50):
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)


def stop_node(node):
    end(f"node-{node.name}", deadline_s=0)
    for _kind, _options, base in cgroup_mounts():
        if os.path.isdir(base + node.cgroup):
            remove_cgroup(base + node.cgroup)
    sh("ip", "link", "del", f"cvk-{node.name}", check=False)
    sh("ip", "netns", "del", node.netns, check=False)
    for s in layout.stacks():
        sh("ip", "route", "del", s.pod_cidr(node.number), "via", s.node_ip(node.number), check=False)


def reboot(node, nodes):
    """Switch the node off without a word, and on again: what a disk holds is kept, all else is gone."""
    with open(f"/proc/{recorded(f'node-{node.name}')}/environ", encoding="utf-8") as f:
        proxy_mode = next(v for v in f.read().split("\0") if v.startswith("KUBE_PROXY_MODE=")).split("=")[1]
    stop_node(node)
    shutil.rmtree(f"{node.state}/containerd", ignore_errors=True)
    with open(f"{layout.STATE}/bin", encoding="utf-8") as f:
        start_node(node, nodes, f.read().strip(), proxy_mode)


def signal_daemon(node, name, signal):
    """Send a signal to containerd, kubelet or kube-proxy of a node; node-init starts again what ends."""
    with open(f"{node.state}/{name}.pid", encoding="ascii") as f:
        sh(*nsenter(node), "kill", f"-{signal}", f.read().strip(), check=False)


def nsenter(node):
    """The words before a command that is to run on the node: its namespaces of mounts, network and processes."""
    init = recorded(f"node-{node.name}")
    child = sh("pgrep", "-P", str(init)).split()[0]
    return ["nsenter", "-t", child, "-m", "-n", "-p", "--"]
