# SPDX-License-Identifier: Apache-2.0
"""Somebody at the control plane's port 15012 with a token and a wish: gRPC by curl, which takes no part in what it is told."""
import base64
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time

from kubelab import layout, pki

HOST = "istiod.istio-system.svc"
PORT = 15012
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
ADDRESS = "type.googleapis.com/istio.workload.Address"
AUDIENCE = "istio-ca"
OK, INVALID, DENIED, UNAUTHENTICATED = 0, 3, 7, 16  # of gRPC
ANSWER_S = 8  # a request for an identity that no pod has is kept for two
TRIES = 5
LEEWAY_S = 60  # of the API server, after the end of a token


def field(number, data):
    """A field of bytes in a protobuf message."""
    size, n = b"", len(data)
    while n > 127:
        size, n = size + bytes((n & 127 | 128,)), n >> 7
    return bytes((number << 3 | 2,)) + size + bytes((n,)) + data


def fields(data):
    """(number, bytes) of each field of a message that has no others than such."""
    at = 0
    while at < len(data):
        number, at, size, shift = data[at] >> 3, at + 1, 0, 0
        while True:
            byte, at = data[at], at + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        yield number, data[at:at + size]
        at += size


def framed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def certificate_request(identity):
    """What a ztunnel sends. identity: whom it is for, None: whoever the token says."""
    csr = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                          "/dev/null", "-subj", "/", "-addext", f"subjectAltName=critical,URI:{identity or 'spiffe://any/ns/a/sa/b'}"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout
    if identity is None:
        return field(1, csr)
    return field(1, csr) + field(4, field(1, field(1, b"ImpersonatedIdentity") + field(2, field(3, identity.encode()))))


def identity_of(certificate):
    """The URIs in a certificate's names."""
    said = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=certificate, stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    return re.findall(r"URI:(\S+)", said)


class Answer:
    """Status of gRPC, its message, and what came before it."""

    def __init__(self, head, body):
        self.status = next((int(n) for n in re.findall(r"^grpc-status: (\d+)", head, re.MULTILINE)), None)
        self.message = "".join(re.findall(r"^grpc-message: (.*?)\r?$", head, re.MULTILINE))
        self.body = body

    def identities(self):
        """Of the certificate that came; None when nothing did."""
        chain = [data for number, data in fields(self.body[5:]) if number == 1]
        return identity_of(chain[0]) if chain else None

    def __repr__(self):
        return f"status {self.status} \"{self.message}\", {len(self.body)} bytes"


class Stranger:
    """Whoever reaches the port. address: of the control plane's pod."""

    def __init__(self, cluster, address):
        self.address = address
        self.root = cluster.get("configmap", "-n", "istio-system", "istio-ca-root-cert")["data"]["root-cert.pem"]

    def call(self, path, message, token, open_s=0):
        """token: None for a call that has none. open_s: how long more might come of us. A curl that is refused before it has said
        all may wait for what does not come, and show nothing of what did: then it is asked again."""
        for _ in range(TRIES):
            answer = self._call(path, message, token, open_s)
            if answer.status is not None or answer.body:
                break
        return answer

    def _call(self, path, message, token, open_s):
        with tempfile.TemporaryDirectory() as folder:
            head, body, root = (os.path.join(folder, name) for name in ("head", "body", "root"))
            with open(root, "w", encoding="ascii") as f:
                f.write(self.root)
            bearer = [] if token is None else ["-H", f"authorization: Bearer {token}"]
            with subprocess.Popen(
                    ["curl", "-sS", "--http2", "--cacert", root, "--resolve", f"{HOST}:{PORT}:{layout.in_url(self.address)}",
                     "-m", str(open_s + ANSWER_S), "-X", "POST", *bearer,
                     *(("-T", ".") if open_s else ("--data-binary", "@-")), "-H", "content-type: application/grpc",
                     "-H", "te: trailers", "-H", "expect:", "-D", head, "-o", body, f"https://{HOST}:{PORT}{path}"],
                    stdin=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
                with contextlib.suppress(BrokenPipeError):
                    curl.stdin.write(framed(message))
                    curl.stdin.flush()
                time.sleep(open_s)
                said = curl.communicate(timeout=open_s + ANSWER_S + 5)[1]
            assert os.path.exists(head), f"nobody answered: {said.decode()}"
            return Answer(*(self._read(name, mode) for name, mode in ((head, "r"), (body, "rb"))))

    @staticmethod
    def _read(path, mode):
        if not os.path.exists(path):
            return b""
        with open(path, mode) as f:  # pylint: disable=unspecified-encoding
            return f.read()

    def certificate(self, token, identity=None):
        return self.call(CREATE, certificate_request(identity), token)

    def stream(self, token, open_s=0):
        """Asks for all addresses."""
        return self.call(DELTA, field(1, field(1, b"ztunnel~1.2.3.4~x.istio-system~x")) + field(2, ADDRESS.encode()), token, open_s)


def token_for(cluster, namespace, account, pod=None, audience=AUDIENCE):
    """By the real TokenRequest. pod: which it is bound to; audience None: the API server's own."""
    return cluster.run("create", "token", account, "-n", namespace, "--duration", "10m",
                       *(("--audience", audience) if audience else ()),
                       *(("--bound-object-kind", "Pod", "--bound-object-name", pod) if pod else ())).strip()


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def minted(token, lives_s):
    """The same token, signed by the API server's own key, for so long from now; below 0: it ended then."""
    head, claims, _ = token.split(".")
    text = json.loads(base64.urlsafe_b64decode(claims + "=="))
    now = int(time.time())
    text.update(iat=now - 3600, nbf=now - 3600, exp=now + lives_s)
    signed = f"{head}.{_b64(json.dumps(text).encode())}"
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", pki.path("sa.key")], input=signed.encode(),
                               stdout=subprocess.PIPE, check=True).stdout
    return f"{signed}.{_b64(signature)}"


def expired(token):
    return minted(token, -LEEWAY_S - 10)


def tampered(token, **claims):
    """With other claims, and the signature as it was."""
    head, text, signature = token.split(".")
    told = {**json.loads(base64.urlsafe_b64decode(text + "==")), **claims}
    return f"{head}.{_b64(json.dumps(told).encode())}.{signature}"
