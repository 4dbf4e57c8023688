# SPDX-License-Identifier: Apache-2.0
"""Envoy as an HBONE client and server of ours, with bulk data both ways."""

import pytest

import envoy
from conftest import PORT
from culvert_node import wait_for

OURS = "spiffe://cluster.local/ns/interop/sa/ours"
THEIRS = "spiffe://cluster.local/ns/interop/sa/theirs"
LOCAL = 9300
BULK = 64 << 20


def start(mixed, name, config):
    """Envoy in the peer's pod."""
    log = open(f"{mixed.work_dir}/{name}.log", "w", encoding="utf-8")
    mixed.run_in(mixed.theirs, *envoy.command(f"{mixed.work_dir}/{name}.json", config), stdout=log, stderr=log)


def listens(mixed, port):
    """True once something in the peer's pod listens on the port."""
    return f":{port} " in mixed.theirs.run("ss", "-Hltn")


@pytest.fixture(scope="module")
def pair(mixed):
    """Envoy ends HBONE on the peer pod's 15008, and tunnels 127.0.0.1:LOCAL to our pod."""
    cert, key = mixed.ca.leaf("envoy", THEIRS)
    root = f"{mixed.ca.path}/root-cert.pem"
    start(mixed, "server", envoy.server(mixed.theirs.ip4, PORT, cert, key, root, OURS))
    start(mixed, "client", envoy.client(LOCAL, mixed.ours.ip4, PORT, cert, key, root, OURS))
    wait_for(lambda: listens(mixed, 15008) and listens(mixed, LOCAL), 30, f"Envoy's listeners, see {mixed.work_dir}")
    return mixed


@pytest.mark.parametrize("size", [1, 100_000, BULK])
def test_envoy_client_to_culvert_server(pair, size):
    assert "equal" in pair.check(pair.theirs, "127.0.0.1", size, LOCAL)


@pytest.mark.parametrize("size", [1, 100_000, BULK])
def test_culvert_client_to_envoy_server(pair, size):
    assert "equal" in pair.check(pair.ours, pair.theirs.ip4, size)
