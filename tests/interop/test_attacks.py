# SPDX-License-Identifier: Apache-2.0
"""Hostile peers on 15008 of a real node: wrong certificates get in nowhere, a right one gets nothing delivered that is not its
own, floods cost bounded memory and honest traffic goes on."""
import json
import os
import subprocess
import sys
import threading
import time

import h2raw
import pytest
import slow
from culvert_node import stop, wait_for
from hostile import PORT, RAW, STREAM, WHO_PORT
from topology import run

RSS_GROWTH_MAX_KB = 48 * 1024
FLOOD_S = 1.5
HELD_TUNNELS = 8
GOOD = "extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n"


def craft(hostile, name, extensions, issuer="ca-cert.pem", issuer_key="ca-key.pem"):
    """(certificate, key) with these extensions, signed by whom we like, whose certificate follows in the chain."""
    base = f"{hostile.ca.path}/{name}"
    with open(f"{base}.ext", "w", encoding="ascii") as f:
        f.write(extensions)
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{base}.key", "-out",
        f"{base}.csr", "-subj", f"/CN={name}")
    run("openssl", "x509", "-req", "-in", f"{base}.csr", "-CA", f"{hostile.ca.path}/{issuer}", "-CAkey",
        f"{hostile.ca.path}/{issuer_key}", "-CAcreateserial", "-out", f"{base}.pem", "-days", "1", "-extfile", f"{base}.ext")
    if issuer != "ca-cert.pem":
        with open(f"{base}.pem", "a", encoding="ascii") as out, open(f"{hostile.ca.path}/{issuer}", encoding="ascii") as f:
            out.write(f.read())
    return f"{base}.pem", f"{base}.key"


def san(hostile, more=""):
    """The extension with the friend's identity."""
    return f"subjectAltName=critical,URI:{hostile.identity(hostile.friend.account)}{more}\n"


def nul_san(hostile):
    """The friend's identity, a NUL byte, and something else."""
    uri = hostile.identity(hostile.friend.account).encode() + b"\0.elsewhere"
    return f"subjectAltName=critical,DER:30{len(uri) + 2:02x}86{len(uri):02x}{uri.hex()}\n"


def from_a_leaf(hostile):
    """Signed by a certificate that is no CA."""
    craft(hostile, "leaf-issuer", san(hostile) + GOOD)
    return craft(hostile, "by-leaf", san(hostile) + GOOD, "leaf-issuer.pem", "leaf-issuer.key")


def chain_of(hostile, depth):
    """So many intermediates."""
    path = hostile.ca.path
    key, chain = f"{path}/deep.key", ""
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    issuer, issuer_key = f"{path}/ca-cert.pem", f"{path}/ca-key.pem"
    for i in range(depth):
        run("openssl", "req", "-new", "-x509", "-key", key, "-subj", f"/CN=deep{i}", "-CA", issuer, "-CAkey", issuer_key,
            "-days", "1", "-out", f"{path}/deep-{i}.pem", "-addext", "keyUsage=critical,keyCertSign")
        issuer, issuer_key = f"{path}/deep-{i}.pem", key
        with open(issuer, encoding="ascii") as f:
            chain = f.read() + chain
    cert, leaf_key = craft(hostile, "deep-leaf", san(hostile) + GOOD, f"deep-{depth - 1}.pem", "deep.key")
    with open(cert, encoding="ascii") as f:
        leaf = f.read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    with open(cert, "w", encoding="ascii") as f:
        f.write(leaf + chain)
    return cert, leaf_key


def self_signed(hostile):
    """The right name and nobody's signature."""
    base = f"{hostile.ca.path}/self"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{base}.key",
        "-out", f"{base}.pem", "-subj", "/", "-addext", san(hostile).strip())
    return f"{base}.pem", f"{base}.key"


