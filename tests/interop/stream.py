# SPDX-License-Identifier: Apache-2.0
"""A byte stream whose every byte is checked: `serve PORT` echoes until the client's FIN, `check HOST PORT BYTES` sends
pseudo-random bytes, half-closes, and compares what comes back."""
import hashlib
import random
import socket
import sys
import threading

BLOCK = 1 << 18


def echo(conn):
    """Echo to the end of input, then close."""
    with conn:
        while data := conn.recv(BLOCK):
            conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)


def serve(port):
    """One thread per connection, both families."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    print("ready", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=echo, args=(conn,), daemon=True).start()


def check(host, port, total):
    """Send `total` bytes and read them back; a difference or a short answer ends in an error."""
    sent, got = hashlib.sha256(), hashlib.sha256()
    block = random.Random(total).randbytes(BLOCK)
    received = 0
    with socket.create_connection((host, port), timeout=60) as conn:

        def send():
            left = total
            while left:
                part = block[:min(left, BLOCK)]
                conn.sendall(part)
                sent.update(part)
                left -= len(part)
            conn.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        while data := conn.recv(BLOCK):
            got.update(data)
            received += len(data)
        sender.join()
    if received != total or sent.digest() != got.digest():
        sys.exit(f"sent {total} bytes, got {received}, digests {'differ' if received == total else 'not compared'}")
    print(f"{total} bytes equal both ways")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    check(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
