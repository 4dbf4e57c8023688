# SPDX-License-Identifier: Apache-2.0
"""culvert-agent alone: its socket for ztunnel, and ztunnels that are wrong, dead or replaced."""

import contextlib
import os
import pathlib
import signal
import struct
import subprocess

import pytest
from agentkit import (
    BIN, CAPTURE, DIAL_APP, DIR, HELLO, METRICS, NEED, OUTBOUND, PATIENCE_S, PLAIN, POD_ACK, POD_DNS, ROOT, SYNCED, Ztunnel,
    connect, in_netns, wait)


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_mb(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cgroup(pid):
    lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line for line in lines if line.startswith("0::"))[3:]


def test_stock_sockets_are_made_in_ztunnels_cgroup(captured):
    """The maker joins it, leaves nothing behind when ztunnel goes, and the agent works on without it."""
    root = next(f[4] for f in (line.split() for line in open("/proc/self/mountinfo", encoding="utf-8"))
                if f[f.index("-") + 1] == "cgroup2" and f[3] == "/")
    group = pathlib.Path(root) / "c-agent-test"
    group.mkdir(exist_ok=True)
    code = ("import sys,os; sys.path.insert(0, sys.argv[1])\n"
            "open(sys.argv[2], 'w').write('0')\n"
            "from agentkit import Ztunnel, SYNCED, DIAL_APP\n"
            "z = Ztunnel(); p = z.take_pod(); z.expect(SYNCED)\n"
            "for line in sys.stdin: print(len(z.need(p.cookie, DIAL_APP, 8)), flush=True)\n")
    try:
        with subprocess.Popen(["/usr/bin/python3", "-c", code, ROOT / "tests/mesh", group / "cgroup.procs"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as z:
            def need():
                z.stdin.write("\n")
                z.stdin.flush()
                return z.stdout.readline()

            assert need() == "8\n"
            (maker,) = children(captured.proc.pid)
            assert cgroup(maker) == "/c-agent-test" != cgroup(captured.proc.pid)
            wait(lambda: len(os.listdir(f"/proc/{maker}/fd")) <= 6)  # it closes its own of a batch once the batch is sent
            os.kill(maker, signal.SIGKILL)
            assert need() == "8\n"
            wait(lambda: children(captured.proc.pid) == [])
            z.stdin.close()
            z.wait(PATIENCE_S)
        wait(lambda: captured.status()["ztunnel"] == "absent")
    finally:
        def is_removed():  # the kernel counts a process for a moment after nobody sees it any more
            with contextlib.suppress(OSError):
                group.rmdir()
            return not group.exists()

        wait(is_removed, what="the cgroup to be empty")


def test_the_maker_ends_with_the_agent(captured):
    captured.z.need(captured.a.cookie, DIAL_APP, 1)[0].close()
    (maker,) = children(captured.proc.pid)
    captured.stop(signal.SIGKILL)
    wait(lambda: not pathlib.Path(f"/proc/{maker}").exists())
    captured.start()


@pytest.mark.skipif("/san/" in str(BIN), reason="the sanitizers' memory is not ours")
def test_a_quiet_agent_and_its_maker_are_small(captured):
    """What only the start ran of programs and libraries goes: half of all that it had."""
    (maker,) = children(captured.proc.pid)
    wait(lambda: resident_mb(maker) < 1.5, what="the maker is a program of its own")
    wait(lambda: resident_mb(captured.proc.pid) < 8, what=f"8 MB; it has {resident_mb(captured.proc.pid):.1f}")
    captured.z.need(captured.a.cookie, DIAL_APP, 1)[0].close()


def test_need_for_an_unknown_pod_is_answered_with_an_error(captured):
    assert captured.z.need(12345, DIAL_APP, 4) == 2  # ENOENT


@pytest.mark.parametrize("body", [
    pytest.param(b"", id="empty"),
    pytest.param(struct.pack("<QIIII", 1, 9, 0, 1, 0), id="kind"),
    pytest.param(struct.pack("<QIIII", 1, 2, 7, 1, 0), id="family"),
    pytest.param(struct.pack("<QIIII", 1, 2, 0, 0, 0), id="none"),
    pytest.param(struct.pack("<QIIII", 1, 2, 0, 65, 0), id="too many"),
    pytest.param(b"x" * 4000, id="long"),
])
def test_malformed_need_closes_the_connection(agent, body):
    z = Ztunnel()
    z.expect(SYNCED)
    z.send(NEED, body)
    with contextlib.suppress(ConnectionResetError):
        while got := z.recv():
            assert got[0] in (HELLO, METRICS)
    z.close()
    Ztunnel().expect(SYNCED)


def test_wrong_hello_and_silence_are_refused(agent):
    for z in (Ztunnel(version=9), Ztunnel(node="other")):
        with contextlib.suppress(ConnectionResetError):
            assert z.recv() is None
        z.close()
    z = Ztunnel(greet=False)
    z.send(POD_ACK, struct.pack("<QiI", 1, 0, 0))
    with contextlib.suppress(ConnectionResetError):
        assert z.recv() is None
    z.close()


def test_a_stranger_may_not_connect(agent):
    code = ("import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\n"
            "try:\n s.connect(sys.argv[1])\nexcept OSError:\n sys.exit(7)\n")
    done = subprocess.run(["setpriv", "--reuid", "nobody", "--clear-groups", "/usr/bin/python3", "-c", code,
                           DIR / "run/agent/zds.sock"], check=False, timeout=PATIENCE_S)
    assert done.returncode == 7


def test_without_ztunnel_connections_are_refused_and_a_new_one_serves_again(captured):
    captured.z.close()
    wait(lambda: captured.flags(captured.a.cookie) == CAPTURE | POD_DNS, what="not alive")
    with pytest.raises(ConnectionRefusedError):
        in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    with pytest.raises(OSError):
        in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080, timeout=0.5))
    wait(lambda: captured.pod("a")["state"] == "pending")
    captured.z = z = Ztunnel()
    pod = z.take_pod()
    z.expect(SYNCED)
    assert pod.cookie == captured.a.cookie
    wait(lambda: captured.pod("a")["state"] == "captured")
    c = in_netns("c-agent-a", lambda: connect("10.251.0.2", 80))
    pod.listeners[OUTBOUND].accept()[0].close()
    c.close()


