# SPDX-License-Identifier: Apache-2.0
"""`culvert install` to `uninstall --purge` on a cluster with running pods: nothing is cut on the way in, up or out, and nothing
stays behind. Up is a canary upgrade: a second control plane, the nodes go over to it, the first one goes."""
import json
import subprocess

from kubelab.cluster import Canary, Load, culvert, eventually, pod, service

SYSTEM = "istio-system"
INCIDENTAL = ("events", "leases.coordination.k8s.io", "endpoints", "endpointslices.discovery.k8s.io")


def everything(cluster):
    """Names of all objects of all kinds, but of those that come and go by themselves, and every label of namespaces."""
    kinds = cluster.run("api-resources", "--verbs=list", "-o", "name").split()
    found = set()
    for kind in kinds:
        if kind.startswith(INCIDENTAL):
            continue
        out = cluster.run("get", kind, "-A", "--ignore-not-found", "-o",
                          "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}", check=False)
        found |= {f"{kind} {name}" for name in out.split()}
    for ns in cluster.get("namespaces")["items"]:
        found.add(f"labels {ns['metadata']['name']} {sorted(ns['metadata'].get('labels', {}).items())} "
                  f"{ns['spec'].get('finalizers')}")
    return found


def test_in_up_and_out_without_a_failed_request(bare, namespace):
    cluster = bare
    cluster.apply(pod(namespace, "web", "nginx", "n1"), service(namespace, "web"), pod(namespace, "client", "client", "n2"))
    cluster.wait_ready(namespace, "web", "client")
    uids = cluster.restarts(namespace)
    before = everything(cluster)
    assert "no ready Culvert pods" in culvert("version")
    assert "safe to install or upgrade" in culvert("x", "precheck")
    ip = cluster.service_ip(namespace, "web")
    with Load(cluster, namespace, "client", ip) as load:
        eventually(lambda: len(load.results) > 20, what="requests")
        said = culvert("install", "--set", "profile=demo", "-y")
        assert [line.split()[1] for line in said.splitlines() if line.startswith("✔")] == ["Core", "Istiod", "Ztunnel", "Installation"]
        cluster.run("label", "namespace", namespace, "istio-injection=enabled")
        for name in ("web", "client"):
            eventually(lambda n=name: cluster.is_captured(namespace, n), what=f"{name} is captured")
        looks_at_it(cluster, namespace)
        canary_upgrade(cluster, namespace, load)
        assert "✔ Uninstall complete" in culvert("uninstall", "--purge", "-y")
        done = len(load.results)
        eventually(lambda: len(load.results) > done + 20, what="requests afterwards")
    assert load.failed() == []
    assert cluster.restarts(namespace) == uids
    assert cluster.pins() == []
    cluster.run("label", "namespace", namespace, "istio-injection-")
    assert everything(cluster) ^ before == set()


def looks_at_it(cluster, namespace):
    """The words that ask, on a mesh that works."""
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(namespace, "client", f"http://web/{canary.word}"), what="an answer")
    said = culvert("version")
    assert "(1 replicas)" in said and "(2 nodes)" in said
    assert "HBONE" in culvert("ztunnel-config", "workload", "--node", "n1")
    clients = json.loads(culvert("proxy-status", "-o", "json"))
    assert {c["node"] for c in clients} == {"n1", "n2"} and all(c["version"] for c in clients)
    node = cluster.get("pod", "-n", namespace, "client")["spec"]["nodeName"]
    assert [c["node"] for c in json.loads(culvert("proxy-status", f"client.{namespace}", "-o", "json"))] == [node] * 2
    status = json.loads(culvert("status", "-o", "json"))
    assert status["namespaces"][namespace]["captured"] == 2 and not status["problems"]
    assert "captured" in culvert("describe", "pod", f"web.{namespace}")
    assert json.loads(culvert("explain", f"{namespace}/client", f"web.{namespace}:80", "-o", "json"))["verdict"] == "allowed"
    eventually(lambda: "✔ No validation issues" in culvert("analyze", "-n", namespace), what="pods are told to be captured")
    assert "0 objects made, 0 changed" in culvert("install", "--set", "profile=demo", "-y")


def holder(cluster, lease):
    out = cluster.run("get", "lease", "-n", SYSTEM, lease, "-o", "json", check=False)
    return json.loads(out)["spec"]["holderIdentity"] if out else ""


