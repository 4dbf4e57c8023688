# SPDX-License-Identifier: Apache-2.0
"""Connections between two pods of one node that connect(2) refuses by a known denial: the access log and the metrics say the same as of
those that ztunnel denies itself."""
import contextlib
import os
import sys

import pytest
from culvert_node import wait_for
from same_node import PORT, VIP, Direct
from test_direct import OF_EACH_CONNECTION, OF_THE_TUNNEL, access_lines, opened_and_closed, series

# By a tunnel it is connected for the moment that the answer takes.
KNOCK = """
import contextlib, socket, sys
for i in range(int(sys.argv[3])):
    with contextlib.suppress(ConnectionError), socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as s:
        assert s.recv(1) == b""
"""
# Matches nobody; where a policy looks at addresses, ztunnel has each connection.
BY_ADDRESS = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-nobody, namespace: direct}
spec:
  action: DENY
  rules: [{from: [{source: {ipBlocks: ["192.0.2.1"]}}]}]
"""
MANY = 500
MOST_LINES = 200  # of so many in a few seconds, at each end


def knock(direct, host, port, times=1):
    """Connections that are denied; how many connect(2) has refused."""
    before = direct.counter("policy")
    direct.client.run(sys.executable, "-c", KNOCK, host, str(port), str(times))
    direct.talks += times
    return direct.counter("policy") - before


def denied_of(now):
    """How many connections were denied, by reporter."""
    return [sum(n for name, n in now.items() if name.startswith(f'istio_tcp_connections_failed_total{{reporter="{reporter}"')
                and 'response_flags="DENY"' in name) for reporter in ("source", "destination")]


def told_of_one(direct, host, port, is_by_kernel):
    """What one more adds to the metrics, and its lines in the access log."""
    wait_for(lambda: opened_and_closed(direct) == [direct.talks] * 4, 30, "the end of those before")
    before, logged = series(direct), len(direct.log())
    assert knock(direct, host, port) == is_by_kernel
    wait_for(lambda: opened_and_closed(direct) == [direct.talks] * 4 and len(access_lines(direct.log()[logged:])) == 2, 30, "both ends")
    return {name: n - before.get(name, 0) for name, n in series(direct).items() if n > before.get(name, 0)}, \
        access_lines(direct.log()[logged:])


@pytest.mark.parametrize("labels", ["", "culvert.io/same-node: encrypt"], ids=["direct", "tunnel"])
def test_a_known_denial_is_told_as_ztunnels_own(labels):
    """Of a pod's own address and of a service, whether the pods would talk directly or by a tunnel. Of a pod that dials in a loop all
    are counted, and some are logged."""
    with contextlib.closing(Direct(labels=labels)) as d:
        d.deny(PORT)
        to = ((d.server.ip4, PORT), (VIP, 80))
        for host, port in to:
            wait_for(lambda host=host, port=port: knock(d, host, port), 30, "the denial to be known")
        by_kernel = [told_of_one(d, host, port, True) for host, port in to]
        before, logged = denied_of(series(d)), len(d.log())  # each has been told
        assert knock(d, *to[0], MANY) == MANY
        wait_for(lambda: denied_of(series(d)) == [n + MANY for n in before], 30, "all of them")
        lines = [line for line in d.log()[logged:].splitlines() if "connection complete" in line]
        assert 2 <= len(lines) < 2 * MOST_LINES
        assert "more connections were denied than are logged" in d.log()[logged:]
        with open(os.path.join(d.config, "by-address.yaml"), "w", encoding="utf-8") as f:
            f.write(BY_ADDRESS)
        wait_for(lambda: not knock(d, *to[0]), 30, "ztunnel to have each")
        knock(d, *to[1])
        by_ztunnel = [told_of_one(d, host, port, False) for host, port in to]
    for (known_series, known_lines), (asked_series, asked_lines) in zip(by_kernel, by_ztunnel):
        assert known_series == asked_series
        for direction, asked in asked_lines.items():
            known = known_lines[direction]
            assert "direct/deny-port" in known.get("policy", "") or direction == '"outbound"'
            assert set(known) == set(asked) - OF_THE_TUNNEL
            assert {k: v for k, v in known.items() if k not in OF_EACH_CONNECTION} == \
                {k: v for k, v in asked.items() if k not in OF_EACH_CONNECTION | OF_THE_TUNNEL}
            assert known["dst.addr"] == asked["dst.hbone_addr"]
            assert known["src.addr"].rsplit(":", 1)[0] == asked["src.addr"].rsplit(":", 1)[0]
