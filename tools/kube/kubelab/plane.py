# SPDX-License-Identifier: Apache-2.0
"""The control plane: etcd, API server, controller manager, scheduler, CoreDNS, as processes of the host."""
import contextlib
import json
import os
import shutil
import signal
import ssl
import urllib.request

from . import layout, node, pki
from .run import end, recorded, start, wait

COREFILE = """.:53 {{
    bind {ip}
    errors
    ready {url_ip}:8181
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        kubeconfig {conf}
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""
ETCD_URL = "http://127.0.0.1:23790"
ETCD_DATA, ETCD_SAVED = f"{layout.STATE}/etcd", f"{layout.STATE}/etcd-saved"


def is_ok(url):
    context = ssl.create_default_context(cafile=pki.path("ca.crt"))
    context.load_cert_chain(pki.path("admin.crt"), pki.path("admin.key"))
    try:
        with urllib.request.urlopen(url, context=context, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def start_etcd():
    start("etcd", ["/usr/bin/etcd", "--data-dir", ETCD_DATA, "--unsafe-no-fsync",
                   "--listen-client-urls", ETCD_URL, "--advertise-client-urls", ETCD_URL,
                   "--listen-peer-urls", "http://127.0.0.1:23800", "--log-level", "warn"],
          env={"GOMAXPROCS": "2"})


# who of the mesh asked for what, for the test that compares it with what they may
AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Metadata", "userGroups": ["system:serviceaccounts:istio-system"]}, {"level": "None"}]}


def start_api(bin_dir, flags=()):
    p = pki.path
    with open(f"{layout.STATE}/audit.json", "w", encoding="ascii") as f:
        json.dump(AUDIT, f)
    start("apiserver", [
        f"{bin_dir}/kube-apiserver", "--etcd-servers", ETCD_URL, "--secure-port", str(layout.API_PORT),
        "--bind-address", layout.host_ip(), "--advertise-address", layout.host_ip(),
        "--service-cluster-ip-range", ",".join(s.service_cidr for s in layout.stacks()), "--authorization-mode", "Node,RBAC",
        "--client-ca-file", p("ca.crt"), "--tls-cert-file", p("apiserver.crt"),
        "--tls-private-key-file", p("apiserver.key"), "--allow-privileged=true",
        "--service-account-issuer", f"https://kubernetes.default.svc.{layout.DOMAIN}",
        "--service-account-key-file", p("sa.pub"), "--service-account-signing-key-file", p("sa.key"),
        "--kubelet-client-certificate", p("kubelet-client.crt"), "--kubelet-client-key", p("kubelet-client.key"),
        "--kubelet-certificate-authority", p("ca.crt"), "--kubelet-preferred-address-types", "InternalIP",
        "--enable-admission-plugins", "NodeRestriction",
        # it asks webhooks at their pods: there is no kube-proxy where it runs
        "--enable-aggregator-routing=true", "--audit-policy-file", f"{layout.STATE}/audit.json",
        "--audit-log-path", layout.AUDIT_LOG, "--event-ttl", "1h", "--profiling=false", *flags])


COMMON = ("--leader-elect=false", "--bind-address", "127.0.0.1", "--profiling=false")


def start_controllers(bin_dir):
    p = pki.path
    start("controller-manager", [
        f"{bin_dir}/kube-controller-manager", "--kubeconfig", f"{layout.STATE}/controller-manager.conf", *COMMON,
        "--service-account-private-key-file", p("sa.key"), "--root-ca-file", p("ca.crt"),
        "--cluster-signing-cert-file", p("ca.crt"), "--cluster-signing-key-file", p("ca.key"),
        "--use-service-account-credentials=true", "--cluster-cidr", ",".join(s.cluster_cidr for s in layout.stacks()),
        "--allocate-node-cidrs=false", "--node-monitor-grace-period", "20s"])


def start_rest(bin_dir):
    start_controllers(bin_dir)
    start("scheduler", [f"{bin_dir}/kube-scheduler", "--kubeconfig", f"{layout.STATE}/scheduler.conf", *COMMON])
    conf = f"{layout.STATE}/Corefile"
    with open(conf, "w", encoding="ascii") as f:
        f.write(COREFILE.format(ip=layout.host_ip(), url_ip=layout.in_url(layout.host_ip()), domain=layout.DOMAIN, conf=layout.ADMIN_CONF))
    start("coredns", [f"{bin_dir}/coredns", "-conf", conf])


def start_all(bin_dir, flags=()):
    os.makedirs(layout.STATE, mode=0o755, exist_ok=True)
    start_etcd()
    start_api(bin_dir, flags)
    wait(lambda: is_ok(f"{layout.api_url()}/readyz"), 180, "the API server is ready (see its log)")
    start_rest(bin_dir)


@contextlib.contextmanager
def paused(name):
    """A daemon that answers nobody for a while."""
    pid = recorded(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def bin_dir_of_cluster():
    with open(f"{layout.STATE}/bin", encoding="utf-8") as f:
        return f.read().strip()


@contextlib.contextmanager
def without_api():
    """No API server for a while: its connections are cut at once, new ones are refused. The controller manager ends, as one that
    cannot renew its Lease: it would take the silence for that of the nodes, and say that no pod is ready."""
    end("apiserver", deadline_s=0)
    end("controller-manager", deadline_s=0)
    try:
        yield
    finally:
        start_api(bin_dir_of_cluster())
        wait(lambda: is_ok(f"{layout.api_url()}/readyz"), 180, "the API server is ready again (see its log)")
        start_controllers(bin_dir_of_cluster())


def etcd_save():
    """Keep what etcd has now."""
    shutil.rmtree(ETCD_SAVED, ignore_errors=True)
    with paused("etcd"):
        shutil.copytree(ETCD_DATA, ETCD_SAVED)


def etcd_restore(nodes):
    """Go back to that. All of Kubernetes is started again, as etcd's manual wants it: no watch tells its parts what was undone, so
    that kube-proxy would lead nobody to the API server that took itself out of Service `kubernetes` when it ended, and a namespace
    that is back half deleted would stay so. The mesh is left as it is."""
    for name in NAMES:
        end(name)
    shutil.rmtree(ETCD_DATA)
    shutil.copytree(ETCD_SAVED, ETCD_DATA)
    start_all(bin_dir_of_cluster())
    for one in nodes:
        for name in ("kubelet", "kube-proxy"):
            node.signal_daemon(one, name, "KILL")


NAMES = ("coredns", "scheduler", "controller-manager", "apiserver", "etcd")
