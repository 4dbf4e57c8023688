# SPDX-License-Identifier: Apache-2.0
"""What looks at a cluster: version, status, proxy-status, ztunnel-config, describe, tag, bug-report, and how it is found."""
import base64
import contextlib
import functools
import http.server
import itertools
import json
import os
import re
import shutil
import socketserver
import tarfile
import threading

import pytest
import yaml
from conftest import AGENT, BIN, CONTROL, DUMP, Cli
from fake_api import MESH, Fault, namespace, pod


def test_version_before_and_after(api, cli):
    said = cli.run("version")
    assert said.startswith('no ready Culvert pods in "istio-system"\nclient version: ')
    assert "control plane" not in cli.run("version", "--client")


def test_version_counts_what_runs(mesh, cli):
    said = cli.run("version")
    assert "control plane version: v7 (1 replicas)" in said and "data plane version: v7 (2 nodes)" in said
    assert cli.json("version")["dataPlane"] == {"v7": 2}
    assert cli.run("version", "--remote") == cli.run("version", "--remote=true") == said
    assert cli.run("version", "--remote=false") == cli.run("version", "--client") != said


def test_status_of_a_cluster(mesh, cli):
    said = cli.run("status", code=1)
    assert "control plane: 1 of 1 replicas ready; CA root until 2036-01-01T00:00:00Z" in said
    assert "shop       istio-injection=enabled  2" in said
    assert "shop/slow: waiting for ztunnel" in said and "PeerAuthentication shop/p: spec.mtls.mode: expected STRICT" in said
    assert max(map(len, said.splitlines())) <= 100 and "\033" not in said
    got = cli.json("status", code=1)
    assert [n["node"] for n in got["nodes"]] == ["n1", "n2"] and got["namespaces"]["shop"]["captured"] == 2
    assert [n["node"] for n in cli.json("status", "--node", "n2", code=1)["nodes"]] == ["n2"]


def test_status_names_a_missing_right(mesh, cli, monkeypatch):
    monkeypatch.setitem(AGENT, "errors", ["the API server does not let the agent patch pods/status: give its ServiceAccount that right"])
    monkeypatch.setitem(CONTROL, "errors", [{"kind": "Pod", "namespace": "", "name": "", "field": "", "severity": "error",
                                             "message": "the API server refuses list and watch (RBAC): pods is forbidden"}])
    problems = cli.json("status", code=1)["problems"]
    for node in ("n1", "n2"):
        assert any(p.startswith(node) and "patch pods/status: give its ServiceAccount that right" in p for p in problems), problems
    assert any("Pod" in p and "refuses list and watch (RBAC): pods is forbidden" in p for p in problems), problems


def test_status_says_at_which_pods_to_look(mesh, cli, monkeypatch):
    bare = "no guard on the pod's link"
    other = {"message": "shop/c: annotation: no such thing", "severity": "warning"}
    pods = [{"kind": "Pod", "namespace": "shop", "name": n, "message": bare, "severity": "warning"} for n in "ab"]
    before = cli.json("status", code=1)
    monkeypatch.setitem(AGENT, "errors", [pods[0], other, pods[1]])
    got = cli.json("status", code=1)
    assert before["notices"] == [] and got["problems"] == before["problems"]
    assert got["notices"] == [notice for node in ("n1", "n2") for notice in (
        {"node": node, "message": bare, "pods": ["shop/a", "shop/b"]}, {"node": node, "message": other["message"], "pods": []})]
    said = cli.run("status", code=1)
    assert f"n1: shop/a and 1 more: {bare}" in said and f"n2: {other['message']}" in said


def test_status_says_what_the_mesh_as_a_whole_lacks(mesh, cli, monkeypatch):
    lacks = {"kind": "", "namespace": "", "name": "", "field": "", "severity": "warning",
             "message": "no Node says what addresses its pods have"}
    monkeypatch.setitem(CONTROL, "errors", [lacks, {**lacks, "kind": "ServiceEntry", "name": "x", "message": "of an object"}])
    got = cli.json("status", code=1)
    assert got["notices"] == [{"node": "control plane", "message": lacks["message"], "pods": []}]
    assert f"control plane: {lacks['message']}" in cli.run("status", code=1)


def test_status_tells_of_what_an_earlier_agent_left(mesh, cli, monkeypatch):
    why = "captured by an earlier agent; its object is gone, its processes are not: captured until they end"
    kept = {"namespace": "shop", "name": "web", "state": "pending", "error": why, "kept": True}
    monkeypatch.setitem(AGENT, "pods", [*AGENT["pods"], kept])
    assert f"shop/web: {why}" in cli.json("status", code=1)["problems"]
    assert "captured" in cli.json("describe", "pod", "web.shop")["state"]  # of the two, the one that has an object


