# SPDX-License-Identifier: Apache-2.0
"""What is no longer allowed is cut while it is open, on both nodes, and the log says why; a renewed root cuts nothing."""
import os
import re
import subprocess
import sys
import time

import pytest
from hostile import PORT
from certificates import serial_of, write_crl
from culvert_node import stop, wait_for
from same_node import HOLDER, Direct
from same_node import PORT as DIRECT_PORT

OPEN = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b"x")
assert s.recv(1) == b"x"
print("open", flush=True)
s.settimeout(60)
try:
    print("end" if s.recv(1) == b"" else "data", flush=True)
except OSError as e:
    print("reset", flush=True)
"""


class Open:
    """A connection of the friend that tells how it ends."""

    def __init__(self, hostile, host=None):
        self.process = hostile.run_in(hostile.friend, sys.executable, "-c", OPEN, host or hostile.server.ip4, str(PORT),
                                     stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "open\n"

    def is_open(self):
        """Still."""
        return self.process.poll() is None

    def wait_cut(self, seconds=60):
        """Until it was cut; seconds that took."""
        begin = time.monotonic()
        self.process.wait(seconds)
        assert self.process.stdout.read().strip() in ("reset", "end")
        return time.monotonic() - begin


def connections(hostile):
    """Established connections at the application in the server's pod."""
    out = hostile.server.run("ss", "-Htn", "state", "established", f"( sport = :{PORT} )")
    return len(out.splitlines())


def wait_allowed(hostile):
    wait_for(lambda: hostile.connect(f"{hostile.server.ip4}:{PORT}")["status"] == 200, 10, "access again")


@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_a_policy_update_cuts_what_it_denies_at_both_ends(hostile, family):
    one = Open(hostile, getattr(hostile.server, family))
    hostile.put_policy("revoke", f"{{action: DENY, rules: [{{from: [{{source: {{principals: "
                                 f"['cluster.local/ns/hostile/sa/{hostile.friend.account}']}}}}]}}]}}")
    try:
        print(f"cut after {one.wait_cut() * 1000:.0f} ms, the folder's inotify included")
        wait_for(lambda: connections(hostile) == 0, 5, "the application's end")
        said = "connection closed due to policy change: explicitly denied: hostile/revoke"
        wait_for(lambda: said in hostile.log(1), 5, "a line that says so")
        wait_for(lambda: "connection reset" in hostile.log(2), 5, "a line on the client's node")
    finally:
        hostile.del_policy("revoke")
        wait_allowed(hostile)


def test_a_policy_update_that_denies_somebody_else_cuts_nothing(hostile):
    one = Open(hostile)
    hostile.put_policy("others", "{action: DENY, rules: [{from: [{source: {principals: ['cluster.local/ns/hostile/sa/other']}}]}]}")
    try:
        time.sleep(1)
        assert one.is_open()
    finally:
        hostile.del_policy("others")


def test_dry_run_and_audit_are_logged_and_cut_nothing(hostile):
    one = Open(hostile)
    hostile.put_policy("trial", "{action: DENY, rules: [{}]}", "istio.io/dry-run: 'true'")
    hostile.put_policy("seen", "{action: AUDIT, rules: [{}]}")
    try:
        def logged():
            Open(hostile)
            text = hostile.log(1)
            return "dry run: would be denied" in text and 'policy="hostile/seen"' in text

        wait_for(logged, 10, "both lines")
        wait_for(lambda: 'policy="hostile/trial"' in hostile.log(1), 5, "its name")
        assert one.is_open()
    finally:
        hostile.del_policy("trial")
        hostile.del_policy("seen")


def rejections(hostile, node):
    """What a node's ztunnel has counted, {reporter: number}."""
    text = hostile.topology.nodes[node - 1].run("curl", "-sf", "http://127.0.0.1:15020/metrics")
    found = re.findall(r'^istio_crl_policy_rejections_total\{reporter="(\w+)"\} (\d+)$', text, re.M)
    return {reporter: int(n) for reporter, n in found}


def test_a_revoked_certificate_is_cut_and_refused(hostile):
    one = Open(hostile)
    write_crl(hostile.ca.path, hostile.crl, ["0123456789AB"])
    wait_for(lambda: "revoked=1" in hostile.log(1), 5, "the list")
    time.sleep(0.3)
    assert one.is_open()
    write_crl(hostile.ca.path, hostile.crl, [serial_of(hostile.nodes[1], hostile.friend.account)])
    try:
        print(f"cut after {one.wait_cut() * 1000:.0f} ms, making the list included")
        wait_for(lambda: connections(hostile) == 0, 5, "the application's end")
        wait_for(lambda: "closed: the peer's certificate has been revoked" in hostile.log(1), 5, "a line that says so")
        cut = rejections(hostile, 1).get("destination", 0)
        with pytest.raises(AssertionError):
            Open(hostile)
        assert 0 < cut < rejections(hostile, 1)["destination"]
        # the others are as good as before
        assert hostile.connect(f"{hostile.server.ip4}:{PORT}")["status"] == 200
    finally:
        write_crl(hostile.ca.path, hostile.crl, [])
        wait_for(lambda: "revoked=0" in hostile.log(1), 5, "the empty list")
    Open(hostile)


def test_a_revoked_server_is_cut_by_its_clients(hostile):
    one = Open(hostile)
    write_crl(hostile.ca.path, hostile.crl, [serial_of(hostile.nodes[0], hostile.server.account)])
    try:
        one.wait_cut()
        wait_for(lambda: "closed: the peer's certificate has been revoked" in hostile.log(2), 5, "a line on the client's node")
    finally:
        write_crl(hostile.ca.path, hostile.crl, [])


def test_a_revoked_certificate_ends_connections_without_a_tunnel():
    d = Direct(crl=True)
    try:
        wait_for(d.is_direct, 15, "a direct connection")
        holder = d.client.popen(sys.executable, "-c", HOLDER, d.server.ip4, str(DIRECT_PORT), stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "open\n"
        write_crl(f"{d.node.base}/ca", d.crl, [serial_of(d.node, d.client.account)])
        assert holder.stdout.readline().strip() in ("ConnectionResetError", "ConnectionAbortedError", "eof")
        wait_for(lambda: not d.works_from(d.client) and d.counter("policy") > 0, 10, "a refusal by connect(2)")
        wait_for(lambda: 'error="certificate revoked"' in d.log(), 10, "its lines")
        assert 'response_flags="CERT_REVOKED"' in d.metrics()
        wait_for(lambda: "connections without a tunnel refused, certificate revoked" in d.log(), 5, "a line that says so")
        wait_for(lambda: 'error="closed: the peer\'s certificate has been revoked"' in d.log(), 5, "the line of its end")
        write_crl(f"{d.node.base}/ca", d.crl, [])
        wait_for(lambda: d.works_from(d.client), 15, "the end of it")
        stop(holder)
    finally:
        d.close()
