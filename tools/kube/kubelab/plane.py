# SPDX-License-Identifier: Apache-2.0
"""The control plane: etcd, API server, controller manager, scheduler, CoreDNS, as processes of the host."""
import os
import urllib.request
import ssl

from . import layout, pki
from .run import start, wait

COREFILE = """.:53 {{
    bind {ip}
    errors
    ready {ip}:8181
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        kubeconfig {conf}
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""
ETCD_URL = "http://127.0.0.1:23790"


def is_ok(url):
    context = ssl.create_default_context(cafile=pki.path("ca.crt"))
    context.load_cert_chain(pki.path("admin.crt"), pki.path("admin.key"))
    try:
        with urllib.request.urlopen(url, context=context, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def start_etcd():
    start("etcd", ["/usr/bin/etcd", "--data-dir", f"{layout.STATE}/etcd", "--unsafe-no-fsync",
                   "--listen-client-urls", ETCD_URL, "--advertise-client-urls", ETCD_URL,
                   "--listen-peer-urls", "http://127.0.0.1:23800", "--log-level", "warn"],
          env={"GOMAXPROCS": "2"})


def start_api(bin_dir, flags=()):
    p = pki.path
    start("apiserver", [
        f"{bin_dir}/kube-apiserver", "--etcd-servers", ETCD_URL, "--secure-port", str(layout.API_PORT),
        "--bind-address", layout.HOST_IP, "--advertise-address", layout.HOST_IP,
        "--service-cluster-ip-range", layout.SERVICE_CIDR, "--authorization-mode", "Node,RBAC",
        "--client-ca-file", p("ca.crt"), "--tls-cert-file", p("apiserver.crt"),
        "--tls-private-key-file", p("apiserver.key"), "--allow-privileged=true",
        "--service-account-issuer", f"https://kubernetes.default.svc.{layout.DOMAIN}",
        "--service-account-key-file", p("sa.pub"), "--service-account-signing-key-file", p("sa.key"),
        "--kubelet-client-certificate", p("kubelet-client.crt"), "--kubelet-client-key", p("kubelet-client.key"),
        "--kubelet-certificate-authority", p("ca.crt"), "--kubelet-preferred-address-types", "InternalIP",
        "--enable-admission-plugins", "NodeRestriction", "--event-ttl", "1h", "--profiling=false", *flags])


def start_rest(bin_dir):
    p = pki.path
    common = ["--leader-elect=false", "--bind-address", "127.0.0.1", "--profiling=false"]
    start("controller-manager", [
        f"{bin_dir}/kube-controller-manager", "--kubeconfig", f"{layout.STATE}/controller-manager.conf", *common,
        "--service-account-private-key-file", p("sa.key"), "--root-ca-file", p("ca.crt"),
        "--cluster-signing-cert-file", p("ca.crt"), "--cluster-signing-key-file", p("ca.key"),
        "--use-service-account-credentials=true", "--cluster-cidr", layout.CLUSTER_CIDR,
        "--allocate-node-cidrs=false", "--node-monitor-grace-period", "20s"])
    start("scheduler", [f"{bin_dir}/kube-scheduler", "--kubeconfig", f"{layout.STATE}/scheduler.conf", *common])
    conf = f"{layout.STATE}/Corefile"
    with open(conf, "w", encoding="ascii") as f:
        f.write(COREFILE.format(ip=layout.HOST_IP, domain=layout.DOMAIN, conf=layout.ADMIN_CONF))
    start("coredns", [f"{bin_dir}/coredns", "-conf", conf])


def start_all(bin_dir, flags=()):
    os.makedirs(layout.STATE, mode=0o755, exist_ok=True)
    start_etcd()
    start_api(bin_dir, flags)
    wait(lambda: is_ok(f"{layout.API_URL}/readyz"), 60, "the API server is ready (see its log)")
    start_rest(bin_dir)


NAMES = ("coredns", "scheduler", "controller-manager", "apiserver", "etcd")