def test_status_of_a_cluster_without_culvert(api, cli):
    assert "not installed in this cluster" in cli.run("status", code=1)


def test_status_says_what_a_pod_waits_for(mesh, cli):
    mesh.is_ready = False
    mesh.delete(("apps/v1", "daemonsets", MESH, "ztunnel"))
    mesh.put({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ztunnel", "namespace": MESH}})
    assert "ztunnel-n1: container main: ImagePullBackOff: no such image" in cli.run("status", code=1)


def test_proxy_status(mesh, cli):
    rows = cli.run("proxy-status", code=1).splitlines()
    assert rows[0].split() == ["NAME", "TYPE", "NODE", "ISTIOD", "VERSION", "STATUS", "ERROR"]
    assert rows[1].split() == ["zt1", "ztunnel", "n1", "istiod-n1", "v7", "SYNCED"]
    assert rows[2].split(maxsplit=6)[4:] == ["unknown", "ERROR", "bad address"]
    assert [(c["name"], c["version"]) for c in cli.json("ps", "--node", "n1")] == [("zt1", "v7")]


def test_proxy_status_of_a_pod_is_that_of_its_node(mesh, cli, monkeypatch):
    mesh.put(pod("shop", "far", node="n2"))
    mesh.put(pod("shop", "nowhere", node="n3"))
    zt = "ztunnel~127.0.0.1~ztunnel-n1.istio-system~istio-system.svc.cluster.local"
    monkeypatch.setitem(CONTROL, "clients", [{**CONTROL["clients"][0], "id": zt, "version": "v1.2.3-45-g0123456789ab-dirty"},
                                             {**CONTROL["clients"][0], "id": "agent~n1"}, CONTROL["clients"][1]])
    for word, names in (("web.shop", [zt, "agent~n1"]), ("shop/web", [zt, "agent~n1"]), ("ztunnel-n1.istio-system", [zt])):
        assert [c["name"] for c in cli.json("ps", word)] == names
    assert [c["name"] for c in cli.json("ps", "far", "-n", "shop", code=1)] == ["agent~n2", "ztunnel-n2.istio-system"]
    said = cli.run("ps", "ztunnel-n1", "-n", "istio-system")
    assert [line.split()[0] for line in said.splitlines()] == ["NAME", "ztunnel-n1.istio-system", "agent~n1"]
    assert max(map(len, said.splitlines())) <= 100
    assert "not found in namespace shop" in cli.run("ps", "nobody.shop", code=1)
    assert 'no control plane serves node n3, where "nowhere.shop" is' in cli.run("ps", "nowhere.shop", code=1)
    assert "not to be given together" in cli.run("ps", "web.shop", "--node", "n1", code=2)


class Node:
    """The admin sockets of a node of this machine, without the node."""

    def __init__(self, folder, answers):
        self.servers = []
        for part, answer in answers.items():
            os.makedirs(f"{folder}/{part}")
            handler = type("Answer", (http.server.BaseHTTPRequestHandler,), {"do_GET": self.give, "text": json.dumps(answer).encode(),
                                                                             "log_message": lambda *_: None})
            self.servers.append(socketserver.ThreadingUnixStreamServer(f"{folder}/{part}/admin.sock", handler))
            threading.Thread(target=self.servers[-1].serve_forever, daemon=True).start()

    @staticmethod
    def give(request):
        request.client_address = ("local", 0)
        request.send_response(200)
        request.send_header("Content-Length", str(len(request.text)))
        request.end_headers()
        request.wfile.write(request.text)

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


def test_proxy_status_of_a_pod_of_this_machine(cli, tmp_path):
    clients = [{"node": "n1", "type": "ztunnel", "id": "zt", "version": "v8", "acked": 1, "nacked": 0, "error": ""}]
    with contextlib.closing(Node(tmp_path / "run", {"control": {"clients": clients, "synced": False}, "agent": AGENT})):
        assert "running, tells nodes nothing yet" in cli.run("status", "--node", "n1", "--run-dir", f"{tmp_path}/run", code=1)
        for word in ("web", "web.shop", "shop/web", "zt"):
            assert cli.run("ps", word, "--run-dir", f"{tmp_path}/run").splitlines()[1].split()[4] == "v8"
        assert 'no agent of this machine has a pod "web"' in cli.run("ps", "web", "-n", "other", "--run-dir", f"{tmp_path}/run", code=1)


def test_proxy_status_of_a_control_plane_that_is_half_down(mesh, cli):
    """One replica does not answer: that is said, and what the other one serves is shown."""
    answer = mesh.on_exec
    mesh.put(pod(MESH, "istiod-x", labels={"app": "istiod"}))
    mesh.on_exec = lambda name, *words: (1, "", "culvert: control: not running\n") if name == "istiod-x" else answer(name, *words)
    said = cli.run("proxy-status", "--node", "n1", code=1)
    assert said.splitlines()[1].split() == ["zt1", "ztunnel", "n1", "istiod-n1", "v7", "SYNCED"] and "istiod-x" in said
    mesh.on_exec = lambda *_: (1, "", "culvert: control: not running\n")
    said = cli.run("proxy-status", code=1)
    assert "NAME" not in said and "istiod-n1" in said and "istiod-x" in said


def test_drops_of_who_does_not_answer_are_not_none(mesh, cli, monkeypatch):
    """One answer is not that of all: a node that was not asked may have refused something."""
    answer, silent = mesh.on_exec, {("ztunnel-n1", "ztunnel"), ("ztunnel-n2", "agent"), ("ztunnel-n2", "ztunnel")}

    def on_exec(name, container, command):
        if (name, container) in silent:
            return 1, "", f"culvert: {container}: not running\n"
        return (0, "200\n# EOF\n", "") if command[4] == "/metrics" else answer(name, container, command)
    mesh.on_exec = on_exec
    assert "nothing was refused by those that answered; not asked: ztunnel of node n1, agent of node n2, ztunnel of node n2\n" in \
        cli.run("drops", code=1)
    assert cli.run("drops", "-o", "json", code=1).startswith("[]\n")
    monkeypatch.setitem(AGENT, "counters", {"map_full": 3})
    said = cli.run("drops", code=1)
    assert "map_full" in said and "nothing was refused" not in said and "ztunnel-n1: culvert: ztunnel: not running" in said
    monkeypatch.delitem(AGENT, "counters")
    silent.clear()
    assert cli.run("drops") == "nothing was refused\n" and cli.json("drops") == []
    silent.update((f"ztunnel-{node}", part) for node in ("n1", "n2") for part in ("agent", "ztunnel"))
    assert "nothing was refused" not in cli.run("drops", code=1)


def test_ztunnel_config(mesh, cli):
    said = cli.run("ztunnel-config", "workload", "--node", "n1")
    assert said.splitlines()[1].split() == ["shop", "web", "10.0.0.1", "n1", "None", "HBONE"]
    assert "there are several nodes; choose one: --node n1, --node n2" in cli.run("zc", "certificate", code=1)
    assert cli.json("zc", "workload") == cli.json("zc", "workload", "--node", "n1")
    assert "as ztunnel of node n1 has it" in cli.run("zc", "workload")
    assert "no such node in the cluster" in cli.run("zc", "workload", "--node", "n9", code=1)


def test_ztunnel_config_of_a_pod(mesh, cli):
    """As Istio's documents have it: the pod of a ztunnel says which node is meant."""
    for word in ("certificates", "workloads", "services", "connections", "policies", "all"):
        want = cli.run("zc", word, "--node", "n2")
        mesh.forwarded.clear()
        assert cli.run("ztunnel-config", word, "ztunnel-n2.istio-system") == want, word
        assert [name for name, _, _ in mesh.forwarded] == ["ztunnel-n2"]
    for words in (["ztunnel-n2"], ["pod/ztunnel-n2.istio-system"], ["istio-system/ztunnel-n2"], ["ztunnel-n2", "-n", MESH]):
        assert "web" in cli.run("zc", "workload", *words), words
        assert mesh.forwarded.pop()[0] == "ztunnel-n2"
    assert "web" not in cli.run("zc", "workload", "ztunnel-n2", "-n", MESH, "--workload-namespace", "elsewhere")
    answer = mesh.on_exec
    mesh.on_exec = lambda *words: (0, "200\nok\n", "") if "/logging" in words[2][4] else answer(*words)
    assert cli.run("zc", "log", "ztunnel-n1.istio-system", "--level=info") == "ok\n"
    assert mesh.forwarded.pop() == ("ztunnel-n1", 15000, "POST /logging?level=info")


def test_ztunnel_config_of_a_pod_that_it_cannot_be(mesh, cli):
    assert "pod web in namespace shop is no ztunnel; --node n1 names that of its node" in cli.run("zc", "workload", "web.shop", code=1)
    assert "in namespace istio-system" in cli.run("zc", "workload", "ztunnel-x", code=1)
    assert "in namespace shop" in cli.run("zc", "workload", "ztunnel-n1", "-n", "shop", code=1)
    for option in (("--node", "n1"), ("-f", "x"), ("--run-dir", "x")):
        assert "not to be given together" in cli.run("zc", "workload", "ztunnel-n1", *option, code=2)
    assert "unexpected argument" in cli.run("zc", "workload", "ztunnel-n1", "ztunnel-n2", code=2)
    del mesh.named("Pod", "ztunnel-n1")["spec"]["nodeName"]
    assert "is on no node yet" in cli.run("zc", "workload", "ztunnel-n1", code=1) and mesh.forwarded == []


def test_an_error_is_of_the_node_that_is_named(mesh, cli):
    mesh.on_exec = lambda name, *_: (1, "", f"no word from {name}\n")
    for words in (("zc", "workload"), ("explain", "shop/web", "shop/web")):
        said = cli.run(*words, code=1)
        assert said.startswith("culvert: ztunnel of node n2: pod ztunnel-n2: no word from ztunnel-n2 (port-forward: ")


def test_a_cluster_without_the_mesh_and_none_at_all_are_told_apart(api, cli):
    api.put(namespace("shop"))
    for words in (("zc", "workload"), ("proxy-status",), ("explain", "shop/a", "shop/b"), ("connections",)):
        assert "no ztunnel is in namespace istio-system of the cluster" in cli.run(*words, code=1)
        assert cli.run(*words, code=1, KUBECONFIG="/nonexistent") == "culvert: /nonexistent: No such file or directory\n"


def test_ztunnel_config_has_istioctls_words(mesh, cli, tmp_path):
    saved = tmp_path / "dump.json"
    saved.write_text(json.dumps(DUMP))
    for words in ("workload w workloads", "service svc services s", "policy pol policies p", "certificate cert certificates certs",
                  "connections cons"):
        name, *others = (cli.run("zc", word, "-f", saved) for word in words.split())
        assert name.split() and all(said == name for said in others)
    for option in ("-n", "--namespace", "--workload-namespace", "--service-namespace", "--policy-namespace"):
        assert len(cli.run("zc", "workload", "-f", saved, option, "elsewhere").splitlines()) == 1
    assert '"bogus" is unknown' in cli.run("zc", "bogus", "-f", saved, code=2)
    assert cli.run("zc", "workload", "-f", tmp_path / "none", code=1).count("none") == 1


def test_describe_names_what_nobody_heeds(mesh, cli):
    assert "HTTPRoute" not in cli.run("describe", "svc", "web.shop")
    said = [{"conditions": [{"type": "Accepted", "status": "False", "reason": "NotHonoured", "message": "no effect yet"}]}]
    for name, parent in (("r", {"kind": "Service", "name": "web"}), ("other", {"kind": "Service", "name": "api"}), ("gw", {"name": "web"})):
        mesh.put({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "shop"},
                  "spec": {"parentRefs": [parent]}, "status": {"parents": said}})
    mesh.put({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
              "metadata": {"name": "destinationrules.networking.istio.io"}})
    for name, host in (("short", "web"), ("long", "web.shop.svc.cluster.local"), ("no", "web.other"), ("prefix", "website")):
        mesh.put({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": name, "namespace": "shop"},
                  "spec": {"host": host}})
    assert "Waypoint:" not in cli.run("describe", "svc", "web.shop")
    mesh.named("Namespace", "shop")["metadata"]["labels"]["istio.io/use-waypoint"] = "w"
    said = cli.run("describe", "svc", "web.shop")
    assert "Waypoint: w: waypoints are not served yet" in said
    assert "HTTPRoute: shop/r: no effect yet" in said and "DestinationRule: shop/long: DestinationRule has no effect yet" in said
    found = {(e["kind"], e["name"]) for e in cli.json("describe", "pod", "web.shop")["withoutEffect"]}
    assert found == {("HTTPRoute", "r"), ("DestinationRule", "short"), ("DestinationRule", "long")}


def test_describe(mesh, cli):
    said = cli.run("describe", "pod", "web.shop")
    for line in ("Pod: web.shop", "In the mesh: yes (namespace label istio-injection=enabled)", "Node proxy: ztunnel on n1; captured",
                 "Policy: shop/deny-all (deny, workload)", "Services: web"):
        assert line in said
    assert said == cli.run("x", "describe", "pod", "web", "-n", "shop") == cli.run("experimental", "describe", "pod", "shop/web")
    assert "Address: 10.96.0.9\n   Port: http 80/TCP\n" in cli.run("describe", "svc", "web.shop")
    del mesh.named("Service", "web")["spec"]["ports"][0]["name"]
    assert "   Port: 80/TCP\n" in cli.run("describe", "svc", "web.shop")
    assert cli.json("describe", "pod", "web.shop")["isEnrolled"] is True
    assert 'pods "none" not found in namespace shop\n' in cli.run("describe", "pod", "none.shop", code=1)
    assert "policiesError" not in {k for k, v in cli.json("describe", "pod", "web.shop").items() if v}
    mesh.named("Pod", "web")["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    assert "In the mesh: no (pod label sidecar.istio.io/inject=false)" in cli.run("describe", "pod", "web.shop")


@pytest.mark.parametrize("answer, why", [((1, "", "culvert: ztunnel: not running\n"), "pod ztunnel-n1: culvert: ztunnel: not running"),
                                         ((0, '404\n{"error": "no such pod"}', ""), "no such pod")])
def test_describe_does_not_take_silence_for_no_policy(mesh, cli, answer, why):
    answers = mesh.on_exec
    mesh.on_exec = lambda pod_name, container, command: answer if container == "ztunnel" else answers(pod_name, container, command)
    for what in (("pod", "web.shop"), ("svc", "web.shop")):
        said = cli.run("describe", *what)
        assert f"Policies: not known: {why}" in said and "everybody may connect" not in said
    said = cli.json("describe", "pod", "web.shop")
    assert said["policies"] is None and said["policiesError"].startswith(why)


ROUTE = {"kind": "plain", "share": 1, "target": "10.0.0.2:80", "workload": {"namespace": "shop", "name": "db", "node": "n2"},
         "inbound": {"allowed": False, "reason": "explicitly denied", "policy": "shop/p"}}


def test_explain_asks_the_kernels_of_the_nodes(mesh, cli):
    """Their maps are read where they are, by the same program in the agent's container."""
    answers, kernel, excluded = mesh.on_exec, {}, (0, "true", "")
    explained = {"from": {"namespace": "shop", "name": "web", "node": "n1", "address": "10.0.0.1", "isEnrolled": True},
                 "to": {"address": "10.0.0.2:80"}, "routes": [ROUTE]}

    def on_exec(name, container, command):
        if command[1:2] == ["__kernel"]:
            assert (container, command[2], command[4]) == ("agent", "/pins", "10.0.0.2:80")
            assert (name, command[3], *command[5:]) in (("ztunnel-n1", "77"), ("ztunnel-n2", "in", "10.0.0.1"))
            return excluded if command[3] == "in" else (0, json.dumps(kernel), "")
        if command[4].startswith("/explain"):
            return 0, "200\n" + json.dumps(ROUTE["inbound"] if "inbound" in command[4] else explained), ""
        if (container, command[4]) == ("agent", "/status"):
            return 0, "200\n" + json.dumps({"pin_dir": "/pins", "pods": [{"namespace": "shop", "name": "web", "netns_cookie": 77}]}), ""
        return answers(name, container, command)

    mesh.on_exec = on_exec
    kernel.update(path="registry_only", name="")
    said = cli.json("explain", "shop/web", "10.0.0.2:80")
    assert said["verdict"] == "refused" and "outboundTrafficPolicy is REGISTRY_ONLY" in said["sentence"] and said["notAsked"] == []
    kernel.update(path="tunnel")
    said = cli.json("explain", "shop/web", "10.0.0.2:80")
    assert said["verdict"] == "outside" and "of the endpoint's pod leaves it to the" in said["sentence"] and said["notAsked"] == []
    excluded = (0, "false", "")
    said = cli.json("explain", "shop/web", "10.0.0.2:80")
    assert said["verdict"] == "denied" and "the DENY policy shop/p matches." in said["sentence"] and said["notAsked"] == []
    # a program that does not know the word, maps that cannot be read, an odd answer
    for odd in (2, "", "unknown command"), (1, "", "the maps in /pins cannot be read"), (0, "[", ""), (0, "7", ""):
        mesh.on_exec = lambda *what, odd=odd: odd if what[2][1] == "__kernel" else on_exec(*what)
        said = " ".join(cli.run("explain", "shop/web", "10.0.0.2:80").split())
        assert "Not asked: the kernel of the source's node" in said and "leaves it to the application." in said


def test_a_node_agent_that_is_being_replaced(mesh, cli):
    """For a while a node has two pods of the mesh: the one that stays is asked, and nobody is asked to choose."""
    old = pod(MESH, "ztunnel-before", labels={"app": "ztunnel"})
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    mesh.put(old)
    answers = mesh.on_exec
    mesh.on_exec = lambda pod_name, *what: (1, "", "culvert: not running\n") if pod_name == "ztunnel-before" else answers(pod_name, *what)
    assert "HBONE" in cli.run("zc", "all", "--node", "n1")
    assert "captured" in cli.run("describe", "pod", "web.shop")
    mesh.delete(("v1", "pods", MESH, "ztunnel-n1"))
    assert "pod ztunnel-before: culvert: not running" in cli.run("zc", "all", "--node", "n1", code=1)


PROFILES = ("default", "demo", "minimal", "production")


def test_profiles_are_listed_dumped_and_compared(api, cli):
    assert [line.split()[0] for line in cli.run("profile", "list").splitlines()] == list(PROFILES)
    dumped = {name: yaml.safe_load(cli.run("profile", "dump", name)) for name in PROFILES}
    assert yaml.safe_load(cli.run("profile", "dump")) == yaml.safe_load(cli.run("profile", "dump", "ambient")) == dumped["default"]
    assert dumped["demo"]["meshConfig"]["accessLogFile"] == "/dev/stdout" and dumped["default"]["meshConfig"].get("accessLogFile") is None
    for a, b in itertools.product(PROFILES, PROFILES):
        lines = cli.run("profile", "diff", a, b, code=int(a != b)).splitlines()
        assert bool(lines) == (a != b) == (dumped[a] != dumped[b])
        # what stands there is what the two have
        for sign, path, value in (re.fullmatch(r"([-+]) (\S+): (.*)", line).groups() for line in lines):
            have = functools.reduce(dict.__getitem__, path.split("."), dumped[a if sign == "-" else b])
            assert have == json.loads(value), (a, b, path)
    for code, *words in ((1, "dump", "none"), (2, "diff", "demo", "none")):
        assert 'no profile "none": default (ambient is the same), demo, minimal and production' in cli.run("profile", *words, code=code)
    cli.run("profile", code=2)
    assert not api.log


def test_the_script_for_zsh_is_one(cli):
    """By zsh itself where it is: no package is installed for this. What the scripts ask: tests/interop/test_words.py."""
    script = cli.run("completion", "zsh")
    assert script.startswith("#compdef culvert\n") and script.endswith("\ncompdef _culvert culvert\n")
    if zsh := shutil.which("zsh"):
        cli.run("-f", "-n", "/dev/stdin", program=zsh, text=script)


def test_tags(mesh, cli):
    cli.run("install", "-y", "--force")
    assert "No tags" in cli.run("tag", "list")
    assert 'cannot remove tag "default": not found' in cli.run("tag", "remove", "default", code=1)
    assert "revision x is not installed" in cli.run("tag", "set", "prod", "--revision", "x", code=1)
    assert 'Revision tag "prod" set' in cli.run("tag", "set", "prod", "--revision", "default")
    mesh.put(namespace("a", istio_io__rev="prod"))
    mesh.named("Namespace", "a")["metadata"]["labels"] = {"istio.io/rev": "prod"}
    assert cli.run("tag", "list").splitlines()[1].split() == ["prod", "default", "a"]
    assert "kind: ConfigMap" in cli.run("tag", "generate", "canary", "--revision", "default")
    assert "stay in the mesh: a" in cli.run("tag", "remove", "prod", code=1)
    assert "Revision tag prod removed" in cli.run("tag", "remove", "prod", "-y")


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LXNpZ25hdHVyZQ"
KEY = "-----BEGIN EC PRIVATE KEY-----\ncanarykey\n-----END EC PRIVATE KEY-----"


def report(cli, path):
    """What is in an archive, by name; all of it below one folder."""
    with tarfile.open(f"{cli.folder}/{path}") as tar:
        assert {n.split("/")[0] for n in tar.getnames()} == {"culvert-bug-report"}
        return {os.path.basename(m.name): tar.extractfile(m).read().decode() for m in tar.getmembers() if m.isfile()}


def pods(files):
    return {p["metadata"]["name"]: p["spec"] for p in json.loads(files["api_v1_pods.json"])}


def test_a_bug_report_has_no_secrets(mesh, cli, tmp_path):
    mesh.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": MESH}, "data": {"k": "c2VjcmV0LXZhbHVl"}})
    mesh.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": MESH, "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "canary-annotation", "objectset.rio.cattle.io/applied": "H4sIcanary",
        "kapp.k14s.io/original": json.dumps({"spec": [{"name": "A", "value": "canary-copy"}], "kept": "as it is"})}},
        "data": {"apiToken": "canary-token", "secret": "canary-secret", "x": KEY, "y": base64.b64encode(KEY.encode()).decode(), "z": JWT,
                 "app.yaml": "db:\n  user: kept-user\n  password: canary-yaml\n  key: |\n    kept-block\n"
                             "  apiToken: |\n    canary-1\n    canary-2\n",
                 "app.properties": "db.user=kept-name\ndb.password=canary prop\n"}})
    mesh.named("Pod", "web")["spec"]["containers"][0]["env"] = [{"name": "DB", "value": "canary-env"}]
    mesh.named("Pod", "ztunnel-n1")["spec"]["containers"][0].update(
        args=["--db-password=canary-a", "--api-token", "canary-b", "--token-file=/kept", "DB_PASSWORD=canary-c", "stays",
              "--api-key=canary-d", "--db=postgres://u:canary-e@h/d", "--password=/canary", "sh", "-c",
              'export PASSWORD="canary f"; exec app --token canary-g --mode=kept'],
        command=["curl", "-H", "Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==", "-H", 'authorization:"canary-h"', "https://kept"])
    mesh.log_text = f"a line\nProxy-Authorization: Basic Y2FuYXJ5\nauthorization=canary kept\n" \
                    f"Authorization: Bearer canary-0123456789abcdef\n{KEY}\nhttps://canary-0123456789@h/ {JWT} the last\n"
    answer = mesh.on_exec  # proxy-status shows what a node refused
    mesh.on_exec = lambda *words: tuple(w.replace("bad address", f"bad {JWT}") if isinstance(w, str) else w for w in answer(*words))
    cli.run("bug-report", "--output-file", "r.tgz")
    files = report(cli, "r.tgz")
    assert "bad xxxxxx" in files["culvert_proxy-status.txt"]
    text = "".join(files.values())
    for canary in ("canary", "c2VjcmV0", "Y2FuYXJ5", "eyJ", base64.b64encode(KEY.encode()).decode()[20:40]):
        assert canary not in text
    log = files["log_ztunnel-n1_main.txt"]
    assert log.startswith("a line\n") and log.endswith(" the last\n") and len(log) == len(mesh.log_text)
    words = pods(files)["ztunnel-n1"]["containers"][0]["args"]
    left = "<left out>"
    assert words == [f"--db-password={left}", "--api-token", left, "--token-file=/kept", f"DB_PASSWORD={left}", "stays",
                     f"--api-key={left}", "--db=postgres://u:xxxxxxxx@h/d", f"--password={left}", "sh", "-c",
                     f"export PASSWORD={left}; exec app --token {left} --mode=kept"]
    assert '"https://kept"' in files["api_v1_pods.json"] and "xxx kept" in log
    kept = files["api_v1_namespaces_istio-system_configmaps.json"]
    assert all(word in kept for word in ("as it is", "kept-user", "kept-block", "kept-name"))
    assert os.stat(tmp_path / "r.tgz").st_mode & 0o077 == 0
    assert "File exists" in cli.run("bug-report", "--output-file", "r.tgz", code=1)