BAD = {
    "none": lambda h: ("-", "-"),
    "expired": lambda h: h.ca.leaf("b1", h.identity("x"), days=-1),
    "wrong trust domain": lambda h: h.ca.leaf("b2", "spiffe://elsewhere/ns/hostile/sa/x"),
    "wrong usage": lambda h: h.ca.leaf("b3", h.identity("x"), usage="serverAuth"),
    "no SPIFFE ID": lambda h: h.ca.leaf("b4", "https://cluster.local/ns/hostile/sa/x"),
    "issuer is no CA": from_a_leaf,
    "NUL in the SAN": lambda h: craft(h, "nul", nul_san(h) + GOOD),
    "two SANs": lambda h: craft(h, "two", san(h, ",URI:spiffe://cluster.local/ns/hostile/sa/other") + GOOD),
    "no SAN": lambda h: craft(h, "nosan", GOOD),
    "hundred deep": lambda h: chain_of(h, 100),
    "self-signed": self_signed,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_certificate_gets_in_nowhere(hostile, kind):
    answer = hostile.connect(f"{hostile.server.ip4}:{PORT}", cert=BAD[kind](hostile))
    assert not answer["accepted"] and answer["status"] == 0, answer


RIGHT = {
    "as a node has it": lambda h: h.leaf(),
    "crafted": lambda h: craft(h, "crafted", san(h) + GOOD),
    "one deep": lambda h: chain_of(h, 1),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_certificate_gets_in(hostile, kind):
    """Otherwise the tests beside this one would show nothing: the wrong ones are made in the same ways."""
    answer = hostile.connect(f"{hostile.server.ip4}:{PORT}", cert=RIGHT[kind](hostile))
    assert answer["status"] == 200 and answer["said"] == "hello", answer


@pytest.mark.parametrize("target, status", [
    ("{other}:9200", 400),           # another pod of the node
    ("{friend}:9200", 400),          # a pod of another node
    ("127.0.0.1:9200", 400),
    ("[::1]:9200", 400),
    ("[::ffff:127.0.0.1]:9200", 400),
    ("0.0.0.0:9200", 400),
    ("169.254.1.1:9200", 400),
    ("{server}:15008", 503),
    ("{server}:0", 400),
    ("{server}", 400),
    ("{server}:9200@x", 400),
    ("nobody.hostile.svc.cluster.local:80", 503),
    ("", 0),                         # no CONNECT at all: its stream is reset
])
def test_a_target_that_is_not_the_pods_own_is_not_delivered(hostile, target, status):
    names = {"other": hostile.other.ip4, "friend": hostile.friend.ip4, "server": hostile.server.ip4}
    answer = hostile.connect(target.format(**names))
    assert answer["said"] == "" and answer["status"] == status, answer


@pytest.mark.parametrize("headers", [
    ["forwarded=for=\"10.0.0.99:80\""],
    ["forwarded=for=\"127.0.0.1:80\""],
    ["forwarded=for=\"[::1]:80\";host=other"],
    ["baggage=k8s.namespace.name=kube-system,k8s.pod.name=admin"],
    ["x-forwarded-for=10.0.0.99", "x-istio-source=waypoint", "x-forwarded-network=elsewhere"],
])
def test_headers_forge_no_source(hostile, headers):
    answer = hostile.connect(f"{hostile.server.ip4}:{WHO_PORT}", *headers)
    assert answer["said"] == hostile.attacker.ip4, answer


def test_headers_open_no_policy(hostile):
    hostile.put_policy("only-admin", "{rules: [{from: [{source: {ipBlocks: [10.0.0.99], namespaces: [kube-system]}}]}]}")
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            answer = hostile.connect(f"{hostile.server.ip4}:{PORT}", "forwarded=for=\"10.0.0.99:80\"",
                                     "baggage=k8s.namespace.name=kube-system")
            if answer["status"] != 200:
                break
        assert answer["status"] == 401 and answer["said"] == "", answer
    finally:
        hostile.del_policy("only-admin")
        wait_for(lambda: hostile.connect(f"{hostile.server.ip4}:{PORT}")["status"] == 200, 10, "access again")


def rss_kb(pid):
    """Resident memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def forget_peak(pid):
    """From now on peak_kb() counts anew."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def peak_kb(pid):
    """The most resident memory since forget_peak()."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def cpu_s(pid):
    """User and system time."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Honest(threading.Thread):
    """Short checked streams from the friend, one after the other, until told to end."""

    def __init__(self, hostile):
        super().__init__()
        self.hostile, self.is_over, self.done, self.failed = hostile, False, 0, []
        self.start()

    def run(self):
        while not self.is_over:
            try:
                self.hostile.friend.run(sys.executable, STREAM, "check", self.hostile.server.ip4, str(PORT), "2000", timeout=60)
                self.done += 1
            except (RuntimeError, subprocess.TimeoutExpired) as e:
                self.failed.append(str(e))

    def end(self):
        """Stop, and tell what went wrong."""
        self.is_over = True
        self.join()
        return self.failed


def under_attack(hostile, what, attack):
    """Run attack() beside honest traffic; the node must neither fail, grow nor end. What it grows by counts while the attacker
    is there: what it holds for him is free when he has gone."""
    pid = hostile.ztunnel()
    forget_peak(pid)
    before, cpu = rss_kb(pid), cpu_s(pid)
    honest = Honest(hostile)
    try:
        result = attack()
        peak = peak_kb(pid)
    finally:
        failed = honest.end()
    print(f"{what}: {result}, our CPU {cpu_s(pid) - cpu:.2f} s, RSS {before} -> {peak} kB, {honest.done} honest streams")
    assert hostile.ztunnel() == pid, "ztunnel was restarted"
    assert not failed and honest.done > 0, failed
    assert peak - before < RSS_GROWTH_MAX_KB
    return result


def wait_until_heard(hostile):
    """Who flooded may be shut out for 2 s (ztunnel/penalty.h), longer than a flood here."""
    wait_for(lambda: hostile.connect(f"{hostile.server.ip4}:{PORT}")["accepted"], 10, "to be heard after the flood before")


# Frames that an application may cause.
LAWFUL = ("one-byte DATA", "bytes in turns")
# Tunnels that a peer gets who breaks HTTP/2 on each, per worker: at once, and then a second (ztunnel/penalty.h).
BROKEN_AT_ONCE, BROKEN_PER_S, WORKERS = 16, 10, 2


@pytest.fixture(name="source", scope="module")
def fixture_source(hostile):
    """The port of an application of the server's that sends without being asked."""
    processes = slow.serve(hostile.server)
    yield slow.SOURCE_PORT
    for process in processes:
        stop(process)


@pytest.mark.parametrize("name", h2raw.FLOODS)
def test_a_flood_of_frames_is_borne(hostile, source, name):
    wait_until_heard(hostile)
    port = source if name in h2raw.FROM_A_SOURCE else PORT

    def attack():
        argv = hostile.attacker.enter(sys.executable, RAW, "flood", name, hostile.server.ip4, *hostile.leaf(),
                                      f"{hostile.server.ip4}:{port}", str(FLOOD_S))
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    begin = time.monotonic()
    connections = under_attack(hostile, name, attack)["connections"]
    took = time.monotonic() - begin
    assert connections > 0
    if name not in LAWFUL:
        assert connections <= WORKERS * (BROKEN_AT_ONCE + 1 + BROKEN_PER_S * took)


def test_windows_that_stay_shut_cost_no_memory(hostile, source):
    """An application sends to as many streams as may be, of which nobody wants a byte."""
    wait_until_heard(hostile)

    def attack():
        argv = hostile.attacker.enter(sys.executable, RAW, "hold", hostile.server.ip4, *hostile.leaf(),
                                      f"{hostile.server.ip4}:{source}", str(HELD_TUNNELS), str(2 * FLOOD_S))
        return json.loads(subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout)

    result = under_attack(hostile, "windows of 0", attack)
    assert result["answered"] > HELD_TUNNELS * h2raw.SHUT / 2 and result["bytes"] == 0


def test_a_flood_of_key_updates_is_borne(hostile):
    cert, key = hostile.leaf()

    def attack():
        argv = hostile.attacker.enter("openssl", "s_client", "-connect", f"{hostile.server.ip4}:15008", "-alpn", "h2", "-cert",
                                      cert, "-key", key)
        end, sent = time.monotonic() + 2 * FLOOD_S, 0
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                while time.monotonic() < end:
                    time.sleep(0.0005)  # one command to a read(2) is what s_client understands
                    os.write(process.stdin.fileno(), b"K\n")
                    sent += 1
            except BrokenPipeError:
                pass
            process.kill()
            return {"key updates": process.stderr.read().count(b"KEYUPDATE"), "asked for": sent}

    wait_until_heard(hostile)
    assert under_attack(hostile, "key updates", attack)["key updates"] > 0
