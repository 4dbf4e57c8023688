# SPDX-License-Identifier: Apache-2.0
"""What the CA's owner changes while everything runs: a second root, another signer, the first root gone, further names of
the trust domain. Connections are open all along, over IPv4 and IPv6, and none is cut; new ones work at every step."""
import base64
import contextlib
import os
import shutil
import subprocess
import sys

import certificates
import pytest
from culvert_node import put_file, started, wait_for
from hostile import PORT, STREAM, Hostile

PULSE = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.settimeout(60)
while True:
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    time.sleep(0.05)
"""
MESH_CONFIG = """apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    trustDomainAliases: [%s]
"""


@pytest.fixture(scope="module", name="mesh")
def make_mesh():
    """Two nodes with a CA folder of their own."""
    with started(lambda work_dir: Hostile(work_dir, "cr", 79), "rotation") as h:
        yield h


def leaf_and_roots(mesh, node):
    """[(base64 of the PEM, number of roots)] of the certificates that a node has."""
    dump = mesh.nodes[node].admin("ztunnel", "/config_dump")
    return [(c["certChain"][0]["pem"], len(c["rootCerts"])) for c in dump["certificates"] if c["certChain"]]


def is_signed_by(pem, authority):
    """Does the authority's key verify this certificate (base64 of its PEM)?"""
    path = os.path.join(authority.path, "seen.pem")
    with open(path, "wb") as f:
        f.write(base64.b64decode(pem))
    return subprocess.run(["openssl", "verify", "-partial_chain", "-CAfile", f"{authority.path}/ca-cert.pem", path],
                          capture_output=True, check=False).returncode == 0


def replace(mesh, **files):
    """Put files into the CA folder the way a careful operator does: all are written before the first takes its place."""
    drafts = []
    for name, text in files.items():
        path = os.path.join(mesh.ca.path, name.replace("_", "-") + ".pem")
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(f.name, 0o640)
        shutil.chown(f.name, group="culvert-control")
        if name != "ca_key":
            os.chmod(f.name, 0o644)
        drafts.append((f.name, path))
    for draft, path in drafts:
        os.rename(draft, path)


def text_of(authority, name):
    """A file of an authority."""
    with open(f"{authority.path}/{name}", encoding="ascii") as f:
        return f.read()


def wait_all(mesh, what, condition):
    """Until the certificates of both nodes meet a condition(pem, roots)."""
    wait_for(lambda: all(leaf_and_roots(mesh, n) and all(condition(*c) for c in leaf_and_roots(mesh, n)) for n in (0, 1)), 20, what)


def check_new(mesh, good, bad=()):
    """New connections: a stream between nodes, and certificates of these authorities in a stranger's hands."""
    for host in (mesh.server.ip4, mesh.server.ip6):
        mesh.friend.run(sys.executable, STREAM, "check", host, str(PORT), "1000")
    for authority in good:
        leaf = authority.leaf("stranger", mesh.identity(mesh.friend.account))
        assert mesh.connect(f"{mesh.server.ip4}:{PORT}", cert=leaf)["status"] == 200
    for authority in bad:
        leaf = authority.leaf("stranger", mesh.identity(mesh.friend.account))
        assert mesh.connect(f"{mesh.server.ip4}:{PORT}", cert=leaf)["status"] != 200


def test_a_root_and_its_signer_are_replaced_and_nothing_is_cut(mesh):
    old, new = mesh.ca, certificates.Authority(os.path.join(mesh.work_dir, "new-ca"))  # of the same name
    before = certificates.Authority(os.path.join(mesh.work_dir, "old-ca"))
    before.use(text_of(old, "ca-cert.pem"), text_of(old, "ca-key.pem"))
    pulses = [mesh.run_in(mesh.friend, sys.executable, "-c", PULSE, host, str(PORT))
              for host in (mesh.server.ip4, mesh.server.ip6)]

    def check_open():
        assert [p.poll() for p in pulses] == [None, None]

    # 1. both roots are trusted
    replace(mesh, root_cert=text_of(before, "root-cert.pem") + text_of(new, "root-cert.pem"))
    wait_all(mesh, "both roots on both nodes", lambda pem, roots: roots == 2)
    check_new(mesh, [before, new])
    check_open()
    # 2. the new one signs
    replace(mesh, ca_key=text_of(new, "ca-key.pem"), ca_cert=text_of(new, "ca-cert.pem"), cert_chain=text_of(new, "cert-chain.pem"))
    wait_all(mesh, "certificates of the new signer", lambda pem, roots: is_signed_by(pem, new))
    check_new(mesh, [before, new])
    check_open()
    # 3. the old root goes
    replace(mesh, root_cert=text_of(new, "root-cert.pem"))
    wait_all(mesh, "the new root alone", lambda pem, roots: roots == 1)
    check_new(mesh, [new], [before])
    check_open()
    assert "not taken over" not in mesh.log(1) + mesh.log(2)


def test_a_certificate_in_two_halves_changes_nothing(mesh):
    good = text_of(mesh.ca, "ca-cert.pem")
    other = certificates.Authority(os.path.join(mesh.work_dir, "other-ca"))
    replace(mesh, ca_cert=text_of(other, "ca-cert.pem"))
    try:
        wait_for(lambda: "not taken over, roots and signer stay" in mesh.log(1), 10, "a line that says so")
        check_new(mesh, [])
    finally:
        replace(mesh, ca_cert=good)


def put_aliases(mesh, names):
    """The mesh configuration, replaced."""
    put_file(os.path.join(mesh.config, "istio.yaml"), MESH_CONFIG % names)


def test_another_name_of_the_trust_domain_is_let_in_while_it_is_listed(mesh):
    leaf = mesh.ca.leaf("alias", f"spiffe://old.example/ns/hostile/sa/{mesh.friend.account}")
    outsider = mesh.ca.leaf("outsider", mesh.identity("nobody"))

    def status(cert=leaf):
        return mesh.connect(f"{mesh.server.ip4}:{PORT}", cert=cert).get("status")

    assert status() != 200
    put_aliases(mesh, "old.example")
    mesh.put_policy("only", f"{{rules: [{{from: [{{source: {{principals: ['cluster.local/ns/hostile/sa/{mesh.friend.account}']}}}}]}}]}}")
    try:
        wait_for(lambda: status() == 200, 10, "the other name")
        check_new(mesh, [])
        # the policy's principals have no other names any more
        put_aliases(mesh, "")
        wait_for(lambda: status() != 200, 10, "the end of it")
        check_new(mesh, [])
        # nor does ztunnel trust that domain: without a policy it is refused as well
        wait_for(lambda: status(outsider) != 200, 30, "a policy that is in force")
        mesh.del_policy("only")
        wait_for(lambda: status(outsider) == 200, 30, "the policy's end")
        wait_for(lambda: status() != 200, 30, "the end of trust")
    finally:
        with contextlib.suppress(FileNotFoundError):
            mesh.del_policy("only")
        os.unlink(os.path.join(mesh.config, "istio.yaml"))