def test_a_newer_ztunnel_replaces_the_older(captured):
    old = captured.z
    captured.z = z = Ztunnel()
    pod = z.take_pod()
    with contextlib.suppress(ConnectionResetError):
        while old.recv():
            pass
    old.close()
    wait(lambda: captured.pod("a")["state"] == "captured")
    in_netns("c-agent-b", lambda: connect("10.251.0.1", 8080)).close()
    pod.listeners[PLAIN].accept()[0].close()


def test_a_replaced_ztunnel_does_not_come_back_while_the_newer_is_there(captured):
    code = ("import sys; sys.path.insert(0, sys.argv[1])\n"
            "from agentkit import Ztunnel, SYNCED\n"
            "z = Ztunnel(); z.take_pod(); z.expect(SYNCED); print('up', flush=True); sys.stdin.readline()\n")
    with subprocess.Popen(["/usr/bin/python3", "-c", code, ROOT / "tests/mesh"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as newer:
        assert newer.stdout.readline() == "up\n"
        again = Ztunnel()
        with contextlib.suppress(ConnectionResetError):
            assert again.recv() is None
        again.close()
        assert captured.pod("a")["state"] == "captured"
        newer.stdin.close()
        newer.wait(PATIENCE_S)
    wait(lambda: captured.status()["ztunnel"] == "absent")
    again = Ztunnel()
    again.take_pod()
    wait(lambda: captured.pod("a")["state"] == "captured")
    again.close()


def test_a_refused_pod_is_an_error_and_not_captured(agent):
    z = Ztunnel()
    z.expect(SYNCED)
    agent.label()
    pod = z.take_pod(error=98)
    got = wait(lambda: (p := agent.pod("a"))["state"] == "error" and p)
    assert "ztunnel did not take the pod" in got["error"]
    assert agent.flags(pod.cookie) == 0  # its own dials would be let through, nothing is captured
    z.close()
