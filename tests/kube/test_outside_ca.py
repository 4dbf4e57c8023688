# SPDX-License-Identifier: Apache-2.0
"""Certificates of workloads from somebody else's CA, behind Kubernetes' CertificateSigningRequest; that somebody is played here."""
import base64
import json
import subprocess
import threading

import pytest
from kubelab import images
from kubelab.cluster import Canary, eventually, pod, service
from test_rbac import granted, is_exercised, used

SYSTEM = "istio-system"
SIGNER = "example.com/mesh"
EXTENSIONS = "extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\n"


class Signer:
    """Signs what is approved for it, as a controller of its owner would."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.signed = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
                        "-subj", "/CN=somebody else", "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
                        "-addext", "keyUsage=critical,keyCertSign"], check=True, stderr=subprocess.DEVNULL)
        (folder / "ext").write_text(EXTENSIONS)
        self.root = (folder / "ca.crt").read_text()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def _run(self):
        while not self.stop.wait(0.2):
            for request in self.cluster.get("csr")["items"]:
                status = request.get("status", {})
                is_approved = any(c["type"] == "Approved" for c in status.get("conditions", []))
                if request["spec"]["signerName"] == SIGNER and is_approved and not status.get("certificate"):
                    self._sign(request)

    def _sign(self, request):
        out = subprocess.run(["openssl", "x509", "-req", "-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key", "-days", "1",
                              "-copy_extensions", "copyall", "-extfile", self.folder / "ext"], stdout=subprocess.PIPE, check=True,
                             input=base64.b64decode(request["spec"]["request"]), stderr=subprocess.DEVNULL).stdout
        patch = {"status": {"certificate": base64.b64encode(out).decode()}}
        self.cluster.run("patch", "csr", request["metadata"]["name"], "--subresource=status", "--type=merge", "-p", json.dumps(patch),
                         check=False)
        self.signed.append(request["spec"])


def apply(cluster, *sets):
    words = [w for s in sets for w in ("--set", f"values.pilot.env.{s}")]
    text = subprocess.run([f"{images.BIN}/culvert", "manifest", "generate", *words], stdout=subprocess.PIPE, text=True, check=True).stdout
    cluster.run("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)
    cluster.wait_mesh()


@pytest.fixture
def signer(cluster, mesh, tmp_path):
    one = Signer(cluster, tmp_path)
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "external-ca-cert", "namespace": SYSTEM},
                   "stringData": {"root-cert.pem": one.root}})
    with one:
        apply(cluster, "EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API", f"K8S_SIGNER={SIGNER}")
        yield one
    cluster.run("delete", "secret", "-n", SYSTEM, "external-ca-cert")
    apply(cluster)


def is_encrypted(cluster, namespace):
    with Canary(cluster) as canary:
        body = cluster.curl(namespace, "client", f"http://web/{canary.word}")
    return bool(body) and not canary.was_seen() and canary.ports() <= {15008}


def test_workloads_have_certificates_of_the_signer(cluster, signer, namespace):
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    for name in ("web", "client"):
        eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
    eventually(lambda: is_encrypted(cluster, namespace), what="requests cross the link encrypted")
    assert len(signer.signed) >= 2, "each node asked for its own"
    assert all(set(s["usages"]) == {"digital signature", "key encipherment", "server auth", "client auth"} for s in signer.signed)
    eventually(lambda: not cluster.get("csr")["items"], what="requests are taken away again")
    have = cluster.get("configmap", "-n", namespace, "istio-ca-root-cert")["data"]["root-cert.pem"]
    assert signer.root.strip() in have, "pods are told of the signer's root"
    # "approve" of a signer is never a request: without it the approvals would have been refused
    ours = [rule for rule in granted(cluster, "istiod") if rule[1] == "certificates.k8s.io" and rule[2] != "signers"]
    assert {rule[2] for rule in ours} == {"certificatesigningrequests", "certificatesigningrequests/approval"}
    done = set(used("istiod"))
    assert [rule for rule in ours if not is_exercised(rule, done)] == []
