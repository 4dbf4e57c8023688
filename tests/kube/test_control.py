# SPDX-License-Identifier: Apache-2.0
"""The control plane at a real API server: one leader writes, roots and webhook are kept right, MeshConfig is live."""
import json
import re
import subprocess

import pytest
from kubelab import layout
from kubelab.cluster import Canary, culvert, eventually, pod

SYSTEM = "istio-system"
POLICY = "security.istio.io/v1"
# Of each kind that is read one that its definition takes and the webhook does not, and what is said of it.
WRONG = (
    (POLICY, "AuthorizationPolicy", {"action": "DENY", "selector": {"matchLabels": {"app": "web"}}}, "spec.rules: required"),
    (POLICY, "PeerAuthentication", {"portLevelMtls": {"80": {"mode": "STRICT"}}}, "spec.portLevelMtls: needs a selector"),
    ("networking.istio.io/v1", "ServiceEntry", {"hosts": ["*.example"], "resolution": "DNS"}, "spec.hosts: a wildcard cannot be resolved"),
    ("networking.istio.io/v1", "WorkloadEntry", {"address": "unix:///run/x"}, "spec.address: a UNIX socket"),
    ("networking.istio.io/v1", "WorkloadGroup", {"template": {"labels": {"app": "no such value!"}}}, "spec.template.labels"),
    ("telemetry.istio.io/v1", "Telemetry", {"metrics": [{"overrides": [{"tagOverrides": {"x": {"operation": "UPSERT"}}}]}]},
     "spec.metrics[0].overrides[0].tagOverrides.x: value: required"),
)


def said(cluster, *args, text=None):
    """kubectl. Return: (exit code, what it said on both outputs)."""
    done = subprocess.run([*cluster.kubectl, *args], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=60)
    return done.returncode, done.stdout


def thing(group_version, kind, namespace, name, spec):
    return {"apiVersion": group_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def root(cluster, namespace):
    out = cluster.run("get", "configmap", "-n", namespace, "istio-ca-root-cert", "-o", "json", check=False)
    return json.loads(out)["data"]["root-cert.pem"] if out else None


def leader(cluster):
    return cluster.get("lease", "-n", SYSTEM, "culvert-leader")["spec"]["holderIdentity"]


def control_pods(cluster):
    return {p["metadata"]["name"] for p in cluster.get("pods", "-n", SYSTEM, "-l", "app=istiod")["items"]
            if not p["metadata"].get("deletionTimestamp")}


def scale(cluster, count):
    cluster.run("scale", "-n", SYSTEM, "deployment/istiod", f"--replicas={count}")
    if count:
        cluster.wait_mesh()
    else:
        eventually(lambda: not control_pods(cluster), what="no control plane is left")


def condition(cluster, namespace, kind, name, wanted="Accepted"):
    """Return: status, reason and message of this condition."""
    found = cluster.get(kind, "-n", namespace, name).get("status", {}).get("conditions", [])
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in found}.get(wanted, ("", "", ""))


@pytest.fixture
def mesh_config(cluster, mesh):
    """Writes MeshConfig; afterwards there is none."""
    def write(**config):
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": SYSTEM},
                       "data": {"mesh": json.dumps(config)}})
    yield write
    cluster.run("delete", "configmap", "-n", SYSTEM, "istio", "--ignore-not-found")


def test_roots_are_in_every_namespace_and_repaired(cluster, mesh, namespace):
    want = eventually(lambda: root(cluster, namespace), what="the new namespace has the roots")
    assert "BEGIN CERTIFICATE" in want
    cluster.run("patch", "configmap", "-n", namespace, "istio-ca-root-cert", "-p", '{"data":{"root-cert.pem":"mine"}}')
    eventually(lambda: root(cluster, namespace) == want, what="an edit is repaired")
    cluster.run("delete", "configmap", "-n", namespace, "istio-ca-root-cert")
    eventually(lambda: root(cluster, namespace) == want, what="a deletion is repaired")
    assert root(cluster, "kube-system") is None


