# SPDX-License-Identifier: Apache-2.0
"""Istio's own ztunnel, unmodified, as client and as server of ours."""
import contextlib
import json
import os
import re
import sys
import time

import pytest
import who
from conftest import DENIED_PORT
from culvert_node import wait_for

BULK = 256 << 20


@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_culvert_client_to_istio_server(with_istio, family):
    assert "equal" in with_istio.check(with_istio.ours, getattr(with_istio.theirs, family))


@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_istio_client_to_culvert_server(with_istio, family):
    assert "equal" in with_istio.check(with_istio.theirs, getattr(with_istio.ours, family))


def test_bulk_from_culvert_to_istio(with_istio):
    assert "equal" in with_istio.check(with_istio.ours, with_istio.theirs.ip4, BULK)


def test_bulk_from_istio_to_culvert(with_istio):
    assert "equal" in with_istio.check(with_istio.theirs, with_istio.ours.ip4, BULK)


def test_both_directions_went_through_tunnels(with_istio):
    """Our side reports mutual TLS with the peer's identity, in both directions: nothing fell back to plaintext."""
    metrics = with_istio.topology.nodes[0].run("curl", "-sf", "http://127.0.0.1:15020/metrics")
    opened = [line for line in metrics.splitlines() if line.startswith("istio_tcp_connections_opened_total")]
    peer = "spiffe://cluster.local/ns/interop/sa/theirs"
    for reporter, label in (("source", "destination_principal"), ("destination", "source_principal")):
        assert any(f'reporter="{reporter}"' in line and f'{label}="{peer}"' in line
                   and 'connection_security_policy="mutual_tls"' in line for line in opened), opened


def test_what_was_carried_was_ciphered_by_the_fast_library_where_it_can_be(with_istio):
    """ztunnel opens it under its own user; its seccomp filter leaves it what it needs."""
    library = "/usr/lib/x86_64-linux-gnu/libIPSec_MB.so.1"
    with open("/proc/cpuinfo", encoding="ascii") as f:
        flags = set(next((line for line in f if line.startswith("flags")), "").split())
    can = {"avx2", "pclmulqdq", "aes"} <= flags and os.path.exists(library)
    with open(f"/proc/{with_istio.nodes[0].pids('culvert-ztunnel')[0]}/maps", encoding="utf-8") as f:
        assert (os.path.basename(os.path.realpath(library)) in f.read()) == can


LOOK_UP = """import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3foo\\7example\\0\\0\\1\\0\\1", (sys.argv[1], int(sys.argv[2])))
"""


def scrape(mixed, node):
    """The exposition of one node, in the form that theirs always has."""
    return mixed.topology.nodes[node].run("curl", "-sf", "-H", "Accept: application/openmetrics-text",
                                          "http://127.0.0.1:15020/metrics")


def families(text):
    """{name: (type, help, {tuple of label names of each sample})} of an exposition."""
    found = {}
    for line in text.splitlines():
        word = line.split(" ", 3)
        if word[0] == "#" and word[1] in ("HELP", "TYPE"):
            found.setdefault(word[2], {"labels": set()})[word[1]] = word[3]
        elif word[0] != "#":
            name = re.split(r"[{ ]", line)[0]
            family = name if name in found else name.removesuffix("_total")
            found[family]["labels"].add(tuple(re.findall(r'[{,](\w+)="(?:[^"\\]|\\.)*"', line)))
    return found


def differences(ours, theirs):
    """What is not the same in the families that both should have."""
    compared = [name for name in theirs if not name.startswith("tokio_")]
    found = [f"{name} is not ours" for name in compared if name not in ours]
    if len([name for name in compared if name.startswith("istio_tcp_")]) != 6 or "istio_dns_requests" not in compared:
        found.append(f"theirs are {compared}")
    for name in set(compared) & set(ours):
        mine, other = ({**one[name], "HELP": one[name]["HELP"].rstrip(".")} for one in (ours, theirs))
        found += [f"{name}: {mine}, not {other}"] if mine != other else []
    return found


def test_metrics_have_the_names_types_and_labels_of_istios(with_istio):
    """Both have carried and refused the same connections by now; what is not comparable is Rust's run-time (tokio_*)."""
    for source, target in ((with_istio.ours, with_istio.theirs), (with_istio.theirs, with_istio.ours)):
        with_istio.check(source, target.ip4)
        with pytest.raises(RuntimeError):
            with_istio.check(source, target.ip4, port=9999)
    with_istio.ours.run(sys.executable, "-c", LOOK_UP, "192.0.2.53", "53")  # captured; nobody answers
    with_istio.theirs.run(sys.executable, "-c", LOOK_UP, "127.0.0.1", "15053")  # where their rules lead port 53
    wait_for(lambda: "istio_dns_upstream_requests_total" in scrape(with_istio, 1), 10, "their DNS metrics")
    found = []

    def is_same():
        """Each counts in its own time what has ended."""
        found[:] = differences(*(families(scrape(with_istio, i)) for i in (0, 1)))
        return not found

    with contextlib.suppress(RuntimeError):
        wait_for(is_same, 10, "both to have counted")
    assert found == []


