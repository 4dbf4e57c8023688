# SPDX-License-Identifier: Apache-2.0
"""Istio's own ztunnel, unmodified, as client and as server of ours."""
import pytest

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
