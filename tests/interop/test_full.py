# SPDX-License-Identifier: Apache-2.0
"""Where the agent finds no room in a map for what two pods of one node need to talk without a tunnel: they use tunnels, refuse
nothing, and it is counted."""
import os
import re
import struct

import pytest
from culvert_node import wait_for
from full_map import full
from same_node import OTHER, PORT, VIP, Direct, maps

VIP2 = "10.96.79.2"
SERVICE2 = f"""---
apiVersion: v1
kind: Service
metadata: {{name: web2, namespace: direct}}
spec: {{clusterIP: {VIP2}, selector: {{app: web}}, ports: [{{port: 80, targetPort: {PORT}}}]}}
"""


@pytest.fixture(name="direct")
def fixture_direct():
    """A node whose pods talk directly."""
    d = Direct()
    wait_for(d.is_direct, 15, "a direct connection")
    yield d
    d.close()


def no_room(direct, name):
    """How many entries found none in this map."""
    found = re.search(rf'^culvert_agent_map_full_total{{map="{name}"}} (\d+)$', direct.metrics(), re.MULTILINE)
    return int(found[1]) if found else 0


def goes_by(direct, port, host):
    """The counter that one more connection is in."""
    before = {way: direct.counter(way) for way in ("direct", "tunnel")}
    assert direct.talk(port, host) == direct.client.ip4
    return [way for way, n in before.items() if direct.counter(way) > n]


def test_a_frontend_that_finds_no_room_is_ztunnels(direct):
    with full(f"{direct.node.pins}/cv_frontends"):
        with open(os.path.join(direct.config, "web2.yaml"), "w", encoding="utf-8") as f:
            f.write(SERVICE2)
        wait_for(lambda: no_room(direct, "cv_frontends") > 0, 15, "the counter")
        wait_for(lambda: VIP2 in str(direct.node.admin("ztunnel", "/config_dump")), 15, "the service")
        assert [goes_by(direct, 80, VIP2) for _ in range(3)] == [["tunnel"]] * 3
        assert "no room in a map" in direct.log() and "map=cv_frontends" in direct.log()
        assert direct.is_direct()  # by its address, as ever
    os.unlink(os.path.join(direct.config, "web2.yaml"))
    with open(os.path.join(direct.config, "web3.yaml"), "w", encoding="utf-8") as f:
        f.write(SERVICE2.replace(VIP2, "10.96.79.3").replace("web2", "web3"))
    wait_for(lambda: goes_by(direct, 80, "10.96.79.3") == ["direct"], 15, "room again")


def generation(direct):
    """Of the verdicts that count."""
    (value,) = re.findall(r'"value":(\d+)', maps(direct, "cv_generation").replace(" ", "")) or [None]
    return int(value)


def test_verdicts_that_others_have_taken_all_room_for_are_kept_all_the_same(direct):
    """One pod has as many verdicts as there is room for; the next one of another pod's is its last."""
    value = struct.pack("<QII", generation(direct), 1, 0)
    with full(f"{direct.node.pins}/cv_verdicts", value=value):
        wait_for(lambda: goes_by(direct, OTHER, None) == ["direct"], 15, "a direct connection")
        wait_for(lambda: no_room(direct, "cv_verdicts") == 1, 15, "the counter")
        assert len(maps(direct, "cv_verdicts")) < 10000
        assert direct.is_direct()
