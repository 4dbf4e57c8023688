# SPDX-License-Identifier: Apache-2.0
"""What people and pipelines write for istioctl: its options and the words in them."""
import json
import os
import urllib.parse

import pytest
import yaml
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
    assert {f["origin"] for f in cli.json("analyze", "-k=false", ".", code=79)} == {"file", "VirtualService default/v", "Unheard u"}
    assert {f["origin"] for f in cli.json("analyze", "-k=false", "--ignore-unknown", ".")} == {"VirtualService default/v"}


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


def test_the_log_of_every_ztunnel(mesh, cli):
    """Where none is named; what one does not do is told, and the others do it."""
    def answer(name, _port, method, target):
        return (200, f"{name} {method}\n") if "debug" in target or method == "GET" else (400, "no\n")
    mesh.on_forward = answer
    both = "".join(f"ztunnel-{n}.{MESH}:\nztunnel-{n} %s\n" for n in ("n1", "n2"))
    for words in (("log",), ("o",), ("log", "ds/ztunnel"), ("log", "daemonset/ztunnel")):
        assert cli.run("zc", *words) == both.replace("%s", "GET")
    assert cli.run("zc", "log", "--level", "debug") == both.replace("%s", "POST")
    assert cli.run("zc", "log", "ztunnel-n2") == "ztunnel-n2 GET\n"
    said = cli.run("zc", "log", "--level", "loud", code=1)
    assert all(f"ztunnel-{n}.{MESH}:\nno\n" in said for n in ("n1", "n2"))
    mesh.on_forward = lambda name, *more: None if name == "ztunnel-n1" else answer(name, *more)
    mesh.on_exec = lambda *_: (1, "", "culvert: ztunnel: not running\n")
    said = cli.run("zc", "log", "--level", "debug", code=1)
    assert "ztunnel of node n1: pod ztunnel-n1: culvert: ztunnel: not running" in said and "ztunnel-n2 POST" in said
    assert "not to be given together" in cli.run("zc", "log", "--level", "debug", "--reset", code=2)


@pytest.mark.parametrize("words, asked", [("warning", "warn"), ("critical", "error"), ("off", "off"), ("dns=trace", "dns=trace"),
                                          ("access:debug,info", "access=debug,info"), ("ztunnel::access:warning", "ztunnel::access=warn"),
                                          ("a b&c", "a b&c")])
def test_levels_in_istioctl_s_words(mesh, cli, words, asked):
    mesh.on_forward = lambda *_: (200, "ok\n")
    cli.run("zc", "log", "ztunnel-n1", "--level", words)
    assert [urllib.parse.unquote(target) for _, _, target in mesh.forwarded] == [f"POST /logging?level={asked}"]
    assert "&" not in mesh.forwarded[0][2]


def test_what_is_narrowed_is_in_json_too(cli, tmp_path):
    def named(ns, name, **more):
        return {"namespace": ns, "name": name, **more}
    dump = {"workloads": [named("a", "w", node="n1", workloadIps=["net/10.0.0.1", "fd00::1"]),
                          named("b", "v", node="n2", workloadIps=["10.0.0.2"])],
            "services": [named("a", "s"), named("b", "t")], "policies": [named("b", "p")], "certificates": [],
            "workloadState": {"u": {"info": named("a", "w"), "connections": {}}, "v": {"info": named("b", "v"), "connections": {}}}}
    (tmp_path / "dump").write_text(json.dumps(dump))

    def names(*words):
        return [one["name"] for one in cli.json("zc", *words, "-f", "dump")]
    assert names("w", "--workload-namespace", "a") == names("w", "--workload-node", "n1") == names("w", "--address", "10.0.0.1") == ["w"]
    assert names("w", "--address", "fd00::1") == ["w"] and names("w") == ["w", "v"] and names("w", "-n", "a", "--workload-node", "n2") == []
    assert names("svc", "--service-namespace", "b") == ["t"] and names("pol", "--policy-namespace", "a") == []
    assert list(cli.json("zc", "cons", "--workload-namespace", "b", "-f", "dump")) == ["v"]
    everything = cli.json("zc", "all", "-n", "a", "-f", "dump")
    assert [len(everything[key]) for key in ("workloads", "services", "policies", "workloadState")] == [1, 1, 0, 1]
    assert len(cli.run("zc", "w", "--workload-node", "n2", "-f", "dump").splitlines()) == 2


