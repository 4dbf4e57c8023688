# SPDX-License-Identifier: Apache-2.0
"""The cluster's certificates and kubeconfigs, by openssl."""
import os

from . import layout
from .run import sh

KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}", certificate-authority: {pki}/ca.crt}}}}]
users: [{{name: u, user: {{client-certificate: {pki}/{name}.crt, client-key: {pki}/{name}.key}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
"""


def path(name):
    return f"{layout.PKI}/{name}"


def make_ca():
    os.makedirs(layout.PKI, mode=0o700, exist_ok=True)
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
       "-subj", "/CN=culvert-kube", "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
       "-keyout", path("ca.key"), "-out", path("ca.crt"))
    sh("openssl", "genrsa", "-out", path("sa.key"), "2048")
    sh("openssl", "rsa", "-in", path("sa.key"), "-pubout", "-out", path("sa.pub"))


def issue(name, subject, sans=()):
    """A key and a certificate for it, for clients and servers."""
    ext = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n"
    if sans:
        ext += "subjectAltName=" + ",".join(sans) + "\n"
    with open(path(f"{name}.ext"), "w", encoding="ascii") as f:
        f.write(ext)
    sh("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
       "-keyout", path(f"{name}.key"), "-out", path(f"{name}.csr"))
    sh("openssl", "x509", "-req", "-in", path(f"{name}.csr"), "-CA", path("ca.crt"), "-CAkey", path("ca.key"),
       "-CAcreateserial", "-days", "30", "-extfile", path(f"{name}.ext"), "-out", path(f"{name}.crt"))


def kubeconfig(name, target):
    with open(target, "w", encoding="ascii") as f:
        f.write(KUBECONFIG.format(url=layout.api_url(), pki=layout.PKI, name=name))


def make_all(nodes):
    make_ca()
    issue("apiserver", "/CN=kube-apiserver",
          ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc",
           f"DNS:kubernetes.default.svc.{layout.DOMAIN}", "DNS:localhost", "IP:127.0.0.1",
           *(f"IP:{ip}" for s in layout.stacks() for ip in (s.host_ip, s.service_first_ip))])
    issue("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    issue("admin", "/O=system:masters/CN=admin")
    kubeconfig("admin", layout.ADMIN_CONF)
    for who in ("controller-manager", "scheduler", "proxy"):
        user = f"system:kube-{who}"
        issue(who, f"/CN={user}")
        kubeconfig(who, f"{layout.STATE}/{who}.conf")
    for node in nodes:
        issue(node.name, f"/O=system:nodes/CN=system:node:{node.name}", [f"DNS:{node.name}", *(f"IP:{ip}" for ip in node.ips)])
        kubeconfig(node.name, f"{layout.STATE}/{node.name}.conf")
