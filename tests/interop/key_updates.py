# SPDX-License-Identifier: Apache-2.0
"""A flood of TLS key updates, by libssl itself: Python's ssl sends none. Runs inside a pod; prints one line of JSON.

    key_updates.py HOST CERT KEY AUTHORITY SECONDS
"""
import ctypes
import ctypes.util
import json
import socket
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
PEM, PATIENCE_S = 1, 1

SSL = ctypes.CDLL(ctypes.util.find_library("ssl"))
for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(SSL, name).restype = ctypes.c_void_p


def context(cert, key):
    """With a certificate, and h2."""
    ctx = ctypes.c_void_p(SSL.SSL_CTX_new(ctypes.c_void_p(SSL.TLS_client_method())))
    if SSL.SSL_CTX_use_certificate_chain_file(ctx, cert.encode()) != 1 or \
            SSL.SSL_CTX_use_PrivateKey_file(ctx, key.encode(), PEM) != 1 or SSL.SSL_CTX_set_alpn_protos(ctx, b"\x02h2", 3):
        raise RuntimeError("libssl does not take the certificate")
    return ctx


def one_connection(ctx, host, end):
    """New keys until the peer has enough of them. Return: how many."""
    sent = 0
    with socket.create_connection((host, 15008), timeout=PATIENCE_S) as s:
        s.settimeout(None)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            s.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE_S, 0))
        ssl = ctypes.c_void_p(SSL.SSL_new(ctx))
        SSL.SSL_set_fd(ssl, s.fileno())
        is_open = SSL.SSL_connect(ssl) == 1 and SSL.SSL_write(ssl, PREFACE, len(PREFACE)) > 0
        while is_open and time.monotonic() < end:
            is_open = SSL.SSL_key_update(ssl, 0) == 1 and SSL.SSL_do_handshake(ssl) == 1
            sent += is_open
        SSL.SSL_free(ssl)
    return sent


def main(host, cert, key, _authority, seconds):
    """As the floods of h2raw.py."""
    ctx = context(cert, key)
    result = {"frames": 0, "connections": 0, "refused": 0}
    cpu, end = time.process_time(), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        sent = 0
        try:
            sent = one_connection(ctx, host, end)
        except OSError:
            pass
        result["frames"] += sent
        result["connections" if sent else "refused"] += 1
    result["cpu"] = round(time.process_time() - cpu, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