def test_a_pod_is_of_the_context_s_namespace(mesh, cli):
    """Of another one that has the name, too, nobody asked."""
    mesh.on_forward = lambda *_: (200, json.dumps({"workload": {"namespace": "x", "name": "y"}, "policies": []}))

    def asked(*words):
        cli.run("x", "authz", "check", *words)
        return urllib.parse.unquote(mesh.forwarded[-1][2].split("?pod=")[1])
    assert asked("web") == "default/web" and asked("web", "-n", "shop") == "shop/web" and asked("web.shop") == "web.shop"
    assert asked("pod/web", "-n", "shop") == asked("deployment/web", "-n", "shop") == "shop/web" and asked("ds/web.shop") == "web.shop"
    assert asked("other/web") == "other/web" and asked("10.0.0.1") == "10.0.0.1"
    config = json.loads(open(cli.config, encoding="ascii").read())
    config["contexts"][0]["context"]["namespace"] = "shop"
    with open(cli.config, "w", encoding="ascii") as f:
        json.dump(config, f)
    assert asked("web") == "shop/web"
    assert cli.run("x", "describe", "pod", "pod/web") == cli.run("x", "describe", "pod", "web.shop")


def test_versions_as_programs_read_them(mesh, cli):
    said, ours = cli.json("version"), cli.run("version", "--short").strip()
    assert said["clientVersion"]["version"] == said["client"] == ours
    assert said["meshVersion"] == [{"Component": "pilot", "Info": {"version": "v7"}}]
    assert said["dataPlaneVersion"] == [{"ID": f"ztunnel-{n}.{MESH}", "IstioVersion": "v7"} for n in ("n1", "n2")]
    assert cli.json("version", "--remote=false") == {"client": ours, "clientVersion": {"version": ours}}


def test_an_operator_may_come_by_a_pipe(cli, tmp_path):
    text = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {meshConfig: {trustDomainAliases: [a.example]}}\n"
    (tmp_path / "operator.yaml").write_text(text)
    said = cli.run("manifest", "generate", "-f", "operator.yaml")
    assert "a.example" in said and cli.run("manifest", "generate", "-f", "-", text=text) == said
    assert cli.run("manifest", "generate", "--set", "meshConfig.trustDomainAliases[0]=a.example") == said
    assert "stdin:3: spec.nonsense: no such key" in cli.run("manifest", "generate", "-f", "-", code=1,
                                                            text=text.replace("meshConfig", "nonsense"))


def test_what_an_operator_says_of_a_component_s_pods(cli, tmp_path):
    """The example of Istio's documentation, and the same of the nodes."""
    pods = {"resources": {"requests": {"cpu": "1000m", "memory": "4096Mi"}}, "nodeSelector": {"master": "true"},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]}
    components = {"pilot": {"k8s": {**pods, "hpaSpec": {"minReplicas": 2, "maxReplicas": 10}}}, "ztunnel": {"k8s": pods}}
    (tmp_path / "operator.yaml").write_text(json.dumps({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator",
                                                        "spec": {"components": components}}))
    said = cli.run("manifest", "generate", "-f", "operator.yaml")
    objects = [o for o in yaml.safe_load_all(said.partition("culvert: hpaSpec: no autoscaler")[0]) if o]
    control, nodes = (next(o["spec"] for o in objects if o["kind"] == kind) for kind in ("Deployment", "DaemonSet"))
    assert control["replicas"] == 2
    for template in (control["template"]["spec"], nodes["template"]["spec"]):
        assert template["nodeSelector"]["master"] == "true" and template["tolerations"][-1:] == pods["tolerations"]
        assert any(c["resources"]["requests"] == pods["resources"]["requests"] for c in template["containers"])
