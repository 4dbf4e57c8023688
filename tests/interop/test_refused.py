# SPDX-License-Identifier: Apache-2.0
"""A kernel whose verifier refuses a BPF program: what is left works, one line says what is not, nothing is attached by half."""
import glob
import os
import re
import subprocess

import pytest
from culvert_node import BIN, pin_dir
from same_node import Direct, maps
from topology import run

SAYS = "this kernel refuses a BPF program"
TUNNELS = ("cv_reroute", "cv_reroute_back", "cv_uplink")
GUARDS = ("cv_guard", "cv_guard_in")
HOOKS = ("cv_connect4", "cv_connect6", "cv_getpeername4", "cv_getpeername6", "cv_getsockname4", "cv_getsockname6", "cv_sendmsg4",
         "cv_sendmsg6", "cv_recvmsg4", "cv_recvmsg6", "cv_setsockopt", "cv_sockops", "cv_lookup")
# What the verifier walks less of when the code of direct connections is left out.
SMALLER = ("cv_connect4", "cv_connect6", "cv_sockops", "cv_lookup", *GUARDS)


@pytest.fixture(name="refusing", scope="module")
def fixture_refusing(tmp_path_factory):
    """refusing(program, or program:instructions that are not too many ...): the environment of such a kernel."""
    library = tmp_path_factory.mktemp("refuse") / "refuse_bpf.so"
    run("cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", str(library), os.path.join(os.path.dirname(__file__), "refuse_bpf.c"))
    return lambda *names: {"LD_PRELOAD": str(library), "CULVERT_TEST_REFUSE": f" {' '.join(names)} "}


def test_every_program_is_one_of_these():
    there = set()
    for path in glob.glob(os.path.join(os.path.dirname(__file__), "../../bpf/*.bpf.c")):
        with open(path, encoding="utf-8") as f:
            there.update(re.findall(r'^SEC\("[^"]+"\)\nint (\w+)\(', f.read(), re.MULTILINE))
    assert there == {*TUNNELS, *GUARDS, *HOOKS}


@pytest.fixture(name="walked", scope="module")
def fixture_walked():
    """{program: how many instructions this kernel's verifier walks}, and NAME.tunnel without the code of direct connections."""
    lines = run(os.path.join(BIN, "test-bpf"), "--instructions").splitlines()
    return {name: int(instructions) for name, instructions in map(str.split, lines)}


def check_tunnels(env, has_guard):
    """The pods of a node with this environment talk by tunnels, and one line says so. Return: the programs that are pinned."""
    d = Direct(uplink="uplink", env=env)
    try:
        for _ in range(3):
            assert d.talk() == d.client.ip4
        status = d.node.admin("agent", "/status")
        assert [e for e in status["errors"] if SAYS in e] and d.log().count(SAYS) == 1
        assert status["counters"]["tunnel"] >= 3
        assert status["counters"]["direct"] == status["counters"]["verdict_miss"] == 0
        pins = os.listdir(d.node.pins)
        assert bool([pin for pin in pins if pin.startswith("guard_")]) == has_guard
        assert not [pin for pin in pins if "uplink" in pin or "reroute_" in pin]
        assert (maps(d, "cv_links").strip() != "[]") == has_guard
        return {pin.removeprefix("prog_") for pin in pins if pin.startswith("prog_")}
    finally:
        d.close()


@pytest.mark.parametrize("name,has_guard", [*((name, True) for name in TUNNELS), *((name, False) for name in GUARDS)])
def test_without_it_pods_use_tunnels(refusing, name, has_guard):
    assert name not in check_tunnels(refusing(name), has_guard)


def test_what_is_smaller_without_direct_connections(walked):
    assert {name for name in walked if f"{name}.tunnel" in walked} == set(SMALLER)
    assert all(walked[f"{name}.tunnel"] < walked[name] for name in SMALLER)


@pytest.mark.parametrize("name", SMALLER)
def test_pods_use_tunnels_where_only_the_whole_is_too_large(refusing, walked, name):
    most = (walked[name] + walked[f"{name}.tunnel"]) // 2
    assert name in check_tunnels(refusing(f"{name}:{most}"), True)


def start(pins, tmp_path, **env):
    """An agent that will not do; what it says."""
    done = subprocess.run([os.path.join(BIN, "culvert-agent"), "--node", "n1", "--config-dir", tmp_path, "--run-dir", tmp_path / "run",
                           "--pin-dir", pins], env={**os.environ, **env}, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_maps_of_another_layout(tmp_path):
    """Stay as they are; the one line says which, how they differ, and what to type."""
    pins = pin_dir("layout")
    os.makedirs(pins)
    try:
        run("bpftool", "map", "create", os.path.join(pins, "cv_directs"), "type", "hash", "key", "48", "value", "80", "entries", "65536",
            "name", "cv_directs", "flags", "1")
        says = start(pins, tmp_path)
        assert says.count("\n") == 1
        for words in (f"culvert-agent --clean --pin-dir {pins}\t", "map=cv_directs",
                      'pinned="type 1, key 48, value 80, entries 65536, flags 1"',
                      'wanted="type 1, key 48, value 88, entries 65536, flags 1"'):
            assert words in says
        assert os.listdir(pins) == ["cv_directs"]
    finally:
        run(os.path.join(BIN, "culvert-agent"), "--clean", f"--pin-dir={pins}")
    assert not os.path.exists(pins)


@pytest.mark.parametrize("name", HOOKS)
def test_what_nothing_works_without(refusing, tmp_path, name):
    """Nor does anything of an attempt stay."""
    pins = pin_dir("refused")
    try:
        says = start(pins, tmp_path, **refusing(name))
        assert says.count("\n") == 1 and "cannot load the BPF programs" in says
        assert os.listdir(pins) == []
    finally:
        run(os.path.join(BIN, "culvert-agent"), "--clean", "--pin-dir", pins)
