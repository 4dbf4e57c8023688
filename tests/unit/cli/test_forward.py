# SPDX-License-Identifier: Apache-2.0
"""How the daemons of a cluster are asked: by port-forward, or by exec where that is refused."""
import json
import time

import pytest
from conftest import DUMP
from fake_api import Fault, Handler

NO_FORWARD = 'User "dev" cannot create resource "pods/portforward"'
NO_EXEC = 'User "dev" cannot create resource "pods/exec"'
ASKS = [("zc", "all", "--node", "n1"),
        ("zc", "workload"), ("zc", "log", "--node", "n1"), ("connections", "--node", "n1"), ("proxy-status",),
        ("x", "authz", "check", "web.shop")]


@pytest.fixture
def talk(mesh):
    """As `mesh`, with what is asked by these words besides."""
    answer = mesh.on_exec

    def on_exec(pod, container, command):
        words = {"/logging": "current log level is info\n", "/metrics": "# EOF\n",
                 "/connections": json.dumps({"node": "n1", "nowUs": 1, "directListed": True, "workloadState": {}})}
        said = words.get(command[4].split("?")[0]) if len(command) > 4 else None
        return (0, f"200\n{said}", "") if said else answer(pod, container, command)
    mesh.on_exec = on_exec
    return mesh


@pytest.mark.parametrize("words", ASKS, ids=" ".join)
def test_who_may_forward_needs_no_exec(talk, cli, words):
    with_both = cli.run(*words, code=None)
    talk.faults = [Fault("GET", "/exec", 403, NO_EXEC)]
    assert cli.run(*words, code=None) == with_both and "exec" not in with_both and "port-forward" not in with_both
    assert talk.calls("GET", "/portforward?ports=") and not talk.calls("GET", "/exec")


@pytest.mark.parametrize("words", ASKS, ids=" ".join)
def test_who_may_not_forward_asks_by_exec_and_is_told_once(talk, cli, words):
    with_both = cli.run(*words, code=None)
    talk.log.clear()
    talk.faults = [Fault("GET", "/portforward", 403, NO_FORWARD)]
    said = cli.run(*words, code=None)
    assert said.count(f"port-forward: {NO_FORWARD}; exec is used instead") == 1
    assert "".join(line for line in said.splitlines(True) if NO_FORWARD not in line) == with_both
    assert len(talk.calls("GET", "/portforward")) == 1, "a right that is missing is asked for once"


def test_each_daemon_has_its_port(talk, cli):
    cli.run("drops", "--node", "n1")
    cli.run("ps", code=1)
    cli.run("zc", "log", "--node", "n2", "--level", "debug", code=None)
    assert {("ztunnel-n1", 15000, "GET /metrics"), ("istiod-n1", 9876, "GET /status"),
            ("ztunnel-n2", 15000, "POST /logging?level=debug")} == set(talk.forwarded)
    assert len(talk.calls("GET", "/exec")) == 2, "the agent has none"


def test_who_may_do_neither_is_told_of_both(mesh, cli):
    mesh.faults = [Fault("GET", "/exec", 403, NO_EXEC), Fault("GET", "/portforward", 403, NO_FORWARD)]
    for words in (("zc", "all", "--node", "n1"), ("zc", "workload")):
        said = cli.run(*words, code=1)
        assert NO_EXEC in said and NO_FORWARD in said
    mesh.faults = []
    mesh.on_exec = lambda *_: (1, "", "culvert: ztunnel: not running\n")
    said = cli.run("zc", "all", "--node", "n1", code=1)
    assert "pod ztunnel-n1: culvert: ztunnel: not running" in said and "connection refused" in said
    mesh.on_exec = lambda *_: (0, "no status line", "")
    cli.run("zc", "all", "--node", "n1", code=1)


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", b"HTTP/1.1 20000 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", b"x" * 9000, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 4000,
    b"220 smtp.example ESMTP\r\n\r\n"])
def test_what_is_no_answer_is_not_taken_for_one(mesh, cli, answer):
    """The daemon is asked by exec instead, which says the rest."""
    mesh.on_forward = lambda *_: answer
    said = cli.run("zc", "workload", "--node", "n1")
    assert "exec is used instead" in said and "HBONE" in said


def test_an_answer_that_ends_within_its_head(mesh, cli):
    mesh.is_stream_cut = True
    assert "port-forward: the connection ended within the answer's head" in cli.run("zc", "workload", "--node", "n1", code=1)
    mesh.faults = [Fault("GET", "/portforward", 403, NO_FORWARD)]
    assert "exec: the connection ended within the answer's head" in cli.run("zc", "workload", "--node", "n1", code=1)


def test_large_answers_come_whole(mesh, cli):
    many = [{"namespace": "shop", "name": f"web-{i}", "workloadIps": ["10.0.0.1"], "protocol": "TCP"} for i in range(20000)]
    mesh.on_exec = lambda *_: (0, "200\n" + json.dumps({**DUMP, "workloads": many}), "")
    assert len(cli.json("zc", "workload", "--node", "n1")) == 20000
    mesh.on_forward = lambda *_: None
    assert len(json.loads(cli.run("zc", "workload", "--node", "n1", "-o", "json").rpartition("]")[0] + "]")) == 20000


def test_an_answer_that_takes_long_is_waited_for_while_it_comes(mesh, cli, monkeypatch):
    """The whole of a large mesh by a slow line: longer than the silence that is borne."""
    put = Handler.frame

    def slowly(self, data):
        if len(data) > 20000:
            self.wfile.flush()
            time.sleep(2.4)
        put(self, data)
    monkeypatch.setattr(Handler, "frame", slowly)
    mesh.on_forward = lambda *_: (200, json.dumps({**DUMP, "padding": "x" * 269000}))
    started = time.monotonic()
    assert "HBONE" in cli.run("zc", "workload", "--node", "n1") and time.monotonic() - started > 20.5
