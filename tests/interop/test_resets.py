# SPDX-License-Identifier: Apache-2.0
"""Connections between two pods of one node that end by a reset, or never begin: the access log and the metrics say the same of a
direct one as of a tunnelled one."""
import subprocess
import sys

import pytest
from culvert_node import wait_for
from same_node import Direct
from test_direct import OF_EACH_CONNECTION, OF_THE_TUNNEL, access_lines, opened_and_closed, series

PORT, CLOSED = 9303, 9304
SIZE = 700  # bytes that each end says first

# What an end does once both have said so much and heard all of it.
END = f"""
def say_and_hear(s):
    s.sendall(b"x" * {SIZE})
    left = {SIZE}
    while left:
        data = s.recv(left)
        if not data:
            raise EOFError
        left -= len(data)
def end(s, how):
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "unread":
        s.recv(1, socket.MSG_PEEK)
    elif how == "wait":
        try:
            s.recv(1)
        except ConnectionResetError:
            pass
    elif how == "shut":
        s.shutdown(socket.SHUT_WR)
        try:
            s.recv(1)
        except ConnectionResetError:
            pass
    s.close()
"""
SERVER = f"""
import socket, struct, sys
{END}
s = socket.create_server(("", {PORT}))
print("up", flush=True)
while True:
    conn = s.accept()[0]
    conn.settimeout(60)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    how = b""
    while not how.endswith(b"\\n"):
        how += conn.recv(1)
    say_and_hear(conn)
    if how == b"more\\n":
        conn.sendall(b"y")  # which the client leaves unread
        how = b"wait\\n"
    if how == b"last\\n":
        assert conn.recv(1) == b""
        how = b"reset\\n"
    end(conn, how.decode().strip())
"""
CLIENT = f"""
import socket, struct, sys
{END}
with socket.create_connection((sys.argv[1], {PORT}), 60) as s:
    s.sendall((sys.argv[3] + "\\n").encode())
    say_and_hear(s)
    end(s, sys.argv[2])
"""

# By a tunnel it is connected for the moment that the answer takes.
KNOCK = f"""
import contextlib, socket, sys
with contextlib.suppress(ConnectionError), socket.create_connection((sys.argv[1], {CLOSED}), 60) as s:
    assert s.recv(1) == b""
"""

RESET = dict.fromkeys(("outbound", "inbound"), '"connection reset"')
REFUSED = {"outbound": '"http status: 503 Service Unavailable"', "inbound": '"connection failed: Connection refused (os error 111)"'}
WELL = dict.fromkeys(("outbound", "inbound"))
# client's, server's (nothing: where nobody listens) -> the errors
ENDS = {"client_resets": ("reset", "wait", RESET), "server_resets": ("wait", "reset", RESET),
        "client_leaves_bytes_unread": ("unread", "more", RESET), "server_resets_after_the_clients_fin": ("shut", "last", RESET),
        "client_closes": ("close", "wait", WELL), "server_closes": ("wait", "close", WELL), "closed_port": ("", "", REFUSED)}


@pytest.fixture(name="pods", scope="module")
def fixture_pods():
    """What is told of one more connection, by way (direct, tunnel) and end."""
    d = Direct()
    try:
        server = d.server.popen(sys.executable, "-c", SERVER, stdout=subprocess.PIPE, text=True)
        d.others.append(server)
        assert server.stdout.readline() == "up\n"
        wait_for(lambda: is_direct(d), 30, "a direct connection")
        wait_for(lambda: is_direct(d, "", ""), 30, "a direct connection to the closed port")
        told = {"direct": all_told(d, True)}
        d.label("culvert.io/same-node: encrypt")
        wait_for(lambda: not is_direct(d), 30, "the end of direct connections")
        told["tunnel"] = all_told(d, False)
        yield told
    finally:
        d.close()


def connect(direct, client, server):
    """One connection that ends so."""
    direct.client.run(sys.executable, "-c", CLIENT if server else KNOCK, direct.server.ip4, client, server)


def is_direct(direct, client="close", server="wait"):
    """Did one more connection go direct?"""
    before = direct.counter("direct")
    connect(direct, client, server)
    return direct.counter("direct") > before


def all_told(direct, goes_direct):
    """Of each end: what it adds to the metrics, and its lines by direction."""
    told = {}
    for name, (client, server, _) in ENDS.items():
        wait_for(lambda: len(set(opened_and_closed(direct))) == 1 and not direct.node.connections(), 30, "the end of those before")
        before, at, count, logged = series(direct), opened_and_closed(direct)[0], direct.counter("direct"), len(direct.log())
        connect(direct, client, server)
        wait_for(lambda at=at, logged=logged: opened_and_closed(direct) == [at + 1] * 4 and
                 len(access_lines(direct.log()[logged:])) == 2, 30, f"its end: {name}")
        assert (direct.counter("direct") > count) == goes_direct
        lines = direct.log()[logged:]
        told[name] = ({k: n - before.get(k, 0) for k, n in series(direct).items() if n > before.get(k, 0)}, access_lines(lines),
                      sorted(line.split()[1] for line in lines.splitlines() if "connection complete" in line))
    return told


@pytest.mark.parametrize("name", ENDS)
def test_an_end_is_told_as_a_tunnels(pods, name):
    """The same series grow by as much, and the lines have the same level, keys and values but for ports and times."""
    direct_series, direct_lines, direct_levels = pods["direct"][name]
    tunnel_series, tunnel_lines, tunnel_levels = pods["tunnel"][name]
    assert direct_series == tunnel_series
    assert direct_levels == tunnel_levels
    for direction, tunnelled in tunnel_lines.items():
        plain = direct_lines[direction]
        assert plain.get("error") == ENDS[name][2][direction.strip('"')]
        assert {k: v for k, v in plain.items() if k not in OF_EACH_CONNECTION} == \
            {k: v for k, v in tunnelled.items() if k not in OF_EACH_CONNECTION | OF_THE_TUNNEL}
