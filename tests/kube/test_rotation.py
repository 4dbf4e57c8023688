# SPDX-License-Identifier: Apache-2.0
"""The CA of a cluster is replaced under load, step by step, and no request fails: the self-made one by Secret cacerts, that by another."""
import base64
import json
import subprocess

import pytest
from kubelab.cluster import Load, eventually

SYSTEM = "istio-system"
OPTIONS = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]


def make_ca(folder, name):
    """Return: (certificate, key), PEM."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
                    "-subj", f"/O=cluster.local/CN={name}", "-keyout", key, "-out", cert, *OPTIONS],
                   check=True, stderr=subprocess.DEVNULL)
    return cert.read_text(), key.read_text()


def cacerts(cluster, ca, *roots):
    cert, key = ca
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": SYSTEM},
                   "stringData": {"ca-cert.pem": cert, "ca-key.pem": key, "cert-chain.pem": cert, "root-cert.pem": "".join(roots)}})


def trust(cluster, secret, *roots):
    cluster.run("patch", "secret", "-n", SYSTEM, secret, "--type=merge", "-p",
                json.dumps({"stringData": {"root-cert.pem": "".join(roots)}}))


def bodies(pem):
    """Each certificate's own text, without what stands around it."""
    return {part.split("-----END")[0].replace("\n", "") for part in pem.split("-----BEGIN CERTIFICATE-----")[1:]}


def held(cluster, number):
    """Of each identity that the node's ztunnel has: (leaf, roots)."""
    name = cluster.node_pod(number)
    out = subprocess.run(["nsenter", f"--net={cluster.pod_netns(SYSTEM, name)}", "curl", "-sf", "http://127.0.0.1:15000/config_dump"],
                         stdout=subprocess.PIPE, check=False).stdout
    for one in json.loads(out or "{}").get("certificates", []):
        if one.get("certChain"):
            yield (base64.b64decode(one["certChain"][0]["pem"]).decode(),
                   [base64.b64decode(r["pem"]).decode() for r in one["rootCerts"]])


def have_roots(cluster, *roots):
    want = set().union(*map(bodies, roots))
    rows = [row for number in (1, 2) for row in held(cluster, number)]
    return len(rows) > 1 and all(set().union(*map(bodies, have)) == want for _, have in rows)


def signed_by(cluster, ca, folder):
    (folder / "issuer.pem").write_text(ca[0])
    leaves = [leaf for number in (1, 2) for leaf, _ in held(cluster, number)]
    return len(leaves) > 1 and all(subprocess.run(
        ["openssl", "verify", "-partial_chain", "-CAfile", folder / "issuer.pem"], input=leaf, text=True, check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0 for leaf in leaves)


@pytest.fixture
def back(cluster, mesh, tmp_path):
    """Afterwards the self-made CA signs again. Step by step, too: what does not trust the control plane hears nothing of it until the
    kubelet brings the new file."""
    old = cluster.get("configmap", "-n", SYSTEM, "istio-ca-root-cert")["data"]["root-cert.pem"]
    yield old
    both = old + cluster.get("configmap", "-n", SYSTEM, "istio-ca-root-cert")["data"]["root-cert.pem"]
    if cluster.get("secrets", "-n", SYSTEM, "--field-selector=metadata.name=cacerts")["items"]:
        trust(cluster, "cacerts", both)
        eventually(lambda: have_roots(cluster, both), what="the self-made root is trusted, too")
    trust(cluster, "istio-ca-secret", both)
    cluster.run("delete", "secret", "-n", SYSTEM, "cacerts", "--ignore-not-found")
    cluster.run("rollout", "restart", "-n", SYSTEM, "deployment/istiod")
    cluster.wait_mesh()
    eventually(lambda: signed_by(cluster, (old,), tmp_path), what="the self-made CA signs")
    trust(cluster, "istio-ca-secret", old)
    eventually(lambda: have_roots(cluster, old), what="nothing else is trusted")


def test_no_request_fails_while_the_ca_is_replaced(cluster, apps, back, tmp_path):
    first, second = make_ca(tmp_path, "first"), make_ca(tmp_path, "second")
    with Load(cluster, apps, "client", cluster.service_ip(apps, "web")) as load:
        eventually(lambda: len(load.results) > 20, what="requests run")
        # whom to trust first, everywhere; then who signs
        trust(cluster, "istio-ca-secret", back, first[0])
        eventually(lambda: have_roots(cluster, back, first[0]), what="both roots are trusted on both nodes")
        cacerts(cluster, first, back, first[0])
        cluster.run("rollout", "restart", "-n", SYSTEM, "deployment/istiod")
        cluster.wait_mesh()
        eventually(lambda: signed_by(cluster, first, tmp_path), what="the first CA signs")
        # nothing is restarted from here on: the kubelet brings the files
        cacerts(cluster, first, first[0], second[0])
        eventually(lambda: have_roots(cluster, first[0], second[0]), what="the second root is trusted, the self-made one no longer")
        cacerts(cluster, second, first[0], second[0])
        eventually(lambda: signed_by(cluster, second, tmp_path), what="the second CA signs")
    assert load.failed() == []
    assert bodies(second[0]) <= bodies(cluster.get("configmap", "-n", apps, "istio-ca-root-cert")["data"]["root-cert.pem"])
