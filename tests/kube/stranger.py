# SPDX-License-Identifier: Apache-2.0
"""Somebody at the control plane's port 15012 with a token and a wish: gRPC over python3-h2, which shows what came of a request that was
refused before all of it was sent; of that curl shows nothing now and then."""
import base64
import json
import re
import socket
import ssl
import subprocess
import time

import h2.config
import h2.connection
import h2.events
from kubelab import pki

HOST = "istiod.istio-system.svc"
PORT = 15012
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
DELTA = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
ADDRESS = "type.googleapis.com/istio.workload.Address"
AUDIENCE = "istio-ca"
OK, INVALID, DENIED, UNAUTHENTICATED = 0, 3, 7, 16  # of gRPC
ANSWER_S = 8  # a request for an identity that no pod has is kept for two
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

    def __init__(self):
        self.status, self.message, self.body = None, "", b""

    def add_headers(self, headers):
        """The first or the last ones."""
        head = dict(headers)
        if "grpc-status" in head:
            self.status = int(head["grpc-status"])
        self.message = head.get("grpc-message", self.message)

    def identities(self):
        """Of the certificate that came; None when nothing did."""
        chain = [data for number, data in fields(self.body[5:]) if number == 1]
        return identity_of(chain[0]) if chain else None

    def __repr__(self):
        return f"status {self.status} \"{self.message}\", {len(self.body)} bytes"


class Call:
    """One request over a connection of its own."""

    def __init__(self, sock, headers, message, is_last):
        self.sock, self.answer, self.is_over = sock, Answer(), False
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.stream = self.http.get_next_available_stream_id()
        self.http.send_headers(self.stream, headers)
        self.http.send_data(self.stream, message, end_stream=is_last)
        self.flush()

    def flush(self):
        self.sock.sendall(self.http.data_to_send())

    def end(self):
        """Nothing more comes of us."""
        if not self.is_over:
            self.http.end_stream(self.stream)
            self.flush()

    def take(self, event):
        """What the server says."""
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            self.answer.add_headers(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.answer.body += event.data
            self.http.acknowledge_received_data(event.flow_controlled_length, self.stream)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
            self.is_over = True

    def listen(self, seconds):
        """Until all is said, or for so long."""
        deadline = time.monotonic() + seconds
        while not self.is_over and (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return
            self.is_over = not data
            for event in self.http.receive_data(data):
                self.take(event)
            if not self.is_over:
                self.flush()


class Stranger:
    """Whoever reaches the port. address: of the control plane's pod."""

    def __init__(self, cluster, address):
        self.address = address
        root = cluster.get("configmap", "-n", "istio-system", "istio-ca-root-cert")["data"]["root-cert.pem"]
        self.tls = ssl.create_default_context(cadata=root)
        self.tls.set_alpn_protocols(["h2"])

    def call(self, path, message, token, open_s=0):
        """token: None for a call that has none. open_s: how long more might come of us."""
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", f"{HOST}:{PORT}"), (":path", path),
                   ("content-type", "application/grpc"), ("te", "trailers")]
        if token is not None:
            headers.append(("authorization", f"Bearer {token}"))
        with socket.create_connection((self.address, PORT), timeout=ANSWER_S) as plain, \
                self.tls.wrap_socket(plain, server_hostname=HOST) as sock:
            call = Call(sock, headers, framed(message), is_last=not open_s)
            if open_s:
                call.listen(open_s)
                call.end()
            call.listen(ANSWER_S)
            return call.answer

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