def run_with(canary, **more):
    """A container that is started with a password which nothing but the program knows for one."""
    words = {"command": ["sh", "-c", canary]}
    return {"name": "c", "image": "kept", "command": ["redis-cli", "-a", canary], "args": ["ping", canary],
            "livenessProbe": {"exec": words, "periodSeconds": 7}, "lifecycle": {"preStop": {"exec": words}}, **more}


def test_a_bug_report_has_no_commands_of_applications(mesh, cli):
    """Of the mesh's own they stay: they are what a fault may come from."""
    spec = {f"{kind}ontainers": [run_with("canary")] for kind in ("c", "initC", "ephemeralC")}
    mesh.named("Pod", "web")["spec"].update(spec)
    mesh.put(pod(MESH, "other", labels={"app": "redis"}))
    mesh.named("Pod", "other")["spec"].update(spec)
    mesh.put(pod("shop", "ztunnel", labels={"app": "ztunnel"}))
    mesh.named("Pod", "ztunnel")["spec"].update(spec)
    mesh.named("Pod", "web")["metadata"]["annotations"] = {"copy": json.dumps({"spec": spec})}
    own = {"spec": {"template": {"metadata": {"labels": {"app": "istiod"}}, "spec": {"containers": [run_with("stays")]}}}}
    mesh.named("Deployment", "istiod").update(own)
    mesh.named("Deployment", "istiod")["metadata"]["labels"]["app"] = "istiod"
    mesh.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": "shop"},
              "spec": {"template": {"metadata": {"labels": {"app": "istiod"}}, "spec": spec}}})
    cli.run("bug-report", "--output-file", "r.tgz")
    files = report(cli, "r.tgz")
    assert [name for name, text in files.items() if "canary" in text] == []
    container, left = pods(files)["web"]["ephemeralContainers"][0], "<left out>"
    assert container["command"] == [left] * 3 and container["args"] == [left] * 2 and container["image"] == "kept"
    assert container["livenessProbe"] == {"exec": {"command": [left] * 3}, "periodSeconds": 7}
    kept = next(d for d in json.loads(files["apis_apps_v1_deployments.json"]) if d["metadata"]["name"] == "istiod")
    assert kept["spec"] == own["spec"]