def is_refused(cluster, namespace, labels):
    """Is a wrong object with these labels refused, and by what it should be refused by?"""
    wrong = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "spec": {"action": "DENY"},
             "metadata": {"name": "wrong", "namespace": namespace, "labels": labels}}
    done = subprocess.run([*cluster.kubectl, "apply", "--dry-run=server", "-f", "-"], input=json.dumps(wrong), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60)
    return done.returncode != 0 and "spec.rules: required" in done.stdout


def mesh_pods(cluster, *labels):
    """Names of those with all these labels."""
    return {p["metadata"]["name"] for p in cluster.get("pods", "-n", SYSTEM, "-l", ",".join(labels))["items"]}


def canary_upgrade(cluster, namespace, load):
    nodes = mesh_pods(cluster, "app=ztunnel")
    said = culvert("install", "--set", "profile=demo", "--revision", "canary", "-y")
    assert [line.split()[1] for line in said.splitlines() if line.startswith("✔")] == ["Core", "Istiod", "Installation"]
    assert mesh_pods(cluster, "app=ztunnel") == nodes, "the nodes stay with the first"
    both_work(cluster, namespace)
    assert "ask revision default" in culvert("uninstall", "--revision", "default", "-y", code=1)
    go_over(cluster, load, nodes)
    assert "now the default" in culvert("tag", "set", "default", "--revision", "canary", "-y")
    assert "✔ Uninstall complete" in culvert("uninstall", "--revision", "default", "-y")
    second_serves(cluster, namespace, load)


def both_work(cluster, namespace):
    """Each with a webhook of its own; one of all writes; one CA."""
    for labels in ({}, {"istio.io/rev": "default"}, {"istio.io/rev": "canary"}):
        eventually(lambda w=labels: is_refused(cluster, namespace, w), what=f"a wrong object with {labels} is refused")
    first, second = (eventually(lambda r=r: holder(cluster, f"culvert-leader-{r}"), what=f"{r} has a leader")
                     for r in ("default", "canary"))
    assert second.startswith("istiod-canary-") and not first.startswith("istiod-canary-")
    eventually(lambda: holder(cluster, "culvert-leader") in (first, second), what="one of all writes")
    said = json.loads(culvert("version", "-o", "json"))["revisions"]
    assert [sum(said[r][p].values()) for r in ("default", "canary") for p in ("controlPlane", "dataPlane")
            if said[r][p]] == [1, 2, 1]
    eventually(lambda: {c["revision"] for c in json.loads(culvert("proxy-status", "-o", "json"))} == {"default"},
               what="the nodes ask the first only")


def go_over(cluster, load, old):
    """Every node's pod is another one afterwards, and asks the second control plane."""
    done = len(load.results)
    culvert("upgrade", "--revision", "canary", "--set", "components.ztunnel.enabled=true", "--set", "values.ztunnel.logLevel=debug", "-y")
    eventually(lambda: not old & mesh_pods(cluster, "app=ztunnel"), what="the old pods are gone")
    assert mesh_pods(cluster, "app=ztunnel", "istio.io/rev=canary") == mesh_pods(cluster, "app=ztunnel")
    eventually(lambda: len(load.results) > done + 20, what="requests after the nodes went over")
    eventually(lambda: {(c["node"], c["revision"]) for c in json.loads(culvert("proxy-status", "-o", "json"))} ==
               {("n1", "canary"), ("n2", "canary")}, what="both nodes ask the second")


def second_serves(cluster, namespace, load):
    """The first is gone: what is new comes from the second, which writes now."""
    done = len(load.results)
    assert mesh_pods(cluster, "app=istiod") == mesh_pods(cluster, "app=istiod", "istio.io/rev=canary") != set()
    assert "istiod" not in cluster.run("get", "services", "-n", SYSTEM, "-o", "jsonpath={.items[*].metadata.name}").split()
    eventually(lambda: holder(cluster, "culvert-leader").startswith("istiod-canary-"), what="the second writes")
    eventually(lambda: is_refused(cluster, namespace, {}), what="the second validates what names no revision")
    cluster.apply(pod(namespace, "later", "client", "n2"))
    cluster.wait_ready(namespace, "later")
    eventually(lambda: cluster.is_captured(namespace, "later"), what="a new pod is captured")
    with Canary(cluster) as canary:
        eventually(lambda: cluster.curl(namespace, "later", f"http://web/{canary.word}"), what="an answer to a new pod")
    assert not canary.was_seen(), "plaintext crossed the link"
    cluster.run("delete", "pod", "-n", namespace, "later")
    eventually(lambda: len(load.results) > done + 20, what="requests without the first")
