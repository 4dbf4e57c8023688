# SPDX-License-Identifier: Apache-2.0
"""A node without its control plane: pods that start there dial as what the node already holds a certificate of, and as nothing else."""
import os
import signal

import pytest
import who
from culvert_node import started, wait_for, write_config
from pair import Pair

PORT = 8080
# The answer of the server proves who asked.
POLICY = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: known-only, namespace: alone}
spec: {selector: {matchLabels: {app: server}}, action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/alone/sa/known]}}]}]}
"""


class Alone(Pair):
    """`client` on node 1, `server` on node 2, which lets in what has the client's identity."""

    def __init__(self, work_dir):
        super().__init__(work_dir, "alone", "ca", 93)
        self.client = self.pod(1, "c", "known")
        self.server = self.pod(2, "s", "server")
        self.server.labels = "app: server"
        self.processes.append(who.start(self.server, "s", PORT))

    def start(self):
        """Both nodes, until the client is let in."""
        self.write(POLICY)
        super().start()
        wait_for(lambda: self.ask(self.client) == "s", 30, "the client is let in")

    def write(self, extra="", without=()):
        """As ever, and what addresses pods have on node 2 is known."""
        ranges = "10.202.93.0/24, 'fd00:202:93::/64'"
        write_config(self.config, self.pods, extra,
                     edit=lambda text: text.replace("metadata: {name: n2}", f"metadata: {{name: n2}}\nspec: {{podCIDRs: [{ranges}]}}"))

    def ask(self, pod, to=None):
        """What a connection from a pod got."""
        return who.ask(pod, (to or self.server).ip4, PORT)[0]

    def new_pod(self, name, account, number=1, labels="app: new"):
        """One more on node 1 or 2, captured there."""
        pod = self.pod(number, name, account)
        pod.labels = labels
        self.processes.append(who.start(pod, "n", PORT))
        self.write(POLICY)
        # its status stays "pending" until the mesh has been told of it
        wait_for(lambda: f"pod=alone/{pod.name} netns_cookie" in self.log(number), 30, f"capture of {pod.name}")
        return pod

    def outside(self):
        """A pod of node 2 that is not in the mesh, known as such; made once."""
        found = next((pod for pod in self.pods if pod.account == "outside"), None)
        if not found:
            found = self.pod(2, "o", "outside")
            found.labels = "istio.io/dataplane-mode: none"
            self.processes.append(who.start(found, "o", PORT))
            self.write(POLICY)
            wait_for(lambda: self.knows(1, found), 30, "node 1 to hear of the pod outside")
        return found

    def late(self):
        """The new pod of node 1 that may dial."""
        return next(pod for pod in self.pods if pod.account == "known" and pod is not self.client)

    def knows(self, number, pod):
        """Has the control plane told this node's ztunnel of a pod?"""
        dump = self.nodes[number - 1].admin_or_none("ztunnel", "/config_dump") or {"workloads": []}
        return any(w["name"] == pod.name for w in dump["workloads"])


@pytest.fixture(scope="module", name="alone")
def fixture_alone():
    with started(Alone, "alone") as alone:
        yield alone


@pytest.fixture(name="without_control")
def fixture_without_control(alone):
    """Node 1 has no control plane."""
    alone.outside()
    wait_for(lambda: all(alone.knows(1, pod) for pod in alone.pods), 60, "node 1 to have one")
    supervisor, control = alone.nodes[0].process.pid, alone.pid(1, "culvert-control")
    before = alone.log(1).count("connection lost")
    os.kill(supervisor, signal.SIGSTOP)  # it would start another at once
    try:
        os.kill(control, signal.SIGKILL)
        wait_for(lambda: alone.log(1).count("connection lost") > before, 30, "ztunnel notices")
        yield alone
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_a_new_pod_of_a_known_identity_dials_and_others_do_not(without_control):
    alone = without_control
    late, stranger = alone.new_pod("late", "known"), alone.new_pod("other", "stranger")
    wait_for(lambda: alone.knows(2, late), 30, "node 2 to hear of the new pod")
    assert not alone.knows(1, late)
    wait_for(lambda: alone.ask(late) == "s", 30, "the new pod is let in")
    assert alone.ask(late) == "s"
    assert alone.ask(stranger) != "s"
    # whom the new pod lets in is not known: nobody
    assert alone.ask(alone.server, late) != "n"
    # the pod whose certificate it was goes: the certificate stays
    alone.pods.remove(alone.client)
    alone.write(POLICY)
    wait_for(lambda: alone.client.name not in alone.nodes[0].captured(), 30, "the first pod is released")
    assert alone.ask(late) == "s"


def test_a_pod_of_another_node_that_nobody_told_of_is_not_dialled_in_plaintext(without_control):
    """It lets anyone in: what comes back would have come as it is."""
    alone = without_control
    fresh = alone.new_pod("fresh", "server", 2)
    wait_for(lambda: alone.knows(2, fresh), 30, "node 2 to know its new pod")
    assert not alone.knows(1, fresh)
    assert alone.ask(alone.server, fresh) == "n"
    client = alone.late()
    assert alone.ask(client, fresh) != "n"
    assert who.ask(client, fresh.ip6, PORT) != ["n"]
    wait_for(lambda: "has not told of a pod with this address" in alone.log(1), 30, "the reason in the log")
    # what is known goes on
    assert alone.ask(client) == "s"
    assert alone.ask(client, alone.outside()) == "o"


def test_a_node_without_an_agent_asks_ztunnel_about_pods_that_are_new(alone):
    """The kernel's maps are nobody's then, and ztunnel knows."""
    wait_for(lambda: alone.knows(1, alone.pods[-1]), 60, "node 1 to hear of the last new pod")
    client, supervisor, agent = alone.late(), alone.nodes[0].process.pid, alone.pid(1, "culvert-agent")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(agent, signal.SIGKILL)
        late = alone.new_pod("late2", "server", 2, "app: server")
        wait_for(lambda: alone.knows(1, late), 30, "node 1's ztunnel to hear of it")
        assert alone.ask(client, alone.outside()) == "o"
        wait_for(lambda: alone.ask(client, late) == "n", 30, "it to be asked by an identity that its policy lets in")
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_with_a_control_plane_again_all_is_as_ever(alone):
    late, stranger = alone.late(), [pod for pod in alone.pods if pod.account == "stranger"][0]
    wait_for(lambda: alone.knows(1, late) and alone.knows(1, stranger), 60, "node 1 to hear of the new pods")
    wait_for(lambda: alone.ask(late) == "s", 30, "the new pod is let in")
    wait_for(lambda: alone.ask(alone.server, late) == "n", 30, "others may dial it")
    assert alone.ask(stranger) == "closed", "the policy refuses it"