def test_a_bug_report_knows_passwords_by_short_names(mesh, cli):
    mesh.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": MESH},
              "data": {"redis.conf": "port 6379\nrequirepass canary\nmasterauth canary\n", "a.yaml": "db:\n  pass: canary\n  user: kept\n",
                       "DB_PASS": "canary", "auth": "canary", "a.env": "DB_PWD=canary\nHOST=here\n"}})
    mesh.named("Pod", "ztunnel-n1")["spec"]["containers"][0]["args"] = [
        "--requirepass", "canary", "--pass=canary", "--db-pass", "canary", "DB_PASS=canary", "--pwd=canary", "--auth=canary", "stays"]
    mesh.log_text = "a line DB_PASS=canary\0 auth=canary, db.pwd = 'canary' {\"pass\":\"canary\"} redis --requirepass canary the last\n"
    cli.run("bug-report", "--output-file", "r.tgz")
    files = report(cli, "r.tgz")
    assert [name for name, text in files.items() if "canary" in text] == []
    config = files["api_v1_namespaces_istio-system_configmaps.json"]
    assert "port 6379" in config and "user: kept" in config and "HOST=here" in config
    log = files["log_ztunnel-n1_main.txt"]
    assert log.startswith("a line DB_PASS=<left out>") and log.endswith(" the last\n")
    assert pods(files)["ztunnel-n1"]["containers"][0]["args"][-1] == "stays"


