# SPDX-License-Identifier: Apache-2.0
"""Istio's ztunnel and our control plane over a scripted API server: what it is sent that wants everything, and what it is sent
that asks by name (XDS_ON_DEMAND)."""
import json
import os
import subprocess
import sys

import istio_ztunnel
import pytest
from culvert_node import wait_for

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "bench"))
import control_scale  # noqa: E402  pylint: disable=wrong-import-position

PODS, SERVICES = 100, 10


class Node:
    """Starts a process beside the control plane, with a token where Istio has it."""

    def __init__(self, cluster):
        self.cluster, self.folder = cluster, os.path.join(cluster.folder, "ztunnel")
        tokens = os.path.join(self.folder, "var", "run", "secrets", "tokens")
        os.makedirs(tokens)
        with open(os.path.join(tokens, "istio-token"), "w", encoding="utf-8") as f:
            f.write("token")

    def popen(self, *command, **how):
        return subprocess.Popen(self.cluster.inside(*command), cwd=self.folder, **how)


@pytest.fixture(name="cluster")
def fixture_cluster(tmp_path):
    if not istio_ztunnel.binary():
        pytest.skip("Istio's ztunnel is not there: set ISTIO_ZTUNNEL")
    cluster = control_scale.Cluster(str(tmp_path), PODS)
    yield cluster
    cluster.close()


@pytest.mark.parametrize("on_demand,workloads,services", (("false", PODS, SERVICES), ("true", PODS // SERVICES, 0)))
def test_istios_ztunnel_is_sent_what_it_asks_for(cluster, on_demand, workloads, services):
    root = os.path.join(cluster.run_dir, "ca", "root-cert.pem")
    env = {**istio_ztunnel.remote(f"127.0.0.1:{control_scale.XDS_PORT}", "istiod.istio-system.svc", root), "FAKE_CA": "true",
           "XDS_ON_DEMAND": on_demand, "ISTIO_META_DNS_CAPTURE": "false"}
    theirs = istio_ztunnel.Ztunnel(istio_ztunnel.binary(), Node(cluster), "node-3", [], [], cluster.folder, env=env)

    def known():
        """Workloads and services that it has."""
        got = subprocess.run(cluster.inside("curl", "-s", "localhost:15000/config_dump"), stdout=subprocess.PIPE, check=False).stdout
        dump = json.loads(got or "{}")
        return dump.get("workloads", []), dump.get("services", [])

    try:
        wait_for(lambda: len(known()[0]) >= workloads and len(known()[1]) >= services, 20, f"{workloads} workloads at Istio's ztunnel")
        found, kept = known()
        assert len(found) == workloads and len(kept) == services
        if on_demand == "true":
            assert {w["node"] for w in found} == {"node-3"}
    finally:
        theirs.close()