def test_webhook_refuses_what_the_schema_takes(cluster, mesh, namespace):
    def hooks():
        return [h for c in ("istio-validator-istio-system", "istiod-default-validator")
                for h in cluster.get("validatingwebhookconfiguration", c)["webhooks"]]
    eventually(lambda: all(h["failurePolicy"] == "Fail" and h["clientConfig"].get("caBundle") for h in hooks()),
               what="the webhooks work and fail closed")
    code, text = said(cluster, "apply", "-f", "-", text=json.dumps(
        thing(POLICY, "AuthorizationPolicy", namespace, "bad", {"action": "DENY"})))
    assert code != 0 and "configuration is invalid: spec.rules: required" in text, text
    code, text = said(cluster, "apply", "-f", "-", text=json.dumps(
        thing("networking.istio.io/v1alpha3", "VirtualService", namespace, "vs", {"hosts": ["web"]})))
    assert code == 0 and "VirtualService has no effect yet" in text, text
    assert cluster.get("authorizationpolicies", "-n", SYSTEM)["items"] == [], "the leader's try left nothing behind"


def test_webhook_configurations_are_repaired(cluster, mesh):
    name = "istiod-default-validator"

    def hook():
        return cluster.get("validatingwebhookconfiguration", name)["webhooks"][0]
    eventually(lambda: hook()["failurePolicy"] == "Fail", what="it fails closed")
    cluster.run("patch", "validatingwebhookconfiguration", name, "--type=json", "-p", json.dumps([
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
        {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]))
    eventually(lambda: hook()["failurePolicy"] == "Fail" and hook()["clientConfig"].get("caBundle"), what="it is right again")


def test_metrics_are_there_by_istiods_names(cluster, mesh):
    """By the Service's port, as the API server reaches it."""
    path = "/api/v1/namespaces/istio-system/services/istiod:http-monitoring/proxy/metrics"

    def has_both_nodes():
        text = cluster.run("get", "--raw", path, check=False) or ""
        return all(re.search(rf'^pilot_xds{{type="{client}"}} [2-9]', text, re.M) for client in ("ztunnel", "agent")) and text

    text = eventually(has_both_nodes, what="the clients of both nodes")
    assert re.search(r"^citadel_server_csr_count \d", text, re.M)
    assert re.search(r'^pilot_xds_pushes{type="wds"} [1-9]', text, re.M)


def test_another_leads_when_the_leader_goes(cluster, mesh):
    scale(cluster, 2)
    try:
        first = eventually(lambda: leader(cluster), what="there is a leader")
        assert first in control_pods(cluster)
        cluster.run("delete", "pod", "-n", SYSTEM, first, "--wait=false")
        second = eventually(lambda: leader(cluster) not in ("", first) and leader(cluster), what="another leads")
        assert second in control_pods(cluster)
        cluster.run("create", "namespace", "after-change")
        eventually(lambda: root(cluster, "after-change"), what="the new leader writes")
    finally:
        cluster.run("delete", "namespace", "after-change", "--wait=false", "--ignore-not-found")
        scale(cluster, 1)


def test_a_node_that_joins_with_the_taint_takes_pods_once_the_mesh_is_ready_on_it(cluster, mesh, namespace):
    """If that is wanted: before, the taint is somebody else's."""
    taint = "cni.istio.io/not-ready"
    client = pod(namespace, "client", "client", "n2")
    del client["spec"]["nodeName"]
    client["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "n2"}

    def taints():
        return [t["key"] for t in cluster.get("node", "n2")["spec"].get("taints", [])]
    cluster.run("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    cluster.run("taint", "node", "n2", f"{taint}=true:NoSchedule", "culvert.test/other=:PreferNoSchedule")
    try:
        cluster.apply(client)
        eventually(lambda: any(c["reason"] == "Unschedulable" for c in cluster.get("pod", "-n", namespace, "client")["status"].get(
            "conditions", [])), what="the pod waits")
        assert taint in taints()
        cluster.install("values.pilot.taint.enabled=true")
        eventually(lambda: taints() == ["culvert.test/other"], what="the taint is gone, the other one is not")
        cluster.wait_ready(namespace, "client")
        assert cluster.is_captured(namespace, "client")
    finally:
        cluster.run("taint", "node", "n2", f"{taint}-", "culvert.test/other-", check=False)
        cluster.install()


def known(namespace):
    """Does the ztunnel of n1 know workloads of this namespace?"""
    return any(w["namespace"] == namespace for w in json.loads(culvert("zc", "workload", "--node", "n1", "-o", "json")))


def test_discovery_selectors_are_live(cluster, mesh_config, apps):
    eventually(lambda: known(apps), what="without selectors all are of the mesh")
    mesh_config(discoverySelectors=[{"matchLabels": {"team": "mesh"}}])
    eventually(lambda: not known(apps), what="who is not selected is known no longer")
    for name in ("outside", "inside"):
        cluster.run("create", "namespace", name)
        eventually(lambda n=name: cluster.run("get", "serviceaccount", "-n", n, "default", check=False), what="the account")
        cluster.apply(pod(name, "one", "client", "n2"))
        cluster.wait_ready(name, "one")
    try:
        cluster.run("label", "namespace", "inside", "team=mesh")
        eventually(lambda: root(cluster, "inside") and known("inside"), what="a selected namespace has the roots, and its pods are known")
        assert root(cluster, "outside") is None and not known("outside")
        cluster.run("label", "namespace", "outside", "team=mesh")
        eventually(lambda: root(cluster, "outside") and known("outside"), what="one that is selected later gets them, too")
    finally:
        cluster.run("delete", "namespace", "inside", "outside", "--wait=false")


def test_trust_domain_aliases_are_live(cluster, mesh_config, apps):
    """A principal of an alias is meant under our own trust domain, too."""
    cluster.apply(thing(POLICY, "AuthorizationPolicy", apps, "deny", {"action": "DENY", "rules": [
        {"from": [{"source": {"principals": [f"old.example/ns/{apps}/sa/default"]}}]}]}))
    assert cluster.curl(apps, "client", "http://web")
    mesh_config(trustDomainAliases=["old.example"])
    eventually(lambda: not cluster.curl(apps, "client", "http://web"), what="the alias is in force")
    mesh_config(trustDomainAliases=[])
    eventually(lambda: cluster.curl(apps, "client", "http://web"), what="it is taken off again")


def test_statuses_say_what_is_made_of_each_resource(cluster, mesh, apps):
    def of(name, kind="authorizationpolicy", wanted="ZtunnelAccepted"):
        return condition(cluster, apps, kind, name, wanted)
    source = [{"source": {"namespaces": [apps]}}]
    cluster.apply(
        thing(POLICY, "AuthorizationPolicy", apps, "good", {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["9"]}}]}]}),
        thing(POLICY, "AuthorizationPolicy", apps, "layer7", {"action": "DENY", "rules": [
            {"from": source, "to": [{"operation": {"ports": ["9"], "methods": ["GET"]}}]}]}),
        thing(POLICY, "AuthorizationPolicy", apps, "nobody", {"selector": {"matchLabels": {"app": "nobody"}}}),
        thing("networking.istio.io/v1", "VirtualService", apps, "later", {"hosts": ["web"]}))
    eventually(lambda: of("good")[:2] == ("True", "Accepted"), what="in force")
    eventually(lambda: of("nobody")[1] == "NoMatchingWorkloads", what="binds to nothing")
    eventually(lambda: of("layer7")[:2] == ("False", "UnsupportedValue"), what="layer 7")
    assert "methods" in of("layer7")[2]
    eventually(lambda: of("later", "virtualservice", "Accepted")[:2] == ("False", "NotHonoured"), what="no effect yet")
    before = cluster.get("authorizationpolicy", "-n", apps, "good")["metadata"]["resourceVersion"]
    cluster.apply(pod(apps, "other", "client", "n1"))
    cluster.wait_ready(apps, "other")
    assert cluster.get("authorizationpolicy", "-n", apps, "good")["metadata"]["resourceVersion"] == before, "written without need"


