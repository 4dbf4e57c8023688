# SPDX-License-Identifier: Apache-2.0
"""What a plain TLS client sees on 15008: TLS 1.3 with h2, a SPIFFE certificate, and nothing without one of its own."""
import subprocess

import pytest

OURS = "spiffe://cluster.local/ns/interop/sa/ours"
THEIRS = "spiffe://cluster.local/ns/interop/sa/theirs"


def s_client(mixed, *options, text=""):
    """openssl s_client from the peer's pod; (exit code, output). HTTP/2 frames of the server may stand in it as they come."""
    argv = mixed.theirs.enter("openssl", "s_client", "-connect", f"{mixed.ours.ip4}:15008", "-CAfile",
                              f"{mixed.ca.path}/root-cert.pem", *options)
    done = subprocess.run(argv, input=text, capture_output=True, text=True, errors="replace", timeout=90, check=False)
    return done.returncode, done.stdout + done.stderr


def with_leaf(mixed, name, identity, **kwargs):
    """Options that present a certificate."""
    cert, key = mixed.ca.leaf(name, identity, **kwargs)
    return "-cert", cert, "-key", key


def test_tls_1_3_h2_and_a_spiffe_certificate(mixed):
    _, out = s_client(mixed, "-alpn", "h2", "-showcerts", *with_leaf(mixed, "good", THEIRS))
    assert "TLSv1.3" in out and "ALPN protocol: h2" in out and "Verify return code: 0 (ok)" in out
    pem = out[out.index("-----BEGIN"):out.index("-----END") + 30]
    text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=pem, capture_output=True, text=True,
                          check=True).stdout
    assert f"URI:{OURS}" in text


def test_tls_1_2_is_refused(mixed):
    code, out = s_client(mixed, "-tls1_2", *with_leaf(mixed, "old", THEIRS))
    assert code != 0 and "protocol version" in out


def test_renegotiation_is_not_spoken(mixed):
    """TLS 1.3 has none, and nothing older is spoken: the old handshake with its extension gets nowhere."""
    for option in ("-legacy_renegotiation", "-no_tls1_3"):
        code, out = s_client(mixed, "-alpn", "h2", "-no_tls1_3", option, *with_leaf(mixed, "again", THEIRS), text="R\n")
        assert code != 0 and "protocol version" in out and "RENEGOTIATING" not in out, out


# TLS 1.3 tells the client of a refused certificate only after its own handshake is done: the alert shows in the output.
@pytest.mark.parametrize("case, options", [
    ("no certificate", lambda m: ()),
    ("another trust domain", lambda m: with_leaf(m, "td", "spiffe://elsewhere/ns/interop/sa/theirs")),
    ("not a SPIFFE ID", lambda m: with_leaf(m, "uri", "https://cluster.local/ns/interop/sa/theirs")),
    ("wrong usage", lambda m: with_leaf(m, "eku", THEIRS, usage="serverAuth")),
    ("expired", lambda m: with_leaf(m, "exp", THEIRS, days=-1)),
])
def test_a_bad_certificate_is_refused(mixed, case, options):
    argv = mixed.theirs.enter("openssl", "s_client", "-connect", f"{mixed.ours.ip4}:15008", "-alpn", "h2", "-quiet",
                              *options(mixed))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            out, _ = process.communicate(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
    assert b"alert" in out, (case, out)


def test_plain_bytes_on_15008_are_closed(mixed):
    out = mixed.theirs.run("sh", "-c", f"printf 'GET / HTTP/1.1\\r\\n\\r\\n' | timeout 5 ncat {mixed.ours.ip4} 15008 | wc -c")
    assert int(out.split()[-1]) < 20  # at most an alert record
