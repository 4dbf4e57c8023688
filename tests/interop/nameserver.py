#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A nameserver that does as it is told: nameserver.py ADDRESS ZONE LOG

ZONE is JSON, read anew for each query: {"NAME TYPE": {"data": [...], "ttl": 30, "delay": 0, "rcode": 0, "pad": 0, "drop": false}}.
"NAME *" is the default of a name, "*" of all. LOG gets a line per query: protocol, opcode, name, type, EDNS size, bytes in hex.
Over UDP an answer that does not fit the asker's size is cut and says so (TC).
"""
import json
import socket
import struct
import sys
import threading
import time

TYPES = {"A": 1, "CNAME": 5, "TXT": 16, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}


def encode(name):
    """Labels."""
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".") if x) + b"\0"


def record(kind, value):
    """The data of a record."""
    if kind == "A":
        return socket.inet_pton(socket.AF_INET, value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "CNAME":
        return encode(value)
    if kind == "SRV":
        priority, weight, port, target = value.split()
        return struct.pack("!3H", int(priority), int(weight), int(port)) + encode(target)
    return bytes([len(value)]) + value.encode()


def question(packet):
    """Name, type and the end of the question."""
    at, labels = 12, []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += packet[at] + 1
    return ".".join(labels).lower(), struct.unpack("!H", packet[at + 1:at + 3])[0], at + 5


def find(zone, name, kind):
    """What the zone says: the type itself, a CNAME, the name's default, everyone's."""
    for key in (f"{name} {kind}", f"{name} CNAME", f"{name} *", "*"):
        if key in zone:
            return key.rsplit(" ", 1)[-1] if " " in key and not key.endswith("*") else kind, zone[key]
    return kind, {"rcode": 3}


def answer(packet, zone, is_tcp):
    """The whole response; None: silence."""
    ident, flags, _, _, _, extra = struct.unpack("!6H", packet[:12])
    name, number, end = question(packet)
    edns = struct.unpack("!H", packet[end + 3:end + 5])[0] if extra and packet[end:end + 3] == b"\0\0\x29" else 0
    kind, rule = find(zone, name, NAMES.get(number, str(number)))
    time.sleep(rule.get("delay", 0))
    if rule.get("drop"):
        return edns, None
    records, count, owner = b"", 0, b"\xc0\x0c"
    for kind, value in [(kind, v) for v in rule.get("data", [])] + [("TXT", "x" * 200)] * rule.get("pad", 0):
        data = record(kind, value)
        records += owner + struct.pack("!HHIH", TYPES[kind], 1, rule.get("ttl", 30), len(data)) + data
        count += 1
    if kind == "CNAME" and number in NAMES and NAMES[number] != "CNAME":
        for value in find(zone, rule["data"][0], NAMES[number])[1].get("data", []):
            data = record(NAMES[number], value)
            records += encode(rule["data"][0]) + struct.pack("!HHIH", number, 1, 30, len(data)) + data
            count += 1
    opt = b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0) if edns else b""
    is_cut = not is_tcp and end + len(records) + len(opt) > max(edns, 512)
    if is_cut:
        records, count = b"", 0
    head = struct.pack("!6H", ident, 0x8080 | flags & 0x7900 | is_cut << 9 | rule.get("rcode", 0), 1, count, 0, 1 if opt else 0)
    return edns, head + packet[12:end] + records + opt


def serve(packet, is_tcp, send):
    """One query, in a thread of its own."""
    with open(sys.argv[2], encoding="utf-8") as f:
        zone = json.load(f)
    name, number, _ = question(packet)
    with open(sys.argv[3], "a", encoding="utf-8") as log:
        log.write(f"{'tcp' if is_tcp else 'udp'} {packet[2] >> 3 & 15} {name} {NAMES.get(number, number)} {packet.hex()}\n")
    _, response = answer(packet, zone, is_tcp)
    if response:
        send(response)


def serve_stream(conn):
    """Queries of one TCP connection."""
    with conn, conn.makefile("rb") as f:
        while len(head := f.read(2)) == 2:
            serve(f.read(struct.unpack("!H", head)[0]), True, lambda r: conn.sendall(struct.pack("!H", len(r)) + r))


def accept(listener):
    """TCP."""
    while True:
        threading.Thread(target=serve_stream, args=(listener.accept()[0],), daemon=True).start()


def main():
    """UDP in this thread."""
    family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.bind((sys.argv[1], 53))
    threading.Thread(target=accept, args=(socket.create_server((sys.argv[1], 53), family=family),), daemon=True).start()
    while True:
        packet, peer = udp.recvfrom(65535)
        threading.Thread(target=serve, args=(packet, False, lambda r, p=peer: udp.sendto(r, p)), daemon=True).start()


main()