def test_a_bug_report_has_what_explains_a_fault(mesh, cli):
    said = cli.run("bug-report")
    name = re.search(r"Done: (culvert-bug-report-\d{8}T\d{6}Z\.tar\.gz), \d+ KiB", said).group(1)
    files = report(cli, name)
    assert {"api_v1_pods.json", "api_v1_nodes.json", "apis_networking.k8s.io_v1_networkpolicies.json", "n1_agent_status.json",
            "n1_agent_past.json", "n1_ztunnel_config_dump.json", "n1_ztunnel_connections.json", "n1_ztunnel_connections_ended.json",
            "n1_bpf_maps.txt", "n2_bpf_maps.txt", "log_ztunnel-n1_main.txt", "log_istiod-n1_main.txt", "culvert_version.txt",
            "culvert_precheck.txt", "culvert_analyze.txt", "culvert_proxy-status.txt", "MISSING.txt"} <= set(files)
    assert "data plane version: v7 (2 nodes)" in files["culvert_version.txt"] and files["n1_bpf_maps.txt"] == "cv_services\n"
    assert "zt1" in files["culvert_proxy-status.txt"]


def test_a_bug_report_of_what_does_not_run(mesh, cli):
    """What a pod said before it ended is there; what one cannot say is named, and the report is made all the same."""
    status = mesh.named("Pod", "ztunnel-n1")["status"]
    status["containerStatuses"] = [
        {"name": "agent", "ready": False, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}},
        {"name": "ztunnel", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    status["conditions"] = [{"type": "Ready", "status": "False"}]
    status["phase"] = "Pending"
    mesh.faults = [Fault("GET", "networkpolicies", 403, 'cannot list resource "networkpolicies"')]
    said = cli.run("bug-report", "--output-file", "r.tgz")
    files = report(cli, "r.tgz")
    assert {"log_ztunnel-n1_agent.txt", "log_ztunnel-n1_agent_previous.txt", "n2_agent_status.json"} <= set(files)
    assert "log_ztunnel-n1_ztunnel.txt" not in files and "MISSING.txt in it names them" in said
    assert "ztunnel-n1: container agent: CrashLoopBackOff: back-off" in files["MISSING.txt"]
    assert 'cannot list resource "networkpolicies"' in files["MISSING.txt"]


def test_it_answers_as_istioctl(mesh, cli, tmp_path):
    os.symlink(f"{BIN}/culvert", tmp_path / "istioctl")
    istioctl = str(tmp_path / "istioctl")
    assert "✔ No issues found" in cli.run("experimental", "precheck", program=istioctl)
    assert "client version" in cli.run("version", program=istioctl)
    assert "zt1" in cli.run("proxy-status", program=istioctl, code=1)
    assert "global:" in cli.run("profile", "dump", "demo", program=istioctl)


def test_words_that_are_not_here_say_what_there_is_instead(cli):
    assert "waypoints are to come" in cli.run("waypoint", "list", code=2)
    assert "culvert ztunnel-config" in cli.run("pc", "routes", "web", code=2)
    assert "waypoints are to come" in cli.run("x", "waypoint", "list", code=2)
    assert cli.run("x", "version", "--short") == cli.run("version", "--short")
    assert 'is "install" meant?' in cli.run("instal", code=2)
    assert cli.run("help", "install") == cli.run("install", "--help")
    assert "Commands:" in cli.run("help")
