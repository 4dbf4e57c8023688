# SPDX-License-Identifier: Apache-2.0
"""What an operator sees: culvert, istioctl, bpftool, metrics; and what wrong manifests cause."""

import json
import os
import re
import subprocess

import pytest

from labkit.lab import CONFIG, CULVERT, ROOT, Lab, culvert
from labkit.mesh import PINS


def on(node, *args):
    """Run a culvert command for one node."""
    return culvert(*args, "--node", node, "--run-dir", f"/run/culvert/{node}")


def test_status_lists_captured_pods(cluster):
    out = on("n1", "status").stdout
    assert cluster.alice.name in out and "captured" in out


@pytest.mark.parametrize("word,title,want", [
    ("workload", "POD NAME", "HBONE"), ("service", "SERVICE NAME", "bob"), ("policy", "POLICY NAME", ""),
    ("certificate", "CERTIFICATE NAME", "/ns/demo/sa/alice "), ("connections", "WORKLOAD", "")])
def test_ztunnel_config_tables(cluster, word, title, want):
    out = on("n1", "ztunnel-config", word).stdout
    assert title in out and want in out
    assert all(len(line) <= 100 for line in out.splitlines()), out


def keys(value):
    """Every key of a document, but for those that are names or ports."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if not isinstance(value, dict):
        return set()
    own = {key for key in value if re.fullmatch("[A-Za-z]+", key)}
    return own.union(*map(keys, value.values()))


def test_every_key_of_ztunnel_config_is_documented(cluster):
    readme = (ROOT / "userspace/cli/README.md").read_text(encoding="utf-8")
    section = readme[readme.index("`culvert ztunnel-config WHAT`:"):readme.index("`culvert explain FROM TO`:")]
    said = json.loads(on("n1", "zc", "all", "-o", "json").stdout)
    assert {"workloads", "certChain", "workloadIps", "endpoints"} <= keys(said)
    assert keys(said) - set(re.findall("[A-Za-z]+", section)) == set()


def test_connections_show_an_open_one(cluster):
    holder = cluster.hold(cluster.alice, cluster.bob.ip4)
    out = on("n1", "zc", "connections").stdout
    cluster.release_hold(holder)
    assert any(re.match("alice-.* Outbound .* bob-[^ ]*:7000 ", line) for line in out.splitlines()), out


def test_istioctl_answers_the_same_words(cluster, tmp_path):
    link = tmp_path / "istioctl"
    os.symlink(CULVERT, link)
    done = subprocess.run([str(link), "ztunnel-config", "workload", "--node", "n1", "--run-dir", "/run/culvert/n1"],
                          capture_output=True, text=True, check=True)
    assert "HBONE" in done.stdout


@pytest.mark.parametrize("name", ["cv_pods", "cv_workloads", "cv_services", "cv_counters"])
def test_maps_read_well(cluster, name):
    paths = [p for p in PINS.joinpath("n1").rglob(name)]
    assert paths, f"{name} is not pinned below {PINS}/n1"
    out = subprocess.run(["bpftool", "map", "dump", "pinned", str(paths[0])], capture_output=True, text=True, check=True)
    if name == "cv_pods":
        assert cluster.alice.key[:63] in out.stdout
    if name == "cv_services":
        assert "demo/bob" in out.stdout


def test_bad_manifest_is_named_and_affects_nothing_else(cluster, manifest, eventually):
    manifest("bad", "apiVersion: v1\nkind: Service\nmetadata: {name: wrong, namespace: demo}\n"
                    "spec:\n  ports:\n    - port: eighty\n")
    error = eventually(lambda: next((e for e in cluster.mesh["n1"].status("control")["errors"]
                                     if e["file"].endswith("bad.yaml")), None), what="the error in the status")
    assert error["line"] == 6 and "port" in error["field"], error
    assert "bad.yaml" in culvert("status", "--node", "n1", "--run-dir", "/run/culvert/n1", check=False).stdout
    cluster.say_secret(cluster.alice, cluster.bob.ip4)


def test_last_good_state_of_a_broken_object_stays(cluster, eventually):
    path = next(p for p in CONFIG.glob("service-demo-bob.yaml"))
    good = path.read_text()
    try:
        Lab.apply("service-demo-bob", good + "\nunknown: field\n")
        eventually(lambda: any(e["file"].endswith("service-demo-bob.yaml")
                               for e in cluster.mesh["n1"].status("control")["errors"]), what="the error")
        cluster.say_secret(cluster.alice, "bob", 80)
    finally:
        Lab.apply("service-demo-bob", good)
    eventually(lambda: not any(e["file"].endswith("service-demo-bob.yaml")
                               for e in cluster.mesh["n1"].status("control")["errors"]), what="the error to go")


def test_second_agent_on_a_node_is_refused(cluster):
    done = subprocess.run(Lab.on_node("n1", os.path.dirname(CULVERT) + "/culvert-agent", "--node", "n1", "--config-dir",
                                      str(CONFIG), "--run-dir", "/run/culvert/n1", "--pin-dir", str(PINS / "n1")),
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_processes_hold_what_the_design_says(cluster):
    """ztunnel: no capability, no root; control: not root; agent: a short list."""
    def status(program):
        pid = cluster.mesh["n1"].pid(program)
        text = open(f"/proc/{pid}/status").read()
        return dict(line.split(":\t", 1) for line in text.splitlines())
    ztunnel, control, agent = status("ztunnel"), status("control"), status("agent")
    for program in ("ztunnel", "control"):  # they hold keys
        limits = open(f"/proc/{cluster.mesh['n1'].pid(program)}/limits").read()
        assert any(line.split()[:6] == ["Max", "core", "file", "size", "0", "0"] for line in limits.splitlines()), limits
    assert int(ztunnel["CapEff"], 16) == 0 and int(ztunnel["CapPrm"], 16) == 0
    if "/san/" not in CULVERT:  # the sanitizers need system calls that the filter does not know
        assert ztunnel["Seccomp"].strip() == "2"
    assert "0" not in ztunnel["Uid"].split() and "0" not in control["Uid"].split()
    allowed = {12, 19, 21, 38, 39}  # NET_ADMIN, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF
    have = {i for i in range(64) if int(agent["CapPrm"], 16) >> i & 1}
    assert have <= allowed, sorted(have - allowed)