def test_a_refused_connection_counts_as_it_does_in_istios(with_istio):
    """No application there: opened, closed and failed on both reporters, whoever's ztunnel it is."""
    def counts(node):
        text = node.run("curl", "-sf", "http://127.0.0.1:15020/metrics")
        found = {}
        for name, reporter, flags, value in re.findall(
                r'^istio_tcp_connections_(\w+)_total\{reporter="(\w+)".*response_flags="(.*?)".* (\d+)$', text, re.M):
            found[name, reporter, flags] = found.get((name, reporter, flags), 0) + int(value)
        return found

    def all_counts():
        return [counts(node) for node in with_istio.topology.nodes]

    def at_rest():
        """Once what was before is counted: nothing has changed for a second."""
        looks = [all_counts()]
        while len(looks) < 100 and (len(looks) < 6 or looks[-1] != looks[-6]):
            time.sleep(0.2)
            looks.append(all_counts())
        return looks[-1]

    before = at_rest()
    for source, target in ((with_istio.ours, with_istio.theirs), (with_istio.theirs, with_istio.ours)):
        with pytest.raises(RuntimeError):
            with_istio.check(source, target.ip4, port=9999)
    wait_for(lambda: all_counts() != before, 10, "the first count")
    ours, theirs = ({key: n - old.get(key, 0) for key, n in now.items() if n != old.get(key, 0)}
                    for now, old in zip(at_rest(), before))
    assert ours == theirs
    assert ours["failed", "source", "CONNECT"] == 1


GARBAGE = """import socket
s = socket.create_server(("", 15008))
while True:
    c, _ = s.accept()
    c.recv(10)
    c.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
    c.close()
"""


def errors(text, direction):
    """The errors in the access log lines of a direction, in order."""
    lines = [line for line in text.splitlines() if "access" in line and f'direction="{direction}"' in line]
    return [(re.search(r"connection (complete|failed)", line)[0], *re.findall(r'error="(.*?)"(?: policy|$)', line)) for line in lines]


def log_of(mixed, node):
    """What has been logged there so far."""
    if node == 0:
        return mixed.log(1)
    with open(mixed.peer.log.name, encoding="utf-8") as f:
        return re.sub(r"\x1b\[[0-9;]*m", "", f.read())


def lines_of(mixed, source, host, port, is_heard=True):
    """What both ends log of a connection: the client's side and, if it hears of it, the server's."""
    before = [len(log_of(mixed, node)) for node in (0, 1)]
    assert who.ask(source, host, port) == ["closed"]
    client, server = (0, 1) if source is mixed.ours else (1, 0)

    def new(node, direction):
        return errors(log_of(mixed, node)[before[node]:], direction)

    wait_for(lambda: new(client, "outbound") and (new(server, "inbound") or not is_heard), 10, "the lines")
    return new(client, "outbound"), new(server, "inbound")


@pytest.mark.parametrize("port", [9999, DENIED_PORT])
def test_what_fails_at_the_far_end_reads_in_both_logs_as_in_istios(with_istio, port):
    ours = lines_of(with_istio, with_istio.ours, with_istio.theirs.ip4, port)
    theirs = lines_of(with_istio, with_istio.theirs, with_istio.ours.ip4, port)
    assert ours == theirs and len(ours[0]) == len(ours[1]) == 1
    assert ours[0][0][1].startswith("http status: ")


def test_a_peer_that_cannot_be_reached_reads_as_in_istios(with_istio):
    refuses, garbage = with_istio.others
    ours, theirs = (lines_of(with_istio, pod, refuses.ip4, 80, False)[0] for pod in (with_istio.ours, with_istio.theirs))
    assert ours == theirs == [("connection complete", "io error: Connection refused (os error 111)")]
    with_istio.run_in(garbage, sys.executable, "-c", GARBAGE)
    wait_for(lambda: garbage.run("ss", "-Hltn", "sport", "=", ":15008"), 10, "the listener")
    ours, theirs = (lines_of(with_istio, pod, garbage.ip4, 80, False)[0] for pod in (with_istio.ours, with_istio.theirs))
    # what is wrong with the TLS is the library's to say
    assert [(word, text.split(":")[0]) for word, text in ours] == [(word, text.split(":")[0]) for word, text in theirs]


def keys(of):
    """The keys of each kind of object in a config_dump, those that have no value there too."""
    found = {"": set(of)}
    for kind in ("workloads", "services", "policies", "certificates"):
        found[kind] = set().union(*(set(one) for one in of[kind]))
    ends = [one for service in of["services"] for one in service["endpoints"].values()]
    found["endpoint"] = set().union(*(set(one) for one in ends))
    state = next(iter(of["workloadState"].values()))
    found["state"], found["info"], found["connections"] = set(state), set(state["info"]), set(state["connections"])
    chain = [one for certificate in of["certificates"] for one in certificate["certChain"] + certificate["rootCerts"]]
    found["certificate"] = set().union(*(set(one) for one in chain))
    return found


def test_a_config_dump_has_istios_keys(with_istio):
    dumps = [json.loads(node.run("curl", "-sf", "http://127.0.0.1:15000/config_dump")) for node in with_istio.topology.nodes]
    ours, theirs = (keys(dump) for dump in dumps)
    for kind, names in theirs.items():
        assert names <= ours[kind], f"{kind}: {names - ours[kind]} missing"
