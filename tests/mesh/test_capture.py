# SPDX-License-Identifier: Apache-2.0
"""Every way to open a TCP connection is captured, or provably refused: the secret never crosses in plaintext."""

import pytest

COMMON = r"""
import socket, sys, select, os, struct, time, array
host, text = sys.argv[1], (sys.argv[2] + "\n").encode()
def finish(s):
    s.setblocking(True); s.settimeout(60)
    got = b""
    while len(got) < len(text):
        d = s.recv(4096)
        if not d: break
        got += d
    print("echoed" if got == text else repr(got))
"""

WAYS = {
    "non-blocking": "s=socket.socket(); s.setblocking(False); s.connect_ex((host,7000)); select.select([],[s],[],60); "
                    "assert s.getsockopt(socket.SOL_SOCKET,socket.SO_ERROR)==0; s.send(text); finish(s)",
    "tcp-fast-open": "s=socket.socket(); s.sendto(text, 0x20000000, (host,7000)); finish(s)",
    "tcp-fast-open-connect": "s=socket.socket(); s.setsockopt(6,30,1); s.connect((host,7000)); s.send(text); finish(s)",
    "mptcp": "s=socket.socket(socket.AF_INET,socket.SOCK_STREAM,262); s.connect((host,7000)); s.send(text); finish(s)",
    "bind-before-connect": "s=socket.socket(); s.bind(('0.0.0.0',0)); s.connect((host,7000)); s.send(text); finish(s)",
    "bind-own-address": "s=socket.socket(); s.bind((sys.argv[3],41234)); s.connect((host,7000)); "
                        "assert s.getsockname()[0]==sys.argv[3]; s.send(text); finish(s)",
    "bind-to-device": "s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,25,b'eth0'); s.connect((host,7000)); "
                      "s.send(text); finish(s)",
    "mark": "s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,36,0x539); s.connect((host,7000)); s.send(text); finish(s)",
    "mapped": "s=socket.socket(socket.AF_INET6); s.connect(('::ffff:'+host,7000)); s.send(text); finish(s)",
    "passed-socket": "a,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM); s=socket.socket()\n"
                     "if os.fork()==0:\n"
                     " m,fds,_,_=socket.recv_fds(b,10,1); t=socket.socket(fileno=fds[0]); t.connect((host,7000)); os._exit(0)\n"
                     "socket.send_fds(a,[b'x'],[s.fileno()]); os.wait(); s.send(text); finish(s)",
    "disconnect-and-again": "s=socket.socket(); s.connect((host,7000)); "
                            "import ctypes; ctypes.CDLL(None).connect(s.fileno(), struct.pack('H14x',0), 16); "
                            "s.connect((host,7000)); s.send(text); finish(s)",
}


@pytest.mark.parametrize("way", list(WAYS))
def test_captured(cluster, way):
    privileged = way in ("mark", "bind-to-device")
    done = cluster.alice.run("/usr/bin/python3", "-c", COMMON + WAYS[way], cluster.bob.ip4, cluster.secret,
                             cluster.alice.ip4, check=False, privileged=privileged)
    if "Protocol not supported" in done.stderr or "Protocol not available" in done.stderr:
        pytest.skip(f"this kernel has no {way}")
    assert done.stdout.strip() == "echoed", done.stdout + done.stderr


def test_socket_made_before_enrolment_and_connected_after(cluster):
    code = COMMON + ("s=socket.socket(); print('made', flush=True); sys.stdin.readline(); "
                     "s.connect((host,7000)); s.send(text); finish(s)")
    cluster.release()
    try:
        process = cluster.alice.spawn("/usr/bin/python3", "-c", code, cluster.bob.ip4, cluster.secret)
        assert process.stdout.readline() == "made\n"
    finally:
        cluster.enrol()
    out, _ = process.communicate("go\n", timeout=60)
    assert out.strip() == "echoed"


def test_icmp_is_left_alone(cluster):
    ping = ("import socket,struct,sys;s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_ICMP);s.settimeout(30)\n"
            "p=struct.pack('!BBHHH8s',8,0,0,7,1,b'pingping');c=sum(struct.unpack('!8H',p));c=(c>>16)+(c&65535)\n"
            "s.sendto(p[:2]+struct.pack('!H',~(c+(c>>16))&65535)+p[4:],(sys.argv[1],0))\n"
            "while True:\n"
            " d,peer=s.recvfrom(100)\n"
            " if d[20]==0 and d[28:]==b'pingping': print(peer[0]); break\n")
    assert cluster.alice.run("/usr/bin/python3", "-c", ping, cluster.bob.ip4, privileged=True).stdout.strip() == cluster.bob.ip4


def test_udp_is_left_alone(cluster):
    code = ("import socket,sys;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(60);"
            "s.bind(('',7777));print('up',flush=True);d,p=s.recvfrom(100);s.sendto(d,p);print(p[0],flush=True)")
    server = cluster.bob.spawn("/usr/bin/python3", "-c", code)
    assert server.stdout.readline() == "up\n"
    ask = ("import socket,sys;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(60);"
           "s.sendto(b'hello',(sys.argv[1],7777));print(s.recvfrom(100)[0].decode())")
    assert cluster.alice.run("/usr/bin/python3", "-c", ask, cluster.bob.ip4).stdout.strip() == "hello"
    assert server.communicate(timeout=60)[0].strip() == cluster.alice.ip4


def test_the_meshs_own_ports_are_refused(cluster):
    """A connection to ztunnel's plaintext or outbound listener by address must not loop."""
    from labkit.mesh import PINS
    assert PINS.joinpath("n1").exists()
    answer = cluster.client(cluster.alice, "read", cluster.bob.ip4, 15008, check=False, timeout=10)
    assert not answer["ok"] or answer["text"] == ""
