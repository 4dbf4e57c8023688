# SPDX-License-Identifier: Apache-2.0
"""What people and pipelines write for istioctl: its options and the words in them."""
import json
import os

import pytest
from conftest import BIN, Cli
from fake_api import MESH


def test_options_that_every_word_has(mesh, cli, tmp_path):
    plain = cli.run("analyze", "-n", "shop")
    for words in (("-n", "shop", "analyze"), ("--namespace=shop", "analyze"), ("analyze", "-n=shop", "-i", MESH),
                  ("-i", MESH, "--vklog=9", "analyze", "-n", "shop"), ("analyze", "--istioNamespace=" + MESH, "-nshop", "--vklog", "1")):
        assert cli.run(*words) == plain, words
    assert "shop" in cli.run("-n", "shop", "x", "describe", "pod", "web")
    said = cli.run("analyze", "-i", "mesh", code=2)
    assert said == "culvert: --istioNamespace mesh: the mesh is in istio-system, always\n"
    Cli.write(tmp_path / "other", "http://127.0.0.1:1")
    for words in (("-c", "other", "status"), ("status", "-c=other")):
        assert "http://127.0.0.1:1: " in cli.run(*words, code=1)
    assert 'unknown command "-n"' in cli.run("-n", "shop", code=2)


@pytest.mark.parametrize("words", [("proxy-status",), ("tag", "list"), ("x", "precheck"), ("analyze", "-n", "shop"),
                                   ("zc", "w", "--node", "n1")], ids=" ".join)
def test_tables_by_istioctl_s_names(mesh, cli, words):
    plain = cli.run(*words, code=None)
    assert cli.run(*words, "-o", "table", code=None) == cli.run(*words, "-o", "log", code=None) == plain
    assert "-o wide: not one of short, json, yaml" in cli.run(*words, "-o", "wide", code=2)


def test_options_of_analyze(mesh, cli, tmp_path):
    words = ("analyze", "-n", "shop", "--timeout", "60s", "--revision=canary", "--color=false")
    mesh.named("Pod", "web")["spec"]["hostNetwork"] = True
    assert cli.run(*words) == cli.run("analyze", "-n", "shop") and "IST0103" in cli.run(*words)
    assert "objects were looked at" in cli.run(*words, "-v")
    assert "\033" in cli.on_terminal("analyze", "-n", "shop", "--color") and "\033" not in cli.on_terminal(*words)
    good = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"}, "spec": {"hosts": ["x"]}}
    other = {"apiVersion": "example.com/v1", "kind": "Unheard", "metadata": {"name": "u"}}
    (tmp_path / "values.yaml").write_text("replicas: 3\n")
    (tmp_path / "text.yaml").write_text("a: [\n")
    (tmp_path / "objects.yaml").write_text(json.dumps(good) + "\n---\n" + json.dumps(other) + "\n")
    assert {f["origin"] for f in cli.json("analyze", "-k=false", ".", code=79)} == {"file", "VirtualService v", "Unheard u"}
    assert {f["origin"] for f in cli.json("analyze", "-k=false", "--ignore-unknown", ".")} == {"VirtualService v"}


@pytest.mark.parametrize("words", [("--readiness-timeout", "10m0s"), ("--readiness-timeout=300s", "--verify"), ("--timeout", "5m30s"),
                                   ("--timeout", "20")], ids=" ".join)
def test_how_long_to_wait(api, cli, words):
    assert "Installation complete" in cli.run("install", "-y", *words)


def test_a_time_that_is_none_is_refused(api, cli):
    for word in ("soon", "0", "0s", "25h", ""):
        for command in ("install", "uninstall"):
            assert f"--timeout {word}: expected seconds" in cli.run(command, "-y", "--timeout", word, code=2)
    api.is_ready = False
    assert "Istiod is not ready" in cli.run("install", "-y", "--readiness-timeout", "1s", code=1)
    assert not api.calls("DELETE")


def test_it_is_called_by_both_names(mesh, cli, tmp_path):
    os.symlink(f"{BIN}/culvert", tmp_path / "istioctl")
    assert cli.run("-n", "shop", "analyze", program=str(tmp_path / "istioctl")) == cli.run("analyze", "-n", "shop")
