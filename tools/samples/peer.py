#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A test workload: a server with a port for each way a TCP application can behave, and a client for each.

  peer.py serve                        all servers below, until killed
  peer.py CLIENT HOST PORT [options]   one client; prints one JSON line (hold: one per second)
"""

import argparse
import hashlib
import json
import socket
import struct
import sys
import threading
import time

ECHO, SERVER_FIRST, SINK, SOURCE, WHOAMI, RESET, STUCK, HALF_CLOSER, TICKER, ECHO4, ECHO6 = range(7000, 7011)
BLOCK = 1 << 18


def pattern(seed, size=BLOCK):
    """Bytes that depend on the seed, without a repetition that a wrong splice could hide behind."""
    return hashlib.shake_128(seed.encode()).digest(size)


def receive_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return line.decode().strip()


def reset(sock):
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def name(address):
    """"ip:port" with mapped addresses as IPv4."""
    ip = address[0].removeprefix("::ffff:")
    return f"[{ip}]:{address[1]}" if ":" in ip else f"{ip}:{address[1]}"


# --- servers ---------------------------------------------------------------------------------------------------------


def serve_echo(sock, _peer):
    while data := sock.recv(BLOCK):
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def serve_server_first(sock, peer):
    sock.sendall(b"220 ready\r\n")
    serve_echo(sock, peer)


def serve_sink(sock, _peer):
    digest, total = hashlib.sha256(), 0
    while data := sock.recv(BLOCK):
        digest.update(data)
        total += len(data)
    sock.sendall(f"{total} {digest.hexdigest()}\n".encode())


def serve_source(sock, _peer):
    size, seed = receive_line(sock).split()
    send_pattern(sock, int(size), seed)


def serve_whoami(sock, peer):
    answer = {"peer": name(peer), "getpeername": name(sock.getpeername()), "getsockname": name(sock.getsockname()),
              "hostname": socket.gethostname()}
    sock.sendall(json.dumps(answer).encode() + b"\n")
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(BLOCK):
        pass


def serve_reset(sock, _peer):
    command = receive_line(sock)
    if command == "after-data":
        sock.sendall(b"some bytes\n")
        time.sleep(0.2)
    reset(sock)


def serve_stuck(sock, _peer):
    """Never reads until told on another connection (never): for back-pressure."""
    time.sleep(600)


def serve_half_closer(sock, _peer):
    """Ends its own direction first and then counts what still comes."""
    sock.sendall(b"bye\n")
    sock.shutdown(socket.SHUT_WR)
    total = 0
    while data := sock.recv(BLOCK):
        total += len(data)
    HALF_CLOSED.append(total)


def serve_ticker(sock, _peer):
    """Whatever line came first, every tenth of a second."""
    line = receive_line(sock).encode() + b"\n"
    while True:
        sock.sendall(line)
        time.sleep(0.1)


HALF_CLOSED = []
SERVERS = {ECHO: serve_echo, SERVER_FIRST: serve_server_first, SINK: serve_sink, SOURCE: serve_source,
           WHOAMI: serve_whoami, RESET: serve_reset, STUCK: serve_stuck, HALF_CLOSER: serve_half_closer,
           TICKER: serve_ticker, ECHO4: serve_echo, ECHO6: serve_echo}


def send_pattern(sock, size, seed):
    """Send SIZE bytes of a pattern that changes with every block. Return: SHA-256."""
    digest, block, sent = hashlib.sha256(), bytearray(pattern(seed)), 0
    while sent < size:
        block[:8] = sent.to_bytes(8, "big")
        piece = memoryview(block)[:min(BLOCK, size - sent)]
        digest.update(piece)
        sock.sendall(piece)
        sent += len(piece)
    return digest.hexdigest()


def run_one(handler, sock, peer):
    with sock:
        try:
            handler(sock, peer)
        except OSError as e:
            print(f"{handler.__name__} {name(peer)}: {e}", flush=True)


def accept_all(listener, handler):
    while True:
        sock, peer = listener.accept()
        threading.Thread(target=run_one, args=(handler, sock, peer), daemon=True).start()


def listen(port):
    if port == ECHO4:
        return socket.create_server(("0.0.0.0", port), backlog=512)
    dual = port != ECHO6
    return socket.create_server(("::", port), family=socket.AF_INET6, backlog=512, dualstack_ipv6=dual)


def serve():
    for port, handler in SERVERS.items():
        threading.Thread(target=accept_all, args=(listen(port), handler), daemon=True).start()
    threading.Event().wait()


# --- clients -----------------------------------------------------------------------------------------------------------


def connect(args):
    families = {"4": socket.AF_INET, "6": socket.AF_INET6, "any": socket.AF_UNSPEC, "mapped": socket.AF_INET}
    found = socket.getaddrinfo(args.host, args.port, families[args.family], socket.SOCK_STREAM)
    family, kind, proto, _, address = found[0]
    if args.family == "mapped":
        family, address = socket.AF_INET6, ("::ffff:" + address[0], address[1])
    sock = socket.socket(family, kind, proto)
    sock.settimeout(args.timeout)
    sock.connect(address)
    return sock


def receive_all(sock):
    data = bytearray()
    while block := sock.recv(BLOCK):
        data += block
    return bytes(data)


def client_echo(args):
    """Send, half-close, and expect the same back."""
    sock = connect(args)
    want = (args.text.encode() if args.text else pattern("echo", max(args.bytes, 1))[:args.bytes])
    got = bytearray()

    def read():
        while block := sock.recv(BLOCK):
            got.extend(block)

    reader = threading.Thread(target=read)
    reader.start()
    for at in range(0, len(want), args.chunk):
        sock.sendall(want[at:at + args.chunk])
    sock.shutdown(socket.SHUT_WR)
    reader.join(args.timeout)
    return {"ok": bytes(got) == want, "bytes": len(got)}


def client_talk(args):
    """Ask and answer, N rounds of one line, then close: a short protected connection that carries a text."""
    sock = connect(args)
    stream = sock.makefile("rw")
    for i in range(args.rounds):
        stream.write(f"{args.text} {i}\n")
        stream.flush()
        if stream.readline() != f"{args.text} {i}\n":
            return {"ok": False, "round": i}
    return {"ok": True, "rounds": args.rounds}


def client_read(args):
    """Connect, say one line if given, and tell what comes until the end."""
    sock = connect(args)
    if args.text:
        sock.sendall(args.text.encode() + b"\n")
    return {"ok": True, "text": receive_all(sock).decode(errors="replace")}


def client_first(args):
    """Server-first: nothing is sent before the banner is there."""
    sock = connect(args)
    banner = receive_line(sock)
    sock.sendall(args.text.encode())
    sock.shutdown(socket.SHUT_WR)
    return {"ok": banner == "220 ready" and receive_all(sock).decode() == args.text, "banner": banner}


def client_upload(args):
    sock = connect(args)
    start = time.monotonic()
    digest = send_pattern(sock, args.bytes, "upload")
    sock.shutdown(socket.SHUT_WR)
    size, seen = receive_all(sock).decode().split()
    return {"ok": int(size) == args.bytes and seen == digest, "sha256": digest, "seen": seen, "bytes": int(size),
            "seconds": round(time.monotonic() - start, 3)}


def client_download(args):
    sock = connect(args)
    start = time.monotonic()
    sock.sendall(f"{args.bytes} download\n".encode())
    digest, expected, total, block = hashlib.sha256(), hashlib.sha256(), 0, bytearray(pattern("download"))
    while data := sock.recv(BLOCK):
        digest.update(data)
        total += len(data)
    for at in range(0, args.bytes, BLOCK):
        block[:8] = at.to_bytes(8, "big")
        expected.update(memoryview(block)[:min(BLOCK, args.bytes - at)])
    return {"ok": total == args.bytes and digest.hexdigest() == expected.hexdigest(), "sha256": expected.hexdigest(),
            "seen": digest.hexdigest(), "bytes": total, "seconds": round(time.monotonic() - start, 3)}


def client_stuffed(args):
    """Send to one who never reads, until nothing moves for a second: how much fits in between."""
    sock = connect(args)
    sock.settimeout(1)
    sent = 0
    try:
        while sent < args.bytes:
            sent += sock.send(b"x" * BLOCK)
    except TimeoutError:
        return {"ok": True, "bytes": sent}
    return {"ok": False, "bytes": sent}


def client_half(args):
    """The server ends first; our direction must stay open."""
    sock = connect(args)
    text = receive_all(sock)
    sock.sendall(b"y" * args.bytes)
    sock.close()
    return {"ok": text == b"bye\n", "bytes": args.bytes}


def client_reset(args):
    """Send a little to an echo server and, once it is there, reset."""
    sock = connect(args)
    sock.sendall((args.text or "x").encode())
    sock.recv(1)
    reset(sock)
    return {"ok": True}


def client_hold(args):
    """One connection to the echo server, a line each --every seconds, until stdin ends."""
    sock = connect(args)
    stream = sock.makefile("rw")
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    n = 0
    while not stop.is_set():
        stream.write(f"{args.text or 'line'} {n}\n")
        stream.flush()
        if not stream.readline():
            return {"ok": False, "lines": n, "error": "ended by the other side"}
        n += 1
        print(json.dumps({"lines": n}), flush=True)
        stop.wait(args.every)
    return {"ok": True, "lines": n}


CLIENTS = {k.removeprefix("client_"): v for k, v in list(globals().items()) if k.startswith("client_")}


def main():
    if sys.argv[1:] == ["serve"]:
        return serve()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--family", choices=["4", "6", "any", "mapped"], default="any")
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=BLOCK)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--text", default="")
    parser.add_argument("--timeout", type=float, default=20)
    parser.add_argument("--every", type=float, default=0.1)
    args = parser.parse_args()
    try:
        result = CLIENTS[args.client](args)
    except (OSError, ValueError) as e:
        result = {"ok": False, "error": type(e).__name__, "detail": str(e)}
    print(json.dumps(result), flush=True)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
