# SPDX-License-Identifier: Apache-2.0
"""status, describe and proxy-status: what is not there, and so can say nothing of itself."""
import pytest
from conftest import AGENT, CONTROL
from fake_api import MESH, Fault


@pytest.fixture
def well(mesh, monkeypatch):
    """A mesh in which nothing is wrong."""
    monkeypatch.setitem(AGENT, "pods", [])
    monkeypatch.setitem(CONTROL, "errors", [])
    for kind, name in (("Deployment", "istiod"), ("DaemonSet", "ztunnel")):
        owner = mesh.named(kind, name)
        owner["metadata"]["labels"] = {**owner["metadata"]["labels"], "app": name}
        owner["spec"] = {"selector": {"matchLabels": {"app": name}}}
    return mesh


def lose(api, name):
    api.delete(("v1", "pods", MESH, name))


def test_a_mesh_that_is_well(well, cli):
    said = cli.json("status")
    assert said["problems"] == [] and said["notices"] == []


def test_a_control_plane_without_pods_is_a_problem(well, cli):
    lose(well, "istiod-n1")
    what = f"Deployment {MESH}/istiod: 0 of 1 pods have been made"
    assert cli.json("status", code=1)["problems"] == [what] and what in cli.run("status", code=1)
    deployment = well.named("Deployment", "istiod")
    deployment["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}]
    assert cli.json("status", code=1)["problems"] == [f"{what}: violates PodSecurity"]
    deployment["spec"]["replicas"] = 0
    assert cli.json("status", code=1)["problems"] == [f"Deployment {MESH}/istiod: it is to have no pods"]
    well.delete(("apps/v1", "deployments", MESH, "istiod"))
    assert cli.json("status", code=1)["problems"] == ["istiod: there is none"]


def test_nodes_without_ztunnel_are_named(well, cli):
    lose(well, "ztunnel-n2")
    said = cli.json("status", code=1)
    assert said["problems"] == [f"DaemonSet {MESH}/ztunnel: 1 of 2 pods have been made"]
    outside = "no pod of it on n2: what runs there is outside the mesh"
    assert [n["message"] for n in said["notices"]] == [outside] and f"ztunnel: {outside}" in cli.run("status", code=1)
    assert cli.json("status", "--node", "n2", code=1)["problems"][1:] == ["n2: no pod of ztunnel is there"]
    # as a nodeSelector may have it
    well.named("DaemonSet", "ztunnel")["status"]["desiredNumberScheduled"] = 1
    assert cli.json("status")["problems"] == [] and len(cli.json("status")["notices"]) == 1
    for i in range(3, 10):
        well.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{i}"},
                  "status": {"nodeInfo": {"operatingSystem": "windows" if i == 3 else "linux"}}})
    assert "no pod of it on n2, n4, n5, n6, n7 and 2 more" in cli.json("status")["notices"][0]["message"]


def test_a_mesh_without_any_pod_is_not_one_that_is_not_installed(well, cli):
    for name in ("istiod-n1", "ztunnel-n1", "ztunnel-n2"):
        lose(well, name)
    said = cli.run("status", code=1)
    assert "not installed" not in said and "istiod: 0 of 1 pods" in said and "ztunnel: 0 of 2 pods" in said
    for kind in ("deployments/istiod", "daemonsets/ztunnel"):
        well.delete(("apps/v1", kind.split("/")[0], MESH, kind.split("/")[1]))
    for words in (("status",), ("status", "-o", "json"), ("status", "--node", "n1")):
        assert "not installed in this cluster" in cli.run(*words, code=1)


def test_what_may_not_be_listed_is_not_looked_at(well, cli):
    well.faults = [Fault("GET", part, 403, "it is forbidden") for part in ("/deployments", "/daemonsets", "/api/v1/nodes")]
    assert cli.json("status")["problems"] == []
    lose(well, "istiod-n1")
    assert cli.json("status", code=1)["problems"] == ["istiod: there is none"]


def test_a_pod_that_is_not_on_a_node_is_not_asked_about(well, cli):
    pod = well.named("Pod", "web")
    pod["status"].update(phase="Succeeded", conditions=[])
    said = cli.run("describe", "pod", "web.shop")
    assert "State: it has ended: Succeeded\nIn the mesh: no longer (namespace label istio-injection=enabled)\n" in said
    assert "Node proxy" not in said and "Policies" not in said and not well.forwarded
    del pod["spec"]["nodeName"]
    pod["status"].update(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}])
    for words in (("pod", "web.shop"), ("svc", "web.shop")):
        said = cli.run("describe", *words)
        assert "Node: none yet\n" in said and "State: it is on no node yet: no node takes it: 0/2 nodes are available\n" in said
        assert "In the mesh: not yet" in said and "Node proxy" not in said
    got = cli.json("describe", "pod", "web.shop")
    assert got["state"] == "unplaced" and got["policies"] is None and got["policiesError"] == got["error"] and not well.forwarded


def test_a_pod_of_a_node_that_is_not_heard_of_says_so(well, cli):
    """The node's controller takes the pod's readiness away, and all else stays as it was."""
    well.named("Pod", "ztunnel-n2")["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    assert cli.json("status", code=1)["problems"] == [
        "ztunnel-n2: its containers run, but the API server does not hear of them from its node"]


def test_a_ztunnel_that_nobody_serves_is_listed(well, cli, monkeypatch):
    """Who is not connected is in no control plane's list."""
    served = [{**CONTROL["clients"][0], "node": node, "id": f"zt-{node}"} for node in ("n1", "n2")]
    monkeypatch.setitem(CONTROL, "clients", served)
    assert [c["status"] for c in cli.json("ps")] == ["SYNCED", "SYNCED"]
    monkeypatch.setitem(CONTROL, "clients", [served[0], {**served[1], "type": "agent", "id": "agent~n2"}])
    assert [(c["name"], c["status"]) for c in cli.json("ps", code=1)] == [
        ("zt-n1", "SYNCED"), ("agent~n2", "SYNCED"), (f"ztunnel-n2.{MESH}", "NOT CONNECTED")]
    assert "nobody serves it" in cli.run("ps", code=1)
    assert cli.json("ps", "--node", "n1") and cli.json("ps", f"ztunnel-n2.{MESH}", code=1)[0]["status"] == "NOT CONNECTED"
    well.named("Pod", "ztunnel-n2")["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert len(cli.json("ps")) == 2
    # one that does not answer may serve it
    well.on_forward = lambda *_: None
    well.on_exec = lambda *_: (1, "", "culvert: control: not running\n")
    assert "NOT CONNECTED" not in cli.run("ps", code=1)