def has_status(cluster, namespace, kind, says):
    found = condition(cluster, namespace, kind.lower(), "wrong", "ZtunnelAccepted" if kind == "AuthorizationPolicy" else "Accepted")
    return found[:2] == ("False", "Invalid") and says in found[2]


def test_what_came_in_past_the_webhook_is_named(cluster, mesh, apps):
    """Stored while there was neither a control plane nor a webhook, wrong as only they know it: a status and `analyze` say so of
    each, what a wrong policy selects is denied to all, and what stands beside it is in force."""
    scale(cluster, 0)
    try:
        cluster.run("delete", "validatingwebhookconfiguration", "istio-validator-istio-system", "istiod-default-validator")
        cluster.apply(
            *(thing(version, kind, apps, "wrong", spec) for version, kind, spec, _ in WRONG),
            thing(POLICY, "AuthorizationPolicy", apps, "right", {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["9"]}}]}]}),
            pod(apps, "other", "nginx", "n1"))
    finally:
        cluster.install()
        scale(cluster, 1)
    for _, kind, _, says in WRONG:
        eventually(lambda k=kind, s=says: has_status(cluster, apps, k, s), what=f"the status of a wrong {kind}")
    eventually(lambda: condition(cluster, apps, "authorizationpolicy", "right", "ZtunnelAccepted")[:2] == ("True", "Accepted"),
               what="the other one is in force")
    found = [f for f in json.loads(culvert("analyze", "-n", apps, "-o", "json", code=79)) if f["level"] == "Error"]
    assert {(f["code"], f["origin"]) for f in found} == {("IST0106", f"{kind} {apps}/wrong") for _, kind, _, _ in WRONG}
    for _, kind, _, says in WRONG:
        assert any(f["message"].startswith(says) for f in found if f["origin"].startswith(kind)), (kind, found)
    eventually(lambda: not cluster.curl(apps, "client", "http://web"), what="what it selects is denied")
    other = cluster.get("pod", "-n", apps, "other")["status"]["podIP"]
    eventually(lambda: cluster.curl(apps, "client", f"http://{other}"), what="an answer of what it does not select")
    cluster.run("delete", "authorizationpolicy", "-n", apps, "wrong")
    eventually(lambda: cluster.curl(apps, "client", "http://web"), what="an answer once it is gone")


