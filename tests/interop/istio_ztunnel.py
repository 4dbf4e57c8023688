# SPDX-License-Identifier: Apache-2.0
"""Istio's own ztunnel as a peer: one process per node, driven without a control plane.

The binary is named by the environment variable ISTIO_ZTUNNEL, else it is ~/.cache/culvert/peers/ztunnel. It is built from
github.com/istio/ztunnel with `cargo build --release --features testing`, so that it signs its certificates with a test root
of its own. Nothing of it is kept here: root and key are read out of the binary.
"""
import array
import contextlib
import json
import os
import re
import socket
import threading

REDIRECT = """
*mangle
-A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
-A PREROUTING ! -d {loopback} -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A OUTPUT ! -d {loopback} -o lo -j ACCEPT
-A OUTPUT ! -d {loopback} -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
"""


def binary():
    """Path of the peer, or None: the caller then skips and says so."""
    path = os.environ.get("ISTIO_ZTUNNEL") or os.path.expanduser("~/.cache/culvert/peers/ztunnel")
    return path if path and os.access(path, os.X_OK) else None


def test_root(path):
    """(root certificate PEM, key PEM) that FAKE_CA signs with, as they lie in the binary."""
    with open(path, "rb") as f:
        data = f.read()
    cert = re.search(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?", data)
    key = re.search(rb"-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/=\n]+-----END PRIVATE KEY-----\n?", data)
    if not cert or not key:
        raise RuntimeError(f"{path}: no test root inside: built without --features testing?")
    return cert.group().decode(), key.group().decode()


def _field(number, payload):
    return bytes([number << 3 | 2, len(payload)]) + payload


def _text(number, value):
    return _field(number, value.encode())


class Ztunnel:
    """One ztunnel in a node's namespace, serving `pods` (objects of topology.Pod with .namespace, .account)."""

    # pylint: disable=too-many-arguments
    def __init__(self, path, node, node_name, pods, workloads, work_dir, threads=2, env=None, policies=(), services=()):
        """env: what else the process is told; a value of None takes a variable away. Cf. remote()."""
        self.pods = pods
        self.uds = f"{work_dir}/{node_name}.sock"
        config = f"{work_dir}/{node_name}.yaml"
        with open(config, "w", encoding="utf-8") as f:
            text = json.dumps({"workloads": workloads, "policies": list(policies), "services": list(services)})
            f.write(re.sub(r'"(\d+)":', r"\1:", text))  # YAML's keys have types
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.uds)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.uds)
        self.listener.listen(4)
        for pod in pods:
            self._redirect(pod)
        env, extra = dict(os.environ), env or {}
        env.update(PROXY_MODE="shared", INPOD_UDS=self.uds, FAKE_CA="true", XDS_ADDRESS="",
                   LOCAL_XDS_PATH=config, NODE_NAME=node_name, ZTUNNEL_WORKER_THREADS=str(threads),
                   RUST_LOG=os.environ.get("ISTIO_ZTUNNEL_LOG", "warn"))
        env.update({name: value for name, value in extra.items() if value is not None})
        for name in [name for name, value in extra.items() if value is None]:
            env.pop(name, None)
        self.log = open(f"{work_dir}/{node_name}.log", "w", encoding="utf-8")
        self.process = node.popen(path, env=env, stdout=self.log, stderr=self.log)
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        if not self.ready.wait(60):
            self.close()
            raise RuntimeError(f"ztunnel of {node_name} did not take its pods: see {self.log.name}")

    @staticmethod
    def _redirect(pod):
        for tool, loopback, family in (("iptables-restore", "127.0.0.1/32", ()), ("ip6tables-restore", "::1/128", ("-6",))):
            pod.run("sh", "-c", f"{tool} <<'EOF'\n{REDIRECT.format(loopback=loopback)}EOF")
            pod.ip(*family, "rule", "add", "fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100")
            pod.ip(*family, "route", "add", "local", "default", "dev", "lo", "table", "100")

    def _serve(self):
        conn, _ = self.listener.accept()
        conn.recv(1024)  # ZdsHello
        for pod in self.pods:
            info = _text(1, pod.name) + _text(2, pod.namespace) + _text(3, pod.account)
            add = _field(1, _text(1, f"uid-{pod.name}") + _field(2, info))
            fd = os.open(pod.path, os.O_RDONLY)
            conn.sendmsg([add], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
            os.close(fd)
            conn.recv(1024)  # ack
        conn.send(_field(3, b""))
        conn.recv(1024)
        self.ready.set()
        self.conn = conn  # kept open: ztunnel is not ready without it

    def close(self):
        """Stop the process."""
        self.process.kill()
        self.process.wait()
        self.listener.close()
        self.log.close()
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            print("--- log of Istio's ztunnel", "".join(f.readlines()[-40:]), sep="\n")


def remote(address, host, root_file):
    """The environment for a control plane by TLS; its token lies where Istio has it, relative to the folder it runs in."""
    url = f"https://{address}"
    return {"FAKE_CA": None, "LOCAL_XDS_PATH": None, "XDS_ADDRESS": url, "CA_ADDRESS": url, "ALT_XDS_HOSTNAME": host,
            "ALT_CA_HOSTNAME": host, "XDS_ROOT_CA": root_file, "CA_ROOT_CA": root_file, "CLUSTER_ID": "Kubernetes"}


def deny(name, namespace, port):
    """The LOCAL_XDS_PATH entry of a policy that denies a port."""
    return {"name": name, "namespace": namespace, "scope": "Namespace", "action": "Deny", "dryRun": False,
            "rules": [[[{"destinationPorts": [port]}]]]}


def workload(pod, node_name, protocol="HBONE"):
    """The LOCAL_XDS_PATH entry of a pod."""
    return {"uid": f"cluster1//Pod/{pod.namespace}/{pod.name}", "name": pod.name, "namespace": pod.namespace,
            "serviceAccount": pod.account, "workloadIps": [pod.ip4, pod.ip6], "protocol": protocol, "node": node_name,
            "network": "", "trustDomain": "cluster.local", "services": {}}
