# SPDX-License-Identifier: Apache-2.0
"""Another tool's BPF program where ours belong, in the cgroup tree: beside it where it lets us. Where it does not, one line names it,
and nothing is there by half. On the uplink: test_guard.py."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from cgroup import Cgroup
from culvert_node import BIN, CulvertNode, PATIENCE_S, pin_dir, stop, wait_for, write_config
from foreign_bpf import Foreign
from same_node import CLIENT, PORT, SERVER
from topology import Topology, remove_stale, run

HOOK = "getsockname6"  # not the first that is attached


@pytest.fixture(name="cgroups")
def fixture_cgroups():
    """A cgroup, and one in it that counts as the whole tree."""
    outer = Cgroup("beside")
    inner = Cgroup("beside/in")
    yield outer, inner
    inner.close()
    outer.close()


@pytest.fixture(name="pins")
def fixture_pins():
    """Where an agent of no other test pins."""
    path = pin_dir("beside-alone")
    yield path
    run(os.path.join(BIN, "culvert-agent"), "--clean", "--pin-dir", path)


def agent(cgroup, pins, folder, **options):
    """culvert-agent that takes the cgroup for the whole tree."""
    return subprocess.Popen([*cgroup.as_root(), os.path.join(BIN, "culvert-agent"), "--node", "n1", "--config-dir", folder, "--run-dir",
                             os.path.join(folder, "run"), "--pin-dir", pins], stderr=subprocess.PIPE, text=True, **options)


def refusal(cgroup, pins, folder):
    """The one line of an agent that cannot start."""
    process = agent(cgroup, pins, folder)
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 1 and said.count("\n") == 1, said
    return said


def attached(cgroup):
    """Ids of the programs that are attached to this cgroup itself, with their names."""
    return {p["id"]: p["name"] for p in json.loads(run("bpftool", "-j", "cgroup", "show", cgroup.path).strip() or "[]")}


@pytest.mark.parametrize("is_above", [False, True], ids=["there", "above"])
def test_a_hook_that_another_program_keeps_to_itself(cgroups, pins, tmp_path, is_above):
    outer, inner = cgroups
    place = outer if is_above else inner
    with Foreign(HOOK) as foreign:
        foreign.attach_to_cgroup(place.path)
        said = refusal(inner, pins, str(tmp_path))
        assert f'hook=cgroup_inet6_getsockname program=cv_{HOOK} held_by="foreign id={foreign.id}"' in said
        assert os.listdir(pins) == []
        assert attached(inner) == ({} if is_above else {foreign.id: "foreign"})
        foreign.detach_from_cgroup(place.path)


def test_a_program_that_lets_others_beside_it(cgroups, pins, tmp_path):
    _, cgroup = cgroups
    with Foreign(HOOK) as foreign:
        foreign.attach_to_cgroup(cgroup.path, "multi")
        process = agent(cgroup, pins, str(tmp_path))
        try:
            wait_for(lambda: f"cv_{HOOK}" in attached(cgroup).values() or process.poll() is not None, 30, "the agent's programs")
        finally:
            stop(process)
        assert process.returncode == 0, process.stderr.read()
        assert attached(cgroup)[foreign.id] == "foreign"
        run(os.path.join(BIN, "culvert-agent"), "--clean", "--pin-dir", pins)
        assert attached(cgroup) == {foreign.id: "foreign"}
        foreign.detach_from_cgroup(cgroup.path)


class Left:
    """A node whose pods were captured, and whose processes have ended."""

    def __init__(self, cgroup):
        remove_stale("cl")
        self.work_dir = tempfile.mkdtemp(prefix="culvert-left-")
        os.chmod(self.work_dir, 0o755)  # the control plane reads it as another user
        self.cgroup = cgroup
        self.topology = Topology("cl", 82)
        self.client, self.server = self.topology.pod(1, "c"), self.topology.pod(1, "s")
        for pod in (self.client, self.server):
            pod.namespace, pod.account = "left", pod.name
        write_config(self.work_dir, [self.client, self.server])
        self.process = self.server.popen(*cgroup.within(sys.executable, "-c", SERVER))
        self.node = CulvertNode(self.topology.nodes[0], 1, self.work_dir, "beside", wrap=cgroup.as_root(),
                                env={"CULVERT_SAME_NODE": "encrypt"})
        try:
            self.node.wait_captured([self.client.name, self.server.name])
            wait_for(lambda: self.server.run("ss", "-Hltn", "sport", "=", f":{PORT}"), 30, "the server")
            assert self.talk() == self.client.ip4
        except Exception:
            self.close()
            raise
        stop(self.node.process)

    def talk(self):
        """One connection from pod to pod; the address that the server saw."""
        return self.client.run(*self.cgroup.within(sys.executable, "-c", CLIENT, self.server.ip4, str(PORT))).strip()

    def close(self):
        """Remove everything."""
        self.node.close()
        stop(self.process)
        self.topology.close()
        shutil.rmtree(self.work_dir, ignore_errors=True)


def test_what_an_earlier_agent_has_attached_goes_on(cgroups, tmp_path):
    """A new agent needs a hook more than the earlier one, and that one is taken. Captured pods stay captured: they are refused."""
    _, cgroup = cgroups
    left = Left(cgroup)
    try:
        link = os.path.join(left.node.pins, f"link_cv_{HOOK}")
        run("bpftool", "link", "detach", "pinned", link)
        os.unlink(link)
        with Foreign(HOOK) as foreign:
            foreign.attach_to_cgroup(cgroup.path)
            before = attached(cgroup), sorted(os.listdir(left.node.pins))
            assert f'held_by="foreign id={foreign.id}"' in refusal(cgroup, left.node.pins, str(tmp_path))
            assert (attached(cgroup), sorted(os.listdir(left.node.pins))) == before
            with pytest.raises(RuntimeError, match="ConnectionRefusedError"):
                left.talk()
            foreign.detach_from_cgroup(cgroup.path)
    finally:
        left.close()