def test_what_the_gateway_api_asks_for_is_told_that_it_has_no_effect(cluster, mesh, namespace):
    api = "gateway.networking.k8s.io"

    def gateway(name, class_name):
        return thing(f"{api}/v1", "Gateway", namespace, name, {"gatewayClassName": class_name, "listeners": [
            {"name": "a", "port": 15008, "protocol": "HBONE"}]})

    def conditions(holder):
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in holder.get("conditions", [])}

    def of_gateway(name):
        return conditions(cluster.get(f"gateways.{api}", "-n", namespace, name).get("status", {}))

    def parents():
        return cluster.get("httproute", "-n", namespace, "r").get("status", {}).get("parents", [])

    def accepted_class(name):
        found = cluster.run("get", "gatewayclass", name, "--ignore-not-found", "-o", "json")
        return conditions(json.loads(found).get("status", {})).get("Accepted", ("", ""))[:2] if found else ()
    cluster.run("delete", "gatewayclass", "istio-waypoint", "--ignore-not-found")
    for name in ("istio", "istio-remote", "istio-waypoint"):
        eventually(lambda n=name: accepted_class(n) == ("False", "NotHonoured"), what=f"GatewayClass {name} is there, and told")
    cluster.apply(
        {"apiVersion": f"{api}/v1", "kind": "GatewayClass", "metadata": {"name": "theirs"},
         "spec": {"controllerName": "example.com/theirs"}},
        gateway("waypoint", "istio-waypoint"), gateway("foreign", "theirs"),
        thing(f"{api}/v1", "HTTPRoute", namespace, "r", {"parentRefs": [
            {"name": "foreign"}, {"name": "waypoint"}, {"group": "", "kind": "Service", "name": "web"}]}),
        thing(f"{api}/v1", "BackendTLSPolicy", namespace, "p", {
            "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
            "validation": {"wellKnownCACertificates": "System", "hostname": "web.example"}}))
    try:
        eventually(lambda: of_gateway("waypoint").get("Programmed", ("",))[0] == "False", what="the Gateway's conditions")
        accepted = of_gateway("waypoint")["Accepted"]
        assert accepted[:2] == ("False", "NotHonoured") and "waypoints are to come" in accepted[2]
        of_listeners = cluster.get(f"gateways.{api}", "-n", namespace, "waypoint")["status"]["listeners"]
        assert [(one["name"], one["attachedRoutes"], conditions(one)["Programmed"][:2]) for one in of_listeners] == [
            ("a", 0, ("False", "NotHonoured"))]
        of_policy = eventually(lambda: cluster.get("backendtlspolicy", "-n", namespace, "p").get("status", {}).get("ancestors"),
                               what="the policy's status")
        assert [(one["ancestorRef"]["name"], conditions(one)["Accepted"][:2]) for one in of_policy] == [
            ("web", ("False", "NotHonoured"))]
        eventually(lambda: [p["parentRef"]["name"] for p in parents()] == ["waypoint", "web"], what="the route's parents")
        assert {p["controllerName"] for p in parents()} == {"istio.io/gateway-controller"}
        assert all("HTTPRoute has no effect yet" in conditions(p)["Accepted"][2] for p in parents())
        # another controller has its say, and both stay
        theirs = {"parentRef": {"name": "foreign"}, "controllerName": "example.com/theirs", "conditions": []}
        cluster.run("patch", "httproute", "-n", namespace, "r", "--subresource=status", "--type=merge", "-p",
                    json.dumps({"status": {"parents": [theirs]}}))
        eventually(lambda: [p["parentRef"]["name"] for p in parents()] == ["foreign", "waypoint", "web"], what="ours are back")
        assert parents()[0] == theirs
        assert of_gateway("foreign") == {} and not cluster.get("gatewayclass", "theirs").get("status")
    finally:
        cluster.run("delete", "gatewayclass", "theirs")


