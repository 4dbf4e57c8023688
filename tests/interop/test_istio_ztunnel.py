# SPDX-License-Identifier: Apache-2.0
"""Istio's own ztunnel, unmodified, as client and as server of ours."""
import re
import sys

import pytest
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


LOOK_UP = """import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3foo\\7example\\0\\0\\1\\0\\1", (sys.argv[1], int(sys.argv[2])))
"""


def scrape(mixed, node):
    """The exposition of one node."""
    return mixed.topology.nodes[node].run("curl", "-sf", "http://127.0.0.1:15020/metrics")


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


def test_metrics_have_the_names_types_and_labels_of_istios(with_istio):
    """Both have carried and refused the same connections by now; what is not comparable is Rust's run-time (tokio_*)."""
    for source, target in ((with_istio.ours, with_istio.theirs), (with_istio.theirs, with_istio.ours)):
        with_istio.check(source, target.ip4)
        with pytest.raises(RuntimeError):
            with_istio.check(source, target.ip4, port=9999)
    with_istio.ours.run(sys.executable, "-c", LOOK_UP, "192.0.2.53", "53")  # captured; nobody answers
    with_istio.theirs.run(sys.executable, "-c", LOOK_UP, "127.0.0.1", "15053")  # where their rules lead port 53
    wait_for(lambda: "istio_dns_upstream_requests_total" in scrape(with_istio, 1), 10, "their DNS metrics")
    ours, theirs = (families(scrape(with_istio, i)) for i in (0, 1))
    compared = [name for name in theirs if not name.startswith("tokio_")]
    assert len([name for name in compared if name.startswith("istio_tcp_")]) == 6
    assert "istio_dns_requests" in compared
    for name in compared:
        assert name in ours, f"{name} is not ours"
        assert ours[name]["TYPE"] == theirs[name]["TYPE"], name
        assert ours[name]["HELP"].rstrip(".") == theirs[name]["HELP"].rstrip("."), name
        assert ours[name]["labels"] == theirs[name]["labels"], name


def test_a_refused_connection_counts_as_it_does_in_istios(with_istio):
    """No application there: opened, closed and failed on both reporters, whoever's ztunnel it is."""
    def counts(node):
        text = node.run("curl", "-sf", "http://127.0.0.1:15020/metrics")
        found = {}
        for name, reporter, flags, value in re.findall(
                r'^istio_tcp_connections_(\w+)_total\{reporter="(\w+)".*response_flags="(.*?)".* (\d+)$', text, re.M):
            found[name, reporter, flags] = found.get((name, reporter, flags), 0) + int(value)
        return found

    before = [counts(node) for node in with_istio.topology.nodes]
    for source, target in ((with_istio.ours, with_istio.theirs), (with_istio.theirs, with_istio.ours)):
        with pytest.raises(RuntimeError):
            with_istio.check(source, target.ip4, port=9999)
    ours, theirs = ({key: n - old.get(key, 0) for key, n in counts(node).items() if n != old.get(key, 0)}
                    for node, old in zip(with_istio.topology.nodes, before))
    assert ours == theirs
    assert ours["failed", "source", "CONNECT"] == 1
