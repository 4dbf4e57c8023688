# SPDX-License-Identifier: Apache-2.0
"""A mesh of thousands through the control plane's model and ztunnel's state: everything arrives, and a change touches what it
changes. What it costs is the benchmark's to say (`scale_*`)."""
import json
import os

from culvert_node import BIN
from topology import run

PODS, SERVICES, POLICIES = 2000, 200, 20
CHANGES = 2 * 200  # of pods, and of policies, one at a time: of many in turn, then of the same few


def test_a_change_touches_what_it_changes_and_no_more():
    found = json.loads(run(os.path.join(BIN, "mesh-size"), str(PODS), str(SERVICES), str(POLICIES)))
    assert found["ztunnel_workloads"] == PODS
    # a new label of a pod is in its own resource alone, a policy's new rule in the policy's
    always = 1  # the policy of STRICT, which workloads name
    assert found["resources"] == PODS + SERVICES + POLICIES + always + 2 * CHANGES
