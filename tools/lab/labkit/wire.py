# SPDX-License-Identifier: Apache-2.0
"""The links between the nodes: capture, canaries, what is on them."""

import dataclasses
import ipaddress
import re
import secrets
import signal
import struct
import subprocess
import tempfile
import time

from .lab import Lab

HEADERS_ONLY = 128
CHUNK = 1 << 20
# In front of tcpdump: the kernel keeps a thousand packets for it, which a burst may bring while it waits for a processor.
# Where the kernel shares that by session, nice counts inside one only.
EAGER = ("sh", "-c", 'echo -20 2>/dev/null >/proc/self/autogroup; exec nice -n -20 "$@"', "eager")


def canary():
    """A string that nobody else sends."""
    return "CANARY" + secrets.token_hex(16)


@dataclasses.dataclass
class Segment:
    """One TCP segment as it crossed a link."""

    time: float
    src: str
    sport: int
    dst: str
    dport: int
    seq: int
    flags: int
    length: int     # of the payload on the link
    payload: bytes  # what of it was captured

    def flow(self):
        """Its direction of a connection."""
        return (self.src, self.sport, self.dst, self.dport)


def _tcp(when, src, dst, data, end):
    sport, dport, seq, _ack, offset, flags = struct.unpack_from("!HHIIBB", data)
    head = (offset >> 4) * 4
    return Segment(when, str(src), sport, str(dst), dport, seq, flags, max(end - head, 0), data[head:end])


def _packet(when, frame, length):
    """A Segment of an Ethernet frame that had this length on the link, or None."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == 6:
        head = (frame[14] & 15) * 4
        total = int.from_bytes(frame[16:18], "big") or length - 14
        return _tcp(when, ipaddress.IPv4Address(frame[26:30]), ipaddress.IPv4Address(frame[30:34]),
                    frame[14 + head:], max(total - head, 0))
    if kind == b"\x86\xdd" and frame[20] == 6:
        total = int.from_bytes(frame[18:20], "big") or length - 54
        return _tcp(when, ipaddress.IPv6Address(frame[22:38]), ipaddress.IPv6Address(frame[38:54]),
                    frame[54:], total)
    return None


def read_pcap(path, start=24):
    """The TCP segments of a capture from a file offset on, in order, each with the offset behind it."""
    with open(path, "rb") as f:
        f.seek(start)
        data = f.read()
    at = 0
    while at + 16 <= len(data):
        sec, usec, length, whole = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16:at + 16 + length]
        if len(frame) < length:
            return
        at += 16 + length
        segment = _packet(sec + usec / 1e6, frame, whole)
        if segment:
            yield segment, start + at


class _Capture:
    """One tcpdump on the switch's port of one node: all that this node sends."""

    def __init__(self, node, folder, name, snap):
        self.path = folder / f"{name}-{node}.pcap"
        self.scanned = 0
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            Lab.on_node("switch", *EAGER, "tcpdump", "-n", "-p", "-U", "--immediate-mode", "-B", "65536", "-Z", "root",
                        "-s", str(snap), "-Q", "in", "-i", node, "-w", str(self.path)),
            stdout=subprocess.DEVNULL, stderr=self.errors, start_new_session=True)
        deadline = time.monotonic() + 60
        while not (self.path.exists() and self.path.stat().st_size >= 24):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"tcpdump does not start: {self.text()}")
            time.sleep(0.01)

    def text(self):
        """What tcpdump has said."""
        self.errors.seek(0)
        return self.errors.read().decode()

    def stop(self):
        """Return: how many packets the kernel dropped."""
        time.sleep(0.05)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        found = re.search(r"(\d+) packets? dropped by kernel", self.text())
        if not found:
            raise RuntimeError(f"tcpdump gave no counters: {self.text()}")
        return int(found[1])

    def find(self, needles):
        """Search what is new since the last call. Return: the first needle found, or None."""
        overlap = max((len(n) for n in needles), default=1) - 1
        with open(self.path, "rb") as f:
            f.seek(max(self.scanned - overlap, 0))
            tail = b""
            while block := f.read(CHUNK):
                text = tail + block
                for needle in needles:
                    if needle in text:
                        return needle.decode()
                tail = text[-overlap:]
            self.scanned = f.tell()
        return None


class Wire:
    """Capture of all links between nodes; start() to stop()."""

    def __init__(self, nodes, folder, name, headers_only=False):
        snap = HEADERS_ONLY if headers_only else 262144
        folder.mkdir(parents=True, exist_ok=True)
        self.captures = [_Capture(node, folder, name, snap) for node in nodes]

    def find(self, needles):
        """The first of the canaries that crossed a link, or None."""
        time.sleep(0.05)
        encoded = [n.encode() for n in needles]
        return next((hit for c in self.captures if encoded and (hit := c.find(encoded))), None)

    def stop(self):
        """Return: packets that the kernel dropped, of all links."""
        return sum(c.stop() for c in self.captures)

    def segments(self):
        """Every TCP segment so far, by time."""
        time.sleep(0.1)
        return sorted((s for c in self.captures for s, _ in read_pcap(c.path)), key=lambda s: s.time)


def streams(segments):
    """Reassemble: {flow: bytes} of the segments with payload, in sequence order, retransmissions dropped."""
    parts = {}
    for s in segments:
        if s.payload:
            parts.setdefault(s.flow(), {}).setdefault(s.seq, s.payload)
    joined = {}
    for flow, by_seq in parts.items():
        first = next(iter(by_seq))
        order = sorted(by_seq, key=lambda q: (q - first + (1 << 31)) & 0xffffffff)
        out, at = bytearray(), order[0]
        for seq in order:
            skip = (at - seq) & 0xffffffff
            piece = by_seq[seq] if skip > 1 << 31 or skip == 0 else by_seq[seq][skip:]
            out += piece
            at = (seq + len(by_seq[seq])) & 0xffffffff
        joined[flow] = bytes(out)
    return joined


def tls_records(data):
    """Split a stream into TLS records. Return: [(type, length)], or None when it is anything else."""
    records, at = [], 0
    while at + 5 <= len(data):
        kind, major, _minor, length = struct.unpack_from("!BBBH", data, at)
        if kind not in (20, 21, 22, 23) or major != 3 or length > 16640:
            return None
        records.append((kind, length))
        at += 5 + length
    return records


def is_tls13_server_hello(data):
    """True when a server's stream starts with a ServerHello that chose TLS 1.3 (supported_versions)."""
    if len(data) < 80 or data[0] != 22 or data[5] != 2:
        return False
    at = 5 + 4 + 2 + 32
    at += 1 + data[at] + 2 + 1
    end = at + 2 + int.from_bytes(data[at:at + 2], "big")
    at += 2
    while at + 4 <= min(end, len(data)):
        kind, length = struct.unpack_from("!HH", data, at)
        if kind == 43:
            return data[at + 4:at + 6] == b"\x03\x04"
        at += 4 + length
    return False