def test_pods_start_while_no_control_plane_is_up(cluster, apps):
    scale(cluster, 0)
    try:
        cluster.apply(pod(apps, "late", "client", "n2"))
        cluster.wait_ready(apps, "late")
        eventually(lambda: cluster.is_captured(apps, "late"), what="the new pod is captured")
        # Another pod of its account is on its node, so that its certificate is there.
        with Canary(cluster) as canary:
            assert cluster.curl(apps, "client", f"http://web/{canary.word}"), "what was there goes on"
            eventually(lambda: cluster.curl(apps, "late", f"http://web/{canary.word}"), what="an answer for the new pod")
        assert not canary.was_seen(), "plaintext crossed the link"
        assert 80 not in canary.ports(), "a connection was begun round the mesh"
    finally:
        scale(cluster, 1)
    eventually(lambda: cluster.curl(apps, "late", "http://web"), what="an answer for the new pod as ever")


def test_a_pod_that_a_node_was_not_told_of_is_not_asked_in_plaintext(cluster, apps):
    """No control plane says that there is a new server; its address is one of pods, so it may be one of the mesh."""
    with Canary(cluster) as canary:
        assert cluster.curl(apps, "client", f"http://web/{canary.word}"), "something crosses the link"
        scale(cluster, 0)
        try:
            cluster.apply(pod(apps, "fresh", "nginx", "n1"))
            cluster.wait_ready(apps, "fresh")
            address = cluster.get("pod", "-n", apps, "fresh")["status"]["podIP"]
            assert not cluster.curl(apps, "client", f"http://{layout.in_url(address)}/{canary.word}"), "it is refused"
        finally:
            scale(cluster, 1)
        eventually(lambda: cluster.curl(apps, "client", f"http://{layout.in_url(address)}/{canary.word}"), what="an answer of the new pod")
    assert not canary.was_seen(), "plaintext crossed the link"
